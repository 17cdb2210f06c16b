//! What cases of address translation run inside: [`crate::wrap`] with what else a translated packet needs undone, its destination and its
//! hop count; and the answers of reals, whose ends were noted while the connections began.
#![expect(unsafe_code, reason = "the ends of answers are in a map")]

use aya_ebpf::bindings::{xdp_action, xdp_md};
use aya_ebpf::btf_maps::Array;
use aya_ebpf::macros::btf_map;
use lb_common::wire::{Packet, View};

use crate::wrap::{PACKETS, frame, next_flow, restore};

/// Ends of each flow's answer, as words of the packet: ports, then source and destination address.
#[btf_map]
static ENDS: Array<[u64; 5], 1> = Array::new();

/// "Don't fragment", TTL 64 and TCP, as they stand in an IPv4 header, in one store, as the parser loads them.
const HOPS_V4: u32 = u32::from_ne_bytes([0x40, 0, 64, 6]);
/// TCP and hop limit 64, as in an IPv6 header.
const HOPS_V6: u16 = u16::from_ne_bytes([6, 64]);
/// First half of all clients' addresses, 2001:db8::.
const CLIENT6: u64 = u64::from_ne_bytes([0x20, 0x01, 0x0d, 0xb8, 0, 0, 0, 0]);
/// The service: 10.0.0.100, fd00::100.
const VIP: u32 = u32::from_ne_bytes([10, 0, 0, 100]);
const VIP6: [u64; 2] = [u64::from_ne_bytes([0xfd, 0, 0, 0, 0, 0, 0, 0]), u64::from_ne_bytes([0, 0, 0, 0, 0, 0, 1, 0])];

/// Eight packets, each by an expression that says what the kernel is to do. No closure: the compiler would make a function of it, which
/// calls the case by its address, and the verifier takes none.
macro_rules! eight {
    ($packet:expr) => {{
        let mut action = xdp_action::XDP_ABORTED;
        let mut number = 0;
        while number < PACKETS {
            match $packet {
                Some(latest) => action = latest,
                None => return xdp_action::XDP_ABORTED,
            }
            number += 1;
        }
        action
    }};
}

/// Runs the case on eight packets of eight clients.
#[inline(always)]
pub(crate) fn to_real<const V6: bool>(ctx: *mut xdp_md, case: extern "C" fn(*mut xdp_md) -> u32) -> u32 {
    eight!(one_to_real::<V6>(ctx, case))
}

#[inline(always)]
fn one_to_real<const V6: bool>(ctx: *mut xdp_md, case: extern "C" fn(*mut xdp_md) -> u32) -> Option<u32> {
    next_flow::<V6>(ctx)?;
    to_service::<V6>(ctx)?;
    let action = case(ctx);
    restore::<V6>(ctx)?;
    Some(action)
}

/// The same, and notes what the real's answers look like.
#[inline(always)]
pub(crate) fn learn<const V6: bool>(ctx: *mut xdp_md, case: extern "C" fn(*mut xdp_md) -> u32) -> u32 {
    eight!(learn_one::<V6>(ctx, case))
}

#[inline(always)]
fn learn_one<const V6: bool>(ctx: *mut xdp_md, case: extern "C" fn(*mut xdp_md) -> u32) -> Option<u32> {
    let flow = next_flow::<V6>(ctx)?;
    to_service::<V6>(ctx)?;
    let action = case(ctx);
    note::<V6>(ctx, flow)?;
    Some(action)
}

/// Runs the case on the answers of eight flows.
#[inline(always)]
pub(crate) fn answer<const V6: bool>(ctx: *mut xdp_md, case: extern "C" fn(*mut xdp_md) -> u32) -> u32 {
    eight!(one_answer::<V6>(ctx, case))
}

#[inline(always)]
fn one_answer<const V6: bool>(ctx: *mut xdp_md, case: extern "C" fn(*mut xdp_md) -> u32) -> Option<u32> {
    let flow = next_flow::<V6>(ctx)?;
    from_real::<V6>(ctx, flow)?;
    let action = case(ctx);
    restore::<V6>(ctx)?;
    Some(action)
}

#[inline(always)]
fn to_service<const V6: bool>(ctx: *mut xdp_md) -> Option<()> {
    let frame = frame(ctx);
    if V6 {
        let view = frame.view::<74>(0)?;
        view.set_u16::<20>(HOPS_V6);
        view.set_u64::<22>(CLIENT6);
        view.set_u64::<38>(VIP6[0]);
        view.set_u64::<46>(VIP6[1]);
    } else {
        let view = frame.view::<64>(0)?;
        view.set_u32::<20>(HOPS_V4);
        view.set_u32::<30>(VIP);
    }
    Some(())
}

/// Writes down the ends of the packet that has gone to its real, turned round.
#[inline(always)]
fn note<const V6: bool>(ctx: *mut xdp_md, flow: u32) -> Option<()> {
    let ends = ENDS.get_ptr_mut(flow)?;
    let frame = frame(ctx);
    let words = if V6 {
        let view = frame.view::<74>(0)?;
        let source = [view.raw_u64::<22, 26>(), view.raw_u64::<30, 34>()];
        let destination = [view.raw_u64::<38, 42>(), view.raw_u64::<46, 50>()];
        let ports = u64::from(view.raw_u32::<54>().rotate_left(16));
        [ports, destination[0], destination[1], source[0], source[1]]
    } else {
        let view = frame.view::<64>(0)?;
        let addresses = u64::from(view.raw_u32::<30>()) | u64::from(view.raw_u32::<26>()) << 32;
        [u64::from(view.raw_u32::<34>().rotate_left(16)), addresses, 0, 0, 0]
    };
    // SAFETY: a value of the map; one CPU runs the benchmark.
    unsafe { *ends = words };
    Some(())
}

/// Makes the packet the flow's answer. Stores as wide as the parser's loads, as in [`crate::wrap`].
#[inline(always)]
fn from_real<const V6: bool>(ctx: *mut xdp_md, flow: u32) -> Option<()> {
    // SAFETY: as above.
    let words = unsafe { *ENDS.get_ptr(flow)? };
    let frame = frame(ctx);
    if V6 {
        let view = frame.view::<74>(0)?;
        view.set_u16::<20>(HOPS_V6);
        view.set_u64::<22>(words[1]);
        view.set_u64::<30>(words[2]);
        view.set_u64::<38>(words[3]);
        view.set_u64::<46>(words[4]);
        view.set_low_u32::<54>(words[0]);
    } else {
        let view = frame.view::<64>(0)?;
        view.set_u32::<20>(HOPS_V4);
        view.set_low_u32::<26>(words[1]);
        view.set_u32::<30>((words[1] >> 32) as u32);
        view.set_low_u32::<34>(words[0]);
    }
    Some(())
}
