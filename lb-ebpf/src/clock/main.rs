//! The clock's object: the kernel's jiffies for user space. It has no maps, so it can run before any table exists.
#![no_std]
#![no_main]
#![deny(unsafe_code)]
#![expect(missing_docs, unreachable_pub, reason = "what #[xdp] makes of an entry")]

use aya_ebpf::macros::xdp;
use aya_ebpf::programs::XdpContext;

/// The low 32 bits of the kernel's jiffies, through `BPF_PROG_TEST_RUN`: last-seen stamps are in this clock.
#[xdp]
pub fn xvs_clock(_ctx: XdpContext) -> u32 {
    lb_ebpf::helpers::jiffies() as u32
}

#[panic_handler]
fn panic(_: &core::panic::PanicInfo) -> ! {
    loop {}
}

#[expect(unsafe_code, reason = "the kernel reads the licence from a section of this name")]
#[unsafe(link_section = "license")]
#[unsafe(no_mangle)]
static LICENSE: [u8; 13] = *b"Dual MIT/GPL\0";
