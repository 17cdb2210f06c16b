//! What an operator had better look at: judgements about what the daemon shows. Pure, and changes nothing.

pub mod mtu;
