//! What every case runs inside: the next flow goes into the packet before, the frame gets its old length after.
#![expect(unsafe_code, reason = "the frame's head is moved back, the generator's state is a map")]

use aya_ebpf::bindings::{xdp_action, xdp_md};
use aya_ebpf::btf_maps::Array;
use aya_ebpf::macros::btf_map;
use lb_common::wire::Packet;
use lb_ebpf::helpers;
use lb_ebpf::packet::Frame;

/// Packets a run of the program; the kernel tells whole nanoseconds a run.
pub(crate) const PACKETS: u32 = 8;
/// EtherType, version and class in one store, as the parser loads them (see [`put`]).
const LINK: [u32; 2] = [0x0800_4500u32.to_be(), 0x86dd_6000u32.to_be()];
/// A frame's length: 54 bytes of headers and padding for IPv4, as much as there is for IPv6.
const LENGTH: [usize; 2] = [64, 74];

/// Where the generator stands, the number of flows less one, the number of the floor's lines.
#[btf_map]
static FLOWS: Array<[u32; 3], 1> = Array::new();

/// Runs the case on eight packets of eight flows.
#[inline(always)]
pub(crate) fn run<const V6: bool>(ctx: *mut xdp_md, case: extern "C" fn(*mut xdp_md) -> u32) -> u32 {
    let mut action = xdp_action::XDP_ABORTED;
    let mut packet = 0;
    while packet < PACKETS {
        if next_flow::<V6>(ctx).is_none() {
            return xdp_action::XDP_ABORTED;
        }
        action = case(ctx);
        if restore::<V6>(ctx).is_none() {
            return xdp_action::XDP_ABORTED;
        }
        packet += 1;
    }
    action
}

/// Runs the case on eight packets of flows in the order of their numbers: for what fills and empties the tables of baselines. In the
/// generator's order the kernel would hand out neighbouring elements to flows that are met one after the other, and the prefetcher
/// would hide their misses.
#[inline(always)]
pub(crate) fn in_order<const V6: bool>(ctx: *mut xdp_md, case: extern "C" fn(*mut xdp_md) -> u32) -> u32 {
    let mut action = xdp_action::XDP_ABORTED;
    let mut packet = 0;
    while packet < PACKETS {
        if put_following::<V6>(ctx).is_none() {
            return xdp_action::XDP_ABORTED;
        }
        action = case(ctx);
        packet += 1;
    }
    action
}

#[inline(always)]
fn put_following<const V6: bool>(ctx: *mut xdp_md) -> Option<()> {
    let flows = FLOWS.get_ptr_mut(0)?;
    // SAFETY: the map's only value; one CPU runs the benchmark.
    let flow = unsafe {
        let flow = (*flows)[0].wrapping_add(1) & (*flows)[1];
        (*flows)[0] = flow;
        flow
    };
    put::<V6>(ctx, flow)
}

/// A generator of full period for every power of two (Knuth: multiplier 1 modulo 4, odd increment): each flow once a round, in an
/// order that has nothing to do with the order they were inserted in. Returns its number.
#[inline(always)]
pub(crate) fn next_flow<const V6: bool>(ctx: *mut xdp_md) -> Option<u32> {
    let flows = FLOWS.get_ptr_mut(0)?;
    // SAFETY: the map's only value; one CPU runs the benchmark.
    let flow = unsafe {
        let flow = (*flows)[0].wrapping_mul(1_664_525).wrapping_add(1_013_904_223) & (*flows)[1];
        (*flows)[0] = flow;
        flow
    };
    put::<V6>(ctx, flow)?;
    Some(flow)
}

/// Writes a flow's client into the packet.
#[inline(always)]
fn put<const V6: bool>(ctx: *mut xdp_md, flow: u32) -> Option<()> {
    let frame = frame(ctx);
    // Client 10.8.a.b or its last four bytes, ports from 16384 on: 4096 flows an address.
    let address = (0x0a08_0000 | (flow >> 12)).to_be();
    // Both ports in one store, as the parser loads them: a load across a store of another width would wait for the cache, which a
    // packet that the NIC wrote does not make it do.
    let ports = (((0x4000 | (flow & 0xfff)) << 16) | 80).to_be();
    if V6 {
        let view = frame.view::<74>(0)?;
        // With the four bytes before it, zeros: the parser loads eight.
        view.set_u64::<30>(u64::from(address) << 32);
        view.set_u32::<54>(ports);
    } else {
        let view = frame.view::<64>(0)?;
        view.set_u32::<26>(address);
        view.set_u32::<34>(ports);
    }
    Some(())
}

/// Lines of the memory floor's table.
#[inline(always)]
pub(crate) fn floor_lines() -> Option<u64> {
    // SAFETY: the map's only value; user space wrote it before.
    Some(u64::from(unsafe { (*FLOWS.get_ptr(0)?)[2] }))
}

/// Cuts off what the case put in front, and writes the Ethernet header anew behind it.
#[inline(always)]
pub(crate) fn restore<const V6: bool>(ctx: *mut xdp_md) -> Option<()> {
    let added = frame(ctx).remaining(0).wrapping_sub(LENGTH[usize::from(V6)]);
    if added == 0 {
        return Some(());
    }
    // SAFETY: the context of the running program; no frame taken before is used after.
    if !unsafe { helpers::adjust_head(ctx, added as i32) } {
        return None;
    }
    let header = frame(ctx).view::<16>(0)?;
    header.set_u64::<0>(0x0200_0000_0001_0200);
    header.set_u32::<8>(0xfe00_0000);
    header.set_u32::<12>(LINK[usize::from(V6)]);
    Some(())
}

/// One load that must be made: a case without any effect would be called once for all eight packets.
#[inline(always)]
pub(crate) fn nothing(ctx: *mut xdp_md) -> u32 {
    // SAFETY: the context of the running program.
    let end = unsafe { core::ptr::read_volatile(&raw const (*ctx).data_end) };
    if end == 0 { xdp_action::XDP_ABORTED } else { xdp_action::XDP_TX }
}

/// Makes room for an outer IPv4 header and writes an Ethernet header there: what [`restore`] does, backwards.
#[inline(always)]
pub(crate) fn longer(ctx: *mut xdp_md) -> u32 {
    // SAFETY: the context of the running program; no frame taken before is used after.
    if !unsafe { helpers::adjust_head(ctx, -20) } {
        return xdp_action::XDP_ABORTED;
    }
    let Some(header) = frame(ctx).view::<16>(0) else { return xdp_action::XDP_ABORTED };
    header.set_u64::<0>(0x0200_0000_0001_0200);
    header.set_u32::<8>(0xfe00_0000);
    header.set_u32::<12>(LINK[0]);
    xdp_action::XDP_TX
}

#[inline(always)]
pub(crate) fn frame(ctx: *mut xdp_md) -> Frame {
    // SAFETY: the context that the kernel gave to the entry.
    unsafe { Frame::new(ctx) }
}
