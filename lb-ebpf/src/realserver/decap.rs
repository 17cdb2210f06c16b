//! Tunnels on arrival at a real server: the outer headers go, the kernel sees what the client sent. IPIP, IP6IP6, 4in6 and 6in4; GUE
//! with and without a header of its own (variants 0 and 1); GRE with and without checksum.
//!
//! Only packets whose inner destination is one of the real's VIPs are opened: a tunnel to a real must not be a way around the
//! address checks of the network for anything else. Every other packet is passed untouched. A congestion mark that the outer header met
//! on its way goes inwards (RFC 6040 section 4.2).
#![expect(unsafe_code, reason = "the head of the running program's frame is moved, the VIP table is a map")]

use aya_ebpf::bindings::{xdp_action, xdp_md};
use aya_ebpf::btf_maps::{Array, HashMap};
use aya_ebpf::macros::btf_map;
use lb_common::algo::checksum;
use lb_common::wire::transport::UDP;
use lb_common::wire::tunnel::{GRE, GRE_CHECKSUM, IPV4_IN_IP, IPV6_IN_IP};
use lb_common::wire::{Packet, View, ethernet, ipv4, ipv6};
use lb_ebpf::helpers;
use lb_ebpf::packet::Frame;

/// VIPs of this host, with the UDP port that GUE packets for them arrive at: an IPv4 address in the last four bytes of ten zero bytes and two of 0xff (RFC 4291 section 2.5.5.2). A hash map
/// of the kernel will do: a real server sees a fraction of the director's packets.
#[btf_map]
static DECAP_VIPS: HashMap<[u8; 16], u16, 1024> = HashMap::new();

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
    let gue_port = match outer.inner {
        IPV4_IN_IP => inner_v4(&frame(ctx), outer.payload),
        _ => inner_v6(&frame(ctx), outer.payload),
    };
    let is_ours = gue_port.is_some_and(|port| outer.udp_port.is_none_or(|arrived| arrived == port));
    if !is_ours && outer.udp_port.is_some() {
        // Some other UDP that looks like it.
        return xdp_action::XDP_PASS;
    }
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
    /// Behind a UDP header: the port that it came to.
    udp_port: Option<u16>,
}

#[inline(always)]
fn outer(packet: &Frame) -> Option<Outer> {
    let link = packet.view::<{ ethernet::HEADER }>(0)?;
    match link.u16::<12>() {
        ethernet::IPV4 => {
            let header = ipv4::parse(packet, ethernet::HEADER).ok()?;
            let is_plain = header.payload == ethernet::HEADER + ipv4::HEADER && !header.is_fragment;
            let is_marked = packet.view::<{ ipv4::HEADER }>(ethernet::HEADER)?.u8::<1>() & MARK == MARK;
            if is_plain { open(packet, header.protocol, ethernet::HEADER + ipv4::HEADER, is_marked) } else { None }
        }
        ethernet::IPV6 => {
            let header = packet.view::<{ ipv6::HEADER }>(ethernet::HEADER)?;
            let is_marked = (header.u16::<0>() >> 4) as u8 & MARK == MARK;
            open(packet, header.u8::<6>(), ethernet::HEADER + ipv6::HEADER, is_marked)
        }
        _ => None,
    }
}

/// What follows an outer IP header at `at`.
#[inline(always)]
fn open(packet: &Frame, protocol: u8, at: usize, is_marked: bool) -> Option<Outer> {
    let outer = Outer { inner: protocol, payload: at, is_marked, udp_port: None };
    match protocol {
        IPV4_IN_IP | IPV6_IN_IP => Some(outer),
        GRE => open_gre(packet, outer),
        UDP => open_gue(packet, outer),
        _ => None,
    }
}

/// Version 0, with a checksum or without; key, sequence number and routing are for others.
#[inline(always)]
fn open_gre(packet: &Frame, outer: Outer) -> Option<Outer> {
    let header = packet.view::<4>(outer.payload)?;
    let payload = match header.u16::<0>() {
        0 => outer.payload + 4,
        GRE_CHECKSUM => outer.payload + 8,
        _ => return None,
    };
    let inner = match header.u16::<2>() {
        ethernet::IPV4 => IPV4_IN_IP,
        ethernet::IPV6 => IPV6_IN_IP,
        _ => return None,
    };
    Some(Outer { inner, payload, ..outer })
}

/// The first two bits tell the variant: 0 has a header of four bytes that names the protocol (taken without options and flags), 1 is
/// the IP packet itself, whose version number begins with these bits.
#[inline(always)]
fn open_gue(packet: &Frame, outer: Outer) -> Option<Outer> {
    let header = packet.view::<12>(outer.payload)?;
    let udp_port = Some(header.u16::<2>());
    let packet = Outer { payload: outer.payload + 8, udp_port, ..outer };
    match header.u8::<8>() {
        0 if header.raw_u16::<10>() == 0 => match header.u8::<9>() {
            inner @ (IPV4_IN_IP | IPV6_IN_IP) => Some(Outer { inner, payload: packet.payload + 4, ..packet }),
            _ => None,
        },
        first if first >> 4 == 4 => Some(Outer { inner: IPV4_IN_IP, ..packet }),
        first if first >> 4 == 6 => Some(Outer { inner: IPV6_IN_IP, ..packet }),
        _ => None,
    }
}

/// The GUE port of the VIP that the inner packet is for; None when it is for no VIP of this host.
#[inline(always)]
fn inner_v4(packet: &Frame, offset: usize) -> Option<u16> {
    let header = packet.view::<{ ipv4::HEADER }>(offset)?;
    if header.u8::<0>() >> 4 != 4 {
        return None;
    }
    let mut address = [0u8; 16];
    address[10] = 0xff;
    address[11] = 0xff;
    address[12] = header.u8::<16>();
    address[13] = header.u8::<17>();
    address[14] = header.u8::<18>();
    address[15] = header.u8::<19>();
    vip(&address)
}

/// As [`inner_v4`].
#[inline(always)]
fn inner_v6(packet: &Frame, offset: usize) -> Option<u16> {
    let header = packet.view::<{ ipv6::HEADER }>(offset)?;
    // ::ffff:0:0/96 is how the table spells IPv4 addresses; on the wire it must not pass for one of them.
    let is_mapped = header.raw_u64::<24, 28>() == 0 && header.raw_u32::<32>() == 0xffffu32.to_be();
    if header.u8::<0>() >> 4 != 6 || is_mapped {
        return None;
    }
    let halves = [header.raw_u64::<24, 28>().to_ne_bytes(), header.raw_u64::<32, 36>().to_ne_bytes()];
    let mut address = [0u8; 16];
    let (first, second) = address.split_at_mut(8);
    first.copy_from_slice(&halves[0]);
    second.copy_from_slice(&halves[1]);
    vip(&address)
}

#[inline(always)]
fn vip(address: &[u8; 16]) -> Option<u16> {
    // SAFETY: copied at once; user space replaces whole values.
    unsafe { DECAP_VIPS.get(address) }.copied()
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
