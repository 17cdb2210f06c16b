//! ICMP messages that a director writes: "fragmentation needed" (RFC 1191), "packet too big" (RFC 4443 section 3.2), and echo replies.

use super::transport::{ICMP, ICMPV6};
use super::{ipv4, ipv6};
use crate::algo::checksum;

/// Echo request, ICMP.
pub const ECHO: u8 = 8;
/// Echo request, ICMPv6.
pub const ECHO_V6: u8 = 128;
/// Echo reply, ICMPv6.
pub const ECHO_REPLY_V6: u8 = 129;

/// Bytes of the packet that does not fit which go back in an ICMP message: its IP header with all options, and 8 bytes behind it in any
/// case (RFC 1812 asks for as much as fits into 576).
pub const QUOTE_V4: usize = 84;
/// The same for ICMPv6 (RFC 4443: as much as fits into 1280).
pub const QUOTE_V6: usize = 248;
/// Hop count of what a director sends for itself.
pub const TTL: u8 = 64;
/// Least packet that an IPv6 path must take (RFC 8200 section 5): no less is told.
pub const MIN_MTU_V6: u32 = 1280;

/// IPv4 header and ICMP header of "fragmentation needed", as raw words. `quote` is the sum of the quoted words.
#[inline(always)]
pub const fn too_big_v4(from: u32, to: u32, mtu: u32, quote: u32) -> [u32; 7] {
    let first = (0x4500 << 16 | (ipv4::HEADER + 8 + QUOTE_V4) as u32).to_be();
    let ttl_protocol = (TTL as u32) << 24 | (ICMP as u32) << 16;
    let mut sum = checksum::add_u32(0, first);
    sum = checksum::add_u32(sum, ttl_protocol.to_be());
    sum = checksum::add_u32(checksum::add_u32(sum, from), to);
    let third = (ttl_protocol | u16::from_be(checksum::finish(sum)) as u32).to_be();
    let kind = 0x0304u32 << 16;
    let mtu = (mtu & 0xffff).to_be();
    let sum = checksum::add_u32(checksum::add_u32(quote, kind.to_be()), mtu);
    let icmp = (kind | u16::from_be(checksum::finish(sum)) as u32).to_be();
    [first, 0, third, from, to, icmp, mtu]
}

/// IPv6 header and ICMPv6 header of "packet too big", as raw words.
#[inline(always)]
pub const fn too_big_v6(from: [u32; 4], to: [u32; 4], mtu: u32, quote: u32) -> [u32; 12] {
    let length = (8 + QUOTE_V6) as u32;
    let second = (length << 16 | (ICMPV6 as u32) << 8 | TTL as u32).to_be();
    let kind = 0x0200u32 << 16;
    let mtu = mtu.to_be();
    let mut sum = checksum::add_u32(checksum::add_u32(quote, kind.to_be()), mtu);
    sum = checksum::add_u32(checksum::add_u32(sum, length.to_be()), (ICMPV6 as u32).to_be());
    let mut word = 0;
    while word < 4 {
        sum = checksum::add_u32(checksum::add_u32(sum, from[word]), to[word]);
        word += 1;
    }
    let icmp = (kind | u16::from_be(checksum::finish(sum)) as u32).to_be();
    [(6u32 << 28).to_be(), second, from[0], from[1], from[2], from[3], to[0], to[1], to[2], to[3], icmp, mtu]
}

const _: () = assert!(ipv6::HEADER + 8 + QUOTE_V6 <= MIN_MTU_V6 as usize && QUOTE_V4.is_multiple_of(4));
