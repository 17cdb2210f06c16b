//! Numbers in, numbers out.

pub mod checksum;
pub mod crc32c;
pub mod hash;
#[cfg(any(test, feature = "user"))]
pub mod ring;
pub mod sctp_state;
pub mod state;
pub mod tcp_state;
pub mod way_back;
