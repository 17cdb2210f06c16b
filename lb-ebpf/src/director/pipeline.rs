//! A packet's whole life, in order: parse, service, connection (or a new one by the scheduler), forward, account.
//!
//! Each line of [`balance`] is a stage in `stage/`. A stage that ends the life says so by its [`Verdict`]; every packet ends in
//! exactly one, counted here and nowhere else.

use core::marker::PhantomData;

use aya_ebpf::bindings::{xdp_action, xdp_md};
use lb_common::abi::fragment::handed;
use lb_common::abi::real::{method, option};
use lb_common::abi::verdict::{Action, Verdict};
use lb_common::wire::ethernet;
use lb_common::wire::parse::{Flow, Then};
use lb_ebpf::packet::Frame;

use crate::family::{Family, V4, V6};
use crate::maps::reals::Chosen;
use crate::stage::aside::Sent;
use crate::stage::tunnel::Stand;
use crate::stage::{account, aside, connection, forward, nat, reply, schedule, service};

/// Runs the balancer on the context's frame and returns what the kernel is to do with it.
#[inline(always)]
pub(crate) fn run(ctx: *mut xdp_md) -> u32 {
    let verdict = match frame(ctx) {
        Ok(action) => return action,
        Err(verdict) => verdict,
    };
    account::ended(verdict);
    match verdict.action() {
        Action::Drop => xdp_action::XDP_DROP,
        Action::Pass => xdp_action::XDP_PASS,
        // An answer of our own. What goes to a real has left above.
        Action::Tx | Action::Redirect => xdp_action::XDP_TX,
    }
}

#[inline(always)]
fn frame(ctx: *mut xdp_md) -> Result<u32, Verdict> {
    let packet = crate::stage::packet(ctx);
    let link = ethernet::parse(&packet)?;
    match link.ethertype {
        ethernet::IPV4 => parse_and_balance::<V4>(ctx, &packet, link.payload),
        ethernet::IPV6 => parse_and_balance::<V6>(ctx, &packet, link.payload),
        _ => Err(Verdict::NotIp),
    }
}

#[inline(always)]
fn parse_and_balance<F: Family>(ctx: *mut xdp_md, packet: &Frame, offset: usize) -> Result<u32, Verdict> {
    F::parse(packet, offset, Parsed::<F> { ctx, packet, offset, family: PhantomData })
}

/// A packet whose headers have been read.
struct Parsed<'a, F> {
    ctx: *mut xdp_md,
    packet: &'a Frame,
    offset: usize,
    family: PhantomData<F>,
}

impl<F: Family> Then<F::Header> for Parsed<'_, F> {
    type Out = u32;

    #[inline(always)]
    fn flow(self, flow: Flow<F::Header>) -> Result<u32, Verdict> {
        balance::<F>(self.ctx, self.packet, &flow, self.offset)
    }

    #[inline(always)]
    fn unbalanced(self, ip: F::Header) -> Result<u32, Verdict> {
        if !F::is_vip(&ip) {
            return Err(Verdict::NotAService);
        }
        let stand = Stand::new(self.offset, F::IS_V6);
        let Sent { real, entropy } = aside::ask(self.ctx, stand, F::is_fragment(&ip))?;
        send(self.ctx, &crate::stage::packet(self.ctx), F::length(&ip), real, u64::from(entropy), stand)
    }
}

#[inline(always)]
fn balance<F: Family>(ctx: *mut xdp_md, packet: &Frame, flow: &Flow<F::Header>, offset: usize) -> Result<u32, Verdict> {
    let Some(target) = service::lookup::<F>(flow) else {
        return reply::send::<F>(ctx, packet, flow, offset);
    };
    let stand = Stand::new(offset, F::IS_V6);
    let place = connection::Place::<F>::of(F::key(flow), target.service());
    let real = match connection::follow(ctx, flow, &place, stand)? {
        Some(real) => real,
        None => schedule::new_connection(ctx, flow, target, &place, stand)?,
    };
    if method::is_translated(real.entry.way().method()) {
        return translate_and_send::<F>(ctx, packet, flow, real, stand);
    }
    send(ctx, packet, F::length(&flow.ip), real, place.hash, stand)
}

#[inline(always)]
fn translate_and_send<F: Family>(
    ctx: *mut xdp_md,
    packet: &Frame,
    flow: &Flow<F::Header>,
    real: Chosen,
    stand: Stand,
) -> Result<u32, Verdict> {
    let length = F::length(&flow.ip);
    if real.entry.end().options() & option::HELPER != 0 {
        return Err(nat::hand_over(ctx, packet, handed::FROM_CLIENT));
    }
    let fits = nat::fits::<F>(real.entry);
    if length > fits {
        return Err(forward::tell_too_big(ctx, stand, fits));
    }
    let verdict = nat::translate::<F>(ctx, packet, flow, real, stand)?;
    forward::write_macs(&crate::stage::packet(ctx), real.entry)?;
    leave(ctx, length, real, verdict)
}

#[inline(always)]
fn send(
    ctx: *mut xdp_md,
    packet: &Frame,
    length: u32,
    real: Chosen,
    flow_hash: u64,
    stand: Stand,
) -> Result<u32, Verdict> {
    let verdict = forward::to_real(ctx, packet, length, real, flow_hash, stand)?;
    leave(ctx, length, real, verdict)
}

/// The frame is ready for its real.
#[inline(always)]
fn leave(ctx: *mut xdp_md, length: u32, real: Chosen, verdict: Verdict) -> Result<u32, Verdict> {
    if forward::came_in_by(ctx, real.entry.ifindex()) {
        account::forwarded(real.number, length, verdict);
        Ok(xdp_action::XDP_TX)
    } else {
        account::forwarded(real.number, length, verdict.redirected());
        Ok(lb_ebpf::helpers::redirect(real.entry.ifindex()))
    }
}
