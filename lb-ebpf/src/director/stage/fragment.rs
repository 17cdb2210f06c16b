//! Fragments to a VIP (RFC 791, RFC 8200 section 4.5). The first one has the ports, so it is balanced like a whole packet
//! ([`crate::pipeline`]) and leaves its real's number here; the others follow it. One that comes before the first is handed to the
//! daemon, which holds it for a while.
//!
//! Refused: a first fragment without all of its transport header, and a later one that would reach into it (RFC 1858, RFC 3128,
//! RFC 5722): filters behind us may judge by ports that the real then does not see.
#![expect(
    unsafe_code,
    reason = "global functions need names of their own in the object; the ingress interface is read"
)]

use aya_ebpf::bindings::xdp_md;
use lb_common::abi::fragment::Value;
use lb_common::abi::real::{disposition, method};
use lb_common::abi::verdict::Verdict;
use lb_common::algo::hash;
use lb_common::wire::transport::{SCTP, TCP, TCP_HEADER, UDP, UDP_HEADER};
use lb_common::wire::{Packet, View, ipv4, ipv6, sctp};
use lb_ebpf::helpers;
use lb_ebpf::packet::Frame;

use super::aside::answer;
use super::tunnel::Stand;
use super::{nat, packet, reply};
use crate::family::{Family, V4, V6};
use crate::maps::reals::Chosen;
use crate::maps::replies::Row;
use crate::maps::{fragments, settings};

/// What a fragment says of itself.
struct Fragment {
    /// Names the packet that it is part of.
    tag: u64,
    /// Transport protocol of that packet.
    protocol: u8,
    /// Bytes of the packet's payload before it.
    offset: u32,
}

/// Leaves the real of a first fragment for the others, with the bits of the flow's hash that they are to have in a tunnel.
#[inline(always)]
pub(crate) fn remember(ctx: *mut xdp_md, stand: Stand, real: u64, entropy: u32) {
    if stand.is_v6() {
        xvs_remember_v6(ctx, stand.0, real, u64::from(entropy));
    } else {
        xvs_remember_v4(ctx, stand.0, real, u64::from(entropy));
    }
}

/// Leaves the reply record of an answer's first fragment for the others.
#[inline(always)]
pub(crate) fn remember_answer(ctx: *mut xdp_md, stand: Stand, row: Row) {
    remember(ctx, stand, u64::from(row.record().real()) | ANSWER, row.number());
}

/// Leaves real and reply record of a first fragment under full NAT, for callers that are out of line themselves.
#[inline(always)]
pub(crate) fn remember_here<F: Family>(frame: &Frame, stand: Stand, real: u32, row: Row) {
    let at = stand.offset();
    let fragment = if F::IS_V6 { fragment_v6(frame, at) } else { fragment_v4(frame, at) };
    leave(fragment, u64::from(real), u64::from(row.number()));
}

/// Beside a real's number: the fragment is an answer's.
const ANSWER: u64 = 1 << 32;

/// [`remember`] for IPv4, by numbers. A leaf, as are the others here: on top of the pipeline's own stack, scheduling and fragments
/// would not both fit.
#[unsafe(no_mangle)]
#[inline(never)]
pub extern "C" fn xvs_remember_v4(ctx: *mut xdp_md, stand: u64, real: u64, entropy: u64) -> u32 {
    leave(fragment_v4(&packet(ctx), Stand(stand).offset()), real, entropy)
}

/// [`remember`] for IPv6, by numbers.
#[unsafe(no_mangle)]
#[inline(never)]
pub extern "C" fn xvs_remember_v6(ctx: *mut xdp_md, stand: u64, real: u64, entropy: u64) -> u32 {
    leave(fragment_v6(&packet(ctx), Stand(stand).offset()), real, entropy)
}

/// Where an IPv4 fragment without ports goes; numbers as for [`super::aside::ask`].
#[unsafe(no_mangle)]
#[inline(never)]
pub extern "C" fn xvs_fragment_v4(ctx: *mut xdp_md, stand: u64) -> u64 {
    let (frame, stand) = (packet(ctx), Stand(stand));
    let Ok(ip) = ipv4::parse(&frame, stand.offset()) else { return Verdict::BadHeader as u64 };
    answer(fragment_v4(&frame, stand.offset()).and_then(|fragment| place::<V4>(ctx, &frame, stand, &ip, &fragment)))
}

/// Where an IPv6 fragment without ports goes; numbers as for [`super::aside::ask`].
#[unsafe(no_mangle)]
#[inline(never)]
pub extern "C" fn xvs_fragment_v6(ctx: *mut xdp_md, stand: u64) -> u64 {
    let (frame, stand) = (packet(ctx), Stand(stand));
    let Ok(ip) = ipv6::parse(&frame, stand.offset()) else { return Verdict::BadHeader as u64 };
    answer(fragment_v6(&frame, stand.offset()).and_then(|fragment| place::<V6>(ctx, &frame, stand, &ip, &fragment)))
}

#[inline(always)]
fn fragment_v4(frame: &Frame, at: usize) -> Result<Fragment, Verdict> {
    let ip = ipv4::parse(frame, at)?;
    let header = frame.view::<{ ipv4::HEADER }>(at).ok_or(Verdict::Truncated)?;
    let packet = u64::from(header.raw_u16::<4>()) | u64::from(ip.protocol) << 16;
    let addresses = u64::from(ip.source) | u64::from(ip.destination) << 32;
    Ok(Fragment {
        tag: hash::fragment([addresses, packet, 0, 0, 0], settings::hash_key()),
        protocol: ip.protocol,
        offset: ip.fragment_offset(),
    })
}

#[inline(always)]
fn fragment_v6(frame: &Frame, at: usize) -> Result<Fragment, Verdict> {
    let ip = ipv6::parse(frame, at)?;
    // The upper bit tells the families apart.
    let packet = u64::from(ip.identification) | 1 << 63;
    let [s, d] = [ip.source, ip.destination];
    Ok(Fragment {
        tag: hash::fragment([s[0], s[1], d[0], d[1], packet], settings::hash_key()),
        protocol: ip.protocol,
        offset: ip.fragment_offset(),
    })
}

#[inline(always)]
fn leave(fragment: Result<Fragment, Verdict>, real: u64, entropy: u64) -> u32 {
    if let Ok(fragment) = fragment {
        let value = Value::new(real as u32, settings::now(), entropy as u32);
        fragments::remember(fragment.tag, if real & ANSWER != 0 { value.answer() } else { value });
    }
    0
}

#[inline(always)]
fn place<F: Family>(
    ctx: *mut xdp_md,
    frame: &Frame,
    stand: Stand,
    ip: &F::Header,
    fragment: &Fragment,
) -> Result<(u32, u32), Verdict> {
    let header = match fragment.protocol {
        TCP => TCP_HEADER as u32,
        UDP => UDP_HEADER as u32,
        SCTP => sctp::LEAST as u32,
        // The kernel's, as whole packets of these are.
        _ => return Err(stand.refused(Verdict::NotTransport)),
    };
    if fragment.offset == 0 {
        // The parser hands on those with ports as flows.
        return Err(stand.refused(Verdict::FragmentNoPorts));
    }
    if fragment.offset < header {
        return Err(stand.refused(Verdict::FragmentOverlap));
    }
    let Some(value) = fragments::find(fragment.tag) else {
        if !stand.is_to_vip() {
            // Most likely on its way through this host; the answers of a real next door come in order.
            return Err(Verdict::NotAService);
        }
        // SAFETY: the context of the running program.
        let ifindex = unsafe { helpers::ingress(ctx) };
        fragments::hand_over(ctx, fragment.tag, ifindex, frame.remaining(0) as u32);
        return Err(Verdict::FragmentEarly);
    };
    if value.is_answer() {
        return Err(reply::send_fragment::<F>(ctx, stand, ip, Row::of(value.entropy())));
    }
    let real = Chosen::of(value.real());
    match real.way.disposition() {
        disposition::FORWARD | disposition::DRAIN | disposition::KEEP => {}
        disposition::DROP => return Err(Verdict::RealDown),
        disposition::UNRESOLVED => return Err(Verdict::RealUnresolved),
        _ => return Err(Verdict::RealGone),
    }
    if method::is_translated(real.way.method()) {
        if F::length(ip) > real.way.mtu() {
            return Err(Verdict::TooBig);
        }
        nat::translate_fragment::<F>(frame, stand, ip, real, Row::of(value.entropy()))?;
    }
    Ok((value.real(), value.entropy()))
}
