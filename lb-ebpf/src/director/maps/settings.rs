//! Settings: constants that the loader writes into the program, and the one settings value that user space may change.
#![expect(unsafe_code, reason = "the settings value is read through a pointer into its table")]

use lb_common::abi::connection::SEEN_MASK;
use lb_common::abi::settings::Settings;
use lb_common::abi::tables::placeholder::{of_constant, of_table};
use lb_common::abi::tables::{self, Constant};
use lb_common::algo::way_back::Watch;
use lb_ebpf::immediate::{at_once, immediate, shift};

use super::Table;

type TheSettings = Table<Settings, { of_table(tables::Table::Settings) }>;

/// Ticks of about one second, modulo 2^22 where stored.
#[inline(always)]
pub(crate) fn now() -> u32 {
    let jiffies = lb_ebpf::helpers::jiffies();
    let ticks = jiffies >> shift::<{ of_constant(Constant::TickShift) }>();
    // Here and now: put off until the clock is needed, the shift would be kept in memory beside it.
    at_once::<{ SEEN_MASK as u32 }>(ticks) as u32
}

#[inline(always)]
pub(crate) fn hash_key() -> [u64; 2] {
    [immediate::<{ of_constant(Constant::HashKey0) }>(), immediate::<{ of_constant(Constant::HashKey1) }>()]
}

#[inline(always)]
pub(crate) fn bucket_mask_v4() -> u64 {
    immediate::<{ of_constant(Constant::BucketMaskV4) }>()
}

#[inline(always)]
pub(crate) fn bucket_mask_v6() -> u64 {
    immediate::<{ of_constant(Constant::BucketMaskV6) }>()
}

#[inline(always)]
pub(crate) fn real_mask() -> u64 {
    immediate::<{ of_constant(Constant::RealMask) }>()
}

#[inline(always)]
pub(crate) fn overflow_mask_v4() -> u64 {
    immediate::<{ of_constant(Constant::OverflowMaskV4) }>()
}

#[inline(always)]
pub(crate) fn overflow_mask_v6() -> u64 {
    immediate::<{ of_constant(Constant::OverflowMaskV6) }>()
}

/// Members there are room for, less one: each real twice.
#[inline(always)]
pub(crate) fn member_mask() -> u64 {
    real_mask() * 2 + 1
}

#[inline(always)]
pub(crate) fn real_bits() -> u64 {
    shift::<{ of_constant(Constant::RealBits) }>()
}

#[inline(always)]
pub(crate) fn cpu_mask() -> u64 {
    immediate::<{ of_constant(Constant::CpuMask) }>()
}

/// How addresses without exact match are looked up ([`lb_common::abi::settings::inexact`]).
#[inline(always)]
pub(crate) fn inexact() -> u64 {
    // SAFETY: an aligned word of the table's one value; user space may be writing it.
    unsafe { lb_ebpf::word::load(&raw const (*TheSettings::at(0)).inexact) }
}

/// Something is to be done with packets that are for no exact address: [`inexact`] or [`has_replies`]. One question for both.
#[inline(always)]
pub(crate) fn looks_further() -> bool {
    let settings = TheSettings::at(0);
    // SAFETY: as above.
    unsafe {
        lb_ebpf::word::load(&raw const (*settings).inexact) | lb_ebpf::word::load(&raw const (*settings).replies) != 0
    }
}

/// Echo requests to a VIP are answered here.
#[inline(always)]
pub(crate) fn answers_echo() -> bool {
    // SAFETY: as above.
    unsafe { lb_ebpf::word::load(&raw const (*TheSettings::at(0)).answer_echo) != 0 }
}

/// Some real's answers come back through the director.
#[inline(always)]
pub(crate) fn has_replies() -> bool {
    // SAFETY: as above.
    unsafe { lb_ebpf::word::load(&raw const (*TheSettings::at(0)).replies) != 0 }
}

/// What is known of changes of the ways to clients.
#[inline(always)]
pub(crate) fn watch() -> Watch {
    let settings = TheSettings::at(0);
    // SAFETY: as above.
    let [changed, watched, unknown] = unsafe {
        [
            lb_ebpf::word::load(&raw const (*settings).routes_changed),
            lb_ebpf::word::load(&raw const (*settings).routes_watched),
            lb_ebpf::word::load(&raw const (*settings).routes_unknown),
        ]
    };
    Watch { changed: changed as u32, watched: watched as u32, unknown: unknown as u32 }
}

/// Notes that the kernel knows no way to some client. One store a tick, and not one each: all CPUs read what stands beside it.
#[inline(always)]
pub(crate) fn note_unknown_route() {
    let now = u64::from(now());
    let settings = TheSettings::at(0);
    // SAFETY: as above.
    unsafe {
        if lb_ebpf::word::load(&raw const (*settings).routes_unknown) != now {
            lb_ebpf::word::store(&raw mut (*settings).routes_unknown, now);
        }
    }
}

/// The settings that may change while the program runs.
#[inline(always)]
pub(crate) fn get() -> &'static Settings {
    // SAFETY: the table's one value, of plain integers.
    unsafe { &*TheSettings::at(0) }
}
