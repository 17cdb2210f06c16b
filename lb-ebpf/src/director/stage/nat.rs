//! Address translation on the way in: the destination becomes the real's address and port (NAT), and with full NAT the source becomes
//! one of the director's own. The way back is in [`super::reply`], the record that leads there is made in [`super::tie`].
#![expect(unsafe_code, reason = "the interface that the frame came in by is read from the context")]

use aya_ebpf::bindings::xdp_md;
use lb_common::abi::counters::VERDICT_SLOTS;
use lb_common::abi::fragment::handed;
use lb_common::abi::real::{method, option};
use lb_common::abi::reply::Ends;
use lb_common::abi::verdict::Verdict;
use lb_common::wire::Packet;
use lb_common::wire::parse::Flow;
use lb_common::wire::translate::{Change, Ports};
use lb_ebpf::helpers;
use lb_ebpf::immediate::masked;
use lb_ebpf::packet::Frame;

use super::tie::{TIED, xvs_tie};
use super::tunnel::Stand;
use super::{account, cross, forward, fragment, full_nat, packet, toa};
use crate::family::Family;
use crate::maps::fragments;
use crate::maps::reals::Chosen;
use crate::maps::replies::{RecordAt, Row};

/// Hands the packet to the daemon's helper. Returns the verdict.
#[inline(always)]
pub(crate) fn hand_over(ctx: *mut xdp_md, frame: &Frame, tag: u64) -> Verdict {
    // SAFETY: the context of the running program.
    let ifindex = unsafe { helpers::ingress(ctx) };
    fragments::hand_over(ctx, tag, ifindex, frame.remaining(0) as u32);
    Verdict::ToHelper
}

/// Translates the packet for its real and sends it there. Returns the verdict that its life ends with.
#[inline(always)]
pub(crate) fn send<F: Family>(
    ctx: *mut xdp_md,
    flow: &Flow<F::Header>,
    real: Chosen,
    stand: Stand,
    is_first_fragment: bool,
) -> Verdict {
    if real.entry.end().options() & option::HELPER != 0 {
        return hand_over(ctx, &packet(ctx), handed::FROM_CLIENT);
    }
    let (length, fits) = (F::length(&flow.ip), fits::<F>(real));
    if length > fits {
        return forward::tell_too_big(ctx, stand, fits);
    }
    if is_first_fragment && real.way.method() == method::NAT {
        fragment::remember(ctx, stand, real.number, 0);
    }
    if let Err(verdict) = translate::<F>(ctx, flow, real, stand) {
        return verdict;
    }
    leave(ctx, real, length)
}

/// Writes both MACs, counts, and says which way the translated packet goes.
#[inline(always)]
pub(crate) fn leave(ctx: *mut xdp_md, real: Chosen, length: u32) -> Verdict {
    if let Err(verdict) = forward::write_macs(&packet(ctx), real.entry, real.way) {
        return verdict;
    }
    account::carried(real.number, length);
    if forward::came_in_by(ctx, real.entry.ifindex()) {
        return Verdict::Nat;
    }
    helpers::redirect(real.entry.ifindex());
    Verdict::NatRedirect
}

#[inline(always)]
fn translate<F: Family>(ctx: *mut xdp_md, flow: &Flow<F::Header>, real: Chosen, stand: Stand) -> Result<(), Verdict> {
    if real.way.method() == method::FULL_NAT {
        return full_nat::translate::<F>(ctx, stand);
    }
    let port = real.entry.end().port();
    let old = flow.transport.ports;
    // A real of an any-port service has the port that the client asks for.
    let ports = if port == 0 { Ports { old, new: old } } else { Ports::to(old, port) };
    let change = Change { source: None, destination: Some(F::address(real.entry.address())), ports: Some(ports) };
    rewrite::<F>(&packet(ctx), stand.offset(), &flow.ip, &change)
}

/// Translates a later fragment, which has no ports; `row` is that of its packet's reply record, with full NAT.
#[inline(always)]
pub(crate) fn translate_fragment<F: Family>(
    frame: &Frame,
    stand: Stand,
    ip: &F::Header,
    real: Chosen,
    row: Row,
) -> Result<(), Verdict> {
    let mut change = Change { source: None, destination: Some(F::address(real.entry.address())), ports: None };
    if real.way.method() == method::FULL_NAT {
        let record = row.record();
        if Ends(record.ends()).is_v6() != F::IS_V6 || record.real() != real.number as u32 {
            return Err(Verdict::NatUnsuited);
        }
        change.source = Some(F::address(record.destination()));
    }
    F::translate(frame, stand.offset(), ip, &change)
}

/// Rewrites the packet. Where its transport header begins is found out once more: to carry the number through the whole pipeline would
/// make the verifier walk all of it once for each number of extension headers.
#[inline(always)]
pub(crate) fn rewrite<F: Family>(
    frame: &Frame,
    offset: usize,
    ip: &F::Header,
    change: &Change<F::Address>,
) -> Result<(), Verdict> {
    let ip = F::plain(frame, offset, ip).ok_or(Verdict::NatUnsuited)?;
    F::translate(frame, offset, &ip, change)
}

/// Bytes of the largest packet that fits the way to the real once it is translated.
#[inline(always)]
fn fits<F: Family>(real: Chosen) -> u32 {
    let mtu = real.way.mtu();
    match (F::IS_V6, real.entry.end().is_v6()) {
        (false, true) => mtu.saturating_sub(cross::GROWTH),
        (true, false) => mtu + cross::GROWTH,
        _ => mtu,
    }
}

/// The packet size that both SYNs of a connection are cut to, `mtu` being what fits towards the client; 0 if they stay as they are.
#[inline(always)]
pub(crate) fn segment_limit(record: RecordAt, mtu: u32, client_is_v6: bool) -> u32 {
    let real = Chosen::of(record.real()).entry;
    let options = real.end().options();
    if options & option::CLAMP == 0 {
        return 0;
    }
    let mut limit = if mtu < real.way().mtu() { mtu } else { real.way().mtu() };
    if real.end().is_v6() != client_is_v6 {
        // Each side sees its own header; the IPv6 one leaves less.
        limit = limit.saturating_sub(cross::GROWTH);
    }
    if options & option::TOA != 0 { limit.saturating_sub(toa::MAX_LENGTH) } else { limit }
}

/// Makes sure that answers of the connection's real find back. `is_new`: the connection has just been begun and is given up if they
/// would not.
#[inline(always)]
pub(crate) fn tie(ctx: *mut xdp_md, stand: Stand, is_new: bool) -> Result<(), Verdict> {
    match xvs_tie(ctx, stand.0, u64::from(is_new)) {
        TIED => Ok(()),
        number => Err(Verdict::of(masked::<{ VERDICT_SLOTS - 1 }>(number)).unwrap_or(Verdict::Internal)),
    }
}
