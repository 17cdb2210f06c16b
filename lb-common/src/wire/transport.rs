//! TCP (RFC 9293), UDP (RFC 768) and the types of ICMP: as much as balancing needs. SCTP has a file of its own.

use super::{Packet, View, sctp};
use crate::abi::verdict::Verdict;

/// Protocol number of ICMP.
pub const ICMP: u8 = 1;
/// Protocol number of TCP.
pub const TCP: u8 = 6;
/// Protocol number of UDP.
pub const UDP: u8 = 17;
/// Protocol number of SCTP.
pub const SCTP: u8 = 132;
/// Protocol number of ICMPv6.
pub const ICMPV6: u8 = 58;

/// TCP header without options.
pub const TCP_HEADER: usize = 20;
/// UDP header.
pub const UDP_HEADER: usize = 8;

/// Ports and flags.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Transport {
    /// Both ports, raw: source port first in memory.
    pub ports: u32,
    /// What moves a connection ([`crate::algo::state`]): TCP's flags, 0 for UDP, an event of SCTP ([`crate::algo::sctp_state::event`]).
    pub flags: u8,
}

impl Transport {
    /// Source port, raw.
    #[inline(always)]
    pub const fn source_port(self) -> u16 {
        if cfg!(target_endian = "little") { self.ports as u16 } else { (self.ports >> 16) as u16 }
    }

    /// Destination port, raw.
    #[inline(always)]
    pub const fn destination_port(self) -> u16 {
        if cfg!(target_endian = "little") { (self.ports >> 16) as u16 } else { self.ports as u16 }
    }
}

/// Reads the TCP, UDP or SCTP header at `offset`, of a packet with `length` bytes left from there by its IP header. None for another
/// protocol.
#[inline(always)]
pub fn parse<P: Packet>(packet: &P, offset: usize, protocol: u8, length: usize) -> Result<Option<Transport>, Verdict> {
    // Comparisons, not a match: the compiler would mask what it already knows to be a byte.
    if protocol == TCP {
        let view = packet.view::<TCP_HEADER>(offset).ok_or(Verdict::Truncated)?;
        let header_length = ((view.u8::<12>() >> 4) as usize) * 4;
        if header_length < TCP_HEADER || header_length > length {
            return Err(packet.bad_header());
        }
        Ok(Some(Transport { ports: view.raw_u32::<0>(), flags: view.u8::<13>() }))
    } else if protocol == UDP {
        let view = packet.view::<UDP_HEADER>(offset).ok_or(Verdict::Truncated)?;
        let datagram = view.u16::<4>() as usize;
        if datagram < UDP_HEADER || datagram > length {
            return Err(packet.bad_header());
        }
        Ok(Some(Transport { ports: view.raw_u32::<0>(), flags: 0 }))
    } else if protocol == SCTP {
        // Told as rare, it costs a TCP packet two instructions in the datapath, otherwise six.
        core::hint::cold_path();
        sctp::parse(packet, offset, length).map(Some)
    } else {
        Ok(None)
    }
}

/// Reads the TCP, UDP or SCTP header of a first fragment, of which `length` bytes are there; the datagram goes on in others. None for
/// another protocol, and without a whole header.
#[inline(always)]
pub fn parse_first<P: Packet>(packet: &P, offset: usize, protocol: u8, length: usize) -> Option<Transport> {
    if protocol == TCP {
        let view = packet.view::<TCP_HEADER>(offset)?;
        let header_length = ((view.u8::<12>() >> 4) as usize) * 4;
        (header_length >= TCP_HEADER && header_length <= length)
            .then_some(Transport { ports: view.raw_u32::<0>(), flags: view.u8::<13>() })
    } else if protocol == UDP {
        let view = packet.view::<UDP_HEADER>(offset)?;
        (length >= UDP_HEADER && view.u16::<4>() as usize >= UDP_HEADER)
            .then_some(Transport { ports: view.raw_u32::<0>(), flags: 0 })
    } else if protocol == SCTP {
        sctp::parse_first(packet, offset, length)
    } else {
        None
    }
}

/// An ICMP message about another packet (RFC 792, RFC 1122 section 3.2.2): unreachable, quench, redirect, time exceeded, parameter.
#[inline(always)]
pub const fn is_icmp_error(kind: u8) -> bool {
    matches!(kind, 3 | 4 | 5 | 11 | 12)
}

/// An ICMPv6 message about another packet (RFC 4443 section 2.1): types below 128.
#[inline(always)]
pub const fn is_icmpv6_error(kind: u8) -> bool {
    kind < 128
}
