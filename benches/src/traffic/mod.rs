//! Packets through veth pairs at full speed: the network, the generator, the counting real server. For `wire` and `flood`.

pub(crate) mod director;
pub(crate) mod frame;
pub(crate) mod generator;
pub(crate) mod histogram;
pub(crate) mod lab;
pub(crate) mod programs;
pub(crate) mod real;
#[path = "../../../lb-ebpf/src/traffic/shape.rs"]
#[expect(unreachable_pub, reason = "the eBPF programs include the same file")]
pub(crate) mod shape;
