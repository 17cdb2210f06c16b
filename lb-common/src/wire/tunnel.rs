//! Outer headers: IPv4 in IPv4 (RFC 2003), IPv6 in IPv4 (RFC 4213), anything in IPv6 (RFC 2473); the same with a UDP header between
//! (GUE variant 1, draft-ietf-intarea-gue section 2) or a GRE header (RFC 2784, RFC 7676).
//!
//! As IPVS's tunnel: TTL and DSCP come from the inner packet, ECN by RFC 6040's normal mode with CE not copied outwards,
//! "don't fragment" from an inner IPv4 packet.

use super::transport::{ICMP, TCP, UDP};
use super::{Packet, View, ethernet, ipv4, ipv6};
use crate::abi::real::method;
use crate::abi::verdict::Verdict;
use crate::algo::checksum;

/// Protocol number of IPv4 inside IP.
pub const IPV4_IN_IP: u8 = 4;
/// Protocol number of IPv6 inside IP.
pub const IPV6_IN_IP: u8 = 41;
/// Protocol number of GRE.
pub const GRE: u8 = 47;

/// What an outer header takes from the packet that it carries.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Inner {
    /// [`IPV4_IN_IP`] or [`IPV6_IN_IP`].
    pub protocol: u8,
    /// Type of service or traffic class.
    pub tos: u8,
    /// Time to live or hop limit.
    pub ttl: u8,
    /// Length of the whole inner packet.
    pub length: u32,
    /// Outer identification, raw: the inner one, or bits of the flow's hash where the inner packet has none.
    pub identification: u16,
    /// Outer fragment word, raw: [`ipv4::DONT_FRAGMENT`] or 0.
    pub fragment_word: u16,
}

impl Inner {
    /// Of the IPv4 packet at `offset`, which was parsed before. What only a tunnel needs is read only for one: the hit path of direct
    /// routing has no registers to spare for it.
    #[inline(always)]
    pub fn v4<P: Packet>(packet: &P, offset: usize) -> Result<Self, Verdict> {
        let view = packet.view::<{ ipv4::HEADER }>(offset).ok_or(Verdict::Truncated)?;
        Ok(Self {
            protocol: IPV4_IN_IP,
            tos: view.u8::<1>(),
            ttl: view.u8::<8>(),
            length: u32::from(view.u16::<2>()),
            identification: view.raw_u16::<4>(),
            fragment_word: view.raw_u16::<6>() & ipv4::DONT_FRAGMENT,
        })
    }

    /// Of the IPv6 packet at `offset`, which was parsed before.
    #[inline(always)]
    pub fn v6<P: Packet>(packet: &P, offset: usize, entropy: u32) -> Result<Self, Verdict> {
        let view = packet.view::<{ ipv6::HEADER }>(offset).ok_or(Verdict::Truncated)?;
        Ok(Self {
            protocol: IPV6_IN_IP,
            tos: (view.u16::<0>() >> 4) as u8,
            ttl: view.u8::<7>(),
            length: u32::from(view.u16::<4>()) + ipv6::HEADER as u32,
            identification: (entropy ^ (entropy >> 16)) as u16,
            fragment_word: 0,
        })
    }
}

/// The two ends of a tunnel, as raw 32-bit words of their addresses: one of IPv4, four of IPv6.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Ends<const WORDS: usize> {
    /// Outer source, with the varying bits clear.
    pub source: [u32; WORDS],
    /// Outer destination.
    pub destination: [u32; WORDS],
    /// Bits of the source's last word that the flow's hash fills, raw.
    pub vary: u32,
}

/// RFC 6040 section 4.1, but CE travels as ECT(0), as Linux's `INET_ECN_encapsulate` has it: the mark stays on the inner header.
#[inline(always)]
const fn outer_tos(tos: u8) -> u8 {
    if tos & 3 == 3 { (tos & !3) | 2 } else { tos }
}

/// What stands between the outer IP header and the packet: nothing, a UDP header or a GRE header.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Shim {
    /// Protocol number in the outer IP header.
    pub protocol: u8,
    /// Bytes: 0, 4 or 8.
    pub length: u32,
    /// The bytes as raw words, of which `length` count.
    pub words: [u32; 2],
}

impl Shim {
    /// Nothing: IP in IP.
    #[inline(always)]
    pub const fn none(protocol: u8) -> Self {
        Self { protocol, length: 0, words: [0; 2] }
    }
}

/// Bytes of the [`Shim`] at most.
pub const MAX_SHIM: usize = 8;

/// Bytes that a method ([`method`]) puts in front of a packet at most.
#[inline(always)]
pub const fn overhead(by: u8) -> u32 {
    if !is_tunnel(by) {
        return 0;
    }
    let outer = if is_outer_v4(by) { ipv4::HEADER } else { ipv6::HEADER } as u32;
    outer + shim_length(by)
}

/// Bytes of the [`Shim`] of a method.
#[inline(always)]
pub const fn shim_length(by: u8) -> u32 {
    match by & !method::CHECKSUM {
        method::GUE_V4 | method::GUE_V6 => 8,
        method::GRE_V4 | method::GRE_V6 => {
            if by & method::CHECKSUM == 0 {
                4
            } else {
                8
            }
        }
        _ => 0,
    }
}

/// A method that this version knows, and a tunnel.
#[inline(always)]
pub const fn is_tunnel(by: u8) -> bool {
    matches!(by & !method::CHECKSUM, method::TUNNEL_V4..=method::GRE_V6)
}

/// The outer header of a tunnel method is an IPv4 one.
#[inline(always)]
pub const fn is_outer_v4(by: u8) -> bool {
    by & 1 == 1
}

/// Sum of all 16-bit words of an IP packet, without reading its payload: header and transport checksum say what it must be. None
/// when they do not: for a fragment, a UDP datagram without checksum, another protocol, options or extension headers.
#[inline(always)]
pub fn sum_v4<P: Packet>(packet: &P, offset: usize) -> Option<u64> {
    let view = packet.view::<{ ipv4::HEADER }>(offset)?;
    if view.u8::<0>() != 0x45 || view.raw_u16::<6>() & ipv4::FRAGMENT != 0 {
        return None;
    }
    // The header's words, checksum included, sum up to nothing.
    let protocol = view.u8::<9>();
    if protocol == ICMP {
        return Some(0);
    }
    let length = view.u16::<2>().wrapping_sub(ipv4::HEADER as u16);
    let pseudo = u64::from(view.raw_u32::<12>()) + u64::from(view.raw_u32::<16>());
    let pseudo = pseudo + u64::from(length.to_be()) + u64::from(u16::from(protocol).to_be());
    has_checksum(packet, offset + ipv4::HEADER, protocol).then(|| checksum::negative(pseudo))
}

/// As [`sum_v4`], for IPv6, whose header has no checksum of its own.
#[inline(always)]
pub fn sum_v6<P: Packet>(packet: &P, offset: usize) -> Option<u64> {
    let view = packet.view::<{ ipv6::HEADER }>(offset)?;
    let protocol = view.u8::<6>();
    // Addresses and length are in the header and in the pseudo-header: they cancel out. What is left of the header is its first word
    // and the hop limit: next header and protocol are the same number, one in the upper byte, one in the lower.
    let rest = u64::from(view.raw_u32::<0>());
    let rest = rest + u64::from(view.raw_u16::<6>()) + u64::from(!u16::from(protocol).to_be());
    let is_known = protocol == super::transport::ICMPV6 || has_checksum(packet, offset + ipv6::HEADER, protocol);
    is_known.then_some(rest)
}

/// A TCP segment, or a UDP datagram with a checksum.
#[inline(always)]
fn has_checksum<P: Packet>(packet: &P, transport: usize, protocol: u8) -> bool {
    match protocol {
        TCP => true,
        UDP => packet.view::<8>(transport).is_some_and(|header| header.raw_u16::<6>() != 0),
        _ => false,
    }
}

/// UDP ports that GUE sends from: the dynamic ones (RFC 6335), picked by the flow.
const FIRST_SOURCE_PORT: u16 = 0xc000;

/// The shim of a method around a packet of a `protocol` and `length`. `carried` is the packet's sum, if it is known, `pseudo` that of
/// the outer addresses; a checksum is left out where it is not known, or not asked for. `port` is that of the real's end of a GUE tunnel.
#[inline(always)]
pub fn shim(
    by: u8,
    protocol: u8,
    length: u32,
    port: u16,
    carried: Option<u64>,
    pseudo: impl FnOnce() -> u64,
    entropy: u32,
) -> Shim {
    let carried = if by & method::CHECKSUM == 0 { None } else { carried };
    match by & !method::CHECKSUM {
        method::GUE_V4 | method::GUE_V6 => {
            let ports = pair((FIRST_SOURCE_PORT | entropy as u16 & !FIRST_SOURCE_PORT).to_be(), port.to_be());
            let length = ((length + 8) as u16).to_be();
            let sum = match carried {
                Some(carried) => {
                    let sum = pseudo() + carried + u64::from(u16::from(UDP).to_be()) + u64::from(ports);
                    // The length twice: in the pseudo-header and in the header. 0 would mean "no checksum" (RFC 768).
                    match checksum::finish(checksum::fold(sum + 2 * u64::from(length))) {
                        0 => 0xffff,
                        sum => sum,
                    }
                }
                None => 0,
            };
            Shim { protocol: UDP, length: 8, words: [ports, pair(length, sum)] }
        }
        method::GRE_V4 | method::GRE_V6 => {
            let ethertype = if protocol == IPV4_IN_IP { ethernet::IPV4 } else { ethernet::IPV6 }.to_be();
            match carried {
                Some(carried) => {
                    let flags = GRE_CHECKSUM.to_be();
                    let sum = checksum::finish(checksum::fold(carried + u64::from(flags) + u64::from(ethertype)));
                    Shim { protocol: GRE, length: 8, words: [pair(flags, ethertype), pair(sum, 0)] }
                }
                None => Shim { protocol: GRE, length: 4, words: [pair(0, ethertype), 0] },
            }
        }
        _ => Shim::none(protocol),
    }
}

/// Sum of an IPv4 tunnel's outer addresses, for [`checksum::fold`].
#[inline(always)]
pub fn pseudo_v4(ends: &Ends<1>, entropy: u32) -> u64 {
    u64::from(ends.source[0] | (entropy & ends.vary)) + u64::from(ends.destination[0])
}

/// Sum of an IPv6 tunnel's outer addresses, for [`checksum::fold`].
#[inline(always)]
pub fn pseudo_v6(ends: &Ends<4>, entropy: u32) -> u64 {
    let Ends { source, destination, vary } = ends;
    let last = source[3] | (entropy & *vary);
    let source = u64::from(source[0]) + u64::from(source[1]) + u64::from(source[2]) + u64::from(last);
    let [first, second, third, fourth] = destination.map(u64::from);
    source + first + second + third + fourth
}

/// "Checksum present" in the first 16 bits of a GRE header.
pub const GRE_CHECKSUM: u16 = 0x8000;

/// The outer IPv4 header as raw words, checksum included. All in all the packet must be at most 65 535 bytes long.
#[inline(always)]
pub fn outer_v4(inner: &Inner, shim: &Shim, ends: &Ends<1>, entropy: u32) -> [u32; 5] {
    let source = ends.source[0] | (entropy & ends.vary);
    let destination = ends.destination[0];
    let first = ((0x4500 | u32::from(outer_tos(inner.tos))) << 16) | (inner.length + shim.length + ipv4::HEADER as u32);
    let first = first.to_be();
    let second = pair(inner.identification, inner.fragment_word);
    let ttl_protocol = (u16::from(inner.ttl) << 8 | u16::from(shim.protocol)).to_be();
    let sum =
        u64::from(first) + u64::from(second) + u64::from(ttl_protocol) + u64::from(source) + u64::from(destination);
    [first, second, pair(ttl_protocol, checksum::finish(checksum::fold(sum))), source, destination]
}

/// The outer IPv6 header as raw words. The flow label carries the flow's hash (RFC 6438), the source's last word varies with it.
#[inline(always)]
pub fn outer_v6(inner: &Inner, shim: &Shim, ends: &Ends<4>, entropy: u32) -> [u32; 10] {
    let first = (6u32 << 28) | (u32::from(outer_tos(inner.tos)) << 20) | (entropy & 0xf_ffff);
    let second = ((inner.length + shim.length) << 16) | (u32::from(shim.protocol) << 8) | u32::from(inner.ttl);
    let Ends { source, destination, vary } = ends;
    [
        first.to_be(),
        second.to_be(),
        source[0],
        source[1],
        source[2],
        source[3] | (entropy & vary),
        destination[0],
        destination[1],
        destination[2],
        destination[3],
    ]
}

/// Two raw 16-bit words as they follow each other in memory.
#[inline(always)]
const fn pair(first: u16, second: u16) -> u32 {
    if cfg!(target_endian = "little") {
        first as u32 | ((second as u32) << 16)
    } else {
        ((first as u32) << 16) | second as u32
    }
}
