//! IPv4 (RFC 791).

use super::{Packet, View};
use crate::abi::verdict::Verdict;

/// Header without options.
pub const HEADER: usize = 20;
/// "Don't fragment" in the raw fragment word.
pub const DONT_FRAGMENT: u16 = 0x4000u16.to_be();
/// More fragments, or an offset: everything but "don't fragment" and the reserved bit.
pub const FRAGMENT: u16 = 0x3fffu16.to_be();

/// What balancing needs of an IPv4 header.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Header {
    /// Source address, raw.
    pub source: u32,
    /// Destination address, raw.
    pub destination: u32,
    /// Transport protocol number.
    pub protocol: u8,
    /// Part of a packet, the first part included.
    pub is_fragment: bool,
    /// Flags and offset, raw.
    pub fragment_word: u16,
    /// Length of the packet, header included.
    pub total_length: u32,
    /// Offset of the transport header in the frame.
    pub payload: usize,
}

impl Header {
    /// Of a fragment: bytes of its packet's payload before it.
    #[inline(always)]
    pub const fn fragment_offset(&self) -> u32 {
        (u16::from_be(self.fragment_word) & 0x1fff) as u32 * 8
    }
}

/// Reads the header at `offset`. Ethernet may pad behind the packet; a packet longer than its frame is a lie.
#[inline(always)]
pub fn parse<P: Packet>(packet: &P, offset: usize) -> Result<Header, Verdict> {
    let view = packet.view::<HEADER>(offset).ok_or(Verdict::Truncated)?;
    let version_length = view.u8::<0>();
    let total_length = u32::from(view.u16::<2>());
    // One comparison for nearly all traffic; options take the second.
    let header_length = if version_length == 0x45 { HEADER } else { length_with_options(version_length)? };
    if (total_length as usize) < header_length || !packet.holds(offset, total_length as usize) {
        return Err(packet.bad_header());
    }
    let fragment_word = view.raw_u16::<6>();
    Ok(Header {
        source: view.raw_u32::<12>(),
        destination: view.raw_u32::<16>(),
        protocol: view.u8::<9>(),
        is_fragment: fragment_word & FRAGMENT != 0,
        fragment_word,
        total_length,
        payload: offset + header_length,
    })
}

#[inline(always)]
fn length_with_options(version_length: u8) -> Result<usize, Verdict> {
    let length = ((version_length & 0x0f) as usize) * 4;
    if version_length >> 4 == 4 && length >= HEADER { Ok(length) } else { Err(Verdict::BadHeader) }
}
