//! Programs under the benchmark, each wrapped alike: [`wrap::run`] puts the next flow into the packet, calls the case, undoes what
//! it did to the frame's length, eight times a run. `empty` is the wrapper around nothing: what every other case is compared with.
#![no_std]
#![no_main]
#![deny(unsafe_code)]
#![expect(missing_docs, unreachable_pub, reason = "what #[xdp] makes of an entry")]

mod baseline;
#[path = "../director/family.rs"]
mod family;
#[path = "../director/maps/mod.rs"]
mod maps;
#[path = "../director/pipeline.rs"]
mod pipeline;
#[path = "../director/stage/mod.rs"]
mod stage;
mod translated;
mod usual;
mod wrap;

use aya_ebpf::bindings::xdp_md;
use aya_ebpf::macros::xdp;
use aya_ebpf::programs::XdpContext;

/// A case: a global function, so that all are called alike, and a program for each family that runs it in a wrapper.
macro_rules! cases {
    ($wrapper:ident: $($(#[$doc:meta])* $case:ident($ctx:ident) $body:block => $v4:ident $v6:ident;)*) => {$(
        $(#[$doc])*
        #[expect(unsafe_code, reason = "a global BPF function needs a name of its own in the object")]
        #[unsafe(no_mangle)]
        #[inline(never)]
        pub extern "C" fn $case($ctx: *mut xdp_md) -> u32 $body

        $(#[$doc])*
        #[xdp]
        #[inline(always)]
        pub fn $v4(ctx: XdpContext) -> u32 {
            wrap::$wrapper::<false>(ctx.ctx, $case)
        }

        $(#[$doc])*
        #[xdp]
        #[inline(always)]
        pub fn $v6(ctx: XdpContext) -> u32 {
            wrap::$wrapper::<true>(ctx.ctx, $case)
        }
    )*};
}

cases! {
    run:
    /// Nothing, but in a way that the compiler must call eight times.
    case_empty(ctx) { wrap::nothing(ctx) } => empty_v4 empty_v6;
    /// Only makes the frame longer: half of its cost is what the wrapper takes to undo a tunnel.
    case_longer(ctx) { wrap::longer(ctx) } => longer_v4 longer_v6;
    /// Parse, swap the MACs.
    case_mac_swap(ctx) { baseline::mac_swap(ctx) } => mac_swap_v4 mac_swap_v6;
    /// Parse, one lookup in the kernel's LRU_HASH, rewrite the MACs.
    case_lru(ctx) { baseline::lru(ctx) } => lru_v4 lru_v6;
    /// Parse, read one line of a table as large as the director's, rewrite the MACs: the least that a table of that size can cost.
    case_floor(ctx) { baseline::floor(ctx) } => floor_v4 floor_v6;
    /// The usual balancer: services in a HASH, connections in an LRU_HASH, reals in an ARRAY, two per-CPU counters, direct routing.
    case_usual(ctx) { usual::usual(ctx) } => usual_v4 usual_v6;
    /// The same, IP in IP.
    case_usual_ipip(ctx) { usual::tunnelled(ctx) } => usual_ipip_v4 usual_ipip_v6;
    /// Parse, put the flow into an LRU_HASH, rewrite the MACs.
    case_insert(ctx) { baseline::insert(ctx) } => insert_v4 insert_v6;
    /// The director.
    case_xvs(ctx) { pipeline::run(ctx) } => xvs_v4 xvs_v6;
}

cases! {
    in_order:
    /// Puts the flow into the usual balancer's table, before anything is timed.
    case_fill(ctx) { usual::fill(ctx) } => fill_v4 fill_v6;
    /// Takes the flow out of the LRU_HASH.
    case_forget(ctx) { baseline::forget(ctx) } => forget_v4 forget_v6;
}

/// More programs of a case, in wrappers of address translation.
macro_rules! translated {
    ($($(#[$doc:meta])* $wrapper:ident($case:ident) => $v4:ident $v6:ident;)*) => {$(
        $(#[$doc])*
        #[xdp]
        #[inline(always)]
        pub fn $v4(ctx: XdpContext) -> u32 {
            translated::$wrapper::<false>(ctx.ctx, $case)
        }

        $(#[$doc])*
        #[xdp]
        #[inline(always)]
        pub fn $v6(ctx: XdpContext) -> u32 {
            translated::$wrapper::<true>(ctx.ctx, $case)
        }
    )*};
}

translated! {
    /// The director, packets of clients.
    to_real(case_xvs) => xvs_to_real_v4 xvs_to_real_v6;
    /// The same, for the connections' first packets.
    learn(case_xvs) => xvs_learn_v4 xvs_learn_v6;
    /// The director, answers of reals.
    answer(case_xvs) => xvs_answer_v4 xvs_answer_v6;
    /// What both are compared with.
    to_real(case_empty) => empty_to_real_v4 empty_to_real_v6;
    /// As above.
    answer(case_empty) => empty_answer_v4 empty_answer_v6;
}

#[panic_handler]
fn panic(_: &core::panic::PanicInfo) -> ! {
    loop {}
}

#[expect(unsafe_code, reason = "the kernel reads the licence from a section of this name")]
#[unsafe(link_section = "license")]
#[unsafe(no_mangle)]
static LICENSE: [u8; 13] = *b"Dual MIT/GPL\0";
