//! The laboratory: a small network of namespaces on one machine in which a director, real servers and a client are real
//! processes with real sockets. Tests, the demo and `cargo xtask lab` all stand on it.
//!
//! | file | what it holds |
//! |---|---|
//! | `plan.rs` | which hosts, ports, addresses and routes a topology has: pure data |
//! | `topology.rs` | builds a plan from namespaces, veth pairs and bridges |
//! | `netns.rs` | one network namespace, deleted when dropped |
//! | `director.rs` | an `xvs daemon` in a namespace, and the CLI against it |
//! | `prepare.rs` | what reals and switch need for it |
//! | `cluster.rs` | all of these together, ready for requests |
//! | `real.rs` | an nginx that says its own name |
//! | `load/` | a bounded HTTP load generator that counts who answered |
//! | `wrk.rs` | the wrk tool, for rates our generator cannot reach |
//! | `residue.rs` | what a laboratory could leave behind, and its removal |
//!
//! Everything a laboratory creates carries [`name::PREFIX`], so that [`residue`] finds it even when the process that made
//! it was killed.

#![deny(unsafe_code)]

pub mod cluster;
pub mod director;
pub mod error;
pub mod load;
pub mod name;
pub mod netns;
pub mod paths;
pub mod plan;
pub mod prepare;
pub mod process;
pub mod real;
pub mod residue;
pub mod run;
pub mod topology;
pub mod wrk;

pub use cluster::Cluster;
pub use director::{Director, DirectorOptions};
pub use error::LabError;
pub use name::LabName;
pub use netns::Netns;
pub use plan::{Family, Plan};
pub use real::Real;
pub use topology::Topology;
