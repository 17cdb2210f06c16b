//! The client's address in a TCP option, for reals that full NAT hides it from: kind 254 as DPVS writes it, and as its kernel module `toa`
//! reads it at the real. Length 8: port, IPv4 address; length 20: port, IPv6 address.
//!
//! Options take no part in sequence numbers, so nothing else changes. A segment without room for the option, or too long with it, goes
//! without: the next one has it.
#![expect(unsafe_code, reason = "the frame's head is moved by helpers; a global function needs a name")]

use core::mem::MaybeUninit;

use aya_ebpf::bindings::xdp_md;
use aya_ebpf::helpers::generated;
use lb_common::algo::checksum::Delta;
use lb_common::wire::transport::TCP_HEADER;
use lb_common::wire::{Edit, Editable, View, ethernet, ipv4, ipv6};
use lb_ebpf::helpers;

use super::packet;
use super::tunnel::Stand;
use crate::family::{Family, V4, V6};
use crate::maps::reals::Chosen;
use crate::maps::replies::Row;

const KIND: u16 = 254;
/// Bytes of the longer of the two forms.
pub(crate) const MAX_LENGTH: u32 = 20;

/// An acknowledgement number as records have it once it is known.
#[inline(always)]
pub(crate) const fn known(raw: u32) -> u64 {
    1 << 32 | raw as u64
}

/// Puts the option right behind the fixed TCP header of a translated segment, whose record is in `row`. Leaves the segment as it is if it
/// cannot be. Returns 0.
#[unsafe(no_mangle)]
#[inline(never)]
pub extern "C" fn xvs_toa(ctx: *mut xdp_md, stand: u64, row: u64) -> u32 {
    let (stand, record) = (Stand(stand), Row::of(row as u32).record());
    // No tags, no IP options: what has to move is as long in every frame.
    if stand.offset() != ethernet::HEADER {
        return 0;
    }
    let longest = Chosen::of(record.real()).entry.way().mtu();
    // Translated within its family, so that the client's is the segment's.
    if stand.is_v6() {
        let (client, ports) = V6::client_of(record.key());
        insert_v6(ctx, client, ports as u16, longest)
    } else {
        let (client, ports) = V4::client_of(record.key());
        insert_v4(ctx, client, ports as u16, longest)
    };
    0
}

/// Moves the first `N` bytes of the frame `by` bytes to the front, into room that is made there. `WORDS` hold as much.
#[inline(always)]
fn make_room<const N: usize, const WORDS: usize>(ctx: *mut xdp_md, by: u32) -> Option<()> {
    const { assert!(N <= WORDS * 8) };
    let mut head = MaybeUninit::<[u64; WORDS]>::uninit();
    // SAFETY: the buffer is at least as long as the helpers are told, and the first of them fills what the second reads. Frames taken
    // before are void, and nobody uses them.
    unsafe {
        if generated::bpf_xdp_load_bytes(ctx, 0, head.as_mut_ptr().cast(), N as u32) != 0
            || !helpers::adjust_head(ctx, -(by as i32))
            || generated::bpf_xdp_store_bytes(ctx, 0, head.as_mut_ptr().cast(), N as u32) != 0
        {
            return None;
        }
    }
    Some(())
}

const FRONT_V4: usize = ethernet::HEADER + ipv4::HEADER;
const FRONT_V6: usize = ethernet::HEADER + ipv6::HEADER;

/// Room that `length` bytes of option leave in a TCP header of at most 60 bytes; the word with data offset and flags, raw, once it is
/// longer by them.
#[inline(always)]
fn longer_header(word: u16, length: u16) -> Option<u16> {
    let word = u16::from_be(word);
    let words = word >> 12;
    if words + length / 4 > 15 { None } else { Some((word + ((length / 4) << 12)).to_be()) }
}

#[inline(always)]
fn insert_v4(ctx: *mut xdp_md, client: u32, port: u16, longest: u32) -> Option<()> {
    const LENGTH: u16 = 8;
    let frame = packet(ctx);
    let ip = frame.edit::<{ ipv4::HEADER }>(ethernet::HEADER)?;
    let tcp = frame.edit::<TCP_HEADER>(FRONT_V4)?;
    if ip.u8::<0>() != 0x45 {
        return None;
    }
    let (old_offset, old_total) = (tcp.raw_u16::<12>(), ip.raw_u16::<2>());
    let new_offset = longer_header(old_offset, LENGTH)?;
    let total = u32::from(u16::from_be(old_total)) + u32::from(LENGTH);
    if total > longest {
        return None;
    }
    let total = total as u16;
    make_room::<{ FRONT_V4 + TCP_HEADER }, 7>(ctx, u32::from(LENGTH))?;
    let frame = packet(ctx);
    let ip = frame.edit::<{ ipv4::HEADER }>(ethernet::HEADER)?;
    let tcp = frame.edit::<TCP_HEADER>(FRONT_V4)?;
    let kind = (KIND << 8 | LENGTH).to_be();
    // The checksum covers the segment's length as well.
    let delta = Delta::NONE.u16(old_offset, new_offset).u16(0, LENGTH.to_be()).u16(0, kind).u16(0, port).u32(0, client);
    tcp.set_u16::<16>(delta.apply(tcp.raw_u16::<16>()));
    tcp.set_u16::<12>(new_offset);
    ip.set_u16::<10>(Delta::NONE.u16(old_total, total.to_be()).apply(ip.raw_u16::<10>()));
    ip.set_u16::<2>(total.to_be());
    let option = packet(ctx).edit::<8>(FRONT_V4 + TCP_HEADER)?;
    option.set_u16::<0>(kind);
    option.set_u16::<2>(port);
    option.set_u32::<4>(client);
    Some(())
}

#[inline(always)]
fn insert_v6(ctx: *mut xdp_md, client: [u64; 2], port: u16, longest: u32) -> Option<()> {
    const LENGTH: u16 = 20;
    let frame = packet(ctx);
    let ip = frame.edit::<{ ipv6::HEADER }>(ethernet::HEADER)?;
    let tcp = frame.edit::<TCP_HEADER>(FRONT_V6)?;
    if ip.u8::<6>() != lb_common::wire::transport::TCP {
        return None;
    }
    let (old_offset, payload) = (tcp.raw_u16::<12>(), u16::from_be(ip.raw_u16::<4>()));
    let new_offset = longer_header(old_offset, LENGTH)?;
    if u32::from(payload) + (ipv6::HEADER as u32 + u32::from(LENGTH)) > longest {
        return None;
    }
    make_room::<{ FRONT_V6 + TCP_HEADER }, 10>(ctx, u32::from(LENGTH))?;
    let frame = packet(ctx);
    let ip = frame.edit::<{ ipv6::HEADER }>(ethernet::HEADER)?;
    let tcp = frame.edit::<TCP_HEADER>(FRONT_V6)?;
    let kind = (KIND << 8 | LENGTH).to_be();
    let delta =
        Delta::NONE.u16(old_offset, new_offset).u16(0, LENGTH.to_be()).u16(0, kind).u16(0, port).u128([0; 2], client);
    tcp.set_u16::<16>(delta.apply(tcp.raw_u16::<16>()));
    tcp.set_u16::<12>(new_offset);
    ip.set_u16::<4>((payload + LENGTH).to_be());
    let option = packet(ctx).edit::<20>(FRONT_V6 + TCP_HEADER)?;
    option.set_u16::<0>(kind);
    option.set_u16::<2>(port);
    Edit::set_u64::<4, 8>(option, client[0]);
    Edit::set_u64::<12, 16>(option, client[1]);
    Some(())
}
