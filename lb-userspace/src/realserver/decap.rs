//! What a real server needs of the decapsulator. How it is loaded and attached is the data plane's business.

use std::fmt::Debug;
use std::path::PathBuf;

/// A decapsulator in place.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AttachedLink {
    /// The interface it is on.
    pub interface: String,
    /// The index of that interface.
    pub ifindex: u32,
    /// Where its link is pinned; it has to outlive the command that attached it.
    pub pin: PathBuf,
}

/// Why the decapsulator could not be attached, detached or looked for.
#[derive(Debug, thiserror::Error)]
#[error("{0}")]
pub struct DecapError(pub String);

/// Attaches the XDP program that takes tunnelled packets out of their tunnel.
///
/// The calls happen in the network namespace of the interface and may block.
pub trait DecapAttacher: Debug + Sync {
    /// Attaches it so that it stays when this process ends. Attached already is an error.
    fn attach(&self, interface: &str) -> Result<AttachedLink, DecapError>;

    /// Detaches it. Not attached is no error.
    fn detach(&self, interface: &str) -> Result<(), DecapError>;

    /// Whether our decapsulator is on this interface.
    fn is_attached(&self, interface: &str) -> Result<bool, DecapError>;
}
