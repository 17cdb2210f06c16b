//! Packets whose first fragment has been seen, and the way to the daemon for fragments that came before it.
#![expect(unsafe_code, reason = "map values are reached through raw pointers; the frame is handed to a helper")]

use aya_ebpf::bindings::xdp_md;
use aya_ebpf::btf_maps::PerfEventArray;
use aya_ebpf::macros::btf_map;
use aya_ebpf::programs::XdpContext;
use lb_common::abi::fragment::{BUCKETS, BUSY, Bucket, Early, Entry, LIFETIME, Value};
use lb_common::abi::limits::WAYS;
use lb_common::abi::tables::{self, placeholder::of_table};
use lb_ebpf::word;

use super::{Table, settings};

type Fragments = Table<Bucket, { of_table(tables::Table::Fragments) }>;

/// Frames for the daemon, behind an [`Early`] each.
#[btf_map]
static EARLY: PerfEventArray = PerfEventArray::new();

#[inline(always)]
fn entry(tag: u64, way: usize) -> *mut Entry {
    let bucket = Fragments::at(tag >> 32 & u64::from(BUCKETS - 1));
    // SAFETY: inside a bucket of the table: callers name one of its ways.
    unsafe { (&raw mut (*bucket).entries).cast::<Entry>().add(way & (WAYS - 1)) }
}

/// Where the packet with this tag goes.
#[inline(always)]
pub(crate) fn find(tag: u64) -> Option<Value> {
    let mut way = 0;
    while way < WAYS {
        let entry = entry(tag, way);
        // SAFETY: aligned words of the table. The tag once more: the entry may have been given to another packet between the two.
        let (before, value, after) = unsafe {
            let tag = word::load(&raw const (*entry).tag);
            (tag, word::load(&raw const (*entry).value), word::load(&raw const (*entry).tag))
        };
        if before == tag && after == tag && Value(value).age(settings::now()) <= LIFETIME {
            return Some(Value(value));
        }
        way += 1;
    }
    None
}

/// Remembers where the packet with this tag goes. The oldest entry of its bucket yields. A lost race leaves it unknown: its later
/// fragments are early ones then.
#[inline(always)]
pub(crate) fn remember(tag: u64, value: Value) {
    let now = settings::now();
    let mut chosen = entry(tag, 0);
    let mut oldest = 0;
    let mut way = 0;
    while way < WAYS {
        let entry = entry(tag, way);
        // SAFETY: aligned words of the table.
        let (known, value) = unsafe { (word::load(&raw const (*entry).tag), word::load(&raw const (*entry).value)) };
        // The packet's own entry before a free one before the oldest.
        let rank = if known == tag {
            u32::MAX
        } else if known == 0 {
            u32::MAX - 1
        } else {
            Value(value).age(now)
        };
        if rank >= oldest {
            oldest = rank;
            chosen = entry;
        }
        way += 1;
    }
    // SAFETY: aligned words of the table; whoever makes the tag busy owns the entry.
    unsafe {
        let known = word::load(&raw const (*chosen).tag);
        if known != BUSY && word::exchange(&raw mut (*chosen).tag, known, BUSY) {
            word::store(&raw mut (*chosen).value, value.0);
            word::publish(&raw mut (*chosen).tag, tag);
        }
    }
}

/// Hands a frame to the daemon: a fragment, which it runs through the program again once the packet's first one has come, or a packet
/// for its helper ([`lb_common::abi::fragment::handed`]).
#[inline(always)]
pub(crate) fn hand_over(ctx: *mut xdp_md, tag: u64, ifindex: u32, length: u32) {
    let early = Early { tag, ifindex, length };
    EARLY.output(&XdpContext::new(ctx), &early, length & 0xf_ffff);
}
