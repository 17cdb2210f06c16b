//! IPv6 (RFC 8200) and its extension headers.

use super::{Packet, View};
use crate::abi::limits::MAX_EXTENSION_HEADERS;
use crate::abi::verdict::Verdict;

/// Fixed header.
pub const HEADER: usize = 40;

const HOP_BY_HOP: u8 = 0;
const ROUTING: u8 = 43;
const FRAGMENT: u8 = 44;
const DESTINATION_OPTIONS: u8 = 60;
const MOBILITY: u8 = 135;
const HOST_IDENTITY: u8 = 139;
const SHIM6: u8 = 140;
const AUTHENTICATION: u8 = 51;

/// What balancing needs of an IPv6 header.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Header {
    /// Source address, raw, in two words.
    pub source: [u64; 2],
    /// Destination address, raw, in two words.
    pub destination: [u64; 2],
    /// Transport protocol number, behind all extension headers.
    pub protocol: u8,
    /// Part of a packet, the first part included. The protocol is then that of the whole packet, and `payload` lies behind the
    /// fragment header.
    pub is_fragment: bool,
    /// Of a fragment: its offset in bytes, and "more fragments" in the lowest bit.
    pub fragment_word: u16,
    /// Of a fragment: the identification of its packet, raw.
    pub identification: u32,
    /// Length of the packet, fixed header included: up to 65 575, hence 32 bits.
    pub total_length: u32,
    /// Offset of the transport header in the frame.
    pub payload: usize,
}

impl Header {
    /// Of a fragment: bytes of its packet's payload before it.
    #[inline(always)]
    pub const fn fragment_offset(&self) -> u32 {
        (self.fragment_word & 0xfff8) as u32
    }
}

/// What the extension headers say of the packet behind them.
#[derive(Clone, Copy)]
pub(crate) struct Upper {
    pub(crate) protocol: u8,
    pub(crate) payload: usize,
    is_fragment: bool,
    fragment_word: u16,
    identification: u32,
}

impl Upper {
    /// Of a packet whose fixed header names this protocol and ends before `payload`.
    #[inline(always)]
    pub(crate) const fn behind(protocol: u8, payload: usize) -> Self {
        Self { protocol, payload, is_fragment: false, fragment_word: 0, identification: 0 }
    }

    /// With what the fixed header says.
    #[inline(always)]
    pub(crate) const fn header(self, source: [u64; 2], destination: [u64; 2], total_length: u32) -> Header {
        let Self { protocol, payload, is_fragment, fragment_word, identification } = self;
        Header { source, destination, protocol, is_fragment, fragment_word, identification, total_length, payload }
    }
}

/// Reads the header at `offset` and walks its extension headers.
#[inline(always)]
pub fn parse<P: Packet>(packet: &P, offset: usize) -> Result<Header, Verdict> {
    let view = packet.view::<HEADER>(offset).ok_or(Verdict::Truncated)?;
    let first = view.u16::<0>();
    if first >> 12 != 6 {
        return Err(packet.bad_header());
    }
    let total_length = u32::from(view.u16::<4>()) + HEADER as u32;
    if !packet.holds(offset, total_length as usize) {
        return Err(packet.bad_header());
    }
    let mut upper = Upper::behind(view.u8::<6>(), offset + HEADER);
    if is_extension(upper.protocol) {
        walk_extensions(packet, &mut upper)?;
        if upper.payload - offset > total_length as usize {
            return Err(packet.bad_header());
        }
    }
    // The addresses last: read before the walk, the datapath would keep them in memory for packets without extension headers, too.
    Ok(upper.header(
        [view.raw_u64::<8, 12>(), view.raw_u64::<16, 20>()],
        [view.raw_u64::<24, 28>(), view.raw_u64::<32, 36>()],
        total_length,
    ))
}

/// Moves `payload` and `protocol` behind the extension headers. Stops at a fragment header: what follows a first fragment's may be
/// incomplete, what follows a later one's is data.
#[inline(always)]
pub(crate) fn walk_extensions<P: Packet>(packet: &P, header: &mut Upper) -> Result<(), Verdict> {
    let mut read = 0;
    while read < MAX_EXTENSION_HEADERS {
        if !is_extension(header.protocol) {
            return Ok(());
        }
        let extension = packet.view::<8>(header.payload).ok_or(Verdict::Truncated)?;
        let length = match header.protocol {
            FRAGMENT => 8,
            // RFC 4302: in units of four bytes, less two.
            AUTHENTICATION => (extension.u8::<1>() as usize + 2) * 4,
            _ => (extension.u8::<1>() as usize + 1) * 8,
        };
        let was_fragment = header.protocol == FRAGMENT;
        header.protocol = extension.u8::<0>();
        header.payload += length;
        if was_fragment {
            // RFC 6946: offset 0 without "more" is a whole packet that only carries the header.
            header.fragment_word = extension.u16::<2>() & 0xfff9;
            header.is_fragment = header.fragment_word != 0;
            if header.is_fragment {
                header.identification = extension.raw_u32::<4>();
                return Ok(());
            }
        }
        read += 1;
    }
    if is_extension(header.protocol) { Err(Verdict::TooManyHeaders) } else { Ok(()) }
}

#[inline(always)]
pub(crate) const fn is_extension(protocol: u8) -> bool {
    matches!(
        protocol,
        HOP_BY_HOP | ROUTING | FRAGMENT | DESTINATION_OPTIONS | MOBILITY | HOST_IDENTITY | SHIM6 | AUTHENTICATION
    )
}
