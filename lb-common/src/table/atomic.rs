//! The table's entries over `AtomicU64`: how user space sees the mapped memory, and what the host tests run.

use core::sync::atomic::{AtomicU64, Ordering};

use super::{Bucket, Slot};
use crate::abi::connection::{KeyV4, KeyV6, Meta};

/// An IPv4 entry: the layout of [`crate::abi::connection::EntryV4`].
#[repr(C)]
#[derive(Debug, Default)]
pub struct EntryV4 {
    /// Key word.
    pub key: AtomicU64,
    /// Meta word.
    pub meta: AtomicU64,
}

/// An IPv6 entry: the layout of [`crate::abi::connection::EntryV6`].
#[repr(C)]
#[derive(Debug, Default)]
pub struct EntryV6 {
    /// Key words.
    pub key: [AtomicU64; 3],
    /// Meta word.
    pub meta: AtomicU64,
}

const _: () = assert!(size_of::<EntryV4>() == size_of::<crate::abi::connection::EntryV4>());
const _: () = assert!(size_of::<EntryV6>() == size_of::<crate::abi::connection::EntryV6>());

fn load(meta: &AtomicU64) -> Meta {
    Meta(meta.load(Ordering::SeqCst))
}

fn exchange(meta: &AtomicU64, old: Meta, new: Meta) -> bool {
    meta.compare_exchange(old.0, new.0, Ordering::SeqCst, Ordering::SeqCst).is_ok()
}

impl Slot for &EntryV4 {
    type Key = KeyV4;

    fn meta(self) -> Meta {
        load(&self.meta)
    }
    fn exchange(self, old: Meta, new: Meta) -> bool {
        exchange(&self.meta, old, new)
    }
    fn publish(self, meta: Meta) {
        self.meta.store(meta.0, Ordering::SeqCst);
    }
    fn key_is(self, key: KeyV4) -> bool {
        self.key.load(Ordering::SeqCst) == key.0
    }
    fn key(self) -> KeyV4 {
        KeyV4(self.key.load(Ordering::SeqCst))
    }
    fn write_key(self, key: KeyV4) {
        self.key.store(key.0, Ordering::SeqCst);
    }
}

impl Slot for &EntryV6 {
    type Key = KeyV6;

    fn meta(self) -> Meta {
        load(&self.meta)
    }
    fn exchange(self, old: Meta, new: Meta) -> bool {
        exchange(&self.meta, old, new)
    }
    fn publish(self, meta: Meta) {
        self.meta.store(meta.0, Ordering::SeqCst);
    }
    fn key_may_be(self, key: KeyV6) -> bool {
        self.key[2].load(Ordering::SeqCst) == key.0[2]
    }
    fn key_is(self, key: KeyV6) -> bool {
        self.key.iter().zip(key.0).all(|(stored, word)| stored.load(Ordering::SeqCst) == word)
    }
    fn key(self) -> KeyV6 {
        KeyV6([0, 1, 2].map(|at: usize| self.key[at].load(Ordering::SeqCst)))
    }
    fn write_key(self, key: KeyV6) {
        for (stored, word) in self.key.iter().zip(key.0) {
            stored.store(word, Ordering::SeqCst);
        }
    }
}

impl<'a> Bucket for &'a [EntryV4; crate::abi::limits::WAYS] {
    type Slot = &'a EntryV4;

    fn slot(self, index: usize) -> &'a EntryV4 {
        &self[index]
    }
}

impl<'a> Bucket for &'a [EntryV6; crate::abi::limits::WAYS] {
    type Slot = &'a EntryV6;

    fn slot(self, index: usize) -> &'a EntryV6 {
        &self[index]
    }
}
