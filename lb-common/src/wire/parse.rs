//! From a frame to a flow: one function for each address family, each returning the flow or the verdict that ends the packet's life.

use super::icmp::{ECHO, ECHO_V6};
use super::transport::{ICMP, ICMPV6, Transport, is_icmp_error, is_icmpv6_error};
use super::{Packet, View, ipv4, ipv6, transport};
use crate::abi::verdict::Verdict;

/// A packet with ports, or the first fragment of one, ready to be balanced.
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
    /// The first fragment of TCP or UDP, with all of the transport header.
    FirstFragment(Flow<H>),
    /// A later fragment or one without ports, an ICMP error or an echo request: nothing to be balanced by.
    Unbalanced(H),
}

/// What is done with a packet once it is known what it is. Its methods run inside the parser, where the header's fields are still
/// values: an enum of headers that is handed back is put together in memory and taken apart again, 20 instructions of a new connection's
/// 730 where it was tried last.
pub trait Then<H> {
    /// What comes out of it.
    type Out;

    /// TCP, UDP or SCTP.
    fn flow(self, flow: Flow<H>) -> Result<Self::Out, Verdict>;
    /// The first fragment of TCP or UDP, with all of the transport header. A method of its own, so that whole packets carry no mark.
    fn first_fragment(self, flow: Flow<H>) -> Result<Self::Out, Verdict>;
    /// A later fragment or one without ports, an ICMP error or an echo request: nothing to be balanced by.
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
    fn first_fragment(self, flow: Flow<H>) -> Result<Parsed<H>, Verdict> {
        Ok(Parsed::FirstFragment(flow))
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
    let length = ip.total_length as usize - (ip.payload - offset);
    if ip.is_fragment {
        return match first(packet, ip.payload, ip.protocol, length, ip.fragment_offset()) {
            Some(transport) => then.first_fragment(Flow { ip, transport }),
            None => then.unbalanced(ip),
        };
    }
    if let Some(transport) = transport::parse(packet, ip.payload, ip.protocol, length)? {
        return then.flow(Flow { ip, transport });
    }
    if ip.protocol != ICMP {
        return Err(Verdict::NotTransport);
    }
    let kind = packet.view::<8>(ip.payload).ok_or(Verdict::Truncated)?.u8::<0>();
    if is_icmp_error(kind) || kind == ECHO { then.unbalanced(ip) } else { Err(Verdict::NotTransport) }
}

/// Reads an IPv6 packet at `offset` and goes on with it.
#[inline(always)]
pub fn v6_then<P: Packet, T: Then<ipv6::Header>>(packet: &P, offset: usize, then: T) -> Result<T::Out, Verdict> {
    let ip = ipv6::parse(packet, offset)?;
    let length = ip.total_length as usize - (ip.payload - offset);
    if ip.is_fragment {
        return match first(packet, ip.payload, ip.protocol, length, ip.fragment_offset()) {
            Some(transport) => then.first_fragment(Flow { ip, transport }),
            None => then.unbalanced(ip),
        };
    }
    if let Some(transport) = transport::parse(packet, ip.payload, ip.protocol, length)? {
        return then.flow(Flow { ip, transport });
    }
    if ip.protocol != ICMPV6 {
        return Err(Verdict::NotTransport);
    }
    let kind = packet.view::<8>(ip.payload).ok_or(Verdict::Truncated)?.u8::<0>();
    if is_icmpv6_error(kind) || kind == ECHO_V6 { then.unbalanced(ip) } else { Err(Verdict::NotTransport) }
}

/// The transport header of a fragment, if it is a first one that has all of it.
#[inline(always)]
fn first<P: Packet>(packet: &P, at: usize, protocol: u8, length: usize, offset: u32) -> Option<Transport> {
    if offset == 0 { transport::parse_first(packet, at, protocol, length) } else { None }
}
