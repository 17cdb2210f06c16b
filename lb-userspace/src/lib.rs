//! lb-userspace

pub mod net;
