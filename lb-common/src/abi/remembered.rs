//! What lblc and lblcr remember of a destination ([`crate::sched::memory`]).

use crate::sched::memory::SET;

/// Rows over all services. IPVS has up to 16 384 for each service.
pub const ROWS: u32 = 1 << 14;
/// Rows that a destination may be in.
pub const WAYS: u32 = 4;

/// A destination: two cache lines.
#[repr(C, align(128))]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Row {
    /// [`head`], or 0 when free, or [`BUSY`].
    pub head: u64,
    /// Tick of the last packet.
    pub used: u64,
    /// Tick of the last change of `reals`.
    pub changed: u64,
    /// Reals in it.
    pub len: u64,
    /// Their numbers, the last one added first.
    pub reals: [u64; SET as usize],
}

/// The head of a row that is being written.
pub const BUSY: u64 = 1;

/// What says whose a row is: the service's group and the folded destination.
#[inline(always)]
pub const fn head(group: u32, destination: u32) -> u64 {
    1 << 63 | ((group & 0x3fff) as u64) << 32 | destination as u64
}

/// The first row that a destination may be in.
#[inline(always)]
pub const fn first(head: u64) -> u32 {
    ((head.wrapping_mul(0x9e37_79b9_7f4a_7c15) >> 40) as u32 & (ROWS - 1)) & !(WAYS - 1)
}

/// Seconds after which a row is forgotten that no packet has used: IPVS's `lblc_expiration`.
pub const EXPIRATION: u32 = 86_400;

const _: () = assert!(size_of::<Row>() == 128);
