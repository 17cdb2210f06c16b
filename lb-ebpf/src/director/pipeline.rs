//! A packet's whole life, in order: parse, service, connection (or a new one by the scheduler), forward, account.
//!
//! Each line of [`balance`] is a stage in `stage/`. A stage that ends the life says so by its [`Verdict`]; every packet ends in
//! exactly one, counted here and nowhere else.

use core::marker::PhantomData;

use aya_ebpf::bindings::{xdp_action, xdp_md};
use lb_common::abi::verdict::{Action, Verdict};
use lb_common::wire::ethernet;
use lb_common::wire::parse::{Flow, Then};
use lb_ebpf::packet::Frame;

use crate::family::{Family, V4, V6};
use crate::stage::forward::Exit;
use crate::stage::{account, connection, forward, schedule, service};

/// Runs the balancer on the context's frame and returns what the kernel is to do with it.
#[inline(always)]
pub(crate) fn run(ctx: *mut xdp_md) -> u32 {
    let exit = frame(ctx);
    account::verdict(exit.verdict);
    match exit.verdict.action() {
        Action::Tx => xdp_action::XDP_TX,
        Action::Redirect => lb_ebpf::helpers::redirect(exit.ifindex),
        Action::Pass => xdp_action::XDP_PASS,
        Action::Drop => xdp_action::XDP_DROP,
    }
}

#[inline(always)]
fn frame(ctx: *mut xdp_md) -> Exit {
    let packet = crate::stage::packet(ctx);
    let link = match ethernet::parse(&packet) {
        Ok(link) => link,
        Err(verdict) => return Exit::of(verdict),
    };
    let result = match link.ethertype {
        ethernet::IPV4 => parse_and_balance::<V4>(ctx, &packet, link.payload),
        ethernet::IPV6 => parse_and_balance::<V6>(ctx, &packet, link.payload),
        _ => Err(Verdict::NotIp),
    };
    match result {
        Ok(exit) => exit,
        Err(verdict) => Exit::of(verdict),
    }
}

#[inline(always)]
fn parse_and_balance<F: Family>(ctx: *mut xdp_md, packet: &Frame, offset: usize) -> Result<Exit, Verdict> {
    F::parse(packet, offset, Parsed::<F> { ctx, offset, family: PhantomData })
}

/// A packet whose headers have been read.
struct Parsed<F> {
    ctx: *mut xdp_md,
    offset: usize,
    family: PhantomData<F>,
}

impl<F: Family> Then<F::Header> for Parsed<F> {
    type Out = Exit;

    #[inline(always)]
    fn flow(self, flow: Flow<F::Header>) -> Result<Exit, Verdict> {
        balance::<F>(self.ctx, &flow, self.offset)
    }

    #[inline(always)]
    fn unbalanced(self, ip: F::Header, verdict: Verdict) -> Result<Exit, Verdict> {
        Err(service::unbalanced::<F>(&ip, verdict))
    }
}

#[inline(always)]
fn balance<F: Family>(ctx: *mut xdp_md, flow: &Flow<F::Header>, offset: usize) -> Result<Exit, Verdict> {
    let target = service::lookup::<F>(flow).ok_or(Verdict::NotAService)?;
    let place = connection::Place::<F>::of(flow, target.service());
    let real = match connection::follow(flow, &place)? {
        Some(real) => real,
        None => schedule::new_connection(flow, target, &place)?,
    };
    let exit = forward::to_real::<F>(ctx, flow, real, place.hash, offset)?;
    account::forwarded(target.service(), real, F::length(&flow.ip));
    Ok(exit)
}
