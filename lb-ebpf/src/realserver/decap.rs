//! IPIP, IP6IP6, 4in6 and 6in4 on arrival at a real server: the outer header goes, the kernel sees what the client sent.
//!
//! Only packets whose inner destination is one of the real's VIPs are opened: a tunnel to a real must not be a way around the
//! address checks of the network for anything else. Every other packet is passed untouched. A congestion mark that the outer header met
//! on its way goes inwards (RFC 6040 section 4.2).
#![expect(unsafe_code, reason = "the head of the running program's frame is moved, the VIP table is a map")]

use aya_ebpf::bindings::{xdp_action, xdp_md};
use aya_ebpf::btf_maps::{Array, HashMap};
use aya_ebpf::macros::btf_map;
use lb_common::algo::checksum;
use lb_common::wire::tunnel::{IPV4_IN_IP, IPV6_IN_IP};
use lb_common::wire::{Packet, View, ethernet, ipv4, ipv6};
use lb_ebpf::helpers;
use lb_ebpf::packet::Frame;

/// VIPs of this host: an IPv4 address in the last four bytes of ten zero bytes and two of 0xff (RFC 4291 section 2.5.5.2). A hash map
/// of the kernel will do: a real server sees a fraction of the director's packets.
#[btf_map]
static DECAP_VIPS: HashMap<[u8; 16], u8, 1024> = HashMap::new();

/// Packets opened; tunnelled packets passed because their inner destination is not a VIP here; packets dropped because they met
/// congestion and their sender does not know marks.
#[btf_map]
static DECAP_COUNTERS: Array<u64, 3> = Array::new();
const OPENED: u32 = 0;
const NOT_OURS: u32 = 1;
const CONGESTED: u32 = 2;

/// Opens the frame if it carries a packet for a VIP of this host.
#[inline(always)]
pub(crate) fn run(ctx: *mut xdp_md) -> u32 {
    let Some(outer) = outer(&frame(ctx)) else { return xdp_action::XDP_PASS };
    let is_ours = match outer.inner {
        IPV4_IN_IP => inner_v4(&frame(ctx), outer.payload),
        _ => inner_v6(&frame(ctx), outer.payload),
    };
    if !is_ours {
        count(NOT_OURS);
        return xdp_action::XDP_PASS;
    }
    if outer.is_marked && mark(&frame(ctx), &outer).is_none() {
        count(CONGESTED);
        return xdp_action::XDP_DROP;
    }
    match strip(ctx, &outer) {
        Some(()) => count(OPENED),
        None => return xdp_action::XDP_DROP,
    }
    xdp_action::XDP_PASS
}

/// "Congestion experienced" in the two low bits of TOS or traffic class (RFC 3168).
const MARK: u8 = 3;

/// Carries a congestion mark to the inner header. None when its sender has not said that it understands marks.
#[inline(always)]
fn mark(packet: &Frame, outer: &Outer) -> Option<()> {
    let header = packet.view::<{ ipv4::HEADER }>(outer.payload)?;
    let old = header.u16::<0>();
    // The mark's place in the first 16 bits: IPv4 has TOS in the second byte, IPv6 its traffic class four bits earlier.
    let shift = if outer.inner == IPV4_IN_IP { 0 } else { 4 };
    if (old >> shift) as u8 & MARK == 0 {
        return None;
    }
    let new = old | (u16::from(MARK) << shift);
    header.set_u16::<0>(new.to_be());
    if outer.inner == IPV4_IN_IP {
        header.set_u16::<10>(checksum::replace(header.raw_u16::<10>(), old.to_be(), new.to_be()));
    }
    Some(())
}

/// An outer header right behind an untagged Ethernet header, without options or extension headers, as directors send it.
struct Outer {
    inner: u8,
    payload: usize,
    is_marked: bool,
}

#[inline(always)]
fn outer(packet: &Frame) -> Option<Outer> {
    let link = packet.view::<{ ethernet::HEADER }>(0)?;
    match link.u16::<12>() {
        ethernet::IPV4 => {
            let header = ipv4::parse(packet, ethernet::HEADER).ok()?;
            let is_plain = header.payload == ethernet::HEADER + ipv4::HEADER && !header.is_fragment;
            (is_plain && is_tunnel(header.protocol)).then_some(Outer {
                inner: header.protocol,
                payload: ethernet::HEADER + ipv4::HEADER,
                is_marked: header.tos & MARK == MARK,
            })
        }
        ethernet::IPV6 => {
            let header = packet.view::<{ ipv6::HEADER }>(ethernet::HEADER)?;
            let protocol = header.u8::<6>();
            is_tunnel(protocol).then_some(Outer {
                inner: protocol,
                payload: ethernet::HEADER + ipv6::HEADER,
                is_marked: (header.u16::<0>() >> 4) as u8 & MARK == MARK,
            })
        }
        _ => None,
    }
}

#[inline(always)]
const fn is_tunnel(protocol: u8) -> bool {
    matches!(protocol, IPV4_IN_IP | IPV6_IN_IP)
}

#[inline(always)]
fn inner_v4(packet: &Frame, offset: usize) -> bool {
    let Some(header) = packet.view::<{ ipv4::HEADER }>(offset) else { return false };
    if header.u8::<0>() >> 4 != 4 {
        return false;
    }
    let mut address = [0u8; 16];
    address[10] = 0xff;
    address[11] = 0xff;
    address[12] = header.u8::<16>();
    address[13] = header.u8::<17>();
    address[14] = header.u8::<18>();
    address[15] = header.u8::<19>();
    is_vip(&address)
}

#[inline(always)]
fn inner_v6(packet: &Frame, offset: usize) -> bool {
    let Some(header) = packet.view::<{ ipv6::HEADER }>(offset) else { return false };
    // ::ffff:0:0/96 is how the table spells IPv4 addresses; on the wire it must not pass for one of them.
    let is_mapped = header.raw_u64::<24, 28>() == 0 && header.raw_u32::<32>() == 0xffffu32.to_be();
    if header.u8::<0>() >> 4 != 6 || is_mapped {
        return false;
    }
    let halves = [header.raw_u64::<24, 28>().to_ne_bytes(), header.raw_u64::<32, 36>().to_ne_bytes()];
    let mut address = [0u8; 16];
    let (first, second) = address.split_at_mut(8);
    first.copy_from_slice(&halves[0]);
    second.copy_from_slice(&halves[1]);
    is_vip(&address)
}

#[inline(always)]
fn is_vip(address: &[u8; 16]) -> bool {
    // SAFETY: only the entry's presence is asked for.
    unsafe { DECAP_VIPS.get(address) }.is_some()
}

/// Moves the MACs behind the outer header and cuts off what is in front of them.
#[inline(always)]
fn strip(ctx: *mut xdp_md, outer: &Outer) -> Option<()> {
    let link = frame(ctx).view::<{ ethernet::HEADER }>(0)?;
    let macs = (link.raw_u64::<0, 4>(), link.raw_u32::<8>());
    let length = outer.payload - ethernet::HEADER;
    // SAFETY: the context of the running program; no frame taken before is used after.
    if !unsafe { helpers::adjust_head(ctx, length as i32) } {
        return None;
    }
    let link = frame(ctx).view::<{ ethernet::HEADER }>(0)?;
    link.set_u64::<0>(macs.0);
    link.set_u32::<8>(macs.1);
    link.set_u16::<12>(if outer.inner == IPV4_IN_IP { ethernet::IPV4 } else { ethernet::IPV6 }.to_be());
    Some(())
}

#[inline(always)]
fn count(counter: u32) {
    if let Some(value) = DECAP_COUNTERS.get_ptr_mut(counter) {
        // SAFETY: an aligned word of the map.
        unsafe { lb_ebpf::word::add(value, 1) };
    }
}

#[inline(always)]
fn frame(ctx: *mut xdp_md) -> Frame {
    // SAFETY: the context that the kernel gave to the entry.
    unsafe { Frame::new(ctx) }
}
