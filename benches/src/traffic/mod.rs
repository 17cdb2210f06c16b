//! Packets through veth pairs at full speed: the network, the generator, the counting real server. For `wire` and `flood`.

pub(crate) mod director;
pub(crate) mod frame;
pub(crate) mod generator;
pub(crate) mod histogram;
pub(crate) mod lab;
pub(crate) mod programs;
pub(crate) mod real;
#[path = "../../../lb-ebpf/src/traffic/shape.rs"]
#[expect(unreachable_pub, dead_code, reason = "the eBPF programs include the same file, and use the rest of it")]
pub(crate) mod shape;
