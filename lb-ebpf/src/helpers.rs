//! The kernel's helpers that we call, each once.
#![expect(unsafe_code, reason = "helpers are foreign functions of the kernel")]

use aya_ebpf::bindings::xdp_md;
use aya_ebpf::cty::c_void;
use aya_ebpf::helpers::generated;

/// The kernel's tick counter. The verifier turns the call into one load.
#[inline(always)]
pub fn jiffies() -> u64 {
    // SAFETY: no arguments, no preconditions.
    unsafe { generated::bpf_jiffies64() }
}

/// The CPU that runs the program. Inlined by kernels from 6.10 on.
#[inline(always)]
pub fn cpu() -> u64 {
    // SAFETY: the number of the helper, which gives a whole register: as the 32 bits of the generated declaration it would be made wider by
    // one more instruction.
    let number = unsafe { core::mem::transmute::<usize, unsafe extern "C" fn() -> u64>(GET_SMP_PROCESSOR_ID) };
    // SAFETY: no arguments, no preconditions.
    unsafe { number() }
}

/// `BPF_FUNC_get_smp_processor_id`.
const GET_SMP_PROCESSOR_ID: usize = 8;

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

/// Moves the frame's end by `delta` bytes; negative cuts. False when it cannot be. Frames of the context that were taken before are
/// void afterwards.
///
/// # Safety
/// As [`adjust_head`].
#[inline(always)]
pub unsafe fn adjust_tail(ctx: *mut xdp_md, delta: i32) -> bool {
    // SAFETY: the caller's promise.
    unsafe { generated::bpf_xdp_adjust_tail(ctx, delta) == 0 }
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

/// Calls `step` with 0, 1, ... below `steps` until it returns false (`bpf_loop`, kernel 5.17).
#[inline(always)]
pub fn repeat<F: FnMut(u32) -> bool>(steps: u32, mut step: F) {
    extern "C" fn call<F: FnMut(u32) -> bool>(index: u64, step: *mut F) -> i64 {
        // SAFETY: the kernel hands back the pointer to the closure below, which lives until `bpf_loop` returns.
        let go_on = unsafe { (*step)(index as u32) };
        i64::from(!go_on)
    }
    let callback: extern "C" fn(u64, *mut F) -> i64 = call::<F>;
    // SAFETY: `callback` has the type that the kernel calls, and `step` outlives the call.
    unsafe { generated::bpf_loop(steps, callback as *mut c_void, (&raw mut step).cast(), 0) };
}
