//! From a frame to a flow: one function for each address family, each returning the flow or the verdict that ends the packet's life.

use super::transport::{ICMP, ICMPV6, TCP, Transport, UDP, is_icmp_error, is_icmpv6_error};
use super::{Packet, View, ipv4, ipv6, transport};
use crate::abi::verdict::Verdict;

/// A packet with ports, ready to be balanced.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Flow<H> {
    /// Its IP header.
    pub ip: H,
    /// Its ports and flags.
    pub transport: Transport,
}

/// What a packet turned out to be.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Parsed<H> {
    /// TCP or UDP.
    Flow(Flow<H>),
    /// Not balanced in this version, with the verdict that it gets if its destination is a VIP.
    Unbalanced(H, Verdict),
}

/// Reads an IPv4 packet at `offset`.
#[inline(always)]
pub fn v4<P: Packet>(packet: &P, offset: usize) -> Result<Parsed<ipv4::Header>, Verdict> {
    let ip = ipv4::parse(packet, offset)?;
    if ip.is_fragment {
        return Ok(Parsed::Unbalanced(ip, Verdict::Fragment));
    }
    match ip.protocol {
        TCP | UDP => {
            let length = ip.total_length as usize - (ip.payload - offset);
            let transport = transport::parse(packet, ip.payload, ip.protocol, length)?;
            Ok(Parsed::Flow(Flow { ip, transport }))
        }
        ICMP => {
            let kind = packet.view::<8>(ip.payload).ok_or(Verdict::Truncated)?.u8::<0>();
            Ok(Parsed::Unbalanced(ip, if is_icmp_error(kind) { Verdict::IcmpError } else { Verdict::NotTransport }))
        }
        _ => Err(Verdict::NotTransport),
    }
}

/// Reads an IPv6 packet at `offset`.
#[inline(always)]
pub fn v6<P: Packet>(packet: &P, offset: usize) -> Result<Parsed<ipv6::Header>, Verdict> {
    let ip = ipv6::parse(packet, offset)?;
    if ip.is_fragment {
        return Ok(Parsed::Unbalanced(ip, Verdict::Fragment));
    }
    match ip.protocol {
        TCP | UDP => {
            let length = ip.total_length as usize - (ip.payload - offset);
            let transport = transport::parse(packet, ip.payload, ip.protocol, length)?;
            Ok(Parsed::Flow(Flow { ip, transport }))
        }
        ICMPV6 => {
            let kind = packet.view::<8>(ip.payload).ok_or(Verdict::Truncated)?.u8::<0>();
            Ok(Parsed::Unbalanced(ip, if is_icmpv6_error(kind) { Verdict::IcmpError } else { Verdict::NotTransport }))
        }
        _ => Err(Verdict::NotTransport),
    }
}
