//! Full NAT between the families: the IP header of one takes the place of the other's. IPv4 options, extension headers, fragments and ICMP
//! have no such counterpart here and are refused (`nat-unsuited`).
#![expect(unsafe_code, reason = "the frame's head is moved by helpers; global functions need names")]

use aya_ebpf::bindings::xdp_md;
use aya_ebpf::helpers::generated;
use lb_common::abi::verdict::Verdict;
use lb_common::wire::cross::{Common, delta_to_v4, delta_to_v6, header_v4, header_v6, segment};
use lb_common::wire::translate::Ports;
use lb_common::wire::transport::{SCTP, TCP, UDP};
use lb_common::wire::{Edit, Packet, View, ethernet, ipv4, ipv6};
use lb_ebpf::helpers;
use lb_ebpf::immediate::masked;

use super::packet;
use super::tunnel::Stand;

/// Bytes by which the headers differ.
pub(crate) const GROWTH: u32 = (ipv6::HEADER - ipv4::HEADER) as u32;
/// Ethernet header with two tags.
const MAX_LINK: usize = ethernet::HEADER + 2 * ethernet::TAG;

/// Makes an IPv6 packet of the IPv4 packet at `stand`.
#[inline(always)]
pub(crate) fn to_v6(
    ctx: *mut xdp_md,
    stand: Stand,
    source: [u64; 2],
    destination: [u64; 2],
    ports: Ports,
) -> Result<(), Verdict> {
    let (frame, at) = (packet(ctx), checked(stand)?);
    let ip = frame.view::<{ ipv4::HEADER }>(at).ok_or(Verdict::Truncated)?;
    if ip.u8::<0>() != 0x45 || ip.raw_u16::<6>() & !ipv4::DONT_FRAGMENT != 0 {
        return Err(Verdict::NatUnsuited);
    }
    let (protocol, hops) = (plain(ip.u8::<9>())?, fewer(ip.u8::<8>())?);
    let length = ip.u16::<2>().checked_sub(ipv4::HEADER as u16).ok_or(Verdict::BadHeader)?;
    let common = Common { class: ip.u8::<1>(), hops, protocol, length: word(length) };
    let delta = delta_to_v6([ip.raw_u32::<12>(), ip.raw_u32::<16>()], [source, destination]);
    segment(&frame, at + ipv4::HEADER, common, ports, delta)?;
    move_link(ctx, at, -(GROWTH as i32))?;
    let words = header_v6(common, source, destination);
    let view = packet(ctx).view::<42>(ethertype(at)).ok_or(Verdict::Truncated)?;
    view.set_u16::<0>(ethernet::IPV6.to_be());
    Edit::set_u64::<2, 6>(view, words[0]);
    Edit::set_u64::<10, 14>(view, words[1]);
    Edit::set_u64::<18, 22>(view, words[2]);
    Edit::set_u64::<26, 30>(view, words[3]);
    Edit::set_u64::<34, 38>(view, words[4]);
    Ok(())
}

/// Makes an IPv4 packet of the IPv6 packet at `stand`.
#[inline(always)]
pub(crate) fn to_v4(
    ctx: *mut xdp_md,
    stand: Stand,
    source: u32,
    destination: u32,
    ports: Ports,
) -> Result<(), Verdict> {
    let (frame, at) = (packet(ctx), checked(stand)?);
    let ip = frame.view::<{ ipv6::HEADER }>(at).ok_or(Verdict::Truncated)?;
    let (protocol, hops) = (plain(ip.u8::<6>())?, fewer(ip.u8::<7>())?);
    let common = Common { class: (ip.u16::<0>() >> 4) as u8, hops, protocol, length: word(ip.u16::<4>()) };
    let old = [[ip.raw_u64::<8, 12>(), ip.raw_u64::<16, 20>()], [ip.raw_u64::<24, 28>(), ip.raw_u64::<32, 36>()]];
    segment(&frame, at + ipv6::HEADER, common, ports, delta_to_v4(old, [source, destination]))?;
    move_link(ctx, at, GROWTH as i32)?;
    let words = header_v4(common, source, destination);
    let view = packet(ctx).view::<22>(ethertype(at)).ok_or(Verdict::Truncated)?;
    view.set_u16::<0>(ethernet::IPV4.to_be());
    view.set_u32::<2>(words[0]);
    view.set_u32::<6>(words[1]);
    view.set_u32::<10>(words[2]);
    view.set_u32::<14>(words[3]);
    view.set_u32::<18>(words[4]);
    Ok(())
}

/// The offset, 14, 18 or 22: the bounds are for the verifier.
#[inline(always)]
fn checked(stand: Stand) -> Result<usize, Verdict> {
    let at = stand.offset();
    if (ethernet::HEADER..=MAX_LINK).contains(&at) { Ok(at) } else { Err(Verdict::Internal) }
}

/// Where the EtherType stands in front of an IP header. Masked, or the compiler would go two bytes back from a pointer to the header,
/// which the verifier refuses however far in the header stands.
#[inline(always)]
fn ethertype(at: usize) -> usize {
    masked::<0x1f>(at as u32 - 2) as usize
}

/// A length, masked: it leads into a table (of SCTP's checksum), and kernel 6.1 takes the compiler's word for no size.
#[inline(always)]
fn word(length: u16) -> u16 {
    masked::<0xffff>(length.into()) as u16
}

#[inline(always)]
fn plain(protocol: u8) -> Result<u8, Verdict> {
    if matches!(protocol, TCP | UDP | SCTP) { Ok(protocol) } else { Err(Verdict::NatUnsuited) }
}

#[inline(always)]
fn fewer(hops: u8) -> Result<u8, Verdict> {
    if hops <= 1 { Err(Verdict::HopsSpent) } else { Ok(hops - 1) }
}

/// Moves the frame's begin by `delta` bytes, and the Ethernet header of `length` bytes with it.
#[inline(always)]
fn move_link(ctx: *mut xdp_md, length: usize, delta: i32) -> Result<(), Verdict> {
    const { assert!(8 + 0xf <= MAX_LINK.div_ceil(8) * 8) };
    // At least 8, which is less than any: kernel 6.1 wants to see that it is not zero.
    let (mut link, length) = ([0u64; MAX_LINK.div_ceil(8)], 8 + masked::<0xf>(length as u32 - 8));
    // SAFETY: the buffer is as long as the longest header. Frames taken before are void, and nobody uses them.
    unsafe {
        if generated::bpf_xdp_load_bytes(ctx, 0, link.as_mut_ptr().cast(), length) != 0
            || !helpers::adjust_head(ctx, delta)
            || generated::bpf_xdp_store_bytes(ctx, 0, link.as_mut_ptr().cast(), length) != 0
        {
            return Err(Verdict::NoHeadroom);
        }
    }
    Ok(())
}
