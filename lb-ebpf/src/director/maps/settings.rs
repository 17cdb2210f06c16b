//! Settings: constants that the loader writes into read-only data, and the one settings value that user space may change.
#![expect(unsafe_code, reason = "globals need stable names; the settings value is read through a map pointer")]

use aya_ebpf::Global;
use aya_ebpf::btf_maps::Array;
use aya_ebpf::macros::btf_map;
use lb_common::abi::settings::Settings;

use super::MMAPABLE;

#[btf_map]
static SETTINGS: Array<Settings, 1, MMAPABLE> = Array::new();

// Frozen before the program is loaded: the verifier knows their values.
#[unsafe(no_mangle)]
static TICK_SHIFT: Global<u32> = Global::new(10);
#[unsafe(no_mangle)]
static HASH_KEY_0: Global<u64> = Global::new(0);
#[unsafe(no_mangle)]
static HASH_KEY_1: Global<u64> = Global::new(0);
#[unsafe(no_mangle)]
static BUCKET_MASK_V4: Global<u32> = Global::new(0);
#[unsafe(no_mangle)]
static BUCKET_MASK_V6: Global<u32> = Global::new(0);
#[unsafe(no_mangle)]
static REAL_CAPACITY: Global<u32> = Global::new(0);
#[unsafe(no_mangle)]
static SERVICE_CAPACITY: Global<u32> = Global::new(0);

/// Ticks of about one second, modulo 2^22 where stored.
#[inline(always)]
pub(crate) fn now() -> u32 {
    (lb_ebpf::helpers::jiffies() >> (TICK_SHIFT.load() & 63)) as u32 & lb_common::abi::connection::SEEN_MASK as u32
}

#[inline(always)]
pub(crate) fn hash_key() -> [u64; 2] {
    [HASH_KEY_0.load(), HASH_KEY_1.load()]
}

#[inline(always)]
pub(crate) fn bucket_mask_v4() -> u32 {
    BUCKET_MASK_V4.load()
}

#[inline(always)]
pub(crate) fn bucket_mask_v6() -> u32 {
    BUCKET_MASK_V6.load()
}

#[inline(always)]
pub(crate) fn real_capacity() -> u32 {
    REAL_CAPACITY.load()
}

#[inline(always)]
pub(crate) fn service_capacity() -> u32 {
    SERVICE_CAPACITY.load()
}

/// Some service takes any port.
#[inline(always)]
pub(crate) fn has_any_port() -> bool {
    match SETTINGS.get_ptr(0) {
        // SAFETY: an aligned word of the value that the map gave; user space may be writing it.
        Some(settings) => unsafe { lb_ebpf::word::load(&raw const (*settings).any_port) != 0 },
        None => false,
    }
}

/// The settings that may change while the program runs.
#[inline(always)]
pub(crate) fn get() -> Option<&'static Settings> {
    SETTINGS.get(0)
}
