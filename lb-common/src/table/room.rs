//! Room where there is none: each connection may stand in either of two buckets, so one of a full bucket may move to its other one, after
//! one of that has moved to its other one, and so on. The shortest such chain is looked for (breadth first); then its last connection
//! moves first, so that each is found at every moment, in one of its places or in both.
//!
//! A table with as many buckets behind as in front holds connections in 95 % of its places (the tests of `room_tests`).

use super::{Bucket, Slot, claim_free};
use crate::abi::connection::Meta;
use crate::abi::limits::{ROOM_STEPS, WAYS};

/// Times that a move is tried again when packets change the connection meanwhile.
const TRIES: u32 = 3;

/// One family's connections as the search sees them.
pub trait Space {
    /// Its buckets.
    type Bucket: Bucket;

    /// The bucket with a number.
    fn bucket(&self, number: u32) -> Self::Bucket;
    /// The other bucket of the connection that has been seen in an entry of `bucket` with this meta word; None if there is none.
    fn other(&self, bucket: u32, slot: <Self::Bucket as Bucket>::Slot, meta: Meta) -> Option<u32>;
    /// Copies what is kept beside an entry's words. Bucket and way of both.
    fn copy_beside(&self, from: (u32, usize), to: (u32, usize));
    /// Tells whoever has the number of an entry that the connection is found in another.
    fn tell(&self, from: (u32, usize), to: (u32, usize));
    /// What [`Space::note`] has noted under a number below [`ROOM_STEPS`].
    fn noted(&self, number: u32) -> Step;
    /// Notes a step.
    fn note(&self, number: u32, step: Step);
    /// Calls `visit` with the numbers below `count` until it returns false.
    fn each(&self, count: u32, visit: impl FnMut(u32) -> bool);
    /// The same number, which the verifier no longer knows: it would follow every value by itself.
    fn unknown(&self, number: u32) -> u32;
}

/// A step of the search: a bucket, and the connection that could move there. It stands in the bucket of the step before.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Step(pub u64);

impl Step {
    const NONE: Self = Self(u64::MAX);
    const BEFORE_SHIFT: u32 = 32;
    const WAY_SHIFT: u32 = 48;

    const fn first(bucket: u32) -> Self {
        Self(bucket as u64)
    }

    #[inline(always)]
    const fn new(bucket: u32, before: u32, way: usize) -> Self {
        Self(bucket as u64 | (before as u64) << Self::BEFORE_SHIFT | (way as u64) << Self::WAY_SHIFT)
    }

    /// Number of the bucket.
    #[inline(always)]
    pub const fn bucket(self) -> u32 {
        self.0 as u32
    }

    #[inline(always)]
    const fn before(self) -> u32 {
        (self.0 >> Self::BEFORE_SHIFT) as u32 & (ROOM_STEPS - 1)
    }

    #[inline(always)]
    const fn way(self) -> usize {
        (self.0 >> Self::WAY_SHIFT) as usize & (WAYS - 1)
    }
}

/// What a search has come to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Found {
    /// The end of the chain: a bucket that has room.
    step: Step,
    /// Buckets that were looked at.
    pub looked: u32,
}

impl Found {
    /// There is room.
    #[inline(always)]
    pub const fn is_room(&self) -> bool {
        self.step.0 != Step::NONE.0
    }
}

/// Looks for the shortest chain of moves that makes room in one of two full buckets.
#[inline(always)]
pub fn search<S: Space>(space: &S, first: u32, second: u32) -> Found {
    space.note(0, Step::first(first));
    space.note(1, Step::first(second));
    // Steps 0 and 1 are there: counted from `ends`, which the verifier does not know.
    let mut ends = space.unknown(2);
    let mut found = Found { step: Step::NONE, looked: space.unknown(0) };
    // One connection at a time: four at once would be walked by the verifier in every combination.
    space.each(ROOM_STEPS * WAYS as u32, |turn| {
        let (at, way) = (turn / WAYS as u32, turn as usize % WAYS);
        if at >= ends {
            return false;
        }
        found.looked = at;
        let number = space.noted(at).bucket();
        let slot = space.bucket(number).slot(way);
        let Some(other) = space.other(number, slot, slot.meta()) else { return true };
        let step = Step::new(other, at, way);
        if has_room(space.bucket(other)) {
            found.step = step;
            return false;
        }
        if ends < ROOM_STEPS {
            space.note(ends, step);
            ends = space.unknown(ends + 1);
        }
        true
    });
    found
}

#[inline(always)]
fn has_room<B: Bucket>(bucket: B) -> bool {
    // All four, without a branch each: the verifier would follow every one.
    let mut most = u64::MAX;
    let mut way = 0;
    while way < WAYS {
        let Meta(word) = bucket.slot(way).meta();
        // 1 unless the word is 0.
        most &= (word | word.wrapping_neg()) >> 63;
        way += 1;
    }
    most & 1 == 0
}

/// Moves the chain's connections, the last one first. Gives bucket and way of an entry of one of the two buckets that the search began
/// with, busy by the caller's hand; None when other CPUs were faster anywhere.
#[inline(always)]
pub fn make<S: Space>(space: &S, found: Found) -> Option<(u32, usize)> {
    if !found.is_room() {
        return None;
    }
    let mut step = found.step;
    let end = step.bucket();
    let bucket = space.bucket(end);
    let way = claim_free(|way| bucket.slot(way))?;
    let (mut to, mut is_made) = ((end, space.unknown(way as u32) as usize & (WAYS - 1)), false);
    space.each(ROOM_STEPS, |_| {
        let before = step.before();
        let from = (space.noted(before).bucket(), step.way());
        if !relocate(space, from, to) {
            return false;
        }
        to = from;
        step = space.noted(before);
        is_made = before < 2;
        before >= 2
    });
    is_made.then_some(to)
}

/// Moves a connection into an entry that is busy by the caller's hand. True: then the one that it comes from is. Otherwise neither.
#[inline(always)]
fn relocate<S: Space>(space: &S, from: (u32, usize), to: (u32, usize)) -> bool {
    let (source, target) = (space.bucket(from.0).slot(from.1), space.bucket(to.0).slot(to.1));
    let seen = source.meta();
    if space.other(from.0, source, seen) != Some(to.0) {
        target.publish(Meta::FREE);
        return false;
    }
    let key = source.key();
    target.write_key(key);
    space.copy_beside(from, to);
    target.publish(seen);
    // Both are there now, and whoever looks finds one of them.
    space.tell(from, to);
    let (mut meta, mut tries) = (seen, 0);
    while tries < TRIES {
        if source.exchange(meta, Meta::BUSY) {
            if !source.key_is(key) {
                // It had been freed and taken again between two looks.
                target.exchange(meta, Meta::BUSY);
                target.write_key(source.key());
                target.publish(meta);
            }
            return true;
        }
        let newer = source.meta();
        if !newer.is_live() || !newer.same_identity(seen) || !target.exchange(meta, newer) {
            break;
        }
        meta = newer;
        tries += 1;
    }
    // The connection is over, or another has taken its place.
    space.tell(to, from);
    let copy = target.meta();
    if copy.same_identity(seen) {
        target.exchange(copy, Meta::FREE);
    }
    false
}
