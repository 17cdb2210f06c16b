//! Network address translation of one packet: addresses, ports, hop count, and the checksums that cover them (RFC 3022).
//!
//! Checksums are corrected by what has changed, never made anew (RFC 1624): a packet that came in with a wrong one leaves with a wrong
//! one. Everything is looked at before anything is written: a packet that is refused is as it was.

use super::transport::{TCP, TCP_HEADER, UDP, UDP_HEADER};
use super::{Edit, Editable, View, ipv4, ipv6, sctp};
use crate::abi::verdict::Verdict;
use crate::algo::checksum::Delta;
use crate::algo::crc32c;

/// What a packet's ends become, raw. None: stays.
#[derive(Clone, Copy, Debug)]
pub struct Change<A> {
    /// Source address.
    pub source: Option<A>,
    /// Destination address.
    pub destination: Option<A>,
    /// Both ports before and after, source first in memory. None also for a later fragment, which has none.
    pub ports: Option<Ports>,
}

/// Both ports as one raw word, source port first in memory.
#[derive(Clone, Copy, Debug)]
pub struct Ports {
    /// In the packet.
    pub old: u32,
    /// As they become.
    pub new: u32,
}

impl Ports {
    /// With another destination port, raw.
    #[inline(always)]
    pub const fn to(old: u32, port: u16) -> Self {
        let new = if cfg!(target_endian = "little") {
            old & 0xffff | (port as u32) << 16
        } else {
            old & 0xffff_0000 | port as u32
        };
        Self { old, new }
    }

    /// With another source port, raw.
    #[inline(always)]
    pub const fn from(old: u32, port: u16) -> Self {
        let new = if cfg!(target_endian = "little") {
            old & 0xffff_0000 | port as u32
        } else {
            old & 0xffff | (port as u32) << 16
        };
        Self { old, new }
    }
}

/// Translates the IPv4 packet at `at`, whose header is `ip`.
#[inline(always)]
pub fn v4<P: Editable>(packet: &P, at: usize, ip: &ipv4::Header, change: &Change<u32>) -> Result<(), Verdict> {
    if let Some(ports) = change.ports {
        // Looked at before anything is written; a header that is there is not gone after.
        if packet.edit::<{ ipv4::HEADER }>(at).ok_or(Verdict::Truncated)?.u8::<8>() <= 1 {
            return Err(Verdict::HopsSpent);
        }
        transport(packet, ip.payload, ip.protocol, ports, addresses_v4(ip, change), true)?;
    }
    v4_header(packet, at, ip, change)
}

/// [`v4`] of an SCTP packet. `ip` must have been read from this packet: its length goes into the checksum.
#[inline(always)]
pub fn v4_sctp<P: Editable>(packet: &P, at: usize, ip: &ipv4::Header, change: &Change<u32>) -> Result<(), Verdict> {
    if let Some(ports) = change.ports {
        if packet.edit::<{ ipv4::HEADER }>(at).ok_or(Verdict::Truncated)?.u8::<8>() <= 1 {
            return Err(Verdict::HopsSpent);
        }
        sctp_ports(packet, ip.payload, ports, ip.total_length.wrapping_sub((ip.payload - at) as u32), ip.is_fragment)?;
    }
    v4_header(packet, at, ip, change)
}

/// Translates the addresses of the IPv4 header at `at`, and counts the hop.
#[inline(always)]
pub(super) fn v4_header<P: Editable>(
    packet: &P,
    at: usize,
    ip: &ipv4::Header,
    change: &Change<u32>,
) -> Result<(), Verdict> {
    let header = packet.edit::<{ ipv4::HEADER }>(at).ok_or(Verdict::Truncated)?;
    let fewer = one_hop_less(header.raw_u16::<8>(), HOP_V4).ok_or(Verdict::HopsSpent)?;
    header.set_u16::<8>(fewer);
    header.set_u16::<10>(addresses_v4(ip, change).less(HOP_V4).apply(header.raw_u16::<10>()));
    if let Some(source) = change.source {
        header.set_u32::<12>(source);
    }
    if let Some(destination) = change.destination {
        header.set_u32::<16>(destination);
    }
    Ok(())
}

#[inline(always)]
fn addresses_v4(ip: &ipv4::Header, change: &Change<u32>) -> Delta {
    let mut addresses = Delta::NONE;
    if let Some(source) = change.source {
        addresses = addresses.u32(ip.source, source);
    }
    if let Some(destination) = change.destination {
        addresses = addresses.u32(ip.destination, destination);
    }
    addresses
}

/// Translates the IPv6 packet at `at`, whose header is `ip`.
#[inline(always)]
pub fn v6<P: Editable>(packet: &P, at: usize, ip: &ipv6::Header, change: &Change<[u64; 2]>) -> Result<(), Verdict> {
    if let Some(ports) = change.ports {
        if packet.edit::<{ ipv6::HEADER }>(at).ok_or(Verdict::Truncated)?.u8::<7>() <= 1 {
            return Err(Verdict::HopsSpent);
        }
        transport(packet, ip.payload, ip.protocol, ports, addresses_v6(ip, change), false)?;
    }
    v6_header(packet, at, ip, change).map(|_| ())
}

/// [`v6`] of an SCTP packet, as [`v4_sctp`].
#[inline(always)]
pub fn v6_sctp<P: Editable>(
    packet: &P,
    at: usize,
    ip: &ipv6::Header,
    change: &Change<[u64; 2]>,
) -> Result<(), Verdict> {
    if let Some(ports) = change.ports {
        if packet.edit::<{ ipv6::HEADER }>(at).ok_or(Verdict::Truncated)?.u8::<7>() <= 1 {
            return Err(Verdict::HopsSpent);
        }
        sctp_ports(packet, ip.payload, ports, ip.total_length.wrapping_sub((ip.payload - at) as u32), ip.is_fragment)?;
    }
    v6_header(packet, at, ip, change).map(|_| ())
}

/// New ports of an SCTP packet of `length` bytes, and its checksum after them; it covers no addresses. A first fragment does not say how
/// long its packet is, so that its ports can only stay.
#[inline(always)]
pub(super) fn sctp_ports<P: Editable>(
    packet: &P,
    offset: usize,
    ports: Ports,
    length: u32,
    is_fragment: bool,
) -> Result<(), Verdict> {
    let header = packet.edit::<{ sctp::HEADER }>(offset).ok_or(Verdict::Truncated)?;
    if ports.old == ports.new {
        return Ok(());
    }
    if is_fragment {
        return Err(Verdict::NatUnsuited);
    }
    header.set_u32::<0>(ports.new);
    header.set_u32::<8>(crc32c::replace_ports(header.raw_u32::<8>(), ports.old, ports.new, length & 0xffff));
    Ok(())
}

/// Translates the addresses of the IPv6 header at `at`, and counts the hop. Returns what the addresses change in a checksum that covers
/// them.
#[inline(always)]
pub(super) fn v6_header<P: Editable>(
    packet: &P,
    at: usize,
    ip: &ipv6::Header,
    change: &Change<[u64; 2]>,
) -> Result<Delta, Verdict> {
    let header = packet.edit::<{ ipv6::HEADER }>(at).ok_or(Verdict::Truncated)?;
    let fewer = one_hop_less(header.raw_u16::<6>(), HOP_V6).ok_or(Verdict::HopsSpent)?;
    header.set_u16::<6>(fewer);
    if let Some(source) = change.source {
        header.set_u64::<8, 12>(source[0]);
        header.set_u64::<16, 20>(source[1]);
    }
    if let Some(destination) = change.destination {
        header.set_u64::<24, 28>(destination[0]);
        header.set_u64::<32, 36>(destination[1]);
    }
    Ok(addresses_v6(ip, change))
}

#[inline(always)]
fn addresses_v6(ip: &ipv6::Header, change: &Change<[u64; 2]>) -> Delta {
    let mut addresses = Delta::NONE;
    if let Some(source) = change.source {
        addresses = addresses.u128(ip.source, source);
    }
    if let Some(destination) = change.destination {
        addresses = addresses.u128(ip.destination, destination);
    }
    addresses
}

/// One hop in the raw pair of bytes whose first or second counts hops.
pub(super) const HOP_V4: u16 = u16::from_ne_bytes([1, 0]);
pub(super) const HOP_V6: u16 = u16::from_ne_bytes([0, 1]);

/// A raw pair of bytes of which one counts hops, with `hop` less; None when there is none left to go on with (RFC 1812 section 5.3.1).
#[inline(always)]
pub(super) const fn one_hop_less(pair: u16, hop: u16) -> Option<u16> {
    if pair & (hop * 0xff) <= hop { None } else { Some(pair - hop) }
}

/// New ports, and the checksum after these and the addresses.
#[inline(always)]
pub(super) fn transport<P: Editable>(
    packet: &P,
    offset: usize,
    protocol: u8,
    ports: Ports,
    addresses: Delta,
    may_lack_checksum: bool,
) -> Result<(), Verdict> {
    let delta = addresses.u32(ports.old, ports.new);
    match protocol {
        TCP => {
            let header = packet.edit::<TCP_HEADER>(offset).ok_or(Verdict::Truncated)?;
            header.set_u32::<0>(ports.new);
            header.set_u16::<16>(delta.apply(header.raw_u16::<16>()));
        }
        UDP => {
            let header = packet.edit::<UDP_HEADER>(offset).ok_or(Verdict::Truncated)?;
            header.set_u32::<0>(ports.new);
            let checksum = header.raw_u16::<6>();
            // RFC 768: 0 stands for "none", and a sum of 0 is sent as its other form. IPv6 allows none here (RFC 8200 section 8.1).
            if checksum != 0 || !may_lack_checksum {
                let corrected = delta.apply(checksum);
                header.set_u16::<6>(if corrected == 0 { 0xffff } else { corrected });
            }
        }
        _ => return Err(Verdict::NotTransport),
    }
    Ok(())
}

#[cfg(test)]
#[path = "translate_tests.rs"]
mod tests;
