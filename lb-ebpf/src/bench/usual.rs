//! What a balancer costs that is made of the kernel's maps: services in a HASH, connections in an LRU_HASH, reals in an ARRAY, two
//! per-CPU counters. Direct routing of both families, and IP in IP with our own code for the outer header.
#![expect(unsafe_code, reason = "map values are reached through raw pointers, the frame's head is moved")]

use aya_ebpf::bindings::xdp_md;
use aya_ebpf::btf_maps::{Array, HashMap, LruHashMap, PerCpuArray};
use aya_ebpf::macros::btf_map;
use lb_common::wire::parse::Flow;
use lb_common::wire::tunnel::{Ends, IPV4_IN_IP, Inner, Shim, outer_v4};
use lb_common::wire::{Packet, ethernet, ipv4, ipv6};
use lb_ebpf::helpers;
use lb_ebpf::packet::Frame;

use crate::baseline::{USUAL_CONNECTIONS, action, key, parse_either, real_of, write_macs};
use crate::wrap::frame;

/// Services: address, port and protocol to number.
#[btf_map]
static USUAL_SERVICES: HashMap<[u32; 2], u32, 16384> = HashMap::new();
/// The same for IPv6.
#[btf_map]
static USUAL_SERVICES_V6: HashMap<[u32; 5], u32, 16384> = HashMap::new();
/// IPv6 connections: client's address, ports, number of the service. The service was looked up before, so its number stands for address
/// and protocol: 24 bytes, where both addresses would make it 40.
#[btf_map]
static USUAL_CONNECTIONS_V6: LruHashMap<[u32; 6], u32, 2> = LruHashMap::new();
/// Reals: destination and source MAC, outer source and destination.
#[btf_map]
static USUAL_REALS: Array<[u64; 3], 1024> = Array::new();
/// Packets and bytes by service.
#[btf_map]
static USUAL_SERVICE_COUNTERS: PerCpuArray<[u64; 2], 16384> = PerCpuArray::new();
/// Packets and bytes by real.
#[btf_map]
static USUAL_REAL_COUNTERS: PerCpuArray<[u64; 2], 1024> = PerCpuArray::new();

/// Direct routing.
#[inline(always)]
pub(crate) fn usual(ctx: *mut xdp_md) -> u32 {
    let packet = frame(ctx);
    let direct = |service, real, length| {
        let macs = real_entry(real)?;
        write_macs(&packet, macs[0], macs[1])?;
        count(service, real, length)
    };
    action(parse_either(
        &packet,
        |flow| {
            let service = service_v4(flow)?;
            // SAFETY: a value of the map.
            let real = unsafe { *USUAL_CONNECTIONS.get_ptr(key(flow))? };
            direct(service, real, flow.ip.total_length)
        },
        |flow| {
            let service = service_v6(flow)?;
            // SAFETY: a value of the map.
            let real = unsafe { *USUAL_CONNECTIONS_V6.get_ptr(key_v6(flow, service))? };
            direct(service, real, flow.ip.total_length)
        },
    ))
}

/// IP in IP.
#[inline(always)]
pub(crate) fn tunnelled(ctx: *mut xdp_md) -> u32 {
    let packet = frame(ctx);
    let in_ip = |flow: &Flow<ipv4::Header>| {
        let service = service_v4(flow)?;
        // SAFETY: a value of the map.
        let real = unsafe { *USUAL_CONNECTIONS.get_ptr(key(flow))? };
        count(service, real, flow.ip.total_length)?;
        put_v4(ctx, real_entry(real)?)
    };
    action(parse_either(&packet, in_ip, |_| None))
}

/// An outer IPv4 header in front: nothing of the packet is kept over the call, as in the director.
#[inline(always)]
fn put_v4(ctx: *mut xdp_md, real: [u64; 3]) -> Option<()> {
    // SAFETY: the context of the running program; no frame taken before is used after.
    if !unsafe { helpers::adjust_head(ctx, -(ipv4::HEADER as i32)) } {
        return None;
    }
    let packet: Frame = frame(ctx);
    write_macs(&packet, real[0], real[1])?;
    let inner = Inner::v4(&packet, ethernet::HEADER + ipv4::HEADER).ok()?;
    let ends = Ends { source: [real[2] as u32], destination: [(real[2] >> 32) as u32], vary: 0 };
    let words = outer_v4(&inner, &Shim::none(IPV4_IN_IP), &ends, 0);
    let view = packet.view::<22>(ethernet::HEADER - 2)?;
    view.set_u16::<0>(ethernet::IPV4.to_be());
    view.set_u32::<2>(words[0]);
    view.set_u32::<6>(words[1]);
    view.set_u32::<10>(words[2]);
    view.set_u32::<14>(words[3]);
    view.set_u32::<18>(words[4]);
    Some(())
}

/// Puts the packet's flow into the table.
#[inline(always)]
pub(crate) fn fill(ctx: *mut xdp_md) -> u32 {
    let packet = frame(ctx);
    action(parse_either(
        &packet,
        |flow| USUAL_CONNECTIONS.insert(key(flow), real_of(flow.transport.ports), 0).ok(),
        |flow| {
            let key = key_v6(flow, service_v6(flow)?);
            USUAL_CONNECTIONS_V6.insert(key, real_of(flow.transport.ports), 0).ok()
        },
    ))
}

#[inline(always)]
fn service_v4(flow: &Flow<ipv4::Header>) -> Option<u32> {
    let port = u32::from(flow.transport.destination_port()) | u32::from(flow.ip.protocol) << 16;
    let service = USUAL_SERVICES.get_ptr([flow.ip.destination, port])?;
    // SAFETY: a value of the map.
    Some(unsafe { *service })
}

#[inline(always)]
fn service_v6(flow: &Flow<ipv6::Header>) -> Option<u32> {
    let port = u32::from(flow.transport.destination_port()) | u32::from(flow.ip.protocol) << 16;
    let [first, second] = flow.ip.destination;
    let key = [first as u32, (first >> 32) as u32, second as u32, (second >> 32) as u32, port];
    let service = USUAL_SERVICES_V6.get_ptr(key)?;
    // SAFETY: a value of the map.
    Some(unsafe { *service })
}

#[inline(always)]
fn key_v6(flow: &Flow<ipv6::Header>, service: u32) -> [u32; 6] {
    let [first, second] = flow.ip.source;
    [first as u32, (first >> 32) as u32, second as u32, (second >> 32) as u32, flow.transport.ports, service]
}

#[inline(always)]
fn real_entry(real: u32) -> Option<[u64; 3]> {
    // SAFETY: a value of the map.
    Some(unsafe { *USUAL_REALS.get_ptr(real)? })
}

/// Packets and bytes of service and real.
#[inline(always)]
fn count(service: u32, real: u32, length: u32) -> Option<()> {
    let counters = [USUAL_SERVICE_COUNTERS.get_ptr_mut(service)?, USUAL_REAL_COUNTERS.get_ptr_mut(real)?];
    for counter in counters {
        // SAFETY: values of the maps; each CPU has its own.
        unsafe {
            (*counter)[0] += 1;
            (*counter)[1] += u64::from(length);
        }
    }
    Some(())
}
