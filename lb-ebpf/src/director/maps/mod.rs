//! The tables, each a private static behind accessors. User space writes them all but connections, loads, cursors and counters.
//!
//! All are plain arrays that user space maps (`BPF_F_MMAPABLE`): the kernel turns a lookup into a bounds check and an addition.
//! Sizes here are the smallest; the loader sets the real ones.

pub(crate) mod connections;
pub(crate) mod counters;
pub(crate) mod pool;
pub(crate) mod reals;
pub(crate) mod services;
pub(crate) mod settings;

/// `BPF_F_MMAPABLE`.
const MMAPABLE: usize = 1 << 10;
