//! The data plane under test: the real programs, loaded into the kernel and run on crafted frames by `BPF_PROG_TEST_RUN`.
//!
//! - [`packet`]: builds frames, with checksums of its own.
//! - [`director`]: the director's program over tables of its own; every frame sent through it is checked against [`expect`].
//! - [`expect`]: what a forwarded frame must look like, written from the RFCs without the code under test.
//! - [`configured`]: the director brought to a configuration as the daemon does it.
//! - [`conversation`], [`translated`]: the same for address translation, in both directions.
//! - [`portless`]: the same for packets without ports of their own, later fragments and ICMP errors.
//! - [`reals`]: reals as rows write them.
//! - `services`: services as rows make them.
//! - `loaded`: the loaded program, handed on between directors.
//! - [`row`]: one line of a table of cases.
//! - [`served`]: a service's connections, one by one, with a twin of the program.
//! - [`decap`]: the real server's program.
//! - [`program`]: instructions and stack of a program; [`shipped`]: of all that are shipped.
//!
//! Needs root (CAP_BPF and CAP_NET_ADMIN); nothing is attached or pinned, no interface is touched.

pub mod configured;
pub mod conversation;
pub mod decap;
pub mod director;
pub mod expect;
mod loaded;
pub mod packet;
pub mod portless;
pub mod program;
pub mod reals;
pub mod row;
pub mod served;
mod services;
pub mod shipped;
pub mod translated;
