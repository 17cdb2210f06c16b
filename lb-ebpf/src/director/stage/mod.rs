//! One file a stage, in the order of [`crate::pipeline::run`].
#![expect(unsafe_code, reason = "the context's frame is taken here, for the pipeline")]

use core::marker::PhantomData;

use aya_ebpf::bindings::xdp_md;
use lb_common::abi::counters::VERDICT_SLOTS;
use lb_common::abi::verdict::Verdict;
use lb_common::wire::parse::{Flow, Then};
use lb_ebpf::immediate::masked;
use lb_ebpf::packet::Frame;

use self::tunnel::Stand;
use crate::family::Family;

pub(crate) mod account;
pub(crate) mod advance;
pub(crate) mod aside;
pub(crate) mod clamp;
pub(crate) mod connection;
pub(crate) mod cross;
pub(crate) mod enter;
pub(crate) mod error;
pub(crate) mod forward;
pub(crate) mod fragment;
pub(crate) mod full_nat;
pub(crate) mod inexact;
pub(crate) mod nat;
pub(crate) mod reply;
pub(crate) mod room;
pub(crate) mod route;
pub(crate) mod schedule;
pub(crate) mod service;
pub(crate) mod steady;
pub(crate) mod template;
pub(crate) mod tie;
pub(crate) mod toa;
pub(crate) mod too_big;
pub(crate) mod tunnel;

/// A number that a function out of line returns is a real's, if it has this bit; otherwise a verdict's.
pub(crate) const REAL: u32 = 1 << 24;
/// Beside a real: the connection's tie has to be looked at.
pub(crate) const TIE: u32 = 1 << 25;

/// A result by number.
#[inline(always)]
pub(crate) fn number(result: Result<u32, Verdict>) -> u32 {
    match result {
        Ok(number) => number,
        Err(verdict) => verdict as u32,
    }
}

/// The verdict with a number that a function out of line has returned.
#[inline(always)]
pub(crate) fn verdict(number: u32) -> Verdict {
    Verdict::of(masked::<{ VERDICT_SLOTS - 1 }>(number)).unwrap_or(Verdict::Internal)
}

/// The frame of the running program's context.
#[inline(always)]
pub(crate) fn packet(ctx: *mut xdp_md) -> Frame {
    // SAFETY: the pipeline hands on the context that the kernel gave to the entry.
    unsafe { Frame::new(ctx) }
}

/// Reads the packet at `stand` once more, for functions that run by themselves.
#[inline(always)]
pub(crate) fn flow<F: Family>(ctx: *mut xdp_md, stand: Stand) -> Result<Flow<F::Header>, Verdict> {
    let Flow { ip, transport } = F::parse(&packet(ctx), stand.offset(), Again::<F>(PhantomData))?;
    Ok(Flow { ip: F::settled(&ip), transport })
}

struct Again<F>(PhantomData<F>);

impl<F: Family> Then<F::Header> for Again<F> {
    type Out = Flow<F::Header>;

    #[inline(always)]
    fn flow(self, flow: Flow<F::Header>) -> Result<Flow<F::Header>, Verdict> {
        Ok(flow)
    }

    #[inline(always)]
    fn first_fragment(self, flow: Flow<F::Header>) -> Result<Flow<F::Header>, Verdict> {
        Ok(flow)
    }

    #[inline(always)]
    fn unbalanced(self, _: F::Header) -> Result<Flow<F::Header>, Verdict> {
        Err(Verdict::NatUnsuited)
    }
}
