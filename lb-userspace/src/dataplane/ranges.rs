//! Stretches of an array that are given out and taken back: members and ring lines of services.
//!
//! A stretch that a configuration has left may still be read by packets under way on other CPUs. It is given out again only after
//! the second [`Ranges::settle`], which the daemon calls once a second: a program run takes microseconds.

use std::collections::BTreeMap;

/// Free stretches of an array, by first index.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Ranges {
    free: BTreeMap<u32, u32>,
    /// Given back since the last settling, and before it.
    resting: [Vec<(u32, u32)>; 2],
}

impl Ranges {
    /// An array of `length` values, all free.
    pub fn new(length: u32) -> Self {
        let mut ranges = Self { free: BTreeMap::new(), resting: [Vec::new(), Vec::new()] };
        ranges.release(0, length);
        ranges
    }

    /// The first stretch of `length` values that is free. A stretch of none is at 0.
    pub fn take(&mut self, length: u32) -> Option<u32> {
        if length == 0 {
            return Some(0);
        }
        let (&start, &free) = self.free.iter().find(|&(_, &free)| free >= length)?;
        self.free.remove(&start);
        if free > length {
            self.free.insert(start + length, free - length);
        }
        Some(start)
    }

    /// Takes a given stretch: what tables that are adopted use. False if part of it is taken already.
    pub fn take_at(&mut self, start: u32, length: u32) -> bool {
        if length == 0 {
            return true;
        }
        let Some((&first, &free)) = self.free.range(..=start).next_back() else { return false };
        let (Some(end), Some(limit)) = (start.checked_add(length), first.checked_add(free)) else { return false };
        if end > limit {
            return false;
        }
        self.free.remove(&first);
        if start > first {
            self.free.insert(first, start - first);
        }
        if limit > end {
            self.free.insert(end, limit - end);
        }
        true
    }

    /// Gives a stretch back; it rests until the settling after next.
    pub fn rest(&mut self, start: u32, length: u32) {
        if length > 0 {
            self.resting[0].push((start, length));
        }
    }

    /// Frees what was given back before the last settling. Nobody can still be reading it.
    pub fn settle(&mut self) {
        let [new, old] = std::mem::take(&mut self.resting);
        self.resting[1] = new;
        for (start, length) in old {
            self.release(start, length);
        }
    }

    /// Values that are free, or will be once they have rested.
    pub fn room(&self) -> u32 {
        self.free.values().sum::<u32>() + self.resting.iter().flatten().map(|(_, length)| length).sum::<u32>()
    }

    fn release(&mut self, mut start: u32, mut length: u32) {
        if let Some((&before, &free)) = self.free.range(..start).next_back()
            && before + free == start
        {
            self.free.remove(&before);
            start = before;
            length += free;
        }
        if let Some(free) = self.free.remove(&(start + length)) {
            length += free;
        }
        self.free.insert(start, length);
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn a_stretch_rests_before_it_is_given_out_again() {
        let mut ranges = Ranges::new(10);
        assert_eq!(ranges.take(10), Some(0));
        ranges.rest(0, 10);
        for _ in 0..2 {
            assert_eq!(ranges.take(1), None);
            ranges.settle();
        }
        assert_eq!(ranges.take(10), Some(0));
    }

    proptest! {
        #[test]
        fn stretches_never_overlap_and_all_come_back(lengths in prop::collection::vec(0u32..20, 1..30)) {
            let mut ranges = Ranges::new(200);
            let mut taken: Vec<(u32, u32)> = Vec::new();
            for (round, length) in lengths.into_iter().enumerate() {
                if let Some(start) = ranges.take(length) {
                    prop_assert!(start + length <= 200);
                    for &(other, size) in &taken {
                        prop_assert!(length == 0 || size == 0 || start + length <= other || other + size <= start);
                    }
                    taken.push((start, length));
                }
                if round % 3 == 2 && !taken.is_empty() {
                    let (start, length) = taken.swap_remove(0);
                    ranges.rest(start, length);
                    (0..2).for_each(|_| ranges.settle());
                }
            }
            for (start, length) in taken {
                ranges.rest(start, length);
            }
            (0..2).for_each(|_| ranges.settle());
            prop_assert_eq!(ranges, Ranges::new(200));
        }

        #[test]
        fn a_taken_place_is_not_given_twice(start in 0u32..60, length in 1u32..60) {
            let mut ranges = Ranges::new(50);
            let fits = start + length <= 50;
            prop_assert_eq!(ranges.take_at(start, length), fits);
            if fits {
                prop_assert!(!ranges.take_at(start, 1));
                ranges.rest(start, length);
                (0..2).for_each(|_| ranges.settle());
            }
            prop_assert_eq!(ranges, Ranges::new(50));
        }
    }
}
