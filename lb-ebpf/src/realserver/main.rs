//! The real server's object: entries only.
#![no_std]
#![no_main]
#![deny(unsafe_code)]
#![expect(missing_docs, unreachable_pub, clippy::needless_pass_by_value, reason = "what #[xdp] makes of an entry")]

mod decap;

use aya_ebpf::bindings::xdp_action;
use aya_ebpf::macros::xdp;
use aya_ebpf::programs::XdpContext;

/// Takes the outer header off tunnelled packets, and passes everything.
#[xdp]
pub fn xvs_decap(ctx: XdpContext) -> u32 {
    decap::run(ctx.ctx)
}

/// Passes everything: a veth device takes frames from XDP_TX and redirects only while its peer runs an XDP program.
#[xdp]
pub fn xvs_pass(_ctx: XdpContext) -> u32 {
    xdp_action::XDP_PASS
}

#[panic_handler]
fn panic(_: &core::panic::PanicInfo) -> ! {
    loop {}
}

#[expect(unsafe_code, reason = "the kernel reads the licence from a section of this name")]
#[unsafe(link_section = "license")]
#[unsafe(no_mangle)]
static LICENSE: [u8; 13] = *b"Dual MIT/GPL\0";
