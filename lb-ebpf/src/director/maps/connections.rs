//! The connection tables: 64-byte buckets of four IPv4 connections, 128-byte buckets of four IPv6 ones.
#![expect(unsafe_code, reason = "connection entries are shared words behind map pointers")]

use lb_common::abi::connection as abi;
use lb_common::abi::connection::{KeyV4, KeyV6, Meta};
use lb_common::abi::limits::WAYS;
use lb_common::abi::tables::{self, placeholder::of_table};
use lb_common::algo::hash;
use lb_common::table::{Bucket, Slot};
use lb_ebpf::immediate::below;
use lb_ebpf::word;

use super::{Table, settings};

type ConnectionsV4 = Table<abi::BucketV4, { of_table(tables::Table::ConnectionsV4) }>;
type VirtualsV4 = Table<u32, { of_table(tables::Table::VirtualsV4) }>;
type ConnectionsV6 = Table<abi::BucketV6, { of_table(tables::Table::ConnectionsV6) }>;

/// A bucket of the IPv4 table.
#[derive(Clone, Copy)]
pub(crate) struct BucketV4(*mut abi::BucketV4);
/// A bucket of the IPv6 table.
#[derive(Clone, Copy)]
pub(crate) struct BucketV6(*mut abi::BucketV6);
/// An entry of the IPv4 table.
#[derive(Clone, Copy)]
pub(crate) struct SlotV4(*mut abi::EntryV4);
/// An entry of the IPv6 table.
#[derive(Clone, Copy)]
pub(crate) struct SlotV6(*mut abi::EntryV6);

macro_rules! buckets {
    ($bucket:ident, $first:ident, $second:ident, $numbers:ident, $numbered:ident, $entry:ident, $table:ty,
     $mask:path, $overflow_mask:path) => {
        /// The bucket that a connection stands in first.
        #[inline(always)]
        pub(crate) fn $first(hash: u64, service: u32) -> $bucket {
            $bucket(<$table>::at(hash::connection_first(hash, service, $mask())))
        }

        /// The one that it stands in if there is no room there.
        #[inline(always)]
        pub(crate) fn $second(hash: u64, service: u32) -> $bucket {
            $bucket(<$table>::at(hash::connection_second(hash, service, $mask(), $overflow_mask())))
        }

        /// Numbers of both.
        #[inline(always)]
        pub(crate) fn $numbers(hash: u64, service: u32) -> [u32; 2] {
            let (mask, overflow_mask) = ($mask(), $overflow_mask());
            let second = hash::connection_second(hash, service, mask, overflow_mask);
            [hash::connection_first(hash, service, mask) as u32, second as u32]
        }

        /// The bucket with a number.
        #[inline(always)]
        pub(crate) fn $numbered(number: u32) -> $bucket {
            $bucket(<$table>::at(below(u64::from(number), $mask() + $overflow_mask() + 2)))
        }

        /// The number of an entry, or 0 if there is none with this number.
        #[inline(always)]
        pub(crate) fn $entry(index: u32) -> u64 {
            below(u64::from(index), ($mask() + $overflow_mask() + 2) * WAYS as u64)
        }
    };
}

buckets!(
    BucketV4,
    first_v4,
    second_v4,
    numbers_v4,
    bucket_v4,
    entry_v4,
    ConnectionsV4,
    settings::bucket_mask_v4,
    settings::overflow_mask_v4
);
buckets!(
    BucketV6,
    first_v6,
    second_v6,
    numbers_v6,
    bucket_v6,
    entry_v6,
    ConnectionsV6,
    settings::bucket_mask_v6,
    settings::overflow_mask_v6
);

/// Keeps the address (raw) that the client of IPv4 connection `index` sent to.
#[inline(always)]
pub(crate) fn keep_virtual(index: u32, address: u32) {
    // SAFETY: an aligned half word of the table.
    unsafe { word::store_half(VirtualsV4::at(entry_v4(index)), address) }
}

/// The address that is kept for IPv4 connection `index`.
#[inline(always)]
pub(crate) fn kept_virtual(index: u32) -> u32 {
    // SAFETY: as above.
    unsafe { word::load_half(VirtualsV4::at(entry_v4(index))) }
}

impl Bucket for BucketV4 {
    type Slot = SlotV4;

    #[inline(always)]
    fn slot(self, index: usize) -> SlotV4 {
        // SAFETY: the map gave a whole bucket, and the index is cut to its entries.
        SlotV4(unsafe { (&raw mut (*self.0).entries).cast::<abi::EntryV4>().add(index & (WAYS - 1)) })
    }
}

impl Bucket for BucketV6 {
    type Slot = SlotV6;

    #[inline(always)]
    fn slot(self, index: usize) -> SlotV6 {
        // SAFETY: the map gave a whole bucket, and the index is cut to its entries.
        SlotV6(unsafe { (&raw mut (*self.0).entries).cast::<abi::EntryV6>().add(index & (WAYS - 1)) })
    }
}

macro_rules! meta_word {
    () => {
        #[inline(always)]
        fn meta(self) -> Meta {
            // SAFETY: an aligned word of an entry that the map gave.
            Meta(unsafe { word::load(&raw const (*self.0).meta) })
        }
        #[inline(always)]
        fn exchange(self, old: Meta, new: Meta) -> bool {
            // SAFETY: as above.
            unsafe { word::exchange(&raw mut (*self.0).meta, old.0, new.0) }
        }
        #[inline(always)]
        fn publish(self, meta: Meta) {
            // SAFETY: as above.
            unsafe { word::publish(&raw mut (*self.0).meta, meta.0) }
        }
    };
}

impl Slot for SlotV4 {
    type Key = KeyV4;
    meta_word!();

    #[inline(always)]
    fn key_is(self, key: KeyV4) -> bool {
        // SAFETY: an aligned word of an entry that the map gave.
        unsafe { word::load(&raw const (*self.0).key) == key.0 }
    }
    #[inline(always)]
    fn key(self) -> KeyV4 {
        // SAFETY: as above.
        KeyV4(unsafe { word::load(&raw const (*self.0).key) })
    }
    #[inline(always)]
    fn write_key(self, key: KeyV4) {
        // SAFETY: as above; the entry is busy by our hand, nobody else writes it.
        unsafe { word::store(&raw mut (*self.0).key, key.0) }
    }
}

impl Slot for SlotV6 {
    type Key = KeyV6;
    meta_word!();

    #[inline(always)]
    fn key_may_be(self, key: KeyV6) -> bool {
        // SAFETY: an aligned word of an entry that the map gave.
        unsafe { word::load((&raw const (*self.0).key).cast::<u64>().add(2)) == key.0[2] }
    }
    #[inline(always)]
    fn key_is(self, key: KeyV6) -> bool {
        // SAFETY: aligned words of an entry that the map gave.
        unsafe {
            let stored = (&raw const (*self.0).key).cast::<u64>();
            word::load(stored.add(2)) == key.0[2]
                && word::load(stored.add(1)) == key.0[1]
                && word::load(stored) == key.0[0]
        }
    }
    #[inline(always)]
    fn key(self) -> KeyV6 {
        // SAFETY: as above.
        unsafe {
            let stored = (&raw const (*self.0).key).cast::<u64>();
            KeyV6([word::load(stored), word::load(stored.add(1)), word::load(stored.add(2))])
        }
    }
    #[inline(always)]
    fn write_key(self, key: KeyV6) {
        // SAFETY: as above; the entry is busy by our hand, nobody else writes it.
        unsafe {
            let stored = (&raw mut (*self.0).key).cast::<u64>();
            word::store(stored, key.0[0]);
            word::store(stored.add(1), key.0[1]);
            word::store(stored.add(2), key.0[2]);
        }
    }
}
