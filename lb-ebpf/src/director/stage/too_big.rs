//! A packet that does not fit the way to its real: its sender is told, from the VIP, how long packets may be ("fragmentation needed",
//! "packet too big"), so that path MTU discovery works through a tunnel. At most [`BURST`] messages at once and some 1000 a second on
//! each CPU, as Linux limits all its ICMP messages.
#![expect(unsafe_code, reason = "the frame is cut and made longer; a global function needs a name")]

use aya_ebpf::bindings::xdp_md;
use lb_common::abi::verdict::Verdict;
use lb_common::wire::icmp::{MIN_MTU_V6, QUOTE_V4, QUOTE_V6, too_big_v4, too_big_v6};
use lb_common::wire::{Packet, View, ethernet, ipv4, ipv6};
use lb_ebpf::helpers;

use super::packet;
use super::tunnel::{Stand, read_tags, write_tags};
use crate::maps::limits;

/// What stands in front of the quoted packet: IP header and ICMP header.
const FRONT_V4: usize = ipv4::HEADER + 8;
const FRONT_V6: usize = ipv6::HEADER + 8;

/// Turns the packet into the message that at most `mtu` bytes fit. Returns the number of the verdict.
#[unsafe(no_mangle)]
#[inline(never)]
pub extern "C" fn xvs_too_big(ctx: *mut xdp_md, stand: u64, mtu: u64) -> u32 {
    let (is_v6, mtu) = (Stand(stand).is_v6(), mtu as u32);
    let told = match (stand & 0xff, is_v6) {
        (14, false) => tell_v4::<14>(ctx, mtu),
        (18, false) => tell_v4::<18>(ctx, mtu),
        (22, false) => tell_v4::<22>(ctx, mtu),
        (14, true) => tell_v6::<14>(ctx, mtu),
        (18, true) => tell_v6::<18>(ctx, mtu),
        (22, true) => tell_v6::<22>(ctx, mtu),
        _ => None,
    };
    if told.is_some() { Verdict::TooBigTold as u32 } else { Verdict::TooBig as u32 }
}

/// None when nothing can be told: the sender allows fragments, too many have been told, or it is no packet to answer.
#[inline(always)]
fn tell_v4<const AT: usize>(ctx: *mut xdp_md, mtu: u32) -> Option<()> {
    let frame = packet(ctx);
    let header = frame.view::<{ ipv4::HEADER }>(AT)?;
    if header.raw_u16::<6>() & ipv4::DONT_FRAGMENT == 0 {
        return None;
    }
    let (client, vip) = (header.raw_u32::<12>(), header.raw_u32::<16>());
    let macs = Macs::of::<AT>(ctx)?;
    reshape(ctx, AT + QUOTE_V4, FRONT_V4)?;
    let frame = packet(ctx);
    let quote = frame.view::<QUOTE_V4>(AT + FRONT_V4)?;
    let words = too_big_v4(vip, client, mtu, quote.sum());
    macs.write::<AT>(ctx, ethernet::IPV4)?;
    let front = frame.view::<FRONT_V4>(AT)?;
    front.set_u32::<0>(words[0]);
    front.set_u32::<4>(words[1]);
    front.set_u32::<8>(words[2]);
    front.set_u32::<12>(words[3]);
    front.set_u32::<16>(words[4]);
    front.set_u32::<20>(words[5]);
    front.set_u32::<24>(words[6]);
    Some(())
}

#[inline(always)]
fn tell_v6<const AT: usize>(ctx: *mut xdp_md, mtu: u32) -> Option<()> {
    let frame = packet(ctx);
    let header = frame.view::<{ ipv6::HEADER }>(AT)?;
    let client = [header.raw_u32::<8>(), header.raw_u32::<12>(), header.raw_u32::<16>(), header.raw_u32::<20>()];
    let vip = [header.raw_u32::<24>(), header.raw_u32::<28>(), header.raw_u32::<32>(), header.raw_u32::<36>()];
    // Less than the least would not make the sender send less (RFC 8201 section 4).
    if u32::from(header.u16::<4>()) + ipv6::HEADER as u32 <= MIN_MTU_V6 {
        return None;
    }
    let macs = Macs::of::<AT>(ctx)?;
    reshape(ctx, AT + QUOTE_V6, FRONT_V6)?;
    let frame = packet(ctx);
    let quote = frame.view::<QUOTE_V6>(AT + FRONT_V6)?;
    let words = too_big_v6(vip, client, if mtu < MIN_MTU_V6 { MIN_MTU_V6 } else { mtu }, quote.sum());
    macs.write::<AT>(ctx, ethernet::IPV6)?;
    let front = frame.view::<FRONT_V6>(AT)?;
    front.set_u32::<0>(words[0]);
    front.set_u32::<4>(words[1]);
    front.set_u32::<8>(words[2]);
    front.set_u32::<12>(words[3]);
    front.set_u32::<16>(words[4]);
    front.set_u32::<20>(words[5]);
    front.set_u32::<24>(words[6]);
    front.set_u32::<28>(words[7]);
    front.set_u32::<32>(words[8]);
    front.set_u32::<36>(words[9]);
    front.set_u32::<40>(words[10]);
    front.set_u32::<44>(words[11]);
    Some(())
}

/// Cuts the frame to `keep` bytes and makes room of `front` bytes before it, if a message may be sent now.
#[inline(always)]
fn reshape(ctx: *mut xdp_md, keep: usize, front: usize) -> Option<()> {
    let length = packet(ctx).remaining(0);
    if length < keep || !limits::take_message() {
        return None;
    }
    // SAFETY: the context of the running program; no frame taken before is used after.
    unsafe {
        if !helpers::adjust_tail(ctx, keep as i32 - length as i32) {
            return None;
        }
        helpers::adjust_head(ctx, -(front as i32)).then_some(())
    }
}

/// The frame's link header, to go back where it came from.
struct Macs {
    words: [u32; 3],
    tags: [u32; 2],
}

impl Macs {
    #[inline(always)]
    fn of<const AT: usize>(ctx: *mut xdp_md) -> Option<Self> {
        let frame = packet(ctx);
        let header = frame.view::<{ ethernet::HEADER }>(0)?;
        let words = [header.raw_u32::<0>(), header.raw_u32::<4>(), header.raw_u32::<8>()];
        Some(Self { words, tags: read_tags::<AT>(&frame).ok()? })
    }

    /// Writes it turned round at the frame's new begin, with its tags.
    #[inline(always)]
    fn write<const AT: usize>(&self, ctx: *mut xdp_md, ethertype: u16) -> Option<()> {
        let frame = packet(ctx);
        let [first, second, third] = self.words;
        let header = frame.view::<{ ethernet::HEADER }>(0)?;
        header.set_u32::<0>((second >> 16) | (third << 16));
        header.set_u32::<4>((third >> 16) | (first << 16));
        header.set_u32::<8>((first >> 16) | (second << 16));
        write_tags::<AT>(&frame, self.tags).ok()?;
        frame.view::<2>(AT - 2)?.set_u16::<0>(ethertype.to_be());
        Some(())
    }
}
