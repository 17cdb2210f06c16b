//! From a frame to a flow: one function for each address family, each returning the flow or the verdict that ends the packet's life.

use super::icmp::{ECHO, ECHO_V6};
use super::transport::{ICMP, ICMPV6, SCTP, TCP, Transport, UDP, is_icmp_error, is_icmpv6_error};
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
    /// TCP, UDP or SCTP.
    Flow(Flow<H>),
    /// A fragment, an ICMP error or an echo request: no ports of its own to be balanced by.
    Unbalanced(H),
}

/// What is done with a packet once it is known what it is. Its methods run inside the parser, where the header's fields are still
/// values: an enum of headers that is handed back is put together in memory and taken apart again, which costs the datapath's hit
/// path 10 ns of some 40.
pub trait Then<H> {
    /// What comes out of it.
    type Out;

    /// TCP, UDP or SCTP.
    fn flow(self, flow: Flow<H>) -> Result<Self::Out, Verdict>;
    /// A fragment, an ICMP error or an echo request: no ports of its own to be balanced by.
    fn unbalanced(self, ip: H) -> Result<Self::Out, Verdict>;
}

/// Hands back what was parsed: for tests and baselines.
struct Return;

impl<H> Then<H> for Return {
    type Out = Parsed<H>;

    #[inline(always)]
    fn flow(self, flow: Flow<H>) -> Result<Parsed<H>, Verdict> {
        Ok(Parsed::Flow(flow))
    }

    #[inline(always)]
    fn unbalanced(self, ip: H) -> Result<Parsed<H>, Verdict> {
        Ok(Parsed::Unbalanced(ip))
    }
}

/// Reads an IPv4 packet at `offset`.
#[inline(always)]
pub fn v4<P: Packet>(packet: &P, offset: usize) -> Result<Parsed<ipv4::Header>, Verdict> {
    v4_then(packet, offset, Return)
}

/// Reads an IPv6 packet at `offset`.
#[inline(always)]
pub fn v6<P: Packet>(packet: &P, offset: usize) -> Result<Parsed<ipv6::Header>, Verdict> {
    v6_then(packet, offset, Return)
}

/// Reads an IPv4 packet at `offset` and goes on with it.
#[inline(always)]
pub fn v4_then<P: Packet, T: Then<ipv4::Header>>(packet: &P, offset: usize, then: T) -> Result<T::Out, Verdict> {
    let ip = ipv4::parse(packet, offset)?;
    if ip.is_fragment {
        return then.unbalanced(ip);
    }
    match ip.protocol {
        TCP | UDP | SCTP => {
            let length = ip.total_length as usize - (ip.payload - offset);
            let transport = transport::parse(packet, ip.payload, ip.protocol, length)?;
            then.flow(Flow { ip, transport })
        }
        ICMP => {
            let kind = packet.view::<8>(ip.payload).ok_or(Verdict::Truncated)?.u8::<0>();
            if is_icmp_error(kind) || kind == ECHO { then.unbalanced(ip) } else { Err(Verdict::NotTransport) }
        }
        _ => Err(Verdict::NotTransport),
    }
}

/// Reads an IPv6 packet at `offset` and goes on with it.
#[inline(always)]
pub fn v6_then<P: Packet, T: Then<ipv6::Header>>(packet: &P, offset: usize, then: T) -> Result<T::Out, Verdict> {
    let ip = ipv6::parse(packet, offset)?;
    if ip.is_fragment {
        return then.unbalanced(ip);
    }
    match ip.protocol {
        TCP | UDP | SCTP => {
            let length = ip.total_length as usize - (ip.payload - offset);
            let transport = transport::parse(packet, ip.payload, ip.protocol, length)?;
            then.flow(Flow { ip, transport })
        }
        ICMPV6 => {
            let kind = packet.view::<8>(ip.payload).ok_or(Verdict::Truncated)?.u8::<0>();
            if is_icmpv6_error(kind) || kind == ECHO_V6 { then.unbalanced(ip) } else { Err(Verdict::NotTransport) }
        }
        _ => Err(Verdict::NotTransport),
    }
}
