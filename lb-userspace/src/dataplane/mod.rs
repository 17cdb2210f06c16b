//! The tables behind the XDP program: the only code that writes maps.
//!
//! [`pins`] knows every bpffs path and checks what it finds there, [`memory`] makes or finds the tables' maps, [`placeholders`] writes
//! their addresses into the program, [`loader`] loads and attaches it, [`mapped`] is the memory as user space sees it,
//! [`tables`] keeps who has which number and writes values (`adoption` makes the rows from what is there, `pools` publishes what services
//! schedule by, `settling` frees what was left), [`connections`] lists and expires connections by their [`ageing`],
//! [`templates`] what persistence remembers, [`remembered`] what lblc and lblcr do, [`controls`] writes
//! single ones for the FTP helper ([`flows`] finds them, `replies` ties them), [`counters`] sums. [`resize`] gives connections tables of
//! another size.
//! Nothing here decides what should be: that is `reconcile`.

pub mod addresses;
mod adoption;
pub mod ageing;
pub mod attach;
mod carry;
pub mod clock;
pub mod connections;
pub mod controls;
pub mod counters;
pub mod early;
pub mod flows;
pub mod identity;
pub mod loader;
pub mod locals;
pub mod mapped;
pub mod memory;
pub mod objects;
pub mod pins;
pub(crate) mod placeholders;
mod pools;
pub mod ranges;
pub mod remembered;
mod replies;
pub mod resize;
pub mod rounds;
pub mod settling;
pub mod tables;
pub mod templates;
mod virtuals;

use std::path::PathBuf;

use thiserror::Error;

/// What went wrong with maps, programs or links. Each says thing, cause and way out in one line.
#[derive(Debug, Error)]
pub enum DataplaneError {
    /// The kernel refused the program.
    #[error("the kernel's verifier refused program {program}; its log is in {}", .log.display())]
    Verifier {
        /// Program name.
        program: &'static str,
        /// Where the verifier's log was written.
        log: PathBuf,
    },
    /// A pinned map is not the one that this version expects.
    #[error("pinned map {}: {difference}; stop the daemon that owns it, or remove the pins with `rm -r {}` (connections are lost)", .path.display(), .path.parent().unwrap_or(.path).display())]
    Shape {
        /// The pin.
        path: PathBuf,
        /// What differs.
        difference: String,
    },
    /// An interface does not exist.
    #[error("interface {0} does not exist in this network namespace")]
    NoInterface(String),
    /// An interface has the program of somebody else.
    #[error(
        "interface {0} has another XDP program already: `xvs detach` takes off a director's, `ip link set dev {0} xdp off` one without a link"
    )]
    Taken(String),
    /// Attaching failed.
    #[error("cannot attach to {interface} in {mode} mode: {cause}")]
    Attach {
        /// Interface name.
        interface: String,
        /// `native` or `generic`.
        mode: &'static str,
        /// The kernel's answer.
        cause: String,
    },
    /// A table has no room.
    #[error("{0}")]
    Full(String),
    /// Anything else the kernel or the file system said.
    #[error("{what}: {cause}")]
    Other {
        /// What was tried.
        what: String,
        /// The answer.
        cause: String,
    },
}

impl DataplaneError {
    /// An error of the last kind.
    pub(crate) fn other(what: impl Into<String>, cause: impl std::fmt::Display) -> Self {
        Self::Other { what: what.into(), cause: cause.to_string() }
    }
}

/// CPUs that counters are kept for: all that the kernel may ever bring up.
pub fn cpus() -> Result<u32, DataplaneError> {
    let cpus = aya::util::nr_cpus().map_err(|(what, cause)| DataplaneError::other(what, cause))?;
    Ok(u32::try_from(cpus).unwrap_or(u32::MAX))
}
