//! 64-bit words in map memory that other CPUs and user space read and write at the same time.
//!
//! On x86-64 aligned loads and stores are atomic and keep their order among themselves; volatile keeps the compiler from changing
//! that. Read-modify-writes are BPF's atomic instructions (kernel 5.12, `-C target-cpu=v3`).
#![expect(unsafe_code, reason = "shared map memory is reached through raw pointers")]

use core::intrinsics::{AtomicOrdering, atomic_and, atomic_cxchg, atomic_or, atomic_xadd, atomic_xchg};
use core::ptr;

/// Loads a word.
///
/// # Safety
/// `word` must be an aligned word in a map value.
#[inline(always)]
pub unsafe fn load(word: *const u64) -> u64 {
    // SAFETY: the caller's promise; see the module for why a volatile load is an atomic one here.
    unsafe { ptr::read_volatile(word) }
}

/// Stores a word.
///
/// # Safety
/// As [`load`].
#[inline(always)]
pub unsafe fn store(word: *mut u64, value: u64) {
    // SAFETY: as above.
    unsafe { ptr::write_volatile(word, value) }
}

/// Stores a word after everything that was written before.
///
/// # Safety
/// As [`load`].
#[inline(always)]
pub unsafe fn publish(word: *mut u64, value: u64) {
    // SAFETY: as above. An exchange, since BPF's atomics are full barriers and its plain stores none.
    unsafe { atomic_xchg::<u64, { AtomicOrdering::SeqCst }>(word, value) };
}

/// Replaces a word if it is `old`. True when it was.
///
/// # Safety
/// As [`load`].
#[inline(always)]
pub unsafe fn exchange(word: *mut u64, old: u64, new: u64) -> bool {
    // SAFETY: as above.
    unsafe { atomic_cxchg::<u64, { AtomicOrdering::SeqCst }, { AtomicOrdering::SeqCst }>(word, old, new).1 }
}

/// Loads half a word.
///
/// # Safety
/// `half` must be an aligned half word in a map value.
#[inline(always)]
pub unsafe fn load_half(half: *const u32) -> u32 {
    // SAFETY: the caller's promise.
    unsafe { ptr::read_volatile(half) }
}

/// Stores half a word.
///
/// # Safety
/// As [`load_half`].
#[inline(always)]
pub unsafe fn store_half(half: *mut u32, value: u32) {
    // SAFETY: the caller's promise.
    unsafe { ptr::write_volatile(half, value) }
}

/// Replaces half a word if it is `old`. True when it was.
///
/// # Safety
/// As [`load_half`].
#[inline(always)]
pub unsafe fn exchange_half(half: *mut u32, old: u32, new: u32) -> bool {
    // SAFETY: the caller's promise.
    unsafe { atomic_cxchg::<u32, { AtomicOrdering::SeqCst }, { AtomicOrdering::SeqCst }>(half, old, new).1 }
}

/// Adds to a word, modulo 2^64.
///
/// # Safety
/// As [`load`].
#[inline(always)]
pub unsafe fn add(word: *mut u64, value: u64) {
    // SAFETY: as above.
    unsafe { atomic_xadd::<u64, u64, { AtomicOrdering::Relaxed }>(word, value) };
}

/// Adds to a word, modulo 2^64, and returns what it was.
///
/// # Safety
/// As [`load`].
#[inline(always)]
pub unsafe fn fetch_add(word: *mut u64, value: u64) -> u64 {
    // SAFETY: as above.
    unsafe { atomic_xadd::<u64, u64, { AtomicOrdering::SeqCst }>(word, value) }
}

/// Sets bits of a word.
///
/// # Safety
/// As [`load`].
#[inline(always)]
pub unsafe fn set_bits(word: *mut u64, bits: u64) {
    // SAFETY: as above.
    unsafe { atomic_or::<u64, u64, { AtomicOrdering::SeqCst }>(word, bits) };
}

/// Clears all other bits of a word.
///
/// # Safety
/// As [`load`].
#[inline(always)]
pub unsafe fn keep_bits(word: *mut u64, bits: u64) {
    // SAFETY: as above.
    unsafe { atomic_and::<u64, u64, { AtomicOrdering::SeqCst }>(word, bits) };
}
