//! Counters: each CPU has its own stretch of each array, so a plain addition is enough.
#![expect(unsafe_code, reason = "map values are reached through raw pointers")]

use lb_common::abi::counters::{Counters, VERDICT_SLOTS};
use lb_common::abi::limits::MAX_SERVICES;
use lb_common::abi::tables::{self, placeholder::of_table};

use super::{Table, settings};

type Verdicts = Table<[u64; VERDICT_SLOTS as usize], { of_table(tables::Table::Verdicts) }>;
type ServiceCounters = Table<Counters, { of_table(tables::Table::ServiceCounters) }>;
type RealCounters = Table<Counters, { of_table(tables::Table::RealCounters) }>;

/// The running CPU, as an index into what each has for itself.
#[inline(always)]
pub(crate) fn cpu() -> u64 {
    lb_ebpf::helpers::cpu() & settings::cpu_mask()
}

/// Counts a verdict by its number.
#[inline(always)]
pub(crate) fn add_verdict(cpu: u64, verdict: u32) {
    let slot = u64::from(verdict & (VERDICT_SLOTS - 1));
    // SAFETY: this CPU's own word; XDP programs do not interrupt each other on one CPU.
    unsafe {
        let counter = Verdicts::at(cpu).cast::<u64>().add(slot as usize);
        *counter = (*counter).wrapping_add(1);
    }
}

#[inline(always)]
pub(crate) fn service(cpu: u64, service: u32) -> &'static mut Counters {
    let index = cpu * u64::from(MAX_SERVICES) + u64::from(service & (MAX_SERVICES - 1));
    // SAFETY: this CPU's own value, as above.
    unsafe { &mut *ServiceCounters::at(index) }
}

/// Counters of a real, whose number is masked.
#[inline(always)]
pub(crate) fn real(cpu: u64, real: u64) -> &'static mut Counters {
    let index = (cpu << settings::real_bits()) + real;
    // SAFETY: this CPU's own value, as above.
    unsafe { &mut *RealCounters::at(index) }
}
