//! Service addresses. User space writes them in place; an entry's target word decides alone. A key without target is one that was
//! taken away; it goes on saying that its bucket has been full.
#![expect(unsafe_code, reason = "service entries are shared words behind map pointers")]

use lb_common::abi::limits::WAYS;
use lb_common::abi::service::{self as abi, BUCKETS, Target};
use lb_common::abi::tables::{self, placeholder::of_table};
use lb_common::algo::hash;
use lb_ebpf::word;

use super::Table;

type ServicesV4 = Table<abi::BucketV4, { of_table(tables::Table::ServicesV4) }>;
type ServicesV6 = Table<abi::BucketV6, { of_table(tables::Table::ServicesV6) }>;

const MASK: u32 = BUCKETS - 1;

/// The service at this address.
#[inline(always)]
pub(crate) fn find_v4(key: u64) -> Target {
    let index = hash::service_v4(key, MASK);
    let mut is_full = false;
    let target = scan_v4(index, key, &mut is_full);
    if target.is_some() || !is_full { target } else { scan_v4((index + 1) & MASK, key, &mut is_full) }
}

#[inline(always)]
fn scan_v4(index: u32, key: u64, is_full: &mut bool) -> Target {
    let bucket = ServicesV4::at(u64::from(index));
    let mut way = 0;
    let mut last = 0;
    while way < WAYS {
        // SAFETY: aligned words of a bucket of the table.
        unsafe {
            let entry = (&raw const (*bucket).entries).cast::<abi::EntryV4>().add(way);
            last = word::load(&raw const (*entry).key);
            if last == key {
                let target = word::load(&raw const (*entry).target);
                // Once more: the way may have been given to another address between the two.
                if target != 0 && word::load(&raw const (*entry).key) == key {
                    return Target(target);
                }
            }
        }
        way += 1;
    }
    *is_full = last != 0;
    Target::NONE
}

/// The service at this address.
#[inline(always)]
pub(crate) fn find_v6(key: [u64; 3]) -> Target {
    let index = hash::service_v6(key, MASK);
    let mut is_full = false;
    let target = scan_v6(index, key, &mut is_full);
    if target.is_some() || !is_full { target } else { scan_v6((index + 1) & MASK, key, &mut is_full) }
}

#[inline(always)]
fn scan_v6(index: u32, key: [u64; 3], is_full: &mut bool) -> Target {
    let bucket = ServicesV6::at(u64::from(index));
    let mut way = 0;
    let mut last = core::ptr::null();
    while way < WAYS {
        // SAFETY: aligned words of a bucket of the table.
        unsafe {
            let entry = (&raw const (*bucket).entries).cast::<abi::EntryV6>().add(way);
            let stored = (&raw const (*entry).key).cast::<u64>();
            let target = word::load(&raw const (*entry).target);
            if target != 0
                && word::load(stored.add(1)) == key[1]
                && word::load(stored) == key[0]
                && word::load(stored.add(2)) == key[2]
            {
                return Target(target);
            }
            last = stored;
        }
        way += 1;
    }
    // SAFETY: as above.
    *is_full = unsafe { word::load(last) | word::load(last.add(1)) } != 0;
    Target::NONE
}
