//! The director's control plane and its command line: everything that talks to the world.
//!
//! How a configuration becomes table entries, and where the facts come in:
//!
//! ```text
//! xvs.toml --> model::parse ---+                                    (every error at once, with its line)
//! xvs CLI ---> model::edit ----+--> Spec --> model::validate --+
//! HTTP/JSON -> api::server ----+   (intent)                    |
//!                                                              v
//! health, neighbours --> signal ------------------------> reconcile --> [Op] --> dataplane --> maps
//! ```
//!
//! `cli` and `ipvsadm` never read a map: they speak to the daemon over the unix socket by `api::client`, as `curl` could.

#![deny(unsafe_code)]

pub mod api;
pub mod cli;
pub mod daemon;
pub mod dataplane;
pub mod doctor;
pub mod ftp;
pub mod ipvsadm;
pub mod model;
pub mod net;
pub mod realserver;
pub mod reconcile;
pub mod signal;
