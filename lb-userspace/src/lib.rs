//! lb-userspace

pub mod net;
pub mod signal;
