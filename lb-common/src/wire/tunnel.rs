//! Outer headers: IPv4 in IPv4 (RFC 2003), IPv6 in IPv4 (RFC 4213), anything in IPv6 (RFC 2473).
//!
//! As IPVS's tunnel: TTL and DSCP come from the inner packet, ECN by RFC 6040's normal mode with CE not copied outwards,
//! "don't fragment" from an inner IPv4 packet.

use super::{Packet, View, ipv4, ipv6};
use crate::abi::verdict::Verdict;
use crate::algo::checksum;

/// Protocol number of IPv4 inside IP.
pub const IPV4_IN_IP: u8 = 4;
/// Protocol number of IPv6 inside IP.
pub const IPV6_IN_IP: u8 = 41;

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

/// The outer IPv4 header as raw words, checksum included. `inner.length` must be at most 65 515.
#[inline(always)]
pub fn outer_v4(inner: &Inner, ends: &Ends<1>, entropy: u32) -> [u32; 5] {
    let source = ends.source[0] | (entropy & ends.vary);
    let destination = ends.destination[0];
    let first = ((0x4500 | u32::from(outer_tos(inner.tos))) << 16) | (inner.length + ipv4::HEADER as u32);
    let first = first.to_be();
    let second = pair(inner.identification, inner.fragment_word);
    let ttl_protocol = (u16::from(inner.ttl) << 8 | u16::from(inner.protocol)).to_be();
    let mut sum = checksum::add_u32(0, first);
    sum = checksum::add_u32(sum, second);
    sum += u32::from(ttl_protocol);
    sum = checksum::add_u32(sum, source);
    sum = checksum::add_u32(sum, destination);
    [first, second, pair(ttl_protocol, checksum::finish(sum)), source, destination]
}

/// The outer IPv6 header as raw words. The flow label carries the flow's hash (RFC 6438), the source's last word varies with it.
#[inline(always)]
pub fn outer_v6(inner: &Inner, ends: &Ends<4>, entropy: u32) -> [u32; 10] {
    let first = (6u32 << 28) | (u32::from(outer_tos(inner.tos)) << 20) | (entropy & 0xf_ffff);
    let second = (inner.length << 16) | (u32::from(inner.protocol) << 8) | u32::from(inner.ttl);
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
