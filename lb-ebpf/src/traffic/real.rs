//! The real server: counts what arrives, by which of the reals on this interface it was for, and throws it away.
#![expect(unsafe_code, reason = "counters are map values")]

use aya_ebpf::bindings::{xdp_action, xdp_md};
use aya_ebpf::btf_maps::{Array, PerCpuArray};
use aya_ebpf::macros::btf_map;
use lb_common::wire::{Packet, View};
use lb_ebpf::packet::Frame;

use crate::generate::now;
use crate::shape::{CLASSES, CLIENTS, FLOWS_OF_CLIENT, FRAME, PORTS, REALS, STAMP, WATCHED, class};

/// Packets by real.
#[btf_map]
static ARRIVED: PerCpuArray<u64, { REALS as usize }> = PerCpuArray::new();
/// Packets by the class of their latency.
#[btf_map]
static LATENCIES: PerCpuArray<u64, { CLASSES as usize }> = PerCpuArray::new();
/// The real that a flow went to first, and one; packets that went there; packets that went to another.
#[btf_map]
static SEEN: Array<[u32; 4], { WATCHED as usize }> = Array::new();

const IPV4: u16 = 0x0800;
/// Protocol number of IPv4 in IP.
const IPIP: u8 = 4;

#[inline(always)]
fn frame(ctx: *mut xdp_md) -> Frame {
    // SAFETY: the context that the kernel gave to the entry.
    unsafe { Frame::new(ctx) }
}

/// Counts; the real's number, or nothing for what is not ours.
#[inline(always)]
fn arrived(frame: &Frame) -> Option<u32> {
    let bytes = frame.view::<FRAME>(0)?;
    if bytes.u16::<12>() != IPV4 {
        return None;
    }
    let real = u32::from(bytes.u8::<5>());
    // SAFETY: this CPU's value; XDP programs do not interrupt each other.
    unsafe { *ARRIVED.get_ptr_mut(real)? += 1 };
    Some(real)
}

#[inline(always)]
fn action(is_ours: Option<()>) -> u32 {
    // Neighbours and the like are the kernel's.
    if is_ours.is_some() { xdp_action::XDP_DROP } else { xdp_action::XDP_PASS }
}

/// Counts.
#[inline(always)]
pub(crate) fn count(ctx: *mut xdp_md) -> u32 {
    action(arrived(&frame(ctx)).map(drop))
}

/// Counts, and how long each packet has been on its way.
#[inline(always)]
pub(crate) fn time(ctx: *mut xdp_md) -> u32 {
    let frame = frame(ctx);
    let stamped = |_| {
        let now = now();
        let stamp = if frame.view::<FRAME>(0)?.u8::<23>() == IPIP {
            frame.view::<{ 34 + STAMP + 8 }>(0)?.raw_u64::<{ 34 + STAMP }, { 38 + STAMP }>()
        } else {
            frame.view::<FRAME>(0)?.raw_u64::<{ 14 + STAMP }, { 18 + STAMP }>()
        };
        // SAFETY: as above.
        unsafe { *LATENCIES.get_ptr_mut(class(now.saturating_sub(stamp)))? += 1 };
        Some(())
    };
    action(arrived(&frame).and_then(stamped))
}

/// Counts, and whether each flow stays with its real. For one CPU.
#[inline(always)]
pub(crate) fn watch(ctx: *mut xdp_md) -> u32 {
    let frame = frame(ctx);
    let followed = |real: u32| {
        let bytes = frame.view::<FRAME>(0)?;
        let client = bytes.raw_u32::<26>().swap_bytes();
        let port = u32::from(bytes.u16::<34>());
        let flow =
            u64::from(client.wrapping_sub(CLIENTS)) * u64::from(FLOWS_OF_CLIENT) + u64::from(port.wrapping_sub(PORTS));
        if flow >= u64::from(WATCHED) {
            return Some(());
        }
        // SAFETY: a value of the map; one CPU sends the flows that are watched.
        let seen = unsafe { &mut *SEEN.get_ptr_mut(flow as u32)? };
        if seen[0] == 0 {
            seen[0] = real + 1;
        }
        let place = if seen[0] == real + 1 { 1 } else { 2 };
        seen[place] += 1;
        Some(())
    };
    action(arrived(&frame).and_then(followed))
}
