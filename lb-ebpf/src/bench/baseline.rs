//! What a balancer costs that is made of the kernel's hash maps: from the bare MAC swap to the usual design. The same parsers as ours.
#![expect(unsafe_code, reason = "map values are reached through raw pointers")]

use aya_ebpf::bindings::{xdp_action, xdp_md};
use aya_ebpf::btf_maps::{Array, HashMap, LruHashMap, PerCpuArray};
use aya_ebpf::macros::btf_map;
use lb_common::abi::verdict::Verdict;
use lb_common::wire::parse::{self, Flow, Then};
use lb_common::wire::{Packet, View, ethernet, ipv4};
use lb_ebpf::packet::Frame;

use crate::wrap::frame;

/// Services: address, port and protocol to number.
#[btf_map]
static USUAL_SERVICES: HashMap<[u32; 2], u32, 16384> = HashMap::new();
/// Connections: addresses, ports, protocol to real.
#[btf_map]
static USUAL_CONNECTIONS: LruHashMap<[u32; 4], u32, 2> = LruHashMap::new();
/// Reals: destination and source MAC.
#[btf_map]
static USUAL_REALS: Array<[u64; 2], 1024> = Array::new();
/// Packets and bytes by service.
#[btf_map]
static USUAL_SERVICE_COUNTERS: PerCpuArray<[u64; 2], 16384> = PerCpuArray::new();
/// Packets and bytes by real.
#[btf_map]
static USUAL_REAL_COUNTERS: PerCpuArray<[u64; 2], 1024> = PerCpuArray::new();

/// Goes on with a TCP or UDP flow over IPv4.
struct Flows<F>(F);

impl<F: FnOnce(&Flow<ipv4::Header>) -> Option<()>> Then<ipv4::Header> for Flows<F> {
    type Out = ();

    #[inline(always)]
    fn flow(self, flow: Flow<ipv4::Header>) -> Result<(), Verdict> {
        (self.0)(&flow).ok_or(Verdict::NotAService)
    }

    #[inline(always)]
    fn first_fragment(self, _: Flow<ipv4::Header>) -> Result<(), Verdict> {
        Err(Verdict::NotTransport)
    }

    #[inline(always)]
    fn unbalanced(self, _: ipv4::Header) -> Result<(), Verdict> {
        Err(Verdict::NotTransport)
    }
}

#[inline(always)]
fn parse(packet: &Frame, then: impl FnOnce(&Flow<ipv4::Header>) -> Option<()>) -> Option<()> {
    let link = ethernet::parse(packet).ok()?;
    if link.ethertype != ethernet::IPV4 {
        return None;
    }
    parse::v4_then(packet, link.payload, Flows(then)).ok()
}

#[inline(always)]
fn action(is_sent: Option<()>) -> u32 {
    if is_sent.is_some() { xdp_action::XDP_TX } else { xdp_action::XDP_PASS }
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
fn write_macs(packet: &Frame, destination: u64, source: u64) -> Option<()> {
    let header = packet.view::<14>(0)?;
    header.set_u64::<0>(destination | (source << 48));
    header.set_u32::<8>((source >> 16) as u32);
    Some(())
}

#[inline(always)]
fn key(flow: &Flow<ipv4::Header>) -> [u32; 4] {
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

#[inline(always)]
pub(crate) fn usual(ctx: *mut xdp_md) -> u32 {
    let packet = frame(ctx);
    action(parse(&packet, |flow| {
        let port = u32::from(flow.transport.destination_port()) | u32::from(flow.ip.protocol) << 16;
        let service = USUAL_SERVICES.get_ptr([flow.ip.destination, port])?;
        // SAFETY: values of the maps; each CPU has its own counters.
        unsafe {
            let service = *service;
            let real = *USUAL_CONNECTIONS.get_ptr(key(flow))?;
            let macs = *USUAL_REALS.get_ptr(real)?;
            write_macs(&packet, macs[0], macs[1])?;
            count(USUAL_SERVICE_COUNTERS.get_ptr_mut(service)?, flow.ip.total_length);
            count(USUAL_REAL_COUNTERS.get_ptr_mut(real)?, flow.ip.total_length);
        }
        Some(())
    }))
}

/// # Safety
/// `counter` must be this CPU's value of a map.
#[inline(always)]
unsafe fn count(counter: *mut [u64; 2], length: u32) {
    // SAFETY: the caller's promise.
    unsafe {
        (*counter)[0] += 1;
        (*counter)[1] += u64::from(length);
    }
}
