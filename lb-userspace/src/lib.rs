//! lb-userspace

pub mod net;
pub mod realserver;
pub mod signal;
