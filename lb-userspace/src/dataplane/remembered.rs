//! Destinations that lblc and lblcr remember, from user space: they are forgotten a day after their last packet.

use std::collections::BTreeSet;
use std::sync::atomic::Ordering;

use lb_common::abi::connection::SEEN_MASK;
use lb_common::abi::remembered::{BUSY, ROWS};

use super::tables::Tables;

impl Tables {
    /// Frees rows that no packet has used for longer than `ticks`. Returns how many.
    pub fn forget_destinations(&self, now: u32, ticks: u32) -> u32 {
        let is_over = |used: u64| now.wrapping_sub(used as u32) & SEEN_MASK as u32 > ticks;
        let mut freed = 0;
        for row in 0..ROWS {
            let [head, used, ..] = self.maps.remembered.value(row) else { continue };
            let word = head.load(Ordering::Acquire);
            if word != 0 && word != BUSY && is_over(used.load(Ordering::Relaxed)) {
                freed += u32::from(head.compare_exchange(word, 0, Ordering::SeqCst, Ordering::Relaxed).is_ok());
            }
        }
        freed
    }

    /// Takes these reals out of all rows, before their numbers are given to others. A packet that changes a row at the same moment
    /// may undo it, which costs its destination its best place and nothing else.
    pub(super) fn forget_reals(&self, gone: &BTreeSet<u32>) {
        for row in 0..ROWS {
            let [head, _, _, len, reals @ ..] = self.maps.remembered.value(row) else { continue };
            let had = len.load(Ordering::Relaxed).min(reals.len() as u64);
            if head.load(Ordering::Acquire) <= BUSY || had == 0 {
                continue;
            }
            let listed = reals.iter().take(had as usize).map(|real| real.load(Ordering::Relaxed));
            let kept: Vec<u64> = listed.filter(|real| !gone.contains(&(*real as u32))).collect();
            if kept.len() as u64 != had {
                reals.iter().zip(&kept).for_each(|(word, real)| word.store(*real, Ordering::Relaxed));
                len.store(kept.len() as u64, Ordering::Release);
            }
        }
    }

    /// Rows in use.
    pub fn remembered_destinations(&self) -> u32 {
        let is_used = |row: &u32| {
            self.maps.remembered.value(*row).first().is_some_and(|head| head.load(Ordering::Relaxed) > BUSY)
        };
        (0..ROWS).filter(is_used).count() as u32
    }
}
