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
use lb_common::abi::real::disposition;
use lb_common::abi::verdict::Verdict;
use lb_common::algo::hash;
use lb_common::wire::transport::{TCP, TCP_HEADER, UDP, UDP_HEADER};
use lb_common::wire::{Packet, View, ipv4, ipv6};
use lb_ebpf::helpers;
use lb_ebpf::packet::Frame;

use super::aside::answer;
use super::packet;
use super::tunnel::Stand;
use crate::maps::reals::Chosen;
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
    let frame = packet(ctx);
    answer(fragment_v4(&frame, Stand(stand).offset()).and_then(|fragment| place(ctx, &frame, &fragment)))
}

/// Where an IPv6 fragment without ports goes; numbers as for [`super::aside::ask`].
#[unsafe(no_mangle)]
#[inline(never)]
pub extern "C" fn xvs_fragment_v6(ctx: *mut xdp_md, stand: u64) -> u64 {
    let frame = packet(ctx);
    answer(fragment_v6(&frame, Stand(stand).offset()).and_then(|fragment| place(ctx, &frame, &fragment)))
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
        fragments::remember(fragment.tag, Value::new(real as u32, settings::now(), entropy as u32));
    }
    0
}

#[inline(always)]
fn place(ctx: *mut xdp_md, frame: &Frame, fragment: &Fragment) -> Result<(u32, u32), Verdict> {
    let header = match fragment.protocol {
        TCP => TCP_HEADER as u32,
        UDP => UDP_HEADER as u32,
        // The kernel's, as whole packets of these are.
        _ => return Err(Verdict::NotTransport),
    };
    if fragment.offset == 0 {
        // The parser hands on those with ports as flows.
        return Err(Verdict::FragmentNoPorts);
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
    match Chosen::of(value.real()).way.disposition() {
        disposition::FORWARD | disposition::DRAIN => Ok((value.real(), value.entropy())),
        disposition::DROP => Err(Verdict::RealDown),
        disposition::UNRESOLVED => Err(Verdict::RealUnresolved),
        _ => Err(Verdict::RealGone),
    }
}
