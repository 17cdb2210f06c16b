//! Everything about balancing that can be decided from bytes and numbers.
//!
//! No I/O, no maps, no helpers, no allocation: the eBPF programs and the daemon compile the same code, and the host tests,
//! property tests and fuzzers run it without a kernel.
//!
//! - [`abi`]: the tables that kernel and user space share, field by field.
//! - [`wire`]: packet headers, read and written inside checked bounds.
//! - [`table`]: the connection table's protocol (find, claim, touch, expire), over any memory that has compare-exchange.
//! - [`sched`]: one file per scheduler.
//! - [`algo`]: hashing, checksums, the state machines of TCP and SCTP, Maglev and source-hash rings.
#![cfg_attr(not(any(test, feature = "user")), no_std)]
#![deny(unsafe_code)]

pub mod abi;
pub mod algo;
pub mod sched;
pub mod table;
pub mod wire;
