//! Fragments to a VIP (RFC 791, RFC 8200 section 4.5): the first one has the ports, so it is balanced like a whole packet and leaves its
//! real's number for the others. One that comes before the first is handed to the daemon, which holds it for a while.
//!
//! Refused: a first fragment without all of its transport header, and a later one that would reach into it (RFC 1858, RFC 3128,
//! RFC 5722): filters behind us may judge by ports that the real then does not see.
#![expect(
    unsafe_code,
    reason = "global functions need names of their own in the object; the ingress interface is read"
)]

use aya_ebpf::bindings::xdp_md;
use lb_common::abi::fragment::Value;
use lb_common::abi::real::disposition;
use lb_common::abi::verdict::Verdict;
use lb_common::algo::hash;
use lb_common::wire::parse::Flow;
use lb_common::wire::transport::{self, SCTP, TCP, TCP_HEADER, UDP, UDP_HEADER};
use lb_common::wire::{Packet, View, ipv4, ipv6, sctp};
use lb_ebpf::helpers;
use lb_ebpf::packet::Frame;

use super::aside::answer;
use super::connection::{self, Place};
use super::tunnel::Stand;
use super::{packet, schedule, service};
use crate::family::{Family, V4, V6};
use crate::maps::reals::Chosen;
use crate::maps::{fragments, settings};

/// What a fragment says of itself.
struct Fragment {
    /// Names the packet that it is part of.
    tag: u64,
    /// Bytes of the packet's payload before it.
    offset: u32,
    /// Bytes that it carries, the transport header included.
    length: usize,
}

/// Where an IPv4 fragment goes; numbers as for [`super::aside::ask`].
#[unsafe(no_mangle)]
#[inline(never)]
pub extern "C" fn xvs_fragment_v4(ctx: *mut xdp_md, stand: u64) -> u64 {
    let frame = packet(ctx);
    answer(fragment_v4(ctx, &frame, Stand(stand).offset()))
}

/// Where an IPv6 fragment goes; numbers as for [`super::aside::ask`].
#[unsafe(no_mangle)]
#[inline(never)]
pub extern "C" fn xvs_fragment_v6(ctx: *mut xdp_md, stand: u64) -> u64 {
    let frame = packet(ctx);
    answer(fragment_v6(ctx, &frame, Stand(stand).offset()))
}

#[inline(always)]
fn fragment_v4(ctx: *mut xdp_md, frame: &Frame, at: usize) -> Result<(u32, u32), Verdict> {
    let ip = ipv4::parse(frame, at)?;
    let header = frame.view::<{ ipv4::HEADER }>(at).ok_or(Verdict::Truncated)?;
    let packet = u64::from(header.raw_u16::<4>()) | u64::from(ip.protocol) << 16;
    let addresses = u64::from(ip.source) | u64::from(ip.destination) << 32;
    let fragment = Fragment {
        tag: hash::fragment([addresses, packet, 0, 0, 0], settings::hash_key()),
        offset: u32::from(header.u16::<6>() & 0x1fff) * 8,
        length: ip.total_length as usize - (ip.payload - at),
    };
    place::<V4>(ctx, frame, ip, ip.protocol, ip.payload, &fragment)
}

#[inline(always)]
fn fragment_v6(ctx: *mut xdp_md, frame: &Frame, at: usize) -> Result<(u32, u32), Verdict> {
    let ip = ipv6::parse(frame, at)?;
    // The upper bit tells the families apart.
    let packet = u64::from(ip.identification) | 1 << 63;
    let [s, d] = [ip.source, ip.destination];
    let fragment = Fragment {
        tag: hash::fragment([s[0], s[1], d[0], d[1], packet], settings::hash_key()),
        offset: u32::from(ip.fragment_word & 0xfff8),
        length: ip.total_length as usize - (ip.payload - at),
    };
    place::<V6>(ctx, frame, ip, ip.protocol, ip.payload, &fragment)
}

#[inline(always)]
fn place<F: Family>(
    ctx: *mut xdp_md,
    frame: &Frame,
    ip: F::Header,
    protocol: u8,
    payload: usize,
    fragment: &Fragment,
) -> Result<(u32, u32), Verdict> {
    let header = match protocol {
        TCP => TCP_HEADER as u32,
        UDP => UDP_HEADER as u32,
        SCTP => sctp::LEAST as u32,
        // The kernel's, as whole packets of these are.
        _ => return Err(Verdict::NotTransport),
    };
    if fragment.offset == 0 {
        return first::<F>(frame, ip, protocol, payload, fragment);
    }
    if fragment.offset < header {
        return Err(Verdict::FragmentOverlap);
    }
    let Some(value) = fragments::find(fragment.tag) else {
        // SAFETY: the context of the running program.
        let ifindex = unsafe { helpers::ingress(ctx) };
        fragments::hand_over(ctx, fragment.tag, ifindex, frame.remaining(0) as u32);
        return Err(Verdict::FragmentEarly);
    };
    match Chosen::of(value.real()).entry.way().disposition() {
        disposition::FORWARD | disposition::DRAIN => Ok((value.real(), value.entropy())),
        disposition::DROP => Err(Verdict::RealDown),
        disposition::UNRESOLVED => Err(Verdict::RealUnresolved),
        _ => Err(Verdict::RealGone),
    }
}

/// Balanced like a whole packet.
#[inline(always)]
fn first<F: Family>(
    frame: &Frame,
    ip: F::Header,
    protocol: u8,
    payload: usize,
    fragment: &Fragment,
) -> Result<(u32, u32), Verdict> {
    let transport =
        transport::parse_first(frame, payload, protocol, fragment.length).ok_or(Verdict::FragmentNoPorts)?;
    let flow = Flow { ip, transport };
    let target = service::lookup::<F>(&flow).ok_or(Verdict::NotAService)?;
    let place = Place::<F>::of(F::key(&flow), target.service());
    let real = match connection::follow(&flow, &place)? {
        Some(real) => real,
        None => schedule::new_connection(&flow, target, &place)?,
    };
    let entropy = hash::entropy(place.hash) & 0xff_ffff;
    fragments::remember(fragment.tag, Value::new(real.number as u32, settings::now(), entropy));
    Ok((real.number as u32, entropy))
}
