//! One connection: a key and one 64-bit word that says whose it is, where it goes, when it was last seen and in which state.
//!
//! The word is the unit of every change, by compare-exchange (see [`crate::table`]). Zero means free.
//!
//! ```text
//!  63        50 49                  30 29   27 26   22 21                    0
//! +------------+----------------------+-------+-------+-----------------------+
//! | service 14 |       real 20        | flags | state |   last seen 22 ticks  |
//! +------------+----------------------+-------+-------+-----------------------+
//! ```

use super::limits::WAYS;

const SEEN_BITS: u32 = 22;
const STATE_SHIFT: u32 = 22;
const REAL_SHIFT: u32 = 30;
const SERVICE_SHIFT: u32 = 50;
/// Ticks wrap after 2^22 of them, about 48 days: longer than the longest timeout (31 days, ipvsadm's limit).
pub const SEEN_MASK: u64 = (1 << SEEN_BITS) - 1;
/// Longest idle time that is believed: all but the last 4096 ticks (an hour) of the clock's round, which are stamps from the future.
/// The longest timeout, 31 days, is 3.2 million ticks at 300 Hz, the fastest of our clocks.
pub const MAX_IDLE: u32 = SEEN_MASK as u32 - 4096;
const STATE_MASK: u64 = STATES as u64 - 1;
const REAL_MASK: u64 = (1 << 20) - 1;
const IDENTITY_MASK: u64 = !0 << REAL_SHIFT;

/// What a connection is doing. TCP and SCTP states are IPVS's, of which they share two; a UDP flow has one.
///
/// The lower four bits alone tell the states of one protocol apart, so that a row of its table fits into one word ([`crate::algo::state`]).
#[repr(u8)]
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum State {
    /// No connection. In the table: a free entry.
    None = 0,
    /// Data flows: the only state that counts as an active connection.
    Established = 1,
    /// A SYN from the real (never seen by a director that sees the client's half only).
    SynSent = 2,
    /// The client's SYN was sent on.
    SynRecv = 3,
    /// One side has closed.
    FinWait = 4,
    /// Both sides have closed.
    TimeWait = 5,
    /// Reset, or closed without having been open.
    Close = 6,
    /// The client has closed, the real has not.
    CloseWait = 7,
    /// The last acknowledgement is awaited.
    LastAck = 8,
    /// A SYN to a listening port (IPVS's table only).
    Listen = 9,
    /// SYN and ACK under IPVS's `secure_tcp`.
    SynAck = 10,
    /// No connection but the real that a client is to have (IPVS's persistence templates), and no connection made by it was open yet.
    Template = 12,
    /// A template that has had an open connection.
    TemplateAssured = 13,
    /// A UDP flow. [`State::Established`] but for one bit, which [`Meta::is_steady`] leaves out.
    Udp = 17,
    /// SCTP: the client's first INIT was sent on.
    SctpInit1 = 18,
    /// SCTP: the client has sent INIT once more.
    SctpInit = 19,
    /// SCTP: the real has answered with its cookie.
    SctpCookieSent = 20,
    /// SCTP: the client has sent the cookie back.
    SctpCookieReplied = 21,
    /// SCTP: the real has sent INIT.
    SctpCookieWait = 22,
    /// SCTP: the client has answered with its cookie.
    SctpCookie = 23,
    /// SCTP: the real has sent the cookie back. A director that sees the client's half only: the client has answered an INIT.
    SctpCookieEchoed = 24,
    /// SCTP: the real has sent SHUTDOWN.
    SctpShutdownSent = 25,
    /// SCTP: the client has sent SHUTDOWN.
    SctpShutdownReceived = 26,
    /// SCTP: the real has sent SHUTDOWN ACK.
    SctpShutdownAckSent = 27,
    /// SCTP: an INIT was answered with ABORT.
    SctpRejected = 28,
    /// SCTP: over.
    SctpClosed = 29,
    /// An entry being written: neither free nor usable.
    Busy = 31,
}

/// Number of states a timeout table has, [`State::Busy`] included.
pub const STATES: usize = 32;

/// The words `ipvsadm -Lnc` prints, by state number (`tcp_state_name_table`, `sctp_state_name_table`).
pub const STATE_NAMES: [&str; STATES] = [
    "NONE",
    "ESTABLISHED",
    "SYN_SENT",
    "SYN_RECV",
    "FIN_WAIT",
    "TIME_WAIT",
    "CLOSE",
    "CLOSE_WAIT",
    "LAST_ACK",
    "LISTEN",
    "SYNACK",
    "?",
    "NONE",
    "ASSURED",
    "?",
    "?",
    "?",
    "UDP",
    "INIT1",
    "INIT",
    "C-SENT",
    "C-REPLIED",
    "C-WAIT",
    "COOKIE",
    "C-ECHOED",
    "S-SENT",
    "S-RECEIVED",
    "S-ACK-SENT",
    "REJECTED",
    "CLOSED",
    "?",
    "BUSY",
];

/// The state word of a connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Meta(pub u64);

// === impl State ===

impl State {
    /// The state with this number; unknown numbers read as [`State::Busy`], which nobody uses or frees.
    #[inline(always)]
    pub const fn from_bits(bits: u8) -> Self {
        match bits {
            0 => Self::None,
            1 => Self::Established,
            2 => Self::SynSent,
            3 => Self::SynRecv,
            4 => Self::FinWait,
            5 => Self::TimeWait,
            6 => Self::Close,
            7 => Self::CloseWait,
            8 => Self::LastAck,
            9 => Self::Listen,
            10 => Self::SynAck,
            12 => Self::Template,
            13 => Self::TemplateAssured,
            17 => Self::Udp,
            18 => Self::SctpInit1,
            19 => Self::SctpInit,
            20 => Self::SctpCookieSent,
            21 => Self::SctpCookieReplied,
            22 => Self::SctpCookieWait,
            23 => Self::SctpCookie,
            24 => Self::SctpCookieEchoed,
            25 => Self::SctpShutdownSent,
            26 => Self::SctpShutdownReceived,
            27 => Self::SctpShutdownAckSent,
            28 => Self::SctpRejected,
            29 => Self::SctpClosed,
            _ => Self::Busy,
        }
    }

    /// It is a client's template: it counts as no connection of its real.
    #[inline(always)]
    pub const fn is_template(self) -> bool {
        matches!(self, Self::Template | Self::TemplateAssured)
    }

    /// The word that listings print.
    pub const fn name(self) -> &'static str {
        STATE_NAMES[self as usize]
    }
}

// === impl Meta ===

impl Meta {
    /// A free entry.
    pub const FREE: Self = Self(0);
    /// An entry that somebody is writing.
    pub const BUSY: Self = Self((State::Busy as u64) << STATE_SHIFT);

    /// The word of a live connection. `service` and `real` are cut to their widths, `now` to 22 bits.
    #[inline(always)]
    pub const fn new(service: u32, real: u32, state: State, now: u32) -> Self {
        Self(
            ((service as u64) << SERVICE_SHIFT)
                | ((real as u64 & REAL_MASK) << REAL_SHIFT)
                | ((state as u64) << STATE_SHIFT)
                | (now as u64 & SEEN_MASK),
        )
    }

    /// Service number, 1..2^14. 0 for an entry that is free or being written: no service has it.
    #[inline(always)]
    pub const fn service(self) -> u32 {
        (self.0 >> SERVICE_SHIFT) as u32
    }

    /// Real number, 0..2^20.
    #[inline(always)]
    pub const fn real(self) -> u32 {
        ((self.0 >> REAL_SHIFT) & REAL_MASK) as u32
    }

    /// The real's number below others' bits, for whoever masks it with the size of a table.
    #[inline(always)]
    pub const fn real_and_more(self) -> u64 {
        self.0 >> REAL_SHIFT
    }

    /// State number as stored.
    #[inline(always)]
    pub const fn state_bits(self) -> u8 {
        ((self.0 >> STATE_SHIFT) & STATE_MASK) as u8
    }

    /// State.
    #[inline(always)]
    pub const fn state(self) -> State {
        State::from_bits(self.state_bits())
    }

    /// Tick of the last packet, modulo 2^22.
    #[inline(always)]
    pub const fn last_seen(self) -> u32 {
        (self.0 & SEEN_MASK) as u32
    }

    /// Ticks since the last packet. A stamp from the future (a newer tick on another CPU, or since user space read its clock) counts
    /// as now.
    #[inline(always)]
    pub const fn idle(self, now: u32) -> u32 {
        let idle = (now.wrapping_sub(self.last_seen())) & SEEN_MASK as u32;
        if idle > MAX_IDLE { 0 } else { idle }
    }

    /// Neither free nor being written.
    #[inline(always)]
    pub const fn is_live(self) -> bool {
        self.0 != 0 && self.state_bits() != State::Busy as u8
    }

    /// Service and real, for comparison with others.
    #[inline(always)]
    pub const fn identity(self) -> u64 {
        self.0 >> REAL_SHIFT
    }

    /// Both words name the same service and real.
    #[inline(always)]
    pub const fn same_identity(self, other: Self) -> bool {
        (self.0 ^ other.0) & IDENTITY_MASK == 0
    }

    /// Seen at `now` (below 2^22) already, in a state that its packets do not change, closing and opening ones aside: nothing to write.
    #[inline(always)]
    pub const fn is_steady(self, now: u32) -> bool {
        self.unsteadiness(now) == 0
    }

    /// 0 if [`Meta::is_steady`]; a number, so that the datapath asks for several things by one comparison.
    #[inline(always)]
    pub const fn unsteadiness(self, now: u32) -> u64 {
        const EXPECTED: u64 = (State::Established as u64) << STATE_SHIFT;
        // Stamp and lower four bits of the state: those of no other state are Established's.
        const BITS: u32 = SEEN_BITS + 4;
        const { assert!(State::Udp as u8 & 15 == State::Established as u8 && STATE_SHIFT == SEEN_BITS) };
        (self.0 ^ (now as u64 | EXPECTED)) << (u64::BITS - BITS)
    }

    /// In a state that its packets do not change, closing and opening ones aside.
    #[inline(always)]
    pub const fn is_open(self) -> bool {
        self.is_steady(self.last_seen())
    }

    /// The same connection in `state`, seen at `now`.
    #[inline(always)]
    pub const fn with(self, state: State, now: u32) -> Self {
        Self(
            (self.0 & !(SEEN_MASK | (STATE_MASK << STATE_SHIFT)))
                | ((state as u64) << STATE_SHIFT)
                | (now as u64 & SEEN_MASK),
        )
    }

    /// The same connection, seen at `now`.
    #[inline(always)]
    pub const fn seen(self, now: u32) -> Self {
        Self((self.0 & !SEEN_MASK) | (now as u64 & SEEN_MASK))
    }
}

/// Key of an IPv4 connection: client address, client port, destination port, as they stand in the packet.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct KeyV4(pub u64);

/// Key of an IPv6 connection: client address in two words, then the ports.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct KeyV6(pub [u64; 3]);

impl KeyV4 {
    /// From raw (network order) header words: the address, and the two ports as one word (source first in memory).
    #[inline(always)]
    pub const fn new(client: u32, ports: u32) -> Self {
        Self(client as u64 | ((ports as u64) << 32))
    }
}

impl KeyV6 {
    /// From raw (network order) header words.
    #[inline(always)]
    pub const fn new(client: [u64; 2], ports: u32) -> Self {
        Self([client[0], client[1], ports as u64])
    }
}

/// An IPv4 connection: 16 bytes.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default)]
pub struct EntryV4 {
    /// [`KeyV4`].
    pub key: u64,
    /// [`Meta`].
    pub meta: u64,
}

/// An IPv6 connection: 32 bytes.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default)]
pub struct EntryV6 {
    /// [`KeyV6`].
    pub key: [u64; 3],
    /// [`Meta`].
    pub meta: u64,
}

/// Four IPv4 connections: one cache line.
#[repr(C, align(64))]
#[derive(Clone, Copy, Debug, Default)]
pub struct BucketV4 {
    /// The entries.
    pub entries: [EntryV4; WAYS],
}

/// Four IPv6 connections: two adjacent cache lines, an entry never crosses one.
#[repr(C, align(128))]
#[derive(Clone, Copy, Debug, Default)]
pub struct BucketV6 {
    /// The entries.
    pub entries: [EntryV6; WAYS],
}

const _: () = assert!(size_of::<BucketV4>() == 64 && size_of::<BucketV6>() == 128);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn meta_keeps_every_field_apart() {
        let meta = Meta::new(0x3fff, 0xf_ffff, State::Udp, 0x3f_ffff);
        assert_eq!(
            (meta.service(), meta.real(), meta.state(), meta.last_seen()),
            (0x3fff, 0xf_ffff, State::Udp, 0x3f_ffff)
        );
        let moved = meta.with(State::Close, 7);
        assert_eq!(
            (moved.service(), moved.real(), moved.state(), moved.last_seen()),
            (0x3fff, 0xf_ffff, State::Close, 7)
        );
        assert!(moved.same_identity(meta));
        assert!(!Meta::new(1, 2, State::Udp, 0).same_identity(Meta::new(1, 3, State::Udp, 0)));
        assert!(!Meta::new(1, 2, State::Udp, 0).same_identity(Meta::new(2, 2, State::Udp, 0)));
    }

    #[test]
    fn every_state_fits_and_reads_back() {
        for bits in 0..STATES as u8 {
            let state = State::from_bits(bits);
            assert_eq!(state as u8, if STATE_NAMES[usize::from(bits)] == "?" { State::Busy as u8 } else { bits });
            let meta = Meta::new(0x3fff, 0xf_ffff, state, 0x3f_ffff);
            assert_eq!((meta.state(), meta.real(), meta.last_seen()), (state, 0xf_ffff, 0x3f_ffff));
        }
    }

    #[test]
    fn idle_survives_the_wrap_and_a_stamp_from_the_future() {
        let meta = Meta::new(0, 0, State::Udp, 0x3f_fff0);
        assert_eq!(meta.idle(0x3f_fff5), 5);
        assert_eq!(meta.idle(0x10), 0x20);
        assert_eq!(meta.idle(0x3f_ffef), 0, "one tick ahead is not 48 days idle");
    }

    #[test]
    fn free_and_busy_are_not_live() {
        assert!(!Meta::FREE.is_live());
        assert!(!Meta::BUSY.is_live());
        assert!(Meta::new(0, 0, State::SynRecv, 0).is_live());
        assert_eq!((Meta::FREE.service(), Meta::BUSY.service()), (0, 0));
    }

    #[test]
    fn steady_is_established_or_udp_and_seen_now() {
        for bits in 1..STATES as u8 {
            let state = State::from_bits(bits);
            let is_steady = matches!(state, State::Established | State::Udp);
            assert_eq!(Meta::new(1, 2, state, 7).is_steady(7), is_steady, "{state:?}");
        }
        assert!(Meta::new(1, 2, State::Udp, 0x3f_ffff).is_steady(0x3f_ffff));
        assert!(!Meta::new(1, 2, State::Established, 7).is_steady(8) && !Meta::BUSY.is_steady(0));
        assert!(Meta::new(1, 2, State::Established, 7).is_open() && !Meta::new(1, 2, State::SynRecv, 7).is_open());
    }
}
