//! The generator: writes a whole frame over the one it is given, for the next flow, and sends it by the generator's interface. Runs by
//! `BPF_PROG_TEST_RUN` on live frames, which come back with what they carried before.
#![expect(unsafe_code, reason = "the generator's state is a map value")]

use aya_ebpf::bindings::{xdp_action, xdp_md};
use aya_ebpf::btf_maps::PerCpuArray;
use aya_ebpf::helpers::generated;
use aya_ebpf::macros::btf_map;
use lb_common::algo::checksum;
use lb_common::wire::Packet;
use lb_ebpf::helpers;
use lb_ebpf::packet::Frame;

use crate::shape::generator::{
    BEGUN, CLIENTS, DUE, ENDED, FIRST, FLAGS, FLOWS, FRAMES, INTERFACE, INTERVAL, IP, IP_SUM, LINK, LINK_END, NEXT,
    PORT, PORT_STEP, SENT, SHIFT, STEP, TCP_SUM, VIP, WORDS,
};
use crate::shape::{FLOWS_OF_CLIENT, FRAME, PORTS};

/// What each CPU sends; the second one only in turns with the first.
#[btf_map]
static GENERATORS: PerCpuArray<[u64; WORDS], 2> = PerCpuArray::new();

/// One of this CPU's generators.
#[inline(always)]
fn generator(number: u32) -> Option<&'static mut [u64; WORDS]> {
    // SAFETY: this CPU's value of the map; live frames are made with softirqs off, and user space looks only afterwards.
    unsafe { GENERATORS.get_ptr_mut(number).map(|words| &mut *words) }
}

/// The kernel's monotonic clock, in nanoseconds.
#[inline(always)]
pub(crate) fn now() -> u64 {
    // SAFETY: no arguments, no preconditions.
    unsafe { generated::bpf_ktime_get_ns() }
}

/// A frame as fast as it can be.
#[inline(always)]
pub(crate) fn full_speed(ctx: *mut xdp_md) -> u32 {
    let Some(words) = generator(0) else { return xdp_action::XDP_ABORTED };
    // The clock only twice: the kernel's own figure leaves out what the CPU does for the frames in ksoftirqd.
    if words[SENT] == 0 {
        words[BEGUN] = now();
    }
    if words[SENT] + 1 == words[FRAMES] {
        words[ENDED] = now();
    }
    send(ctx, words, 0)
}

/// A frame as fast as it can be, of one stream and of the other in turns. The first one's words have the times.
#[inline(always)]
pub(crate) fn in_turns(ctx: *mut xdp_md) -> u32 {
    let (Some(first), Some(second)) = (generator(0), generator(1)) else { return xdp_action::XDP_ABORTED };
    let sent = first[SENT] + second[SENT];
    if sent == 0 {
        first[BEGUN] = now();
    }
    if sent + 1 == first[FRAMES] {
        first[ENDED] = now();
    }
    send(ctx, if sent & 1 == 0 { first } else { second }, 0)
}

/// A frame when it is due, which it carries; nothing before. A generator that was held up sends what it owes: what waited then has
/// waited from when it was due.
#[inline(always)]
pub(crate) fn paced(ctx: *mut xdp_md) -> u32 {
    let Some(words) = generator(0) else { return xdp_action::XDP_ABORTED };
    let now = now();
    if words[DUE] == 0 {
        words[DUE] = now;
        words[BEGUN] = now;
    }
    let due = words[DUE];
    if now < due {
        return xdp_action::XDP_DROP;
    }
    words[DUE] = due + words[INTERVAL];
    words[ENDED] = now;
    send(ctx, words, due)
}

#[inline(always)]
fn send(ctx: *mut xdp_md, words: &mut [u64; WORDS], stamp: u64) -> u32 {
    // SAFETY: the context of the running program.
    let frame = unsafe { Frame::new(ctx) };
    let Some(bytes) = frame.view::<FRAME>(0) else { return xdp_action::XDP_ABORTED };
    let number = words[NEXT];
    let following = number + words[STEP];
    words[NEXT] = if following >= words[FLOWS] { following - words[FLOWS] } else { following };
    if number == 0 {
        words[PORT] += words[PORT_STEP];
    }
    let flow = words[FIRST] + number;
    let client = ((words[CLIENTS] + (flow >> (words[SHIFT] & 31))) as u32).to_be();
    let within = if words[SHIFT] == 0 { words[PORT] as u32 } else { flow as u32 };
    let ports = (((PORTS | (within & (FLOWS_OF_CLIENT - 1))) << 16) | 80).to_be();
    let ip_sum = checksum::add_u32(words[IP_SUM] as u32, client);
    let tcp_sum = checksum::add_u32(checksum::add_u32(words[TCP_SUM] as u32, client), ports);
    let tcp_sum = checksum::add_u64(tcp_sum, stamp);
    bytes.set_u64::<0>(words[LINK]);
    bytes.set_u64::<8>(words[LINK_END]);
    bytes.set_u64::<16>(words[IP]);
    bytes.set_u16::<24>(checksum::finish(ip_sum));
    bytes.set_u32::<26>(client);
    bytes.set_u32::<30>(words[VIP] as u32);
    bytes.set_u32::<34>(ports);
    bytes.set_u64::<38>(0);
    bytes.set_u32::<46>(words[FLAGS] as u32);
    bytes.set_u32::<50>(u32::from(checksum::finish(tcp_sum)));
    bytes.set_u64::<54>(stamp);
    bytes.set_u16::<62>(0);
    words[SENT] += 1;
    helpers::redirect(words[INTERFACE] as u32)
}
