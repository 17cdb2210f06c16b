//! The real server's side: accept packets for a virtual address without answering for it on the network.
//!
//! `join` puts virtual addresses on `lo`, keeps the kernel from answering ARP for them and, for tunnels, attaches a
//! decapsulator. It writes down each change with the value before *before* making it, and `leave` undoes exactly what
//! is written down: what was there already is not removed, and what somebody else changed meanwhile is left alone.
//!
//! All of it happens in the network namespace of the calling thread.

mod change;
mod decap;
mod join;
mod leave;
mod state;
mod status;
mod sysctl;

use std::net::IpAddr;
use std::path::{Path, PathBuf};

use crate::net::NetError;

pub use decap::{AttachedLink, DecapAttacher, DecapError};
pub use join::{Joined, join};
pub use leave::{Left, leave};
pub use status::{DecapStatus, Status, SysctlStatus, VipStatus, status};

/// What a real server is to accept.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct JoinArgs {
    /// The virtual addresses.
    pub vips: Vec<IpAddr>,
    /// Whether packets arrive in tunnels: a decapsulator is attached to each interface.
    pub tunnel: bool,
    /// The interfaces that packets arrive on. A tunnel needs at least one.
    pub interfaces: Vec<String>,
}

/// Where things are; other places than the default are for tests and for several namespaces on one host.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Paths {
    /// The file that records what was changed.
    pub state_file: PathBuf,
    /// The kernel's network settings; they follow the network namespace of the thread that opens them.
    pub sysctl_root: PathBuf,
}

impl Paths {
    /// The usual places, with the record in `state_dir` (`/var/lib/xvs`).
    pub fn new(state_dir: &Path) -> Self {
        Self { state_file: state_dir.join("realserver.json"), sysctl_root: PathBuf::from("/proc/sys/net") }
    }
}

/// A real server could not join or leave.
#[derive(Debug, thiserror::Error)]
pub enum RealServerError {
    /// The wish makes no sense.
    #[error("{0}")]
    Refused(String),
    /// A file could not be read or written.
    #[error("cannot {step} {}: {cause}", path.display())]
    File {
        /// What was tried: "read", "write"...
        step: &'static str,
        /// The file.
        path: PathBuf,
        /// The system's reason.
        cause: std::io::Error,
    },
    /// The record exists but cannot be understood.
    #[error(
        "{} is not a record that this version can read ({cause}): undo its changes by hand and remove it", path.display()
    )]
    Record {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        cause: String,
    },
    /// The kernel refused a change of addresses or links.
    #[error(transparent)]
    Net(#[from] NetError),
    /// The decapsulator could not be attached or detached.
    #[error("decapsulator on {interface}: {cause}")]
    Decap {
        /// The interface.
        interface: String,
        /// The reason.
        cause: DecapError,
    },
    /// A join failed half-way and was rolled back, but not entirely.
    #[error("{cause}; rolled back but for: {} (`xvs realserver leave` tries again)", left.join("; "))]
    RollBack {
        /// Why the join failed.
        cause: Box<RealServerError>,
        /// What could not be undone.
        left: Vec<String>,
    },
    /// Some of a leave could not be undone; the rest was, and the record keeps what is left.
    #[error("not undone: {} (run `xvs realserver leave` again once the cause is gone)", .0.join("; "))]
    Incomplete(Vec<String>),
}
