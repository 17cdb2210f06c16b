//! A line of words for each CPU: how many messages it may still send for itself, by a bucket of tokens that fills with the clock; how far it
//! may still search for room; what it keeps of the running packet.
#![expect(unsafe_code, reason = "map values are reached through raw pointers")]

use lb_common::abi::limits::{MESSAGE_BURST, ROOM_STEPS_PER_JIFFY};
use lb_common::abi::tables::placeholder::{of_constant, of_table};
use lb_common::abi::tables::{self, Constant};
use lb_ebpf::helpers::jiffies;
use lb_ebpf::immediate::immediate;
use lb_ebpf::word;

use super::{Table, counters};

/// Word that numbers go through.
const SCRATCH: usize = 7;
/// Word that keeps what the packet's address was found to lead to.
const TARGET: usize = 6;
/// Word that keeps the mark of keys that goes with it.
const MARK: usize = 5;

/// Jiffy of the last search for room, and buckets that were looked at in it.
const SEARCHED_AT: usize = 3;
const SEARCHED: usize = 4;

/// Jiffies when it was last filled, tokens left, and the rest of a cache line.
type Bucket = [u64; 8];
type Messages = Table<Bucket, { of_table(tables::Table::Messages) }>;

/// The same number, of which the verifier knows nothing any more: where many places in the program lead on with a number each, it
/// would follow them all. Goes through a word of this CPU's, which nobody else uses.
#[inline(always)]
pub(crate) fn forgotten(number: u64) -> u64 {
    let bucket = Messages::at(counters::cpu()).cast::<u64>();
    // SAFETY: an aligned word of this CPU's own value.
    unsafe {
        word::store(bucket.add(SCRATCH), number);
        word::load(bucket.add(SCRATCH))
    }
}

/// Keeps the target that shapes have led the running packet to, and the mark of its connection's key, for functions further down that
/// have no stack left to look again.
#[inline(always)]
pub(crate) fn keep(target: u64, mark: u64) {
    let bucket = Messages::at(counters::cpu()).cast::<u64>();
    // SAFETY: aligned words of this CPU's own value.
    unsafe {
        word::store(bucket.add(TARGET), target);
        word::store(bucket.add(MARK), mark);
    }
}

/// The target that was kept last.
#[inline(always)]
pub(crate) fn kept_target() -> u64 {
    // SAFETY: as above.
    unsafe { word::load(Messages::at(counters::cpu()).cast::<u64>().add(TARGET)) }
}

/// The mark that was kept last.
#[inline(always)]
pub(crate) fn kept_mark() -> u64 {
    // SAFETY: as above.
    unsafe { word::load(Messages::at(counters::cpu()).cast::<u64>().add(MARK)) }
}

/// Buckets may still be looked at for room in this jiffy.
#[inline(always)]
pub(crate) fn may_search() -> bool {
    // SAFETY: this CPU's own value; XDP programs do not interrupt each other on one CPU.
    let bucket = unsafe { &mut *Messages::at(counters::cpu()) };
    let now = jiffies();
    if bucket[SEARCHED_AT] != now {
        bucket[SEARCHED_AT] = now;
        bucket[SEARCHED] = 0;
    }
    bucket[SEARCHED] < ROOM_STEPS_PER_JIFFY
}

/// Notes that so many were looked at.
#[inline(always)]
pub(crate) fn searched(buckets: u32) {
    // SAFETY: as above.
    let bucket = unsafe { &mut *Messages::at(counters::cpu()) };
    bucket[SEARCHED] = bucket[SEARCHED].wrapping_add(u64::from(buckets) + 1);
}

/// Takes one token. False when there is none.
#[inline(always)]
pub(crate) fn take_message() -> bool {
    // SAFETY: this CPU's own value; XDP programs do not interrupt each other on one CPU.
    let bucket = unsafe { &mut *Messages::at(counters::cpu()) };
    let now = jiffies();
    let elapsed = now.wrapping_sub(bucket[0]);
    let tokens = if elapsed < MESSAGE_BURST {
        (bucket[1] + elapsed * immediate::<{ of_constant(Constant::MessagesPerJiffy) }>()).min(MESSAGE_BURST)
    } else {
        MESSAGE_BURST
    };
    bucket[0] = now;
    if tokens == 0 {
        bucket[1] = 0;
        return false;
    }
    bucket[1] = tokens - 1;
    true
}
