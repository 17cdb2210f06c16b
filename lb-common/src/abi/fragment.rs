//! Where the later fragments of a packet go: only the first one has ports, so it leaves its real's number here.
//!
//! An entry is a tag and a value. The tag is a keyed 64-bit hash of what RFC 791 and RFC 8200 identify a packet by (addresses, protocol,
//! identification): nobody outside can find two packets with the same one.

use super::limits::WAYS;

/// Buckets of the table: 16 384 packets under way at a time.
pub const BUCKETS: u32 = 1 << 12;
/// Ticks that an entry counts. Fragments of a packet follow each other within milliseconds; a busy sender gives its identification to
/// another packet within seconds (65 536 of them), whose early fragments must not go where this one went.
pub const LIFETIME: u32 = 2;
/// A tag that is being written, and one that no packet has.
pub const BUSY: u64 = 1;

const REAL_BITS: u32 = 20;
const STAMP_BITS: u32 = 19;
const ANSWER: u64 = 1 << (REAL_BITS + STAMP_BITS);
const ENTROPY_SHIFT: u32 = REAL_BITS + STAMP_BITS + 1;

/// Bits of the flow's hash that a [`Value`] has room for.
pub const ENTROPY_MASK: u32 = u32::MAX >> (ENTROPY_SHIFT - u32::BITS);

/// Real number, tick of the first fragment modulo 2^19, whether it is an answer's, and 24 bits: of the flow's hash for a tunnel's outer
/// header, or, with full NAT and for answers, the number of the reply record.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Value(pub u64);

impl Value {
    /// `real` is cut to 20 bits, `now` to 19, `entropy` to 24.
    #[inline(always)]
    pub const fn new(real: u32, now: u32, entropy: u32) -> Self {
        let real = real as u64 & ((1 << REAL_BITS) - 1);
        Self(real | (now as u64 & ((1 << STAMP_BITS) - 1)) << REAL_BITS | (entropy as u64) << ENTROPY_SHIFT)
    }

    /// The same for the answer of a real behind address translation.
    #[inline(always)]
    pub const fn answer(self) -> Self {
        Self(self.0 | ANSWER)
    }

    /// It is an answer's.
    #[inline(always)]
    pub const fn is_answer(self) -> bool {
        self.0 & ANSWER != 0
    }

    /// Real number.
    #[inline(always)]
    pub const fn real(self) -> u32 {
        (self.0 & ((1 << REAL_BITS) - 1)) as u32
    }

    /// Bits of the flow's hash, or the number of a reply record.
    #[inline(always)]
    pub const fn entropy(self) -> u32 {
        (self.0 >> ENTROPY_SHIFT) as u32
    }

    /// Ticks since the first fragment.
    #[inline(always)]
    pub const fn age(self, now: u32) -> u32 {
        now.wrapping_sub((self.0 >> REAL_BITS) as u32) & ((1 << STAMP_BITS) - 1)
    }
}

/// A packet whose first fragment has been seen.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default)]
pub struct Entry {
    /// Hash of what identifies the packet; 0 in a free entry, [`BUSY`] while it is written.
    pub tag: u64,
    /// [`Value`].
    pub value: u64,
}

/// A bucket: one cache line.
#[repr(C, align(64))]
#[derive(Clone, Copy, Debug, Default)]
pub struct Bucket {
    /// The entries.
    pub entries: [Entry; WAYS],
}

/// Tags of frames that are handed to the daemon and are no fragments: in those of fragments bit 1 is set.
pub mod handed {
    /// From the client of a connection whose real has `option::HELPER`; the connection is in the table and tied.
    pub const FROM_CLIENT: u64 = 0;
    /// The answer on such a connection.
    pub const FROM_REAL: u64 = 1;
    /// To a service with `flag::HELPER`, and no connection.
    pub const NO_CONNECTION: u64 = 4;
}

/// What the program tells the daemon of a fragment that came before its packet's first one, or of a packet for the daemon's helper, in
/// front of the frame's bytes.
#[repr(C)]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Early {
    /// The packet's tag.
    pub tag: u64,
    /// Interface that the fragment came in by.
    pub ifindex: u32,
    /// Bytes of the frame.
    pub length: u32,
}

impl Early {
    /// From the bytes that the program sent, and the frame behind it. None if they are not whole.
    pub fn read(bytes: &[u8]) -> Option<(Self, &[u8])> {
        let (tag, rest) = bytes.split_first_chunk::<8>()?;
        let (ifindex, rest) = rest.split_first_chunk::<4>()?;
        let (length, rest) = rest.split_first_chunk::<4>()?;
        let length = u32::from_ne_bytes(*length);
        let early = Self { tag: u64::from_ne_bytes(*tag), ifindex: u32::from_ne_bytes(*ifindex), length };
        rest.get(..length as usize).map(|frame| (early, frame))
    }
}

const _: () = assert!(size_of::<Bucket>() == 64 && size_of::<Early>() == 16);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_value_keeps_its_parts_apart() {
        let value = Value::new(0xf_ffff, 0x12_3456, 0xab_cdef);
        assert_eq!((value.real(), value.age(0x12_3456), value.entropy()), (0xf_ffff, 0, 0xab_cdef));
        assert!(!value.is_answer() && value.answer().is_answer());
        assert_eq!((value.answer().real(), value.answer().entropy()), (0xf_ffff, 0xab_cdef));
        assert_eq!(Value::new(1, 0x7_fff0, 0).age(5), 21, "over the wrap");
    }

    #[test]
    fn an_event_is_read_whole_or_not() {
        let mut bytes = 7u64.to_ne_bytes().to_vec();
        bytes.extend(3u32.to_ne_bytes());
        bytes.extend(4u32.to_ne_bytes());
        bytes.extend([1, 2, 3, 4, 0, 0]);
        let (early, frame) = Early::read(&bytes).unwrap();
        assert_eq!((early.tag, early.ifindex, frame), (7, 3, &[1u8, 2, 3, 4][..]));
        assert!((0..20).all(|length| Early::read(&bytes[..length]).is_none()));
    }
}
