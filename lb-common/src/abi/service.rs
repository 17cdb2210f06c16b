//! How the datapath finds a virtual service, and what it knows of it.
//!
//! A service address is looked up in small buckets: exact (address, port, protocol) first, then the any-port entry (port 0).
//! User space changes the table in place while packets read it. Each entry is published, moved to a new configuration and taken
//! away by one store of its `target` word, so a reader sees the old state or the new one.

use super::limits::{MAX_SERVICES, RING_LINE, WAYS};

/// Buckets of each service address table: 256 k entries. An address has two buckets side by side; 10 000 services, each with a VIP of its own
/// (two entries), are 0.3 in a bucket on average, and with 0.3 nine of them do not meet in two. With 1.2 they do.
pub const BUCKETS: u32 = 4 * MAX_SERVICES;

/// Identity bits of an IPv4 service address: address | port << 32 | protocol << 48, raw as in the packet.
#[inline(always)]
pub const fn key_v4(address: u32, port: u16, protocol: u8) -> u64 {
    address as u64 | ((port as u64) << 32) | ((protocol as u64) << 48)
}

/// Last key word of an IPv6 service address: port | protocol << 16.
#[inline(always)]
pub const fn key_v6_tail(port: u16, protocol: u8) -> u64 {
    port as u64 | ((protocol as u64) << 16)
}

/// The protocol number of the entry that says "this address is a VIP", whatever the port: 0 is IPv6's hop-by-hop header, never a
/// transport protocol. Fragments and ICMP errors, which have no port to look at, are judged by it.
pub const PROTOCOL_ANY: u8 = 0;

/// Where a service address leads: one word, zero for none.
///
/// ```text
///  63  62   61      48 47           32 31                     0
/// +---+----+----------+---------------+------------------------+
/// | 1 |many| reserved |   service     |      configuration     |
/// +---+----+----------+---------------+------------------------+
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Target(pub u64);

impl Target {
    /// Nothing here.
    pub const NONE: Self = Self(0);

    /// A service and the configuration it runs now.
    #[inline(always)]
    pub const fn new(service: u32, config: u32) -> Self {
        Self((1 << 63) | (((service & 0xffff) as u64) << 32) | config as u64)
    }

    /// The same, for an entry that stands for many addresses: keys of its connections carry theirs ([`Target::is_many`]).
    pub const fn many(self) -> Self {
        Self(self.0 | 1 << 62)
    }

    /// The entry stands for many addresses.
    #[inline(always)]
    pub const fn is_many(self) -> bool {
        self.0 & 1 << 62 != 0
    }

    /// There is a service.
    #[inline(always)]
    pub const fn is_some(self) -> bool {
        self.0 != 0
    }

    /// Service number.
    #[inline(always)]
    pub const fn service(self) -> u32 {
        ((self.0 >> 32) & 0xffff) as u32
    }

    /// Index into the configurations.
    #[inline(always)]
    pub const fn config(self) -> u32 {
        self.0 as u32
    }
}

/// An IPv4 service address.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default)]
pub struct EntryV4 {
    /// [`key_v4`].
    pub key: u64,
    /// [`Target`].
    pub target: u64,
}

/// An IPv6 service address.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default)]
pub struct EntryV6 {
    /// Address in two words, then [`key_v6_tail`].
    pub key: [u64; 3],
    /// [`Target`].
    pub target: u64,
}

/// A bucket of IPv4 service addresses. A full one goes on in the next bucket, once.
#[repr(C, align(64))]
#[derive(Clone, Copy, Debug, Default)]
pub struct BucketV4 {
    /// The entries.
    pub entries: [EntryV4; WAYS],
}

/// A bucket of IPv6 service addresses. A full one goes on in the next bucket, once.
#[repr(C, align(128))]
#[derive(Clone, Copy, Debug, Default)]
pub struct BucketV6 {
    /// The entries.
    pub entries: [EntryV6; WAYS],
}

/// Scheduler numbers, as in [`Config::scheduler`].
pub mod scheduler {
    /// Round robin.
    pub const RR: u8 = 0;
    /// Weighted round robin.
    pub const WRR: u8 = 1;
    /// Least connection.
    pub const LC: u8 = 2;
    /// Weighted least connection.
    pub const WLC: u8 = 3;
    /// Source hashing.
    pub const SH: u8 = 4;
    /// Maglev hashing.
    pub const MH: u8 = 5;
    /// Shortest expected delay.
    pub const SED: u8 = 6;
    /// Never queue.
    pub const NQ: u8 = 7;
    /// Destination hashing.
    pub const DH: u8 = 8;
    /// Weighted failover.
    pub const FO: u8 = 9;
    /// Weighted overflow.
    pub const OVF: u8 = 10;
    /// Locality-based least connection.
    pub const LBLC: u8 = 11;
    /// The same with replication.
    pub const LBLCR: u8 = 12;
    /// Weighted power of two choices.
    pub const TWOS: u8 = 13;
}

/// Bits of [`Config::flags`].
pub mod flag {
    /// Hash the client's port too (sh-port, mh-port).
    pub const PORT: u8 = 1;
    /// Look for another real when the hashed one is not usable (sh-fallback, mh-fallback).
    pub const FALLBACK: u8 = 2;
    /// Connections are made by the daemon, which gets what would begin one (FTP's data connections).
    pub const HELPER: u8 = 4;
    /// Each packet is scheduled by itself and leaves no connection (IPVS's `ops`): UDP's only.
    pub const ONE_PACKET: u8 = 8;
    /// UDP connections count as active for the scheduler. IPVS counts them as inactive, and sed, nq and ovf do not see them.
    pub const UDP_ACTIVE: u8 = 16;
    /// A client stays with its real ([`Config::netmask`]).
    pub const PERSISTENT: u8 = 32;
    /// A client's template is for all ports: the service has any, or is a mark, or FTP's.
    pub const ANY_PORT: u8 = 64;
}

/// A service's configuration: read for new connections only, never changed once a service address points to it.
#[repr(C, align(64))]
#[derive(Clone, Copy, Debug, Default)]
pub struct Config {
    /// First of the service's members.
    pub members: u32,
    /// Number of members.
    pub member_count: u32,
    /// First line of the ring, in units of [`RING_LINE`] slots.
    pub ring: u32,
    /// Slots of the ring; 0 without one.
    pub ring_slots: u32,
    /// Differs from every earlier configuration of this service: tells a CPU's cursor that the members have changed.
    pub generation: u32,
    /// wrr: greatest common divisor of the weights above 0, or 1.
    pub weight_step: u32,
    /// wrr: greatest weight less (step - 1).
    pub weight_top: u32,
    /// wrr: current weight that a CPU which has not scheduled for this service yet starts from.
    pub weight_start: u32,
    /// [`scheduler`].
    pub scheduler: u8,
    /// [`flag`].
    pub flags: u8,
    /// Persistence: leading bits of a client's address that tell it from others.
    pub netmask: u8,
    /// Zero.
    pub reserved: u8,
    /// The mark that it is for; 0: it is no mark's.
    pub mark: u32,
    /// Number under which the service's cursor, templates and remembered destinations are kept. Its addresses may have other ones.
    pub group: u32,
    /// Persistence: ticks that a template is kept. For the daemon, as are the next ones.
    pub persistence: u32,
    /// Ticks until an idle connection of TCP, TCP after a FIN, and UDP is forgotten; 0: the director's.
    pub timeouts: [u32; 3],
    /// Zero: a number that the verifier does not know ([`crate::sched::Pool::zero`]).
    pub zero: u32,
}

/// One real of a service, as schedulers see it.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Member {
    /// Real number, and [`Member::LIMITED`].
    pub real: u32,
    /// Effective weight; 0 takes no new connections.
    pub weight: u32,
}

impl Member {
    /// Beside the number: the real has an upper threshold, so that [`super::real::Load::is_overloaded`] has to be looked at.
    pub const LIMITED: u32 = 1 << 31;

    /// Real number.
    #[inline(always)]
    pub const fn number(self) -> u32 {
        self.real & !Self::LIMITED
    }

    /// [`Member::LIMITED`].
    #[inline(always)]
    pub const fn is_limited(self) -> bool {
        self.real & Self::LIMITED != 0
    }

    /// Nobody. Loops that the kernel runs keep their find in this form: an `Option` leaves its payload unwritten, which the
    /// verifier does not let pass.
    pub const NONE: Self = Self { real: 0, weight: 0 };

    /// The member, if it may take connections.
    #[inline(always)]
    pub const fn usable(self) -> Option<Self> {
        if self.weight > 0 { Some(self) } else { None }
    }
}

/// Where a CPU's round robin stands in one service.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Cursor {
    /// [`Config::generation`] that the cursor belongs to; 0 before first use.
    pub generation: u32,
    /// Member after which the search begins; [`Cursor::HEAD`] before the first.
    pub index: u32,
    /// wrr: current weight.
    pub weight: u32,
    /// twos: state of its random numbers.
    pub seed: u32,
}

impl Cursor {
    /// Before the first member, as IPVS's list head.
    pub const HEAD: u32 = u32::MAX;
}

/// Ring slots as the kernel stores them: a line of member indices.
#[repr(C, align(64))]
#[derive(Clone, Copy, Debug)]
pub struct RingLine {
    /// Member indices; [`RING_EMPTY`] in a slot without one.
    pub slots: [u16; RING_LINE as usize],
}

/// A ring slot that leads nowhere.
pub const RING_EMPTY: u16 = u16::MAX;

const _: () = assert!(size_of::<BucketV4>() == 64 && size_of::<BucketV6>() == 128);
const _: () = assert!(size_of::<Config>() == 64 && size_of::<Member>() == 8);
const _: () = assert!(size_of::<Cursor>() == 16 && size_of::<RingLine>() == 64);
