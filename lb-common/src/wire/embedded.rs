//! The packet that an ICMP error is about: its begin travels inside the error (RFC 792, RFC 4443 section 2.4).
//!
//! It went from the service to the client. What comes out here is turned round, as the client's packets look, so that service and
//! connection are found as for those.

use super::ipv6::Upper;
use super::parse::Flow;
use super::transport::{SCTP, TCP, Transport, UDP};
use super::{Packet, View, ipv4, ipv6};
use crate::abi::verdict::Verdict;

/// Bytes of an ICMP or ICMPv6 error before the packet that it is about.
pub const ERROR_HEADER: usize = 8;

/// The client's side of the flow whose packet's begin stands at `offset`. Only what every error carries is read: the IP header and
/// eight bytes behind it.
#[inline(always)]
pub fn v4<P: Packet>(packet: &P, offset: usize) -> Result<Flow<ipv4::Header>, Verdict> {
    let view = packet.view::<{ ipv4::HEADER }>(offset).ok_or(Verdict::IcmpMalformed)?;
    let version_length = view.u8::<0>();
    let length = ((version_length & 0x0f) as usize) * 4;
    // A later fragment has no ports.
    let is_later = view.u16::<6>() & 0x1fff != 0;
    if version_length >> 4 != 4 || length < ipv4::HEADER || is_later {
        return Err(Verdict::IcmpMalformed);
    }
    let protocol = view.u8::<9>();
    let ip = ipv4::Header {
        source: view.raw_u32::<16>(),
        destination: view.raw_u32::<12>(),
        protocol,
        is_fragment: false,
        fragment_word: 0,
        total_length: 0,
        payload: offset + length,
    };
    Ok(Flow { transport: transport(packet, ip.payload, protocol)?, ip })
}

/// As [`v4`]. Extension headers are walked as far as the error carries them.
#[inline(always)]
pub fn v6<P: Packet>(packet: &P, offset: usize) -> Result<Flow<ipv6::Header>, Verdict> {
    let view = packet.view::<{ ipv6::HEADER }>(offset).ok_or(Verdict::IcmpMalformed)?;
    if view.u8::<0>() >> 4 != 6 {
        return Err(Verdict::IcmpMalformed);
    }
    let mut upper = Upper::behind(view.u8::<6>(), offset + ipv6::HEADER);
    if ipv6::is_extension(upper.protocol) {
        ipv6::walk_extensions(packet, &mut upper).map_err(|_| Verdict::IcmpMalformed)?;
    }
    let ip = upper.header(
        [view.raw_u64::<24, 28>(), view.raw_u64::<32, 36>()],
        [view.raw_u64::<8, 12>(), view.raw_u64::<16, 20>()],
        0,
    );
    // A first fragment has ports, a later one none.
    if ip.fragment_offset() != 0 {
        return Err(Verdict::IcmpMalformed);
    }
    Ok(Flow { transport: transport(packet, ip.payload, ip.protocol)?, ip })
}

/// Ports turned round.
#[inline(always)]
fn transport<P: Packet>(packet: &P, offset: usize, protocol: u8) -> Result<Transport, Verdict> {
    if !matches!(protocol, TCP | UDP | SCTP) {
        return Err(Verdict::IcmpMalformed);
    }
    let ports = packet.view::<8>(offset).ok_or(Verdict::IcmpMalformed)?.raw_u32::<0>();
    Ok(Transport { ports: ports.rotate_left(16), flags: 0 })
}
