//! Room for a new entry whose buckets are both full: others move to their other buckets, as far as that takes.
#![expect(unsafe_code, reason = "global functions need names of their own in the object")]

use core::marker::PhantomData;

use lb_common::abi::connection::Meta;
use lb_common::abi::limits::WAYS;
use lb_common::table::room::{self, Space, Step};
use lb_common::table::{Bucket, Slot};
use lb_ebpf::helpers;

use crate::family::{Family, SlotOf, V4, V6};
use crate::maps::{limits, replies, steps};

/// Makes room in one of the two buckets of an IPv4 connection with this hash. Returns 1 if there is some now.
#[unsafe(no_mangle)]
#[inline(never)]
pub extern "C" fn xvs_make_room_v4(hash: u64, service: u32) -> u32 {
    u32::from(make_room::<V4>(hash, service))
}

/// The same for IPv6.
#[unsafe(no_mangle)]
#[inline(never)]
pub extern "C" fn xvs_make_room_v6(hash: u64, service: u32) -> u32 {
    u32::from(make_room::<V6>(hash, service))
}

#[inline(always)]
fn make_room<F: Family>(hash: u64, service: u32) -> bool {
    if !limits::may_search() {
        return false;
    }
    let space = Tables::<F>(PhantomData);
    let [first, second] = F::bucket_numbers(hash, service);
    let found = room::search(&space, first, second);
    limits::searched(found.looked);
    let Some((bucket, way)) = room::make(&space, found) else { return false };
    // Whoever comes first may have it: nearly always the one that has asked.
    space.bucket(bucket).slot(way).publish(Meta::FREE);
    true
}

/// Number of an entry, of its bucket and its way.
#[inline(always)]
fn index((bucket, way): (u32, usize)) -> u32 {
    bucket * WAYS as u32 + way as u32
}

/// The table of a family.
struct Tables<F>(PhantomData<F>);

impl<F: Family> Space for Tables<F> {
    type Bucket = F::Bucket;

    #[inline(always)]
    fn bucket(&self, number: u32) -> F::Bucket {
        F::bucket(number)
    }

    #[inline(always)]
    fn other(&self, bucket: u32, slot: SlotOf<F>, meta: Meta) -> Option<u32> {
        let [first, second] = F::bucket_numbers(F::hash(slot.key()), meta.service());
        meta.is_live().then_some(if bucket == first { second } else { first })
    }

    #[inline(always)]
    fn copy_beside(&self, from: (u32, usize), to: (u32, usize)) {
        let (from, to) = (index(from), index(to));
        F::copy_beside(from, to);
        replies::copy_tie::<F>(from, to);
    }

    #[inline(always)]
    fn tell(&self, from: (u32, usize), to: (u32, usize)) {
        replies::move_place::<F>(index(from), index(to));
    }

    #[inline(always)]
    fn noted(&self, number: u32) -> Step {
        Step(steps::load(number))
    }

    #[inline(always)]
    fn note(&self, number: u32, step: Step) {
        steps::store(number, step.0);
    }

    #[inline(always)]
    fn each(&self, count: u32, visit: impl FnMut(u32) -> bool) {
        helpers::repeat(count, visit);
    }

    #[inline(always)]
    fn unknown(&self, number: u32) -> u32 {
        limits::forgotten(u64::from(number)) as u32
    }
}
