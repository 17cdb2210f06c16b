//! How the answer of a real that does not know the VIP finds its connection: network address translation (NAT) and full NAT.
//!
//! Such a real answers to the client's address, or to one of the director's own, from its own address and port. The *reply table* is
//! looked up by exactly these ends. It has an index of tags, eight to a cache line, and one record beside each: record `n` belongs to
//! way `n % 8` of bucket `n / 8`. A record names the connection that it is part of; a *tie* leads from the connection to its record.
//!
//! Nothing is ever freed: a record counts while its connection is in the table, is the same one, and is tied to it. Whoever needs room
//! takes a record that does not. Writing goes: index word := busy (compare-exchange), record, index word := tag and connection. Reading
//! goes: word, record, word again.

use super::connection::Meta;

/// Records of a bucket: one cache line of index words.
pub const WAYS: usize = 8;

/// A connection by its place: entry `number & !V6` of the IPv4 or the IPv6 connection table.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Place(pub u32);

/// Bit of [`Place`]: the connection is in the IPv6 table.
const V6: u32 = 1 << 31;

/// An index word: tag above, place of the connection below.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Word(pub u64);

/// A bucket of the index.
#[repr(C, align(64))]
#[derive(Clone, Copy, Debug, Default)]
pub struct Bucket {
    /// The words.
    pub words: [u64; WAYS],
}

/// What is known of an answer. Addresses as in the packet: IPv6 in two words, IPv4 in the lower half of the first, the rest zero. The
/// first line is what an answer is compared with and the service's address that it gets; the second says where it goes.
#[repr(C, align(128))]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Record {
    /// Source of the answer: the real's address.
    pub source: [u64; 2],
    /// Destination of the answer: the client's address, with full NAT one of the director's.
    pub destination: [u64; 2],
    /// Ends and protocol of the answer, [`Ends`].
    pub ends: u64,
    /// The service's address that the client talks to.
    pub virtual_address: [u64; 2],
    /// Service and real of the connection: [`Meta::identity`].
    pub identity: u64,
    /// Key of the connection. IPv4: the first word. The client's address and port, and the service's port.
    pub key: [u64; 3],
    /// Ethernet header towards the client, and the interface, as in [`super::real::Real`]: destination MAC and begin of the source MAC,
    /// the rest of it and the interface.
    pub link: [u64; 2],
    /// Bytes of the largest IP packet on the way to the client. Where the daemon's helper has to see every packet they are in the upper
    /// half, and the lower one is 0: nothing fits.
    pub mtu: u64,
    /// Full NAT with TCP option: acknowledgement number of the client's packets before it has got any data, raw; upper half 1 once known.
    pub first_acknowledgement: u64,
    /// The daemon's helper: how far it has moved the numbers of the real's stream, and from where on. The program clears it.
    pub moved: u64,
}

/// Ports of an answer as they stand in the packet (source first in memory), protocol above, and one bit for its family.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Ends(pub u64);

/// What distinguishes a tuple of IPv6 addresses from one of IPv4 addresses with the same bits.
const ENDS_V6: u64 = 1 << 40;

/// An address that full NAT sends from, and its ports.
#[repr(C, align(32))]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Local {
    /// Address as in the packet, IPv4 in the lower half of the first word.
    pub address: [u64; 2],
    /// First port, host order.
    pub first_port: u32,
    /// Number of ports.
    pub ports: u32,
    /// Zero.
    pub reserved: u64,
}

/// Local addresses of each family that there is room for; those of IPv4 come first in the table.
pub const MAX_LOCALS: u32 = 128;
/// Ports that are tried for a new connection before full NAT counts as spent.
pub const ATTEMPTS: u32 = 32;

impl Place {
    /// Entry `index` of the family's connection table.
    #[inline(always)]
    pub const fn new(index: u32, is_v6: bool) -> Self {
        Self((index & !V6) | if is_v6 { V6 } else { 0 })
    }

    /// Index of the entry.
    #[inline(always)]
    pub const fn index(self) -> u32 {
        self.0 & !V6
    }

    /// It is in the IPv6 table.
    #[inline(always)]
    pub const fn is_v6(self) -> bool {
        self.0 & V6 != 0
    }
}

impl Word {
    /// Nobody's.
    pub const FREE: Self = Self(0);
    /// Being written. No tag is zero.
    pub const BUSY: Self = Self(1);

    /// The word of a record.
    #[inline(always)]
    pub const fn new(hash: u64, place: Place) -> Self {
        Self(Self::tag(hash) | place.0 as u64)
    }

    /// What words of tuples with this hash have in their upper half.
    #[inline(always)]
    pub const fn tag(hash: u64) -> u64 {
        hash << 32 | 1 << 63
    }

    /// The tuple may be one with this hash.
    #[inline(always)]
    pub const fn has_tag(self, hash: u64) -> bool {
        (self.0 ^ Self::tag(hash)) >> 32 == 0
    }

    /// The connection.
    #[inline(always)]
    pub const fn place(self) -> Place {
        Place(self.0 as u32)
    }

    /// The same record's, whose connection is at another place.
    #[inline(always)]
    pub const fn with(self, place: Place) -> Self {
        Self(self.0 & !0xffff_ffff | place.0 as u64)
    }

    /// Neither free nor being written.
    #[inline(always)]
    pub const fn is_live(self) -> bool {
        self.0 >> 63 != 0
    }
}

impl Ends {
    /// Of a packet with these raw ports.
    #[inline(always)]
    pub const fn new(ports: u32, protocol: u8, is_v6: bool) -> Self {
        Self(ports as u64 | (protocol as u64) << 32 | if is_v6 { ENDS_V6 } else { 0 })
    }

    /// Source and destination port, raw.
    #[inline(always)]
    pub const fn ports(self) -> u32 {
        self.0 as u32
    }

    /// The answer is an IPv6 packet.
    #[inline(always)]
    pub const fn is_v6(self) -> bool {
        self.0 & ENDS_V6 != 0
    }
}

impl Record {
    /// Whether the entry with this key and meta word is the record's connection.
    #[inline(always)]
    pub const fn is_of(&self, meta: Meta) -> bool {
        meta.is_live() && meta.identity() == self.identity
    }
}

const _: () = assert!(size_of::<Bucket>() == 64 && size_of::<Record>() == 128 && size_of::<Local>() == 32);

#[cfg(test)]
mod tests {
    use super::*;
    use crate::abi::connection::State;

    #[test]
    fn a_word_keeps_tag_and_place_apart() {
        for is_v6 in [false, true] {
            let place = Place::new(0x7fff_fffe, is_v6);
            let word = Word::new(0x1234_5678_9abc_def0, place);
            assert_eq!((word.place(), word.place().index(), word.place().is_v6()), (place, 0x7fff_fffe, is_v6));
            assert!(word.is_live() && word.has_tag(0x1234_5678_9abc_def0) && !word.has_tag(0x1234_5678_9abc_def1));
        }
        assert!(!Word::FREE.is_live() && !Word::BUSY.is_live());
        assert!(Word::new(0, Place::new(0, false)).is_live(), "hash 0 is one like any other");
    }

    #[test]
    fn families_have_different_ends() {
        assert_ne!(Ends::new(7, 6, false), Ends::new(7, 6, true));
        assert_eq!((Ends::new(!0, 17, true).ports(), Ends::new(7, 6, false).is_v6()), (!0, false));
    }

    #[test]
    fn a_record_is_of_its_connection_only() {
        let meta = Meta::new(3, 9, State::SynRecv, 5);
        let record = Record { identity: meta.identity(), ..Record::default() };
        assert!(record.is_of(meta) && record.is_of(meta.with(State::Established, 77)));
        for other in [Meta::new(3, 8, State::SynRecv, 5), Meta::new(2, 9, State::SynRecv, 5), Meta::FREE, Meta::BUSY] {
            assert!(!record.is_of(other), "{other:?}");
        }
    }
}
