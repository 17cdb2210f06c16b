//! Plain packets: TCP or UDP, whole, in a frame without tags, by IPv4 without options or IPv6 without extension headers. Nearly all
//! packets are; their headers stand at constant offsets, and a few comparisons of whole words tell them.
//!
//! A shortcut through [`super::parse`]: the same flow, or none. What is not plain, or wrong, is read there.

use super::parse::Flow;
use super::transport::{TCP, TCP_HEADER, Transport, UDP, UDP_HEADER};
use super::{Packet, View, ethernet, ipv4, ipv6};

/// Where the IP header begins.
pub const OFFSET: usize = ethernet::HEADER;
/// Where the transport header begins.
pub(super) const PAYLOAD_V4: usize = OFFSET + ipv4::HEADER;
pub(super) const PAYLOAD_V6: usize = OFFSET + ipv6::HEADER;
/// Bytes that are looked at. A shorter UDP packet is none (the frame of one with 12 bytes of data is long enough).
pub(super) const LENGTH_V4: usize = PAYLOAD_V4 + TCP_HEADER;
pub(super) const LENGTH_V6: usize = PAYLOAD_V6 + TCP_HEADER;

/// EtherType, version and header length; the byte behind says what class the packet is of.
const LINK_V4: u32 = u32::from_ne_bytes([0x08, 0x00, 0x45, 0]);
const LINK_V4_MASK: u32 = u32::from_ne_bytes([0xff, 0xff, 0xff, 0]);
const LINK_V6: u32 = u32::from_ne_bytes([0x86, 0xdd, 0x60, 0]);
const LINK_V6_MASK: u32 = u32::from_ne_bytes([0xff, 0xff, 0xf0, 0]);
/// "More fragments", the fragment's offset and the protocol; the hop limit stands between them.
const WHOLE_MASK: u32 = u32::from_ne_bytes([0x3f, 0xff, 0, 0xff]);
const WHOLE_TCP: u32 = u32::from_ne_bytes([0, 0, 0, TCP]);
const WHOLE_UDP: u32 = u32::from_ne_bytes([0, 0, 0, UDP]);

/// Reads a plain IPv4 packet.
#[inline(always)]
pub fn v4<P: Packet>(packet: &P) -> Option<Flow<ipv4::Header>> {
    let view = packet.view::<LENGTH_V4>(0)?;
    if view.raw_u32::<12>() & LINK_V4_MASK != LINK_V4 {
        return None;
    }
    let total_length = u32::from(view.u16::<16>());
    if !packet.holds(OFFSET, total_length as usize) {
        return None;
    }
    let word = view.raw_u32::<20>();
    let whole = word & WHOLE_MASK;
    let flags = if whole == WHOLE_TCP {
        tcp::<LENGTH_V4, { PAYLOAD_V4 + 12 }, { PAYLOAD_V4 + 13 }>(view, total_length, ipv4::HEADER)?
    } else if whole == WHOLE_UDP {
        udp::<LENGTH_V4, { PAYLOAD_V4 + 4 }>(view, total_length, ipv4::HEADER)?
    } else {
        return None;
    };
    let ip = ipv4::Header {
        source: view.raw_u32::<26>(),
        destination: view.raw_u32::<30>(),
        // Read, though it is known: the compiler would note for every packet which of the two it is.
        protocol: view.u8::<23>(),
        is_fragment: false,
        fragment_word: if cfg!(target_endian = "little") { word as u16 } else { (word >> 16) as u16 },
        total_length,
        payload: PAYLOAD_V4,
    };
    Some(Flow { ip, transport: Transport { ports: view.raw_u32::<PAYLOAD_V4>(), flags } })
}

/// Reads a plain IPv6 packet.
#[inline(always)]
pub fn v6<P: Packet>(packet: &P) -> Option<Flow<ipv6::Header>> {
    let view = packet.view::<LENGTH_V6>(0)?;
    if view.raw_u32::<12>() & LINK_V6_MASK != LINK_V6 {
        return None;
    }
    let total_length = u32::from(view.u16::<18>()) + ipv6::HEADER as u32;
    if !packet.holds(OFFSET, total_length as usize) {
        return None;
    }
    let protocol = view.u8::<20>();
    let flags = if protocol == TCP {
        tcp::<LENGTH_V6, { PAYLOAD_V6 + 12 }, { PAYLOAD_V6 + 13 }>(view, total_length, ipv6::HEADER)?
    } else if protocol == UDP {
        udp::<LENGTH_V6, { PAYLOAD_V6 + 4 }>(view, total_length, ipv6::HEADER)?
    } else {
        return None;
    };
    // Once more, as above.
    let ip = ipv6::Upper::behind(view.u8::<20>(), PAYLOAD_V6).header(
        [view.raw_u64::<22, 26>(), view.raw_u64::<30, 34>()],
        [view.raw_u64::<38, 42>(), view.raw_u64::<46, 50>()],
        total_length,
    );
    Some(Flow { ip, transport: Transport { ports: view.raw_u32::<PAYLOAD_V6>(), flags } })
}

/// The flags of a TCP header whose length, at `AT`, fits into the packet.
#[inline(always)]
fn tcp<const N: usize, const AT: usize, const FLAGS: usize>(
    view: impl View<N>,
    total_length: u32,
    before: usize,
) -> Option<u8> {
    let header_length = ((view.u8::<AT>() >> 4) as usize) * 4;
    if header_length < TCP_HEADER || header_length + before > total_length as usize {
        return None;
    }
    Some(view.u8::<FLAGS>())
}

/// No flags, of a UDP datagram whose length, at `AT`, fits into the packet.
#[inline(always)]
fn udp<const N: usize, const AT: usize>(view: impl View<N>, total_length: u32, before: usize) -> Option<u8> {
    let datagram = view.u16::<AT>() as usize;
    (datagram >= UDP_HEADER && datagram + before <= total_length as usize).then_some(0)
}
