//! The benchmark's traffic: a generator, a real server that counts, and the forwarder that the director is compared with.
#![no_std]
#![no_main]
#![deny(unsafe_code)]
#![expect(missing_docs, unreachable_pub, clippy::needless_pass_by_value, reason = "what #[xdp] makes of an entry")]

mod generate;
mod real;
mod shape;

use aya_ebpf::bindings::xdp_action;
use aya_ebpf::macros::xdp;
use aya_ebpf::programs::XdpContext;
use lb_common::wire::Packet;
use lb_ebpf::helpers;
use lb_ebpf::packet::Frame;

/// The forwarder's bytes 0 to 7, 8 to 11, and its interface: constants, which user space sets before the program is loaded.
#[expect(unsafe_code, reason = "user space finds it by its name")]
#[unsafe(no_mangle)]
static FORWARD: [u64; 3] = [0; 3];

/// Sends the next frame.
#[xdp]
pub fn generate(ctx: XdpContext) -> u32 {
    generate::full_speed(ctx.ctx)
}

/// Sends the next frame of two streams.
#[xdp]
pub fn generate_in_turns(ctx: XdpContext) -> u32 {
    generate::in_turns(ctx.ctx)
}

/// Sends the next frame if it is due.
#[xdp]
pub fn generate_paced(ctx: XdpContext) -> u32 {
    generate::paced(ctx.ctx)
}

/// Counts what arrives.
#[xdp]
pub fn real_count(ctx: XdpContext) -> u32 {
    real::count(ctx.ctx)
}

/// Counts, and takes the time.
#[xdp]
pub fn real_time(ctx: XdpContext) -> u32 {
    real::time(ctx.ctx)
}

/// Counts, and sees whether flows stay with their reals.
#[xdp]
pub fn real_watch(ctx: XdpContext) -> u32 {
    real::watch(ctx.ctx)
}

/// Passes everything: what a veth device needs so that it takes frames that XDP sends.
#[xdp]
pub fn pass(_ctx: XdpContext) -> u32 {
    xdp_action::XDP_PASS
}

/// The bare forwarder: writes hardware addresses, sends by another interface, and knows nothing.
#[xdp]
pub fn forward(ctx: XdpContext) -> u32 {
    // SAFETY: a constant of this object; volatile, because user space has written another one.
    #[expect(unsafe_code, reason = "what user space has written must be read")]
    let [first, rest, interface] = unsafe { core::ptr::read_volatile(&raw const FORWARD) };
    // SAFETY: the context of the running program.
    #[expect(unsafe_code, reason = "the frame of the running program")]
    let frame = unsafe { Frame::new(ctx.ctx) };
    let Some(header) = frame.view::<14>(0) else { return xdp_action::XDP_ABORTED };
    header.set_u64::<0>(first);
    header.set_u32::<8>(rest as u32);
    helpers::redirect(interface as u32)
}

#[panic_handler]
fn panic(_: &core::panic::PanicInfo) -> ! {
    loop {}
}

#[expect(unsafe_code, reason = "the kernel reads the licence from a section of this name")]
#[unsafe(link_section = "license")]
#[unsafe(no_mangle)]
static LICENSE: [u8; 13] = *b"Dual MIT/GPL\0";
