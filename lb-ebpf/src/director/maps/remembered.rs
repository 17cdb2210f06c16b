//! Destinations that lblc and lblcr remember. A row is changed by whoever schedules; two CPUs that change one at once may lose one of
//! the changes, or list a real twice, which costs a connection its best place and nothing else.
#![expect(unsafe_code, reason = "rows are shared words behind map pointers")]

use lb_common::abi::remembered::{self as abi, BUSY, ROWS, WAYS};
use lb_common::abi::tables::{self, placeholder::of_table};
use lb_common::sched::memory::SET;
use lb_ebpf::word;

use super::Table;

type Remembered = Table<abi::Row, { of_table(tables::Table::Remembered) }>;

/// Words of a row.
const HEAD: usize = 0;
const USED: usize = 1;
const CHANGED: usize = 2;
const LEN: usize = 3;
const REALS: usize = 4;

/// A row by its index, which is below the table's length.
#[derive(Clone, Copy)]
pub(crate) struct Row(u32);

impl Row {
    #[inline(always)]
    fn word(self, at: usize) -> *mut u64 {
        // SAFETY: a row has sixteen words, and callers name one of them.
        unsafe { Remembered::at(u64::from(self.0 & (ROWS - 1))).cast::<u64>().add(at & 15) }
    }
    #[inline(always)]
    fn load(self, at: usize) -> u64 {
        // SAFETY: an aligned word of the table.
        unsafe { word::load(self.word(at)) }
    }
    #[inline(always)]
    fn store(self, at: usize, value: u64) {
        // SAFETY: as above.
        unsafe { word::store(self.word(at), value) }
    }

    /// The row of the destination that `head` names.
    #[inline(always)]
    pub(crate) fn find(head: u64) -> Option<Self> {
        let first = abi::first(head);
        let mut way = 0;
        while way < WAYS {
            let row = Self(first + way);
            if row.load(HEAD) == head {
                return Some(row);
            }
            way += 1;
        }
        None
    }

    /// A free row for it, or the one that was used longest ago.
    #[inline(always)]
    pub(crate) fn make(head: u64, now: u32) -> Option<Self> {
        let first = abi::first(head);
        let (mut chosen, mut longest, mut way) = (Self(first), 0, 0);
        while way < WAYS {
            let row = Self(first + way);
            // One more than its age, so that any is longer than none; a free row is older than all.
            let age = if row.load(HEAD) == 0 {
                1 << 32
            } else {
                u64::from(now.wrapping_sub(row.load(USED) as u32) & 0x3f_ffff) + 1
            };
            if age > longest {
                (chosen, longest) = (row, age);
            }
            way += 1;
        }
        let old = chosen.load(HEAD);
        // SAFETY: an aligned word of the table.
        if old == BUSY || !unsafe { word::exchange(chosen.word(HEAD), old, BUSY) } {
            return None;
        }
        chosen.store(LEN, 0);
        chosen.store(USED, u64::from(now));
        // SAFETY: as above.
        unsafe { word::publish(chosen.word(HEAD), head) };
        Some(chosen)
    }

    #[inline(always)]
    pub(crate) fn touch(self, now: u32) {
        if self.load(USED) != u64::from(now) {
            self.store(USED, u64::from(now));
        }
    }
    #[inline(always)]
    pub(crate) fn len(self) -> u32 {
        let len = self.load(LEN) as u32;
        if len > SET { SET } else { len }
    }
    #[inline(always)]
    pub(crate) fn set_len(self, len: u32, now: u32) {
        self.store(CHANGED, u64::from(now));
        self.store(LEN, u64::from(len));
    }
    #[inline(always)]
    pub(crate) fn age(self, now: u32) -> u32 {
        now.wrapping_sub(self.load(CHANGED) as u32) & 0x3f_ffff
    }
    #[inline(always)]
    pub(crate) fn real(self, at: u32) -> u32 {
        self.load(REALS + at as usize) as u32
    }
    #[inline(always)]
    pub(crate) fn set_real(self, at: u32, real: u32) {
        self.store(REALS + at as usize, u64::from(real));
    }
}
