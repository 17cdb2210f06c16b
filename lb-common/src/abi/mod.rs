//! The contract between the datapath and the daemon: one file per table, every size asserted at compile time.
//!
//! Numbers are in host byte order except addresses and ports, which stay as they stand in the packet (network order) so that the
//! datapath compares without swapping.

pub mod connection;
pub mod counters;
pub mod fragment;
pub mod limits;
pub mod names;
pub mod real;
pub mod remembered;
pub mod reply;
pub mod service;
pub mod settings;
pub mod shape;
pub mod tables;
pub mod verdict;

#[cfg(feature = "user")]
mod pod;

/// Goes up with every change of a table's shape or meaning. Pinned maps carry it; a daemon refuses or migrates another version.
///
/// 3: a connection's state takes five bits, and the settings hold 32 timeouts, for the states of SCTP; the reply table and what belongs
/// to it; counters of answers.
/// 4: templates; capacities, shapes and remembered destinations; a configuration has what persistence needs.
/// 5: overflow buckets, and other hashes of connections and services; UDP's state has another number; four times the service buckets.
pub const LAYOUT_VERSION: u32 = 5;
