//! Map memory in our address space: arrays of 64-bit words that the datapath changes while we look.
#![expect(unsafe_code, reason = "a mapping becomes a slice of atomics here, and nowhere else")]

use std::mem::MaybeUninit;
use std::os::fd::{AsFd as _, AsRawFd as _};
use std::slice;
use std::sync::atomic::{AtomicU64, Ordering};

use aya::maps::MapData;
use memmap2::{MmapOptions, MmapRaw};

use super::DataplaneError;

/// A mapped table, as words.
pub struct Mapped {
    memory: MmapRaw,
    /// Words of one value.
    stride: usize,
    values: usize,
}

/// Whole table values that may be taken from words and turned into words: plain integers, a multiple of eight bytes.
pub trait Words: aya::Pod {}

impl<T: aya::Pod> Words for T {}

impl Mapped {
    /// Maps a table's map as `layout` says: bytes of a value, a multiple of eight, and number of values.
    pub fn of(map: &MapData, (size, values): (usize, u32)) -> Result<Self, DataplaneError> {
        let memory = MmapOptions::new()
            .len(size * values as usize)
            .map_raw(map.fd().as_fd().as_raw_fd())
            .map_err(|e| DataplaneError::other("mapping a table", e))?;
        Ok(Self { memory, stride: size / 8, values: values as usize })
    }

    /// Number of the table's values.
    pub fn len(&self) -> usize {
        self.values
    }

    /// True for a table without values, which nobody makes.
    pub fn is_empty(&self) -> bool {
        self.values == 0
    }

    /// Every word of the table.
    pub fn words(&self) -> &[AtomicU64] {
        // SAFETY: the mapping is page-aligned, readable, writable and `stride * 8 * values` bytes long, and lives as long as `self`.
        // The kernel and other processes change it only by aligned accesses of whole words (the counters' too), which is what
        // AtomicU64 allows for. AtomicU64 has no invalid bit patterns.
        unsafe { slice::from_raw_parts(self.memory.as_ptr().cast::<AtomicU64>(), self.stride * self.values) }
    }

    /// The words of value `index`; empty past the end.
    pub fn value(&self, index: u32) -> &[AtomicU64] {
        let start = index as usize * self.stride;
        self.words().get(start..start + self.stride).unwrap_or(&[])
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
