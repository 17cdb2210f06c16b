//! Settings that hold for the whole director: one value, read on the path of new connections and by the daemon that adopts the pins.

use super::connection::STATES;

/// The director's settings.
#[repr(C, align(64))]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Settings {
    /// [`super::LAYOUT_VERSION`] of whoever created the maps.
    pub layout_version: u32,
    /// Kernel ticks per second, measured when the maps were created; a tick of ours is 2^`tick_shift` of these.
    pub jiffies_per_second: u32,
    /// Right shift that turns jiffies into ticks of about one second.
    pub tick_shift: u32,
    /// [`sloppy`].
    pub sloppy: u32,
    /// Key of the hash that picks connection buckets: random per creation, so that nobody outside can fill one bucket.
    pub hash_key: [u64; 2],
    /// Timeout by state number, in ticks.
    pub timeouts: [u32; STATES],
    /// [`inexact`].
    pub inexact: u64,
    /// Not 0: echo requests to a VIP are answered; otherwise they are passed to the kernel.
    pub answer_echo: u64,
    /// Not 0: some real's answers come back through the director, so packets that are for no service are looked up as answers.
    pub replies: u64,
    /// Local addresses of full NAT: IPv4 ones in the lower half, IPv6 ones in the upper.
    pub locals: u64,
    /// A bit for each state of a connection that a SYN on its ports ends and begins anew ([`crate::algo::state::reuse_states`]).
    pub reuse_states: u64,
    /// Not 0: a template whose real has weight 0 is not followed (IPVS `expire_quiescent_template`).
    pub expire_quiescent: u64,
    /// Not 0: connections are on their way to tables of another size. A packet that does not begin one may belong to one of these.
    pub moving: u64,
    /// Tick of the last change of routes, neighbours or links that the daemon has seen ([`crate::algo::way_back::Watch`]).
    pub routes_changed: u64,
    /// Tick in which the daemon last said that it sees such changes.
    pub routes_watched: u64,
    /// Tick in which the kernel last knew no way to a client. The datapath's to write.
    pub routes_unknown: u64,
    /// Zero: fills up to a power of two, which tables hold values of.
    pub reserved: [u64; 2],
}

/// Bits of [`Settings::inexact`]: how an address without exact match is looked up once more.
pub mod inexact {
    /// Some service takes any port.
    pub const ANY_PORT: u64 = 1;
    /// Some mark has address prefixes or port ranges ([`crate::abi::shape`]).
    pub const SHAPES: u64 = 2;
}

/// Bits of [`Settings::sloppy`].
pub mod sloppy {
    /// A TCP connection may begin with any packet but RST (IPVS `sloppy_tcp`).
    pub const TCP: u32 = 1;
    /// An SCTP association may begin with any packet but ABORT (IPVS `sloppy_sctp`).
    pub const SCTP: u32 = 2;
}

impl Settings {
    /// The secret of every keyed hash: [`Settings::hash_key`], its second half made odd, because it multiplies.
    pub const fn secret(&self) -> [u64; 2] {
        [self.hash_key[0], self.hash_key[1] | 1]
    }
}

/// IPVS's timeouts in seconds, by state number (`tcp_timeouts`, `udp_timeouts`, `sctp_timeouts`). A state that TCP and SCTP share has
/// the same with both.
pub const DEFAULT_TIMEOUTS: [u32; STATES] = [
    2, 900, 120, 60, 120, 120, 10, 60, 30, 120, 120, // TCP
    0,   // no state
    360, 360, // templates, which have their service's
    0, 0, 0,   // no state
    300, // UDP
    4, 61, 61, 61, 61, 61, 61, 61, 61, 61, 4, 61, // SCTP: INIT1 to CLOSED
    0, 0, // no state, and an entry being written
];

const _: () = assert!(size_of::<Settings>() == 256);
