//! The way from the director to a client, for answers that come back through it: what the kernel's routing table says, or back to where
//! the client's packet came from.
#![expect(unsafe_code, reason = "the kernel's routing helpers take structures by pointer; global functions need names")]

use aya_ebpf::bindings::{bpf_fib_lookup, xdp_md};
use aya_ebpf::helpers::generated;
use lb_common::abi::real::option;
use lb_common::wire::{Packet, View, ethernet, ipv4, ipv6};
use lb_ebpf::helpers;
use lb_ebpf::packet::Frame;

use super::packet;
use super::tunnel::Stand;
use crate::maps::reals::Chosen;
use crate::maps::replies::Row;
use crate::maps::settings;

/// `AF_INET`, `AF_INET6`.
const INET: u64 = 2;
const INET6: u64 = 10;
/// Where the kernel does not tell an interface's MTU: that of Ethernet.
const ETHERNET_MTU: u32 = 1500;

/// Writes the way to the client of the IPv4 packet at `stand` into a row's record. Returns what [`super::clamp::xvs_clamp`] is to be told;
/// 0: nothing.
#[unsafe(no_mangle)]
#[inline(never)]
pub extern "C" fn xvs_route_v4(ctx: *mut xdp_md, stand: u64, row: u64) -> u32 {
    let frame = packet(ctx);
    let Some(back) = back(ctx, &frame) else { return 0 };
    let Some(ip) = frame.view::<{ ipv4::HEADER }>(Stand(stand).offset()) else { return 0 };
    let (client, service) = (u64::from(ip.raw_u32::<12>()), u64::from(ip.raw_u32::<16>()));
    write(ctx, stand, row, back, [INET | u64::from(ip.u8::<9>()) << 8, 0, service, 0, client, 0, 0, 0])
}

/// The same for IPv6.
#[unsafe(no_mangle)]
#[inline(never)]
pub extern "C" fn xvs_route_v6(ctx: *mut xdp_md, stand: u64, row: u64) -> u32 {
    let frame = packet(ctx);
    let Some(back) = back(ctx, &frame) else { return 0 };
    let Some(ip) = frame.view::<{ ipv6::HEADER }>(Stand(stand).offset()) else { return 0 };
    let (client, service) =
        ([ip.raw_u64::<8, 12>(), ip.raw_u64::<16, 20>()], [ip.raw_u64::<24, 28>(), ip.raw_u64::<32, 36>()]);
    write(ctx, stand, row, back, [INET6, 0, service[0], service[1], client[0], client[1], 0, 0])
}

/// The way that the packet came by, as records have it.
#[inline(always)]
fn back(ctx: *mut xdp_md, frame: &Frame) -> Option<[u64; 2]> {
    let link = frame.view::<{ ethernet::HEADER }>(0)?;
    let (first, second, third) = (link.raw_u32::<0>(), link.raw_u32::<4>(), link.raw_u32::<8>());
    // SAFETY: the context of the running program.
    let ingress = unsafe { helpers::ingress(ctx) };
    Some([
        u64::from((second >> 16) | (third << 16)) | u64::from((third >> 16) | (first << 16)) << 32,
        u64::from((first >> 16) | (second << 16)) | u64::from(ingress) << 32,
    ])
}

/// Asks, and writes the answer. A frame with a VLAN tag goes back by the way it came in any case: the kernel's answer names a VLAN
/// interface, which takes no frames from XDP.
#[inline(always)]
fn write(ctx: *mut xdp_md, stand: u64, row: u64, back: [u64; 2], mut query: [u64; 8]) -> u32 {
    query[1] = back[1] >> 32;
    let is_tagged = Stand(stand).offset() != ethernet::HEADER;
    let link = if is_tagged { None } else { ask(ctx, &mut query) };
    if link.is_none() {
        settings::note_unknown_route();
    }
    let link = link.unwrap_or(back);
    let mut mtu = 0u32;
    // SAFETY: `mtu` is a word that the helper reads and writes. Whatever it returns, it leaves the interface's MTU there.
    let _ = unsafe { generated::bpf_check_mtu(ctx.cast(), (link[1] >> 32) as u32, &raw mut mtu, 0, 0) };
    let mtu = if mtu == 0 { ETHERNET_MTU } else { mtu };
    let record = Row::of(row as u32).record();
    record.set_link_0(link[0]);
    record.set_link_1(link[1]);
    let goes_by_helper = Chosen::of(record.real()).entry.end().options() & option::HELPER != 0;
    record.set_mtu(u64::from(mtu) << if goes_by_helper { 32 } else { 0 });
    super::nat::segment_limit(record, mtu, Stand(stand).is_v6())
}

/// The kernel's routing and neighbour tables (`bpf_fib_lookup`, kernel 4.18). None unless they have a whole answer: no route, no
/// neighbour entry, or forwarding is switched off on the interface. `query` is a `struct bpf_fib_lookup`: family, transport protocol,
/// ports and length; interface and type of service; source and destination; VLAN and MACs.
#[inline(always)]
fn ask(ctx: *mut xdp_md, query: &mut [u64; 8]) -> Option<[u64; 2]> {
    const { assert!(size_of::<bpf_fib_lookup>() == 64) };
    // SAFETY: 64 bytes that live on.
    if unsafe { generated::bpf_fib_lookup(ctx.cast(), (&raw mut *query).cast(), 64, 0) } != 0 {
        return None;
    }
    // MACs at 52 (source) and 58 (destination); the interface at 8.
    let destination = query[7] >> 16;
    let source = query[6] >> 32 | (query[7] & 0xffff) << 32;
    let interface = query[1] & 0xffff_ffff;
    Some([destination | source << 48, source >> 16 | interface << 32])
}
