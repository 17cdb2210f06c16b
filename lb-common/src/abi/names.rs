//! Names of programs, once. The tables' are in [`super::tables`].

/// The director's program.
pub const PROGRAM_DIRECTOR: &str = "xvs";
/// Returns the kernel's jiffies through `BPF_PROG_TEST_RUN`: the clock that last-seen stamps are in.
pub const PROGRAM_CLOCK: &str = "xvs_clock";
/// The real server's decapsulator.
pub const PROGRAM_DECAP: &str = "xvs_decap";
/// Passes every packet: what a veth peer of a director must run before it takes frames from XDP_TX.
pub const PROGRAM_PASS: &str = "xvs_pass";
