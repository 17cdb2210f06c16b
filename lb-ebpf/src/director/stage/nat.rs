//! Address translation on the way in: the destination becomes the real's address and port (NAT), and with full NAT the source becomes
//! one of the director's own. The way back is in [`super::reply`], the record that leads there is made in [`super::tie`].
#![expect(unsafe_code, reason = "the ingress interface is read from the context; a global function needs a name")]

use aya_ebpf::bindings::xdp_md;
use lb_common::abi::fragment::handed;
use lb_common::abi::real::{method, option};
use lb_common::abi::reply::Ends;
use lb_common::abi::verdict::Verdict;
use lb_common::wire::Packet;
use lb_common::wire::parse::Flow;
use lb_common::wire::translate::{Change, Ports};
use lb_ebpf::helpers;
use lb_ebpf::packet::Frame;

use super::tie::{Occasion, TIED, xvs_tie};
use super::tunnel::Stand;
use super::{account, cross, forward, fragment, full_nat, packet, toa};
use crate::family::{Family, V4, V6};
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
    rewrite::<F>(ctx, stand, &flow.ip, &change, By::real(real.number))
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
/// make the verifier walk all of it once for each number of extension headers. `by` says the same as `change`.
#[inline(always)]
pub(crate) fn rewrite<F: Family>(
    ctx: *mut xdp_md,
    stand: Stand,
    ip: &F::Header,
    change: &Change<F::Address>,
    by: By,
) -> Result<(), Verdict> {
    let frame = packet(ctx);
    match F::plain(&frame, stand.offset(), ip) {
        Some(ip) => F::translate(&frame, stand.offset(), &ip, change),
        None => translate_any(ctx, stand, by),
    }
}

/// By what a packet is translated, in one register.
#[derive(Clone, Copy)]
pub(crate) struct By(u64);

impl By {
    const RECORD: u64 = 1 << 32;
    const ANSWER: u64 = 1 << 33;

    /// NAT: the real with this number is its destination.
    #[inline(always)]
    pub(crate) fn real(number: u64) -> Self {
        Self(number)
    }
    /// Full NAT: the record has both ends.
    #[inline(always)]
    pub(crate) fn to_real(row: Row) -> Self {
        Self(u64::from(row.number()) | Self::RECORD)
    }
    /// The packet is the answer that the record is about.
    #[inline(always)]
    pub(crate) fn answer(row: Row) -> Self {
        Self(u64::from(row.number()) | Self::RECORD | Self::ANSWER)
    }
}

/// Translates a packet whose ports do not follow a plain IP header, or whose checksum is more work: [`Family::plain`] has none of it.
#[inline(always)]
pub(crate) fn translate_any(ctx: *mut xdp_md, stand: Stand, by: By) -> Result<(), Verdict> {
    match xvs_translate(ctx, stand.0, by.0) {
        TRANSLATED => Ok(()),
        number => Err(super::verdict(number)),
    }
}

/// What [`xvs_translate`] returns of a packet that is translated: above every verdict.
const TRANSLATED: u32 = 1 << 31;

/// Translates the packet at `stand` as [`By`] says. Returns [`TRANSLATED`] or the number of a verdict.
#[unsafe(no_mangle)]
#[inline(never)]
pub extern "C" fn xvs_translate(ctx: *mut xdp_md, stand: u64, by: u64) -> u32 {
    let stand = Stand(stand);
    let result = if stand.is_v6() { run::<V6>(ctx, stand, by) } else { run::<V4>(ctx, stand, by) };
    super::number(result.map(|()| TRANSLATED))
}

#[inline(always)]
fn run<F: Family>(ctx: *mut xdp_md, stand: Stand, by: u64) -> Result<(), Verdict> {
    let flow = super::flow::<F>(ctx, stand)?;
    let old = flow.transport.ports;
    let (source, destination, new) = if by & By::RECORD == 0 {
        let real = Chosen::of(by as u32).entry;
        let port = real.end().port();
        let new = if port == 0 { old } else { Ports::to(old, port).new };
        // The source becomes itself: kernel 6.1 would see an address read that was not written on the other way.
        (F::source(&flow.ip), F::address(real.address()), new)
    } else {
        let record = Row::of(by as u32).record();
        if by & By::ANSWER != 0 {
            let (client, ports) = F::client_of(record.key());
            (F::address(record.virtual_address()), client, ports.rotate_left(16))
        } else {
            let ports = Ends(record.ends()).ports();
            (F::address(record.destination()), F::address(record.source()), ports.rotate_left(16))
        }
    };
    let change = Change { source: Some(source), destination: Some(destination), ports: Some(Ports { old, new }) };
    F::translate_any(&packet(ctx), stand.offset(), &flow.ip, &change)
}

/// Bytes of the largest packet that fits the way to the real once it is translated.
#[inline(always)]
fn fits<F: Family>(real: Chosen) -> u32 {
    fits_between(real.way.mtu(), F::IS_V6, real.entry.end().is_v6())
}

/// Bytes of the largest packet that is at most `mtu` long when it has become one of the other family, or of the same.
#[inline(always)]
fn fits_between(mtu: u32, from_v6: bool, to_v6: bool) -> u32 {
    match (from_v6, to_v6) {
        (false, true) => mtu.saturating_sub(cross::GROWTH),
        (true, false) => mtu + cross::GROWTH,
        _ => mtu,
    }
}

/// The size, as a packet of the client's family, that both SYNs of a connection are cut to, `mtu` being what fits towards the client; 0 if
/// they stay as they are.
#[inline(always)]
pub(crate) fn segment_limit(record: RecordAt, mtu: u32, client_is_v6: bool) -> u32 {
    let real = Chosen::of(record.real()).entry;
    let options = real.end().options();
    if options & option::CLAMP == 0 {
        return 0;
    }
    let of_real = fits_between(real.way().mtu(), client_is_v6, real.end().is_v6());
    let limit = if mtu < of_real { mtu } else { of_real };
    if options & option::TOA != 0 { limit.saturating_sub(toa::MAX_LENGTH) } else { limit }
}

/// Makes sure that answers of the connection's real find back.
#[inline(always)]
pub(crate) fn tie(ctx: *mut xdp_md, stand: Stand, occasion: Occasion) -> Result<(), Verdict> {
    match xvs_tie(ctx, stand.0, occasion.0) {
        TIED => Ok(()),
        number => Err(super::verdict(number)),
    }
}
