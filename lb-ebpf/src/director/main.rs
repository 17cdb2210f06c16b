//! The director's object: entries only. A packet's whole life is in [`pipeline`].
#![no_std]
#![no_main]
#![deny(unsafe_code)]
#![expect(missing_docs, unreachable_pub, clippy::needless_pass_by_value, reason = "what #[xdp] makes of an entry")]

mod family;
mod maps;
mod pipeline;
mod stage;

use aya_ebpf::macros::xdp;
use aya_ebpf::programs::XdpContext;

/// The balancer.
#[xdp]
#[inline(always)]
pub fn xvs(ctx: XdpContext) -> u32 {
    pipeline::run(ctx.ctx)
}

#[panic_handler]
fn panic(_: &core::panic::PanicInfo) -> ! {
    loop {}
}

#[expect(unsafe_code, reason = "the kernel reads the licence from a section of this name")]
#[unsafe(link_section = "license")]
#[unsafe(no_mangle)]
static LICENSE: [u8; 13] = *b"Dual MIT/GPL\0";
