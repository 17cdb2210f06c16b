//! The way to the real: direct routing rewrites both MACs, a tunnel puts an outer header in front.
#![expect(unsafe_code, reason = "the head of the running program's frame is moved for tunnels")]

use aya_ebpf::bindings::xdp_md;
use lb_common::abi::real::method;
use lb_common::abi::verdict::Verdict;
use lb_common::algo::hash;
use lb_common::wire::parse::Flow;
use lb_common::wire::tunnel::{outer_v4, outer_v6};
use lb_common::wire::{Packet, View, ethernet, ipv4, ipv6};
use lb_ebpf::helpers;
use lb_ebpf::packet::Frame;

use super::packet;
use crate::family::Family;
use crate::maps::reals::{Entry, Way};

/// Sends the packet, whose IP header stands at `offset`, to the real. Returns the verdict of a packet that goes.
#[inline(always)]
pub(crate) fn to_real<F: Family>(
    ctx: *mut xdp_md,
    frame: &Frame,
    flow: &Flow<F::Header>,
    real: Entry,
    flow_hash: u64,
    offset: usize,
) -> Result<Verdict, Verdict> {
    let way = real.way();
    let length = F::length(&flow.ip);
    match way.method() {
        method::DIRECT => {
            if length > way.mtu() {
                return Err(Verdict::TooBig);
            }
            write_macs(frame, real, way)?;
            Ok(Verdict::Direct)
        }
        kind @ (method::TUNNEL_V4 | method::TUNNEL_V6) => {
            let overhead = if kind == method::TUNNEL_V4 { ipv4::HEADER } else { ipv6::HEADER };
            if length + overhead as u32 > way.mtu() {
                return Err(Verdict::TooBig);
            }
            let entropy = hash::entropy(flow_hash);
            let tags = read_tags(ctx, offset)?;
            if kind == method::TUNNEL_V4 {
                encapsulate_v4::<F>(ctx, real, entropy, offset)?;
            } else {
                encapsulate_v6::<F>(ctx, real, entropy, offset)?;
            }
            write_tags(ctx, offset, tags)?;
            write_macs(&packet(ctx), real, way)?;
            Ok(Verdict::Tunnel)
        }
        _ => Err(Verdict::Internal),
    }
}

/// The packet leaves by its real's interface, which is the one that it came in by.
#[inline(always)]
pub(crate) fn is_same_nic(ctx: *mut xdp_md, real: Entry) -> bool {
    // SAFETY: the context of the running program.
    unsafe { helpers::ingress(ctx) == real.ifindex() }
}

/// Both MACs in two stores: 8 and 4 bytes.
#[inline(always)]
fn write_macs(frame: &Frame, real: Entry, way: Way) -> Result<(), Verdict> {
    let header = frame.view::<{ ethernet::HEADER }>(0).ok_or(Verdict::Truncated)?;
    header.set_u64::<0>(real.ethernet());
    header.set_low_u32::<8>(way.0);
    Ok(())
}

/// VLAN tags in front of the IP header, which must move to the frame's new begin.
#[derive(Clone, Copy)]
struct Tags([u32; 2]);

#[inline(always)]
fn read_tags(ctx: *mut xdp_md, offset: usize) -> Result<Tags, Verdict> {
    let mut tags = Tags([0; 2]);
    if offset > ethernet::HEADER {
        tags.0[0] = packet(ctx).view::<16>(0).ok_or(Verdict::Truncated)?.raw_u32::<12>();
    }
    if offset > ethernet::HEADER + ethernet::TAG {
        tags.0[1] = packet(ctx).view::<20>(0).ok_or(Verdict::Truncated)?.raw_u32::<16>();
    }
    Ok(tags)
}

#[inline(always)]
fn write_tags(ctx: *mut xdp_md, offset: usize, tags: Tags) -> Result<(), Verdict> {
    if offset > ethernet::HEADER {
        packet(ctx).view::<16>(0).ok_or(Verdict::Truncated)?.set_u32::<12>(tags.0[0]);
    }
    if offset > ethernet::HEADER + ethernet::TAG {
        packet(ctx).view::<20>(0).ok_or(Verdict::Truncated)?.set_u32::<16>(tags.0[1]);
    }
    Ok(())
}

#[inline(always)]
fn encapsulate_v4<F: Family>(ctx: *mut xdp_md, real: Entry, entropy: u32, offset: usize) -> Result<(), Verdict> {
    // SAFETY: the context of the running program; no frame taken before is used after.
    if !unsafe { helpers::adjust_head(ctx, -(ipv4::HEADER as i32)) } {
        return Err(Verdict::NoHeadroom);
    }
    // Made after the call: its words need not survive it on the stack, of which 512 bytes are all there is. The packet that is
    // carried stands behind the outer header now.
    let words = outer_v4(&F::inner(&packet(ctx), offset + ipv4::HEADER, entropy)?, &real.ends_v4(), entropy);
    // The EtherType's two bytes and the outer header behind them.
    let view = packet(ctx).view::<22>(offset - 2).ok_or(Verdict::Truncated)?;
    view.set_u16::<0>(ethernet::IPV4.to_be());
    view.set_u32::<2>(words[0]);
    view.set_u32::<6>(words[1]);
    view.set_u32::<10>(words[2]);
    view.set_u32::<14>(words[3]);
    view.set_u32::<18>(words[4]);
    Ok(())
}

#[inline(always)]
fn encapsulate_v6<F: Family>(ctx: *mut xdp_md, real: Entry, entropy: u32, offset: usize) -> Result<(), Verdict> {
    // SAFETY: the context of the running program; no frame taken before is used after.
    if !unsafe { helpers::adjust_head(ctx, -(ipv6::HEADER as i32)) } {
        return Err(Verdict::NoHeadroom);
    }
    let words = outer_v6(&F::inner(&packet(ctx), offset + ipv6::HEADER, entropy)?, &real.ends_v6(), entropy);
    let view = packet(ctx).view::<42>(offset - 2).ok_or(Verdict::Truncated)?;
    view.set_u16::<0>(ethernet::IPV6.to_be());
    view.set_u32::<2>(words[0]);
    view.set_u32::<6>(words[1]);
    view.set_u32::<10>(words[2]);
    view.set_u32::<14>(words[3]);
    view.set_u32::<18>(words[4]);
    view.set_u32::<22>(words[5]);
    view.set_u32::<26>(words[6]);
    view.set_u32::<30>(words[7]);
    view.set_u32::<34>(words[8]);
    view.set_u32::<38>(words[9]);
    Ok(())
}
