//! What others cost, with the parser that reads nearly every packet of ours ([`plain`]): the bare MAC swap, the kernel's LRU_HASH alone,
//! and the least that a table of the director's size can cost.
#![expect(unsafe_code, reason = "map values are reached through raw pointers")]

use aya_ebpf::bindings::{xdp_action, xdp_md};
use aya_ebpf::btf_maps::{Array, LruHashMap};
use aya_ebpf::macros::btf_map;
use lb_common::algo::hash;
use lb_common::wire::parse::Flow;
use lb_common::wire::{Packet, View, ipv4, ipv6, plain};
use lb_ebpf::packet::Frame;

use crate::wrap::{floor_lines, frame};

/// Connections: addresses, ports, protocol to real.
#[btf_map]
pub(crate) static USUAL_CONNECTIONS: LruHashMap<[u32; 4], u32, 2> = LruHashMap::new();
/// Cache lines, as many as the director's table of connections has.
#[btf_map]
static FLOOR: Array<[u64; 8], 1> = Array::new();
/// Packets that a baseline did not find what it looks for: a benchmark of misses says nothing.
#[btf_map]
static MISSED: Array<u64, 1> = Array::new();

/// Both families, as a balancer has to: whichever the frame says.
#[inline(always)]
pub(crate) fn parse_either(
    packet: &Frame,
    v4: impl FnOnce(&Flow<ipv4::Header>) -> Option<()>,
    v6: impl FnOnce(&Flow<ipv6::Header>) -> Option<()>,
) -> Option<()> {
    if let Some(flow) = plain::v4(packet) {
        return v4(&flow);
    }
    v6(&plain::v6(packet)?)
}

#[inline(always)]
fn parse(packet: &Frame, then: impl FnOnce(&Flow<ipv4::Header>) -> Option<()>) -> Option<()> {
    then(&plain::v4(packet)?)
}

#[inline(always)]
pub(crate) fn action(is_sent: Option<()>) -> u32 {
    if is_sent.is_some() {
        return xdp_action::XDP_TX;
    }
    if let Some(missed) = MISSED.get_ptr_mut(0) {
        // SAFETY: the map's only value; one CPU runs the benchmark.
        unsafe { *missed += 1 };
    }
    xdp_action::XDP_PASS
}

#[inline(always)]
pub(crate) fn mac_swap(ctx: *mut xdp_md) -> u32 {
    let packet = frame(ctx);
    action(parse(&packet, |_| {
        let header = packet.view::<14>(0)?;
        let (first, second, third) = (header.raw_u32::<0>(), header.raw_u32::<4>(), header.raw_u32::<8>());
        header.set_u32::<0>((second >> 16) | (third << 16));
        header.set_u32::<4>((third >> 16) | (first << 16));
        header.set_u32::<8>((first >> 16) | (second << 16));
        Some(())
    }))
}

#[inline(always)]
pub(crate) fn write_macs(packet: &Frame, destination: u64, source: u64) -> Option<()> {
    let header = packet.view::<14>(0)?;
    header.set_u64::<0>(destination | (source << 48));
    header.set_u32::<8>((source >> 16) as u32);
    Some(())
}

#[inline(always)]
pub(crate) fn key(flow: &Flow<ipv4::Header>) -> [u32; 4] {
    [flow.ip.source, flow.ip.destination, flow.transport.ports, u32::from(flow.ip.protocol)]
}

#[inline(always)]
pub(crate) fn lru(ctx: *mut xdp_md) -> u32 {
    let packet = frame(ctx);
    action(parse(&packet, |flow| {
        let real = USUAL_CONNECTIONS.get_ptr(key(flow))?;
        // SAFETY: a value of the map.
        let real = u64::from(unsafe { *real });
        write_macs(&packet, 0x0001_0000_0002 + real, 0x00fe_0000_0002)
    }))
}

/// One line of a table as large as the director's, picked by the flow's hash; the MACs wait for what it says.
#[inline(always)]
pub(crate) fn floor(ctx: *mut xdp_md) -> u32 {
    let packet = frame(ctx);
    action(parse(&packet, |flow| {
        let key = u64::from(flow.ip.source) | u64::from(flow.transport.ports) << 32;
        let hash = hash::flow_v4(key, [0x0123_4567_89ab_cdef, 0x0f1e_2d3c_4b5a_6979]);
        // The upper half of the hash, scaled to the number of lines.
        let line = FLOOR.get_ptr((((hash >> 32) * floor_lines()?) >> 32) as u32)?;
        // SAFETY: a value of the map.
        let word = unsafe { (*line)[0] };
        write_macs(&packet, 0x0001_0000_0002 | word, 0x00fe_0000_0002)
    }))
}

/// The kernel's LRU_HASH with each packet's flow put into it: the least that a new connection costs there.
#[inline(always)]
pub(crate) fn insert(ctx: *mut xdp_md) -> u32 {
    let packet = frame(ctx);
    action(parse(&packet, |flow| {
        USUAL_CONNECTIONS.insert(key(flow), real_of(flow.transport.ports), 0).ok()?;
        write_macs(&packet, 0x0001_0000_0002, 0x00fe_0000_0002)
    }))
}

/// The same flow taken out again, if it is there.
#[inline(always)]
pub(crate) fn forget(ctx: *mut xdp_md) -> u32 {
    let packet = frame(ctx);
    action(parse(&packet, |flow| {
        let _ = USUAL_CONNECTIONS.remove(key(flow));
        Some(())
    }))
}

/// One of sixteen reals, by the client's port: all get as many.
#[inline(always)]
pub(crate) fn real_of(ports: u32) -> u32 {
    (ports >> 8) & 15
}
