//! What each CPU notes while it looks for room: one word a step.
#![expect(unsafe_code, reason = "map values are reached through raw pointers")]

use lb_common::abi::limits::ROOM_STEPS;
use lb_common::abi::tables::{self, placeholder::of_table};
use lb_ebpf::word;

use super::{Table, counters};

type Steps = Table<[u64; ROOM_STEPS as usize], { of_table(tables::Table::Steps) }>;

#[inline(always)]
fn place(number: u32) -> *mut u64 {
    let steps = Steps::at(counters::cpu()).cast::<u64>();
    // SAFETY: masked to the length of this CPU's own value.
    unsafe { steps.add((number & (ROOM_STEPS - 1)) as usize) }
}

/// The word with this number.
#[inline(always)]
pub(crate) fn load(number: u32) -> u64 {
    // SAFETY: an aligned word of this CPU's own value.
    unsafe { word::load(place(number)) }
}

/// Notes a word.
#[inline(always)]
pub(crate) fn store(number: u32, word: u64) {
    // SAFETY: as above.
    unsafe { word::store(place(number), word) }
}
