//! Facts about the world that decide where packets may go: next hops and health.
//!
//! Each signal is a task that takes what to watch over a `tokio::sync::watch` channel and gives what it found over
//! another one. A signal reports; it never takes a real server out of service. That is decided where all signals meet.

pub mod health;
pub mod neighbour;
