//! Tunnels: an outer IP header, and for GUE and GRE one more, in front of the packet.
#![expect(unsafe_code, reason = "the head of the running program's frame is moved")]

use aya_ebpf::bindings::xdp_md;
use lb_common::abi::real::method;
use lb_common::abi::verdict::Verdict;
use lb_common::algo::hash;
use lb_common::wire::tunnel::{
    MAX_SHIM, Shim, is_outer_v4, is_tunnel, outer_v4, outer_v6, overhead, pseudo_v4, pseudo_v6, shim, sum_v4, sum_v6,
};
use lb_common::wire::{Packet, View, ethernet, ipv4, ipv6};
use lb_ebpf::helpers;
use lb_ebpf::packet::Frame;

use super::packet;
use crate::family::Family;
use crate::maps::reals::{Chosen, Entry};

/// Where a packet stands in its frame, as one number.
#[derive(Clone, Copy)]
pub(crate) struct Stand(pub(crate) u64);

impl Stand {
    const V6: u64 = 1 << 8;
    const ASTRAY: u64 = 1 << 9;

    /// An IP header at `offset`: 14, 18 or 22.
    #[inline(always)]
    pub(crate) fn new(offset: usize, is_v6: bool) -> Self {
        Self(offset as u64 | if is_v6 { Self::V6 } else { 0 })
    }

    /// Where the IP header begins. The mask is for the verifier.
    #[inline(always)]
    pub(crate) fn offset(self) -> usize {
        (self.0 & 0x1f) as usize
    }

    /// The same for a packet whose destination is no service's address: an answer, if anything.
    #[inline(always)]
    pub(crate) fn not_to_vip(self) -> Self {
        Self(self.0 | Self::ASTRAY)
    }

    /// The destination is a service's address.
    #[inline(always)]
    pub(crate) fn is_to_vip(self) -> bool {
        self.0 & Self::ASTRAY == 0
    }

    /// The verdict on a packet that is refused if it is to a service's address; what goes to others is none of our business.
    #[inline(always)]
    pub(crate) fn refused(self, verdict: Verdict) -> Verdict {
        if self.is_to_vip() { verdict } else { Verdict::NotAService }
    }

    /// The packet is an IPv6 one.
    #[inline(always)]
    pub(crate) fn is_v6(self) -> bool {
        self.0 & Self::V6 != 0
    }
}

/// Puts the packet of `length` bytes at `at` into a tunnel to the real, if it fits, and writes the frame's MACs.
#[inline(always)]
pub(crate) fn into<F: Family>(
    ctx: *mut xdp_md,
    real: Chosen,
    length: u32,
    entropy: u32,
    at: usize,
) -> Result<Verdict, Verdict> {
    let (way, real) = (real.way, real.entry);
    let by = way.method();
    let fits = |by| length + overhead(by) <= way.mtu();
    // IPv6 in IPv6 on a path of its own; IP in IP and GUE over IPv4 have theirs in `steady`.
    match by {
        method::TUNNEL_V6 if fits(method::TUNNEL_V6) => put_v6::<F>(ctx, real, &Shim::none(F::IN_IP), entropy, at)?,
        _ if !is_tunnel(by) => return Err(Verdict::Internal),
        _ if !fits(by) => return Err(Verdict::TooBig),
        _ => {
            let is_v4 = is_outer_v4(by);
            let pseudo = || {
                if is_v4 { pseudo_v4(&real.ends_v4(), entropy) } else { pseudo_v6(&real.ends_v6(), entropy) }
            };
            let carried = if by & method::CHECKSUM == 0 { None } else { carried::<F>(&packet(ctx), at) };
            let shim = shim(by, F::IN_IP, length, real.tunnel_port(), carried, pseudo, entropy);
            if is_v4 {
                put_v4::<F>(ctx, real, &shim, entropy, at)?;
            } else {
                put_v6::<F>(ctx, real, &shim, entropy, at)?;
            }
        }
    }
    Ok(Verdict::Tunnel)
}

/// IP in IP over IPv4, of a packet that fits.
#[inline(always)]
pub(crate) fn in_ip<F: Family>(ctx: *mut xdp_md, real: Chosen, flow_hash: u64, at: usize) -> Result<(), Verdict> {
    put_v4::<F>(ctx, real.entry, &Shim::none(F::IN_IP), hash::entropy(flow_hash), at)
}

/// GUE over IPv4 without checksum, of a packet of `length` bytes that fits.
#[inline(always)]
pub(crate) fn in_gue<F: Family>(
    ctx: *mut xdp_md,
    real: Chosen,
    length: u32,
    flow_hash: u64,
    at: usize,
) -> Result<(), Verdict> {
    let entropy = hash::entropy(flow_hash);
    let shim = shim(method::GUE_V4, F::IN_IP, length, real.entry.tunnel_port(), None, || 0, entropy);
    put_v4::<F>(ctx, real.entry, &shim, entropy, at)
}

/// An outer IPv4 header in front, and the shim behind it.
#[inline(always)]
fn put_v4<F: Family>(ctx: *mut xdp_md, real: Entry, shim: &Shim, entropy: u32, at: usize) -> Result<(), Verdict> {
    let front = ipv4::HEADER + shim.length as usize;
    let frame = grow(ctx, real, front, at)?;
    let inner = F::inner(&frame, at + front, entropy)?;
    write(&frame, at, &outer_v4(&inner, shim, &real.ends_v4(), entropy))?;
    write_shim(&frame, at + ipv4::HEADER, shim)
}

/// An outer IPv6 header in front, and the shim behind it.
#[inline(always)]
fn put_v6<F: Family>(ctx: *mut xdp_md, real: Entry, shim: &Shim, entropy: u32, at: usize) -> Result<(), Verdict> {
    let front = ipv6::HEADER + shim.length as usize;
    let frame = grow(ctx, real, front, at)?;
    let inner = F::inner(&frame, at + front, entropy)?;
    write_v6(&frame, at, &outer_v6(&inner, shim, &real.ends_v6(), entropy))?;
    write_shim(&frame, at + ipv6::HEADER, shim)
}

/// The sum of the packet's words, if the packet says it.
#[inline(always)]
fn carried<F: Family>(frame: &Frame, at: usize) -> Option<u64> {
    if F::IS_V6 { sum_v6(frame, at) } else { sum_v4(frame, at) }
}

/// Makes room of `front` bytes before the packet and writes the link's header anew, for an IP header at `at` again. Nothing of the
/// packet is read before: what would have to be kept meanwhile has no place in registers.
#[inline(always)]
fn grow(ctx: *mut xdp_md, real: Entry, front: usize, at: usize) -> Result<Frame, Verdict> {
    // SAFETY: the context of the running program; no frame taken before is used after.
    if !unsafe { helpers::adjust_head(ctx, -(front as i32)) } {
        return Err(Verdict::NoHeadroom);
    }
    let frame = packet(ctx);
    super::forward::write_macs(&frame, real, real.way())?;
    // Tags that stand behind the old addresses.
    if at > ethernet::HEADER {
        move_tag(&frame, front + 12, 12)?;
    }
    if at > ethernet::HEADER + ethernet::TAG {
        move_tag(&frame, front + 16, 16)?;
    }
    Ok(frame)
}

#[inline(always)]
fn move_tag(frame: &Frame, from: usize, to: usize) -> Result<(), Verdict> {
    let tag = frame.view::<{ ethernet::TAG }>(from).ok_or(Verdict::Truncated)?.raw_u32::<0>();
    frame.view::<{ ethernet::TAG }>(to).ok_or(Verdict::Truncated)?.set_u32::<0>(tag);
    Ok(())
}

/// VLAN tags in front of the IP header, which must move to the frame's new begin.
#[inline(always)]
pub(crate) fn read_tags<const AT: usize>(frame: &Frame) -> Result<[u32; 2], Verdict> {
    let mut tags = [0; 2];
    if AT > ethernet::HEADER {
        tags[0] = frame.view::<16>(0).ok_or(Verdict::Truncated)?.raw_u32::<12>();
    }
    if AT > ethernet::HEADER + ethernet::TAG {
        tags[1] = frame.view::<20>(0).ok_or(Verdict::Truncated)?.raw_u32::<16>();
    }
    Ok(tags)
}

/// Writes them there.
#[inline(always)]
pub(crate) fn write_tags<const AT: usize>(frame: &Frame, tags: [u32; 2]) -> Result<(), Verdict> {
    if AT > ethernet::HEADER {
        frame.view::<16>(0).ok_or(Verdict::Truncated)?.set_u32::<12>(tags[0]);
    }
    if AT > ethernet::HEADER + ethernet::TAG {
        frame.view::<20>(0).ok_or(Verdict::Truncated)?.set_u32::<16>(tags[1]);
    }
    Ok(())
}

/// The EtherType's two bytes and the outer IPv4 header behind them.
#[inline(always)]
fn write(frame: &Frame, at: usize, words: &[u32; 5]) -> Result<(), Verdict> {
    let view = frame.view::<22>(at - 2).ok_or(Verdict::Truncated)?;
    view.set_u16::<0>(ethernet::IPV4.to_be());
    view.set_u32::<2>(words[0]);
    view.set_u32::<6>(words[1]);
    view.set_u32::<10>(words[2]);
    view.set_u32::<14>(words[3]);
    view.set_u32::<18>(words[4]);
    Ok(())
}

/// The EtherType's two bytes and the outer IPv6 header behind them.
#[inline(always)]
fn write_v6(frame: &Frame, at: usize, words: &[u32; 10]) -> Result<(), Verdict> {
    let view = frame.view::<42>(at - 2).ok_or(Verdict::Truncated)?;
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

/// The header between outer header and packet.
#[inline(always)]
fn write_shim(frame: &Frame, at: usize, shim: &Shim) -> Result<(), Verdict> {
    if shim.length >= 4 {
        // The packet that is carried stands behind, so there are eight bytes in any case.
        let view = frame.view::<MAX_SHIM>(at).ok_or(Verdict::Truncated)?;
        view.set_u32::<0>(shim.words[0]);
        if shim.length == 8 {
            view.set_u32::<4>(shim.words[1]);
        }
    }
    Ok(())
}
