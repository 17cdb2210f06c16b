//! Packets to a VIP that have no ports of their own: ICMP errors go to the real of the flow that they are about, echo requests are
//! answered or passed, fragments have a file of their own. Out of line, in functions that the verifier walks by themselves.
#![expect(unsafe_code, reason = "global functions need names of their own in the object")]

use aya_ebpf::bindings::xdp_md;
use lb_common::abi::real::{disposition, method};
use lb_common::abi::verdict::Verdict;
use lb_common::algo::{checksum, hash};
use lb_common::sched;
use lb_common::wire::embedded::ERROR_HEADER;
use lb_common::wire::parse::Flow;
use lb_common::wire::transport::{ICMP, ICMPV6, is_icmp_error, is_icmpv6_error};
use lb_common::wire::{Packet, View, ethernet, icmp, ipv4, ipv6};
use lb_ebpf::packet::{Frame, Window};

use super::error::{self, Error};
use super::fragment::{xvs_fragment_v4, xvs_fragment_v6};
use super::tunnel::Stand;
use super::{connection, packet, schedule, service};
use crate::family::{Family, V4, V6};
use crate::maps::reals::Chosen;
use crate::maps::{pool, settings};

/// A real, and what varies in a tunnel to it.
pub(crate) struct Sent {
    pub(crate) real: Chosen,
    pub(crate) entropy: u32,
}

/// Bytes behind the embedded IP header that every error carries (RFC 792).
const LEAST_CARRIED: usize = 8;

/// Set in what the global functions return if there is a real: its number below, the entropy in the upper half.
const SENT: u64 = 1 << 31;

/// Where the packet goes, or the verdict that its life ends with.
#[inline(always)]
pub(crate) fn ask(ctx: *mut xdp_md, stand: Stand, is_fragment: bool) -> Result<Sent, Verdict> {
    let answer = match (stand.is_v6(), is_fragment) {
        (false, false) => xvs_aside_v4(ctx, stand.0),
        (true, false) => xvs_aside_v6(ctx, stand.0),
        (false, true) => xvs_fragment_v4(ctx, stand.0),
        (true, true) => xvs_fragment_v6(ctx, stand.0),
    };
    if answer & SENT != 0 {
        return Ok(Sent { real: Chosen::of(answer as u32), entropy: (answer >> 32) as u32 });
    }
    Err(super::verdict(answer as u32))
}

/// [`ask`] for IPv4, by numbers.
#[unsafe(no_mangle)]
#[inline(never)]
pub extern "C" fn xvs_aside_v4(ctx: *mut xdp_md, stand: u64) -> u64 {
    let frame = packet(ctx);
    answer(aside_v4(ctx, &frame, Stand(stand)))
}

/// [`ask`] for IPv6, by numbers.
#[unsafe(no_mangle)]
#[inline(never)]
pub extern "C" fn xvs_aside_v6(ctx: *mut xdp_md, stand: u64) -> u64 {
    let frame = packet(ctx);
    answer(aside_v6(ctx, &frame, Stand(stand)))
}

#[inline(always)]
pub(crate) fn answer(result: Result<(u32, u32), Verdict>) -> u64 {
    match result {
        Ok((real, entropy)) => u64::from(entropy) << 32 | SENT | u64::from(real),
        Err(verdict) => verdict as u64,
    }
}

#[inline(always)]
fn aside_v4(ctx: *mut xdp_md, frame: &Frame, stand: Stand) -> Result<(u32, u32), Verdict> {
    let at = stand.offset();
    // First of all: behind a look at a place that varies, the compiler would leave this one's comparison out, which the verifier wants.
    let link = frame.view::<{ ethernet::HEADER }>(0).ok_or(Verdict::Truncated)?;
    let ip = V4::settled(&ipv4::parse(frame, at)?);
    if ip.protocol != ICMP {
        return Err(stand.refused(Verdict::NotTransport));
    }
    let header = frame.view::<ERROR_HEADER>(ip.payload).ok_or(stand.refused(Verdict::Truncated))?;
    if is_icmp_error(header.u8::<0>()) {
        let flow = lb_common::wire::embedded::v4(frame, ip.payload + ERROR_HEADER)
            .map_err(|verdict| stand.refused(verdict))?;
        let flow = Flow { ip: V4::settled(&flow.ip), ..flow };
        // Ports in what the Ethernet frame is padded with are no packet's.
        if flow.ip.payload + LEAST_CARRIED > at + ip.total_length as usize {
            return Err(stand.refused(Verdict::IcmpMalformed));
        }
        // An error about a packet that this address has not sent is forged, or astray.
        if flow.ip.destination != ip.destination {
            return Err(stand.refused(Verdict::IcmpForged));
        }
        let error = Error { stand, ip: &ip, inner: ip.payload + ERROR_HEADER, flow: &flow };
        return if stand.is_to_vip() { related::<V4>(frame, &error) } else { Err(error::to_client::<V4>(ctx, &error)) };
    }
    if header.u8::<0>() != icmp::ECHO || !settings::answers_echo() || !stand.is_to_vip() {
        return Err(stand.refused(Verdict::NotTransport));
    }
    let view = frame.view::<{ ipv4::HEADER }>(at).ok_or(Verdict::Truncated)?;
    view.set_u32::<12>(ip.destination);
    view.set_u32::<16>(ip.source);
    let (old, new) = (view.raw_u16::<8>(), (u16::from(icmp::TTL) << 8 | u16::from(ICMP)).to_be());
    view.set_u16::<8>(new);
    view.set_u16::<10>(checksum::replace(view.raw_u16::<10>(), old, new));
    // Request 8, reply 0; the code is the lower byte.
    let (old, new) = (header.raw_u16::<0>(), header.raw_u16::<0>() & 0x00ffu16.to_be());
    header.set_u16::<0>(new);
    // A reply of nothing but zeros: its checksum is the other zero (RFC 1624 section 3), which is right for all others, too.
    let sum = match checksum::replace(header.raw_u16::<2>(), old, new) {
        0 => 0xffff,
        sum => sum,
    };
    header.set_u16::<2>(sum);
    swap_macs(link);
    Err(Verdict::EchoAnswered)
}

#[inline(always)]
fn aside_v6(ctx: *mut xdp_md, frame: &Frame, stand: Stand) -> Result<(u32, u32), Verdict> {
    let at = stand.offset();
    let link = frame.view::<{ ethernet::HEADER }>(0).ok_or(Verdict::Truncated)?;
    let ip = V6::settled(&ipv6::parse(frame, at)?);
    if ip.protocol != ICMPV6 {
        return Err(stand.refused(Verdict::NotTransport));
    }
    let header = frame.view::<ERROR_HEADER>(ip.payload).ok_or(stand.refused(Verdict::Truncated))?;
    if is_icmpv6_error(header.u8::<0>()) {
        let flow = lb_common::wire::embedded::v6(frame, ip.payload + ERROR_HEADER)
            .map_err(|verdict| stand.refused(verdict))?;
        let flow = Flow { ip: V6::settled(&flow.ip), ..flow };
        if flow.ip.payload + LEAST_CARRIED > at + ip.total_length as usize {
            return Err(stand.refused(Verdict::IcmpMalformed));
        }
        if flow.ip.destination[0] != ip.destination[0] || flow.ip.destination[1] != ip.destination[1] {
            return Err(stand.refused(Verdict::IcmpForged));
        }
        let error = Error { stand, ip: &ip, inner: ip.payload + ERROR_HEADER, flow: &flow };
        return if stand.is_to_vip() { related::<V6>(frame, &error) } else { Err(error::to_client::<V6>(ctx, &error)) };
    }
    if header.u8::<0>() != icmp::ECHO_V6 || !settings::answers_echo() || !stand.is_to_vip() {
        return Err(stand.refused(Verdict::NotTransport));
    }
    let view = frame.view::<{ ipv6::HEADER }>(at).ok_or(Verdict::Truncated)?;
    view.set_u64::<8>(ip.destination[0]);
    view.set_u64::<16>(ip.destination[1]);
    view.set_u64::<24>(ip.source[0]);
    view.set_u64::<32>(ip.source[1]);
    view.set_u16::<6>(u16::from_ne_bytes([view.u8::<6>(), icmp::TTL]));
    let old = header.raw_u16::<0>();
    let new = u16::from_ne_bytes([icmp::ECHO_REPLY_V6, header.u8::<1>()]);
    header.set_u16::<0>(new);
    header.set_u16::<2>(checksum::replace(header.raw_u16::<2>(), old, new));
    swap_macs(link);
    Err(Verdict::EchoAnswered)
}

#[inline(always)]
fn swap_macs(header: Window<{ ethernet::HEADER }>) {
    let (first, second, third) = (header.raw_u32::<0>(), header.raw_u32::<4>(), header.raw_u32::<8>());
    header.set_u32::<0>((second >> 16) | (third << 16));
    header.set_u32::<4>((third >> 16) | (first << 16));
    header.set_u32::<8>((first >> 16) | (second << 16));
}

/// The real of the flow that an error is about. The error changes nothing: neither state nor age of the connection.
#[inline(always)]
fn related<F: Family>(frame: &Frame, error: &Error<'_, F>) -> Result<(u32, u32), Verdict> {
    let flow = error.flow;
    let service = service::lookup::<F>(flow).service().ok_or(Verdict::IcmpNoFlow)?;
    let (target, place) = (service.target, service.place::<F>(flow));
    let found = connection::find(&place);
    let number = match &found {
        Some(found) => found.meta.real(),
        // Without a connection the hash schedulers still say whose it is.
        None if sched::is_stateless(pool::config(target.config())) => schedule::choose::<F>(flow, target)?,
        None => return Err(Verdict::IcmpNoFlow),
    };
    let real = Chosen::of(number);
    // But what is translated goes through one director, which has the connection.
    if found.is_none() && method::is_translated(real.way.method()) {
        return Err(Verdict::IcmpNoFlow);
    }
    match real.way.disposition() {
        disposition::FORWARD | disposition::DRAIN | disposition::KEEP => {}
        disposition::DROP => return Err(Verdict::RealDown),
        disposition::UNRESOLVED => return Err(Verdict::RealUnresolved),
        _ => return Err(Verdict::RealGone),
    }
    if method::is_translated(real.way.method()) {
        error::to_real::<F>(frame, error, real, &place)?;
    }
    Ok((number, hash::entropy(place.hash)))
}
