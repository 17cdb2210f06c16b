//! lb-userspace
