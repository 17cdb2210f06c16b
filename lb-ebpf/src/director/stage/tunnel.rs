//! Tunnels: an outer IP header, and for GUE and GRE one more, in front of the packet. Out of line: packets that go by direct routing
//! have no registers to spare, and the verifier walks all combinations of headers once.
#![expect(unsafe_code, reason = "the head of the running program's frame is moved; a global function needs a name")]

use aya_ebpf::bindings::xdp_md;
use lb_common::abi::counters::VERDICT_SLOTS;
use lb_common::abi::real::method;
use lb_common::abi::verdict::Verdict;
use lb_common::wire::tunnel::{
    Inner, MAX_SHIM, Shim, is_outer_v4, is_tunnel, outer_v4, outer_v6, overhead, pseudo_v4, pseudo_v6, shim, sum_v4,
    sum_v6,
};
use lb_common::wire::{Packet, View, ethernet, ipv4, ipv6};
use lb_ebpf::helpers;
use lb_ebpf::immediate::masked;
use lb_ebpf::packet::Frame;

use super::packet;
use crate::maps::reals::{Chosen, Entry};

/// Where a packet stands in its frame, as one number.
#[derive(Clone, Copy)]
pub(crate) struct Stand(pub(crate) u64);

impl Stand {
    const V6: u64 = 1 << 8;

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

    /// The packet is an IPv6 one.
    #[inline(always)]
    pub(crate) fn is_v6(self) -> bool {
        self.0 & Self::V6 != 0
    }
}

/// Puts the packet into a tunnel to the real, and writes the frame's MACs.
#[inline(always)]
pub(crate) fn into(ctx: *mut xdp_md, real: Chosen, entropy: u32, stand: Stand) -> Result<Verdict, Verdict> {
    let number = xvs_tunnel(ctx, real.number, u64::from(entropy), stand.0);
    match Verdict::of(masked::<{ VERDICT_SLOTS - 1 }>(number)) {
        Some(Verdict::Tunnel) => Ok(Verdict::Tunnel),
        Some(verdict) => Err(verdict),
        None => Err(Verdict::Internal),
    }
}

/// [`into`] by numbers. Returns the verdict's.
#[unsafe(no_mangle)]
#[inline(never)]
pub extern "C" fn xvs_tunnel(ctx: *mut xdp_md, real: u64, entropy: u64, stand: u64) -> u32 {
    let (real, entropy) = (Chosen::of(real as u32).entry, entropy as u32);
    let is_v6 = Stand(stand).is_v6();
    // Constants from here on, so that every header's place is one.
    let done = match (stand & 0xff, is_v6) {
        (14, false) => encapsulate::<14, false>(ctx, real, entropy),
        (18, false) => encapsulate::<18, false>(ctx, real, entropy),
        (22, false) => encapsulate::<22, false>(ctx, real, entropy),
        (14, true) => encapsulate::<14, true>(ctx, real, entropy),
        (18, true) => encapsulate::<18, true>(ctx, real, entropy),
        (22, true) => encapsulate::<22, true>(ctx, real, entropy),
        _ => Err(Verdict::Internal),
    };
    match done {
        Ok(()) => Verdict::Tunnel as u32,
        Err(verdict) => verdict as u32,
    }
}

#[inline(always)]
fn encapsulate<const AT: usize, const V6: bool>(ctx: *mut xdp_md, real: Entry, entropy: u32) -> Result<(), Verdict> {
    let by = real.way().method();
    if !is_tunnel(by) {
        return Err(Verdict::Internal);
    }
    let frame = packet(ctx);
    let inner = if V6 { Inner::v6(&frame, AT, entropy)? } else { Inner::v4(&frame, AT)? };
    if inner.length + overhead(by) > real.way().mtu() {
        return Err(Verdict::TooBig);
    }
    let tags = read_tags::<AT>(&frame)?;
    // IP in IP on a path of its own: it is the fastest tunnel, and stays so.
    match by {
        method::TUNNEL_V4 | method::TUNNEL_V6 => put::<AT>(ctx, real, by, &inner, entropy, |_| Shim::none(&inner))?,
        _ => {
            let carried = carried::<AT, V6>(&frame, by);
            let port = real.tunnel_port();
            put::<AT>(ctx, real, by, &inner, entropy, |pseudo| shim(by, &inner, port, pseudo, carried, entropy))?;
        }
    }
    let frame = packet(ctx);
    write_tags::<AT>(&frame, tags)?;
    super::forward::write_macs(&frame, real)
}

/// Puts the outer header in front, and behind it what `shim` makes of the sum of its addresses.
#[inline(always)]
fn put<const AT: usize>(
    ctx: *mut xdp_md,
    real: Entry,
    by: u8,
    inner: &Inner,
    entropy: u32,
    shim: impl FnOnce(u32) -> Shim,
) -> Result<(), Verdict> {
    if is_outer_v4(by) {
        let ends = real.ends_v4();
        let shim = shim(pseudo_v4(&ends, entropy));
        let words = outer_v4(inner, &shim, &ends, entropy);
        grow(ctx, ipv4::HEADER as u32 + shim.length)?;
        let frame = packet(ctx);
        write(&frame, AT, ethernet::IPV4, &words)?;
        write_shim(&frame, AT + ipv4::HEADER, &shim)
    } else {
        let ends = real.ends_v6();
        let shim = shim(pseudo_v6(&ends, entropy));
        let words = outer_v6(inner, &shim, &ends, entropy);
        grow(ctx, ipv6::HEADER as u32 + shim.length)?;
        let frame = packet(ctx);
        write_v6(&frame, AT, &words)?;
        write_shim(&frame, AT + ipv6::HEADER, &shim)
    }
}

/// The sum of the packet's words, if the method wants a checksum and the packet says it.
#[inline(always)]
fn carried<const AT: usize, const V6: bool>(frame: &Frame, by: u8) -> Option<u32> {
    if by & method::CHECKSUM == 0 {
        return None;
    }
    if V6 { sum_v6(frame, AT) } else { sum_v4(frame, AT) }
}

/// Makes room in front of the frame.
#[inline(always)]
fn grow(ctx: *mut xdp_md, bytes: u32) -> Result<(), Verdict> {
    // SAFETY: the context of the running program; no frame taken before is used after.
    if unsafe { helpers::adjust_head(ctx, -(bytes as i32)) } { Ok(()) } else { Err(Verdict::NoHeadroom) }
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
fn write(frame: &Frame, at: usize, ethertype: u16, words: &[u32; 5]) -> Result<(), Verdict> {
    let view = frame.view::<22>(at - 2).ok_or(Verdict::Truncated)?;
    view.set_u16::<0>(ethertype.to_be());
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
