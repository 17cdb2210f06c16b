//! Counters: each CPU has its own stretch of each array, so a plain addition is enough.
#![expect(unsafe_code, reason = "map values are reached through raw pointers")]

use aya_ebpf::btf_maps::Array;
use aya_ebpf::macros::btf_map;
use lb_common::abi::counters::{Counters, VERDICT_SLOTS};
use lb_common::abi::verdict::Verdict;

use super::{MMAPABLE, settings};

#[btf_map]
static VERDICTS: Array<u64, { VERDICT_SLOTS as usize }, MMAPABLE> = Array::new();
#[btf_map]
static SERVICE_COUNTERS: Array<Counters, 2, MMAPABLE> = Array::new();
#[btf_map]
static REAL_COUNTERS: Array<Counters, 2, MMAPABLE> = Array::new();

#[inline(always)]
pub(crate) fn add_verdict(cpu: u32, verdict: Verdict) {
    if let Some(counter) = VERDICTS.get_ptr_mut(cpu * VERDICT_SLOTS + verdict as u32) {
        // SAFETY: this CPU's own word; XDP programs do not interrupt each other on one CPU.
        unsafe { *counter = (*counter).wrapping_add(1) };
    }
}

#[inline(always)]
pub(crate) fn service(cpu: u32, service: u32) -> Option<&'static mut Counters> {
    let counters = SERVICE_COUNTERS.get_ptr_mut(cpu * settings::service_capacity() + service)?;
    // SAFETY: this CPU's own value, as above.
    Some(unsafe { &mut *counters })
}

#[inline(always)]
pub(crate) fn real(cpu: u32, real: u32) -> Option<&'static mut Counters> {
    let counters = REAL_COUNTERS.get_ptr_mut(cpu * settings::real_capacity() + real)?;
    // SAFETY: this CPU's own value, as above.
    Some(unsafe { &mut *counters })
}
