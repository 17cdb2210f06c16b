//! One file a stage, in the order of [`crate::pipeline::run`].
#![expect(unsafe_code, reason = "the context's frame is taken here, for the pipeline")]

use aya_ebpf::bindings::xdp_md;
use lb_ebpf::packet::Frame;

pub(crate) mod account;
pub(crate) mod aside;
pub(crate) mod connection;
pub(crate) mod forward;
pub(crate) mod fragment;
pub(crate) mod full_nat;
pub(crate) mod nat;
pub(crate) mod reply;
pub(crate) mod route;
pub(crate) mod schedule;
pub(crate) mod service;
pub(crate) mod tie;
pub(crate) mod too_big;
pub(crate) mod tunnel;

/// The frame of the running program's context.
#[inline(always)]
pub(crate) fn packet(ctx: *mut xdp_md) -> Frame {
    // SAFETY: the pipeline hands on the context that the kernel gave to the entry.
    unsafe { Frame::new(ctx) }
}
