//! The kernel's helpers that we call, each once.
#![expect(unsafe_code, reason = "helpers are foreign functions of the kernel")]

use aya_ebpf::bindings::xdp_md;
use aya_ebpf::helpers::generated;

/// The kernel's tick counter. The verifier turns the call into one load.
#[inline(always)]
pub fn jiffies() -> u64 {
    // SAFETY: no arguments, no preconditions.
    unsafe { generated::bpf_jiffies64() }
}

/// The CPU that runs the program. Inlined by kernels from 6.10 on.
#[inline(always)]
pub fn cpu() -> u32 {
    // SAFETY: no arguments, no preconditions.
    unsafe { generated::bpf_get_smp_processor_id() }
}

/// Moves the frame's head by `delta` bytes; negative makes room in front. False when there is no room. Frames of the context that
/// were taken before are void afterwards.
///
/// # Safety
/// `ctx` must be the context that the kernel gave to the running program.
#[inline(always)]
pub unsafe fn adjust_head(ctx: *mut xdp_md, delta: i32) -> bool {
    // SAFETY: the caller's promise.
    unsafe { generated::bpf_xdp_adjust_head(ctx, delta) == 0 }
}

/// Asks the kernel to send the frame out of another interface; returns the action that the program must end with.
#[inline(always)]
pub fn redirect(ifindex: u32) -> u32 {
    // SAFETY: any interface number is allowed, an unknown one makes the kernel drop the frame.
    unsafe { generated::bpf_redirect(ifindex, 0) as u32 }
}

/// Interface that the frame came in by.
///
/// # Safety
/// `ctx` must be the context that the kernel gave to the running program.
#[inline(always)]
pub unsafe fn ingress(ctx: *mut xdp_md) -> u32 {
    // SAFETY: the caller's promise.
    unsafe { (*ctx).ingress_ifindex }
}
