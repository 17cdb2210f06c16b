//! A packet's whole life, in order: parse, service, connection (or a new one by the scheduler), forward, account.
//!
//! Each line of [`balance`] is a stage in `stage/`. A stage that ends the life says so by its [`Verdict`]; every packet ends in
//! exactly one, counted by `stage/account.rs`: at the end of [`run`], or where it leaves for its real or for the kernel by a branch of its own.

use aya_ebpf::bindings::{xdp_action, xdp_md};
use lb_common::abi::fragment::ENTROPY_MASK;
use lb_common::abi::real::method;
use lb_common::abi::verdict::{Action, Verdict};
use lb_common::algo::hash;
use lb_common::wire::parse::{Flow, Parsed};
use lb_common::wire::{ethernet, plain};
use lb_ebpf::packet::Frame;

use crate::family::{Family, V4, V6};
use crate::maps::reals::Chosen;
use crate::maps::{limits, settings};
use crate::stage::aside::Sent;
use crate::stage::service::Whose;
use crate::stage::tunnel::Stand;
use crate::stage::{account, aside, connection, forward, fragment, nat, reply, schedule, service, steady};

/// Runs the balancer on the context's frame and returns what the kernel is to do with it.
#[inline(always)]
pub(crate) fn run(ctx: *mut xdp_md) -> u32 {
    let verdict = match frame(ctx) {
        Ok(action) => return u32::from(action),
        Err(verdict) => verdict,
    };
    account::ended(verdict);
    action(verdict)
}

/// What the kernel is to do with a packet that ends with a verdict. Two bits of a constant for each, not a chain of comparisons.
#[inline(always)]
fn action(verdict: Verdict) -> u32 {
    const EACH: u32 = 32;
    const ACTIONS: [u64; 2] = {
        let mut actions = [0; 2];
        let mut at = 0;
        while at < Verdict::ALL.len() {
            let action = match Verdict::ALL[at].action() {
                Action::Drop => xdp_action::XDP_DROP,
                Action::Pass => xdp_action::XDP_PASS,
                Action::Tx => xdp_action::XDP_TX,
                Action::Redirect => xdp_action::XDP_REDIRECT,
            };
            // From 1 on, since XDP_ABORTED is none of ours.
            actions[at / EACH as usize] |= (action as u64 - 1) << (2 * (at as u32 % EACH));
            at += 1;
        }
        actions
    };
    let number = verdict as u32;
    let actions = if number < EACH { ACTIONS[0] } else { ACTIONS[1] };
    (actions >> (2 * (number % EACH)) & 3) as u32 + xdp_action::XDP_DROP
}

/// What the kernel is to do with a packet that goes to its real. A byte, as the verdict is: the compiler keeps a result of two bytes in
/// two registers, but packs one of a byte and a word into one and takes it apart again, ten instructions a packet.
pub(crate) type ActionNumber = u8;

#[inline(always)]
fn frame(ctx: *mut xdp_md) -> Result<ActionNumber, Verdict> {
    let packet = crate::stage::packet(ctx);
    if let Some(flow) = plain::v4(&packet) {
        return plain_packet::<V4>(ctx, &packet, &flow);
    }
    if let Some(flow) = plain::v6(&packet) {
        return plain_packet::<V6>(ctx, &packet, &flow);
    }
    let link = ethernet::parse(&packet)?;
    match link.ethertype {
        ethernet::IPV4 => any_packet::<V4>(ctx, &packet, link.payload),
        ethernet::IPV6 => any_packet::<V6>(ctx, &packet, link.payload),
        _ => Err(Verdict::NotIp),
    }
}

/// What is left to do for a packet.
enum Onward {
    /// Nothing: what the kernel is to do with it.
    Gone(ActionNumber),
    To(Bound),
}

/// A packet that has a real.
struct Bound {
    real: Chosen,
    /// Of the packet, from its IP header on.
    length: u32,
    /// Of its flow; what [`hash::entropy`] makes of it varies in a tunnel.
    hash: u64,
}

/// Nearly every packet. What is below is compiled for it alone: its headers are where the compiler knows.
#[inline(always)]
fn plain_packet<F: Family>(ctx: *mut xdp_md, packet: &Frame, flow: &Flow<F::Header>) -> Result<ActionNumber, Verdict> {
    let stand = Stand::new(plain::OFFSET, F::IS_V6);
    match balance::<F, true>(ctx, packet, flow, stand, false)? {
        Onward::Gone(action) => Ok(action),
        Onward::To(bound) => send::<F, true>(ctx, packet, &bound, stand),
    }
}

/// A packet with tags, options, extension headers or no ports, a fragment, SCTP, or one that contradicts itself.
#[inline(always)]
fn any_packet<F: Family>(ctx: *mut xdp_md, packet: &Frame, offset: usize) -> Result<ActionNumber, Verdict> {
    let stand = Stand::new(offset, F::IS_V6);
    let (flow, is_first_fragment) = match F::read(packet, offset)? {
        Parsed::Flow(flow) => (flow, false),
        Parsed::FirstFragment(flow) => (flow, true),
        Parsed::Unbalanced(ip) => {
            let bound = ask_aside::<F>(ctx, &ip, stand)?;
            return send::<F, false>(ctx, packet, &bound, stand);
        }
    };
    // The verifier walks what follows once, not once for each answer.
    let is_first_fragment = limits::forgotten(u64::from(is_first_fragment)) != 0;
    let mut bound = match balance::<F, false>(ctx, packet, &flow, stand, is_first_fragment)? {
        Onward::Gone(action) => return Ok(action),
        Onward::To(bound) => bound,
    };
    if is_first_fragment {
        // All fragments of a packet leave alike, so that a real's NIC gives them to one queue.
        let entropy = hash::entropy(bound.hash) & ENTROPY_MASK;
        fragment::remember(ctx, stand, bound.real.number, entropy);
        bound.hash = u64::from(entropy);
    }
    send::<F, false>(ctx, packet, &bound, stand)
}

/// The real of a packet without ports.
#[inline(always)]
fn ask_aside<F: Family>(ctx: *mut xdp_md, ip: &F::Header, stand: Stand) -> Result<Bound, Verdict> {
    let stand = if F::is_vip(ip) {
        stand
    } else if settings::has_replies() {
        stand.not_to_vip()
    } else {
        return Err(Verdict::NotAService);
    };
    let Sent { real, entropy } = aside::ask(ctx, stand, F::is_fragment(ip))?;
    Ok(Bound { real, length: F::length(ip), hash: u64::from(entropy) })
}

#[inline(always)]
fn balance<F: Family, const PLAIN: bool>(
    ctx: *mut xdp_md,
    packet: &Frame,
    flow: &Flow<F::Header>,
    stand: Stand,
    is_first_fragment: bool,
) -> Result<Onward, Verdict> {
    let service = match service::lookup::<F>(flow) {
        Whose::Service(service) => service,
        Whose::Others => return Err(reply::send::<F>(ctx, flow, stand, is_first_fragment)),
        Whose::Nobodys => return Ok(Onward::Gone(account::nobodys())),
    };
    let now = settings::now();
    let place = service.place::<F>(flow);
    let found = connection::find(&place);
    if PLAIN
        && let Some(found) = &found
        && let Some(action) = steady::send::<F>(ctx, packet, flow, found, place.hash, now)?
    {
        return Ok(Onward::Gone(action));
    }
    let real = match found {
        Some(found) => connection::follow(ctx, flow, service.target, &place, &found, stand, now)?,
        None => None,
    };
    let real = match real {
        Some(real) => real,
        None => schedule::new_connection::<F>(ctx, service.target, stand)?,
    };
    if method::is_translated(real.way.method()) {
        return Err(nat::send::<F>(ctx, flow, real, stand, is_first_fragment));
    }
    Ok(Onward::To(Bound { real, length: F::length(&flow.ip), hash: place.hash }))
}

/// Sends a packet to its real, or tells its sender that it is too big.
#[inline(always)]
fn send<F: Family, const PLAIN: bool>(
    ctx: *mut xdp_md,
    packet: &Frame,
    bound: &Bound,
    stand: Stand,
) -> Result<ActionNumber, Verdict> {
    let Bound { real, length, hash } = *bound;
    match forward::to_real::<F, PLAIN>(ctx, packet, length, real, hash, stand) {
        Err(Verdict::TooBig) => Err(forward::too_big(ctx, stand, real.way)),
        other => Ok(forward::leave(ctx, real, length, other?)),
    }
}
