//! Packet headers inside checked bounds.
//!
//! A [`Packet`] hands out a [`View`] of exactly N bytes or nothing; every read inside a view is checked against N when the code is
//! compiled. So no accessor can panic or read beyond the frame, whatever the packet says of its own lengths.
//! "Raw" values keep network order as they stand in memory; all others are in host order.

use crate::abi::verdict::Verdict;

pub mod cross;
pub mod embedded;
pub mod ethernet;
pub mod icmp;
pub mod ipv4;
pub mod ipv6;
pub mod parse;
pub mod plain;
pub mod readdress;
pub mod sctp;
pub mod slice;
pub mod translate;
pub mod translate_icmp;
pub mod transport;
pub mod tunnel;

#[cfg(test)]
mod tests;

/// A frame of which only checked windows can be seen.
pub trait Packet {
    /// N bytes of the frame.
    type View<const N: usize>: View<N>;

    /// The N bytes from `offset` on; None when the frame ends before.
    fn view<const N: usize>(&self, offset: usize) -> Option<Self::View<N>>;

    /// Bytes from `offset` to the frame's end; 0 beyond it.
    fn remaining(&self, offset: usize) -> usize;

    /// The frame has `length` bytes from `offset` on.
    #[inline(always)]
    fn holds(&self, offset: usize, length: usize) -> bool {
        length <= self.remaining(offset)
    }

    /// What becomes of a frame with a header that contradicts itself. A method, so that the datapath lays it out apart from what becomes of
    /// all others.
    #[inline(always)]
    fn bad_header(&self) -> Verdict {
        Verdict::BadHeader
    }
}

/// N bytes that are there. Offsets are constants and checked at compile time.
pub trait View<const N: usize>: Copy {
    /// The byte at `O`.
    fn u8<const O: usize>(self) -> u8;
    /// The two bytes at `O`, as they stand in memory.
    fn raw_u16<const O: usize>(self) -> u16;
    /// The four bytes at `O`, as they stand in memory.
    fn raw_u32<const O: usize>(self) -> u32;

    /// The two bytes at `O` as a number.
    #[inline(always)]
    fn u16<const O: usize>(self) -> u16 {
        u16::from_be(self.raw_u16::<O>())
    }

    /// Eight bytes at `O`, as they stand in memory, from two loads: headers are four-byte aligned among themselves, not eight.
    #[inline(always)]
    fn raw_u64<const O: usize, const P: usize>(self) -> u64 {
        const { assert!(P == O + 4) };
        if cfg!(target_endian = "little") {
            u64::from(self.raw_u32::<O>()) | (u64::from(self.raw_u32::<P>()) << 32)
        } else {
            (u64::from(self.raw_u32::<O>()) << 32) | u64::from(self.raw_u32::<P>())
        }
    }
}

/// A frame whose windows can be written to.
pub trait Editable: Packet {
    /// N bytes of the frame, to be read and written.
    type Edit<const N: usize>: Edit<N>;

    /// The N bytes from `offset` on; None when the frame ends before.
    fn edit<const N: usize>(&self, offset: usize) -> Option<Self::Edit<N>>;
}

/// N bytes that are there and may be changed. Offsets are constants and checked at compile time.
pub trait Edit<const N: usize>: View<N> {
    /// Stores two bytes at `O` as they are in memory.
    fn set_u16<const O: usize>(self, value: u16);
    /// Stores four bytes at `O` as they are in memory.
    fn set_u32<const O: usize>(self, value: u32);

    /// Stores eight bytes at `O` as they are in memory, by two stores: see [`View::raw_u64`].
    #[inline(always)]
    fn set_u64<const O: usize, const P: usize>(self, value: u64) {
        const { assert!(P == O + 4) };
        let (low, high) = (value as u32, (value >> 32) as u32);
        let (first, second) = if cfg!(target_endian = "little") { (low, high) } else { (high, low) };
        self.set_u32::<O>(first);
        self.set_u32::<P>(second);
    }
}
