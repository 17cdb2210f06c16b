//! Map memory in our address space: arrays of 64-bit words that the datapath changes while we look.
//!
//! What is mapped counts as the daemon's resident memory, though it is the kernel's. So a table is mapped in windows, each by the first
//! look at it, and [`Mapped::unmap`] gives them all back. Mapping costs about 0.1 ms a MiB: the kernel enters each page at once.
#![expect(unsafe_code, reason = "a mapping becomes a slice of atomics here, and nowhere else")]

use std::mem::MaybeUninit;
use std::os::fd::{AsFd as _, AsRawFd as _, OwnedFd};
use std::slice;
use std::sync::OnceLock;
use std::sync::atomic::{AtomicU64, Ordering};

use aya::maps::MapData;
use memmap2::{MmapOptions, MmapRaw};

use super::DataplaneError;

/// A table, as words; those that are looked at are mapped.
pub struct Mapped {
    map: OwnedFd,
    windows: Box<[OnceLock<MmapRaw>]>,
    /// Words of one value.
    stride: usize,
    values: usize,
}

/// Bytes of a window: twenty times the work of mapping one page, and few enough in all for `vm.max_map_count`, 65 530. Values and the
/// stretches of sweeps ([`super::rounds`]) stand in one window each.
pub(super) const WINDOW: usize = 1 << 18;

/// Bytes of a number of which two make a word.
const HALF: usize = size_of::<u32>();

/// Whole table values that may be taken from words and turned into words: plain integers, a multiple of eight bytes.
pub trait Words: aya::Pod {}

impl<T: aya::Pod> Words for T {}

impl Mapped {
    /// A table's map as `layout` says: bytes of a value, a multiple of eight, and number of values. Numbers of four bytes are taken two a
    /// word ([`Mapped::half`]).
    pub fn of(map: &MapData, layout: (usize, u32)) -> Result<Self, DataplaneError> {
        Self::over(
            map.fd().as_fd().try_clone_to_owned().map_err(|e| DataplaneError::other("opening a table", e))?,
            layout,
        )
    }

    fn over(map: OwnedFd, (size, values): (usize, u32)) -> Result<Self, DataplaneError> {
        let (size, values) = if size == HALF { (2 * HALF, values / 2) } else { (size, values) };
        let bytes = size * values as usize;
        if bytes > WINDOW && !WINDOW.is_multiple_of(size) {
            return Err(DataplaneError::other(
                "mapping a table",
                format!("values of {size} bytes do not fill a window"),
            ));
        }
        let windows = std::iter::repeat_with(OnceLock::new).take(bytes.div_ceil(WINDOW)).collect();
        let table = Self { map, windows, stride: size / 8, values: values as usize };
        // What forbids mapping at all is told at once.
        if let Some(first) = table.windows.first() {
            let _ = first.set(table.map(0).map_err(|e| DataplaneError::other("mapping a table", e))?);
        }
        Ok(table)
    }

    fn map(&self, window: usize) -> std::io::Result<MmapRaw> {
        let (start, bytes) = (window * WINDOW, self.word_count() * 8);
        MmapOptions::new().offset(start as u64).len(WINDOW.min(bytes - start)).map_raw(self.map.as_raw_fd())
    }

    /// Takes what is mapped out of our address space; whoever looks next maps it again. A table of one window stays.
    pub fn unmap(&mut self) {
        if self.windows.len() > 1 {
            self.windows.iter_mut().for_each(|window| drop(window.take()));
        }
    }

    /// Number of the table's values.
    pub fn len(&self) -> usize {
        self.values
    }

    /// True for a table without values, which nobody makes.
    pub fn is_empty(&self) -> bool {
        self.values == 0
    }

    /// Number of the table's words.
    pub fn word_count(&self) -> usize {
        self.stride * self.values
    }

    /// Every word of the table, window by window.
    pub fn parts(&self) -> impl Iterator<Item = &[AtomicU64]> {
        (0..self.windows.len()).map(|number| self.window(number))
    }

    /// The words of a window; empty past the end.
    fn window(&self, number: usize) -> &[AtomicU64] {
        let Some(window) = self.windows.get(number) else { return &[] };
        // As with memory that cannot be had: the daemon ends, packets go on.
        let memory = window.get_or_init(|| self.map(number).unwrap_or_else(|e| panic!("mapping a table: {e}")));
        // SAFETY: the mapping is page-aligned, readable, writable and `memory.len()` bytes long. It lives as long as the borrow of `self`:
        // only `unmap` ends it, which has `self` for its own. The kernel and other processes change it only by aligned accesses of whole
        // words (the counters' too), which is what AtomicU64 allows for. AtomicU64 has no invalid bit patterns.
        unsafe { slice::from_raw_parts(memory.as_ptr().cast::<AtomicU64>(), memory.len() / 8) }
    }

    /// So many words from word `first` on; empty if they do not stand in one window.
    pub fn words(&self, first: usize, count: usize) -> &[AtomicU64] {
        let at = first % (WINDOW / 8);
        self.window(first / (WINDOW / 8)).get(at..at + count).unwrap_or(&[])
    }

    /// One word; None past the end.
    pub fn word(&self, index: usize) -> Option<&AtomicU64> {
        self.words(index, 1).first()
    }

    /// Number `index` of a table of numbers of four bytes; None past the end.
    pub fn half(&self, index: usize) -> Option<u32> {
        let (word, shift) = self.word_of_half(index)?;
        Some((word.load(Ordering::SeqCst) >> shift) as u32)
    }

    /// Makes it what `change` makes of it; False if that is nothing, or past the end.
    pub fn change_half(&self, index: usize, change: impl Fn(u32) -> Option<u32>) -> bool {
        let Some((word, shift)) = self.word_of_half(index) else { return false };
        let change = |pair: u64| {
            let other = pair & !(u64::from(u32::MAX) << shift);
            Some(other | u64::from(change((pair >> shift) as u32)?) << shift)
        };
        word.fetch_update(Ordering::SeqCst, Ordering::SeqCst, change).is_ok()
    }

    /// The word that holds such a number, and how far up.
    fn word_of_half(&self, index: usize) -> Option<(&AtomicU64, u32)> {
        Some((self.word(index / 2)?, if index.is_multiple_of(2) { 0 } else { 32 }))
    }

    /// The words of value `index`; empty past the end.
    pub fn value(&self, index: u32) -> &[AtomicU64] {
        self.words(index as usize * self.stride, self.stride)
    }

    /// Value `index` as a table type of exactly its size.
    pub fn read<T: Words>(&self, index: u32) -> Option<T> {
        let words = self.value(index);
        if words.is_empty() || size_of::<T>() != words.len() * 8 {
            return None;
        }
        let mut copy = MaybeUninit::<T>::uninit();
        for (at, word) in words.iter().enumerate() {
            let word = word.load(Ordering::Acquire);
            // SAFETY: `copy` has room for `words.len()` words, whatever its alignment.
            unsafe { copy.as_mut_ptr().cast::<u64>().add(at).write_unaligned(word) };
        }
        // SAFETY: every byte of `copy` was written, and T is plain data for which every pattern is a value.
        Some(unsafe { copy.assume_init() })
    }

    /// Writes the words of `value` that differ, each by one store, the first word last. What has to change at once
    /// must stand in one word.
    pub fn write<T: Words>(&self, index: u32, value: &T) -> bool {
        let words = self.value(index);
        if words.is_empty() || size_of::<T>() != words.len() * 8 {
            return false;
        }
        // SAFETY: a plain-data value of that many bytes, read as words without asking for their alignment.
        let new = |at: usize| unsafe { std::ptr::from_ref(value).cast::<u64>().add(at).read_unaligned() };
        for at in (0..words.len()).rev() {
            if words[at].load(Ordering::Relaxed) != new(at) {
                words[at].store(new(at), Ordering::Release);
            }
        }
        true
    }
}

#[cfg(test)]
impl Mapped {
    /// Words of a file that nobody else has, all 0.
    pub(super) fn of_file(words: usize) -> Self {
        let file = tempfile::tempfile().unwrap();
        file.set_len(words as u64 * 8).unwrap();
        Self::over(file.into(), (8, words as u32)).unwrap()
    }
}

#[cfg(test)]
#[path = "mapped_tests.rs"]
mod tests;
