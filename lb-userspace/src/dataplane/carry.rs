//! Connections on their way to tables of another size, while packets are served: first by the program over the old tables, then by one
//! over the new ones. Each is copied, and what changes meanwhile is copied again ([`Carrier::follow`]). Once the other program serves,
//! what the old tables still have to tell is settled ([`Carrier::settle`]): what began there after the last copy, went on, or ended.
//!
//! Both programs count in the same loads of the reals, so a connection that both have changed is counted by its last state here.

use std::collections::BTreeMap;
use std::sync::atomic::Ordering;

use lb_common::abi::connection::{Meta, STATES};
use lb_common::abi::reply::Place;
use lb_common::table::unit;

use super::flows::Entering;
use super::mapped::Mapped;
use super::replies::Replies;

/// The tables that hold connections.
#[derive(Clone, Copy)]
pub(super) struct View<'a> {
    /// Connections, and how their answers find back.
    pub(super) replies: Replies<'a>,
    /// Addresses that IPv4 connections were sent to, two a word.
    pub(super) virtuals: &'a Mapped,
}

/// Connections of reals, counted by state ([`unit`]).
pub(super) trait Loads {
    /// A real has one more.
    fn begin(&self, real: u32, unit: u64);
    /// A real has one less.
    fn end(&self, real: u32, unit: u64);
}

/// What has been copied, by family and place in the old tables.
pub(super) struct Carrier {
    copies: [Vec<Copied>; 2],
}

/// What became of the connections that were there or came.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Carried {
    /// Written into the new tables.
    pub(super) begun: u64,
    /// Changed there.
    pub(super) changed: u64,
    /// Taken out of them.
    pub(super) ended: u64,
    /// Without room there.
    pub(super) lost: u64,
}

/// An entry as it was copied last; the one that has not been is all zeros.
#[derive(Clone, Copy, Debug, Default)]
struct Copied {
    /// Place in the new table, plus one.
    at: u32,
    /// Of its key: tells a connection from the next one in the same entry.
    key: u32,
    meta: u64,
}

type Key = [u64; 3];

impl View<'_> {
    fn read(&self, place: Place) -> Option<(Key, Meta)> {
        let read = || self.replies.connections.read(place);
        let (_, before) = read().filter(|(_, meta)| meta.is_live())?;
        // Once more: the entry may have been given to another between the two.
        read().filter(|(_, meta)| meta.same_identity(before))
    }
}

impl Copied {
    fn of(place: Place, key: Key, meta: Meta) -> Self {
        Self { at: place.index() + 1, key: short(key), meta: meta.0 }
    }

    fn is(self, key: Key, meta: Meta) -> bool {
        self.at != 0 && self.key == short(key) && Meta(self.meta).same_identity(meta)
    }

    fn name(self, is_v6: bool) -> (u32, u64, bool) {
        (self.key, Meta(self.meta).identity(), is_v6)
    }

    fn place(self, is_v6: bool) -> Option<Place> {
        Some(Place::new(self.at.checked_sub(1)?, is_v6))
    }
}

/// Addresses, ports: each word turned by another number of bits, so that no two words take each other away.
fn short([first, second, third]: Key) -> u32 {
    let mixed = first ^ second.rotate_left(21) ^ third.rotate_left(42);
    (mixed ^ (mixed >> 32)).wrapping_mul(0x9e37_79b9) as u32
}

impl Carrier {
    /// For old tables with so many places of IPv4, and of IPv6.
    pub(super) fn new(places: [usize; 2]) -> Self {
        Self { copies: places.map(|places| vec![Copied::default(); places]) }
    }

    /// Brings the new tables, which nobody else uses yet, to what the old ones hold.
    pub(super) fn follow(&mut self, old: View<'_>, new: View<'_>, now: u32, timeouts: &[u32; STATES]) -> Carried {
        let how = Entering { now, timeouts, may_evict: false };
        let mut carried = Carried::default();
        each(&mut self.copies, |place, copied| follow(&mut carried, copied, place, old, new, how));
        carried
    }

    /// Settles what happened between the last [`Carrier::follow`] and the moment since which the new tables are used.
    pub(super) fn settle(
        mut self,
        old: View<'_>,
        new: View<'_>,
        now: u32,
        timeouts: &[u32; STATES],
        loads: &impl Loads,
    ) -> Carried {
        let how = Entering { now, timeouts, may_evict: true };
        let (mut carried, mut gone) = (Carried::default(), Gone::new());
        each(&mut self.copies, |place, copied| {
            let Some(target) = copied.place(place.is_v6()) else { return };
            match old.read(place).filter(|(key, meta)| copied.is(*key, *meta)) {
                Some((key, meta)) => {
                    go_on(&mut carried, (key, Meta(copied.meta), meta), target, new, loads);
                    if new.replies.row_of(target).is_none() {
                        tie(old, place, new, target);
                    }
                }
                None => {
                    gone.insert(copied.name(place.is_v6()), std::mem::take(copied));
                }
            }
        });
        if !gone.is_empty() {
            // To another entry, some of them; what is left then is over.
            each(&mut self.copies, |place, copied| {
                find_moved(&mut carried, copied, place, (old, new), &mut gone, loads);
            });
            end(&mut carried, gone, new, loads);
        }
        each(&mut self.copies, |place, copied| begin_late(&mut carried, *copied, place, (old, new), how, loads));
        carried
    }
}

/// Copied connections that are no longer where they were in the old tables, by what there is of their keys, identity and family.
type Gone = BTreeMap<(u32, u64, bool), Copied>;

fn each(copies: &mut [Vec<Copied>; 2], mut visit: impl FnMut(Place, &mut Copied)) {
    for (copies, is_v6) in copies.iter_mut().zip([false, true]) {
        for (index, copied) in copies.iter_mut().enumerate() {
            visit(Place::new(index as u32, is_v6), copied);
        }
    }
}

fn follow(carried: &mut Carried, copied: &mut Copied, place: Place, old: View<'_>, new: View<'_>, how: Entering<'_>) {
    let seen = old.read(place);
    let same = seen.filter(|(key, meta)| copied.is(*key, *meta));
    if let Some(target) = copied.place(place.is_v6()) {
        let word = new.replies.connections.meta(target);
        let Some((_, meta)) = same else {
            carried.ended += 1;
            word.inspect(|word| word.store(Meta::FREE.0, Ordering::SeqCst));
            *copied = Copied::default();
            return begin(carried, copied, place, seen, (old, new), how);
        };
        if meta.0 != copied.meta {
            carried.changed += 1;
            word.inspect(|word| word.store(meta.0, Ordering::SeqCst));
            copied.meta = meta.0;
        }
        tie(old, place, new, target);
        return;
    }
    begin(carried, copied, place, seen, (old, new), how);
}

/// Writes a connection that the new tables do not have.
fn begin(
    carried: &mut Carried,
    copied: &mut Copied,
    place: Place,
    seen: Option<(Key, Meta)>,
    (old, new): (View<'_>, View<'_>),
    how: Entering<'_>,
) {
    let Some((key, meta)) = seen else { return };
    let Some((target, _)) = new.replies.connections.enter(key, place.is_v6(), meta, how) else {
        carried.lost += 1;
        return;
    };
    carried.begun += 1;
    beside(old, place, new, target);
    *copied = Copied::of(target, key, meta);
}

/// A connection that was copied from another place.
fn find_moved(
    carried: &mut Carried,
    copied: &mut Copied,
    place: Place,
    (old, new): (View<'_>, View<'_>),
    gone: &mut Gone,
    loads: &impl Loads,
) {
    let Some((key, meta)) = old.read(place).filter(|_| copied.at == 0) else { return };
    let is_v6 = place.is_v6();
    let Some(moved) = gone.remove(&(short(key), meta.identity(), is_v6)) else { return };
    *copied = moved;
    if let Some(target) = moved.place(is_v6) {
        go_on(carried, (key, Meta(moved.meta), meta), target, new, loads);
    }
}

/// Connections that ended in the old tables after they were copied: the old program has taken them out of their reals' loads.
fn end(carried: &mut Carried, mut gone: Gone, new: View<'_>, loads: &impl Loads) {
    let connections = &new.replies.connections;
    for is_v6 in [false, true] {
        for place in (0..connections.places(is_v6)).map(|index| Place::new(index, is_v6)) {
            let Some((key, meta)) = new.read(place) else { continue };
            let Some(copied) = gone.remove(&(short(key), meta.identity(), is_v6)) else { continue };
            if exchange(new, place, meta, Meta::FREE) {
                carried.ended += 1;
                // What the new program has counted of it since goes too.
                recount(loads, meta.real(), unit(meta.state()), unit(Meta(copied.meta).state()));
            }
        }
    }
    // Both programs have taken these out.
    for copied in gone.into_values() {
        let was = Meta(copied.meta);
        loads.begin(was.real(), unit(was.state()));
    }
}

/// A connection that has begun since the last copy.
fn begin_late(
    carried: &mut Carried,
    copied: Copied,
    place: Place,
    (old, new): (View<'_>, View<'_>),
    how: Entering<'_>,
    loads: &impl Loads,
) {
    let Some((key, meta)) = old.read(place).filter(|_| copied.at == 0) else { return };
    let connections = &new.replies.connections;
    let target = match connections.find_key(key, place.is_v6(), meta.service()) {
        // A client that is impatient has begun it in both, and both have counted it. The one that is open counts.
        Some(at) if at.meta.same_identity(meta) || !meta.is_open() || !exchange(new, at.place, at.meta, meta) => {
            return loads.end(meta.real(), unit(meta.state()));
        }
        Some(at) => {
            loads.end(at.meta.real(), unit(at.meta.state()));
            at.place
        }
        None => match connections.enter(key, place.is_v6(), meta, how) {
            Some((target, evicted)) => {
                evicted.inspect(|evicted| loads.end(evicted.real(), unit(evicted.state())));
                target
            }
            None => {
                carried.lost += 1;
                return loads.end(meta.real(), unit(meta.state()));
            }
        },
    };
    carried.begun += 1;
    beside(old, place, new, target);
}

/// A connection that went on in the old tables after it was copied as `was`, if it has.
fn go_on(carried: &mut Carried, (key, was, meta): (Key, Meta, Meta), target: Place, new: View<'_>, loads: &impl Loads) {
    if meta == was {
        return;
    }
    carried.changed += 1;
    // If the other program has not touched it, it is as the old one has left it.
    if exchange(new, target, was, meta) {
        return;
    }
    let connections = &new.replies.connections;
    // Moved, maybe, or only seen.
    let found = connections.find_key(key, target.is_v6(), meta.service()).filter(|at| at.meta.same_identity(meta));
    match found {
        Some(at) if at.meta.state() == was.state() && exchange(new, at.place, at.meta, meta) => {}
        // Gone on there as well, or over: what the old program has counted since is counted twice.
        _ => recount(loads, meta.real(), unit(meta.state()), unit(was.state())),
    }
}

fn recount(loads: &impl Loads, real: u32, from: u64, to: u64) {
    if from != to {
        loads.begin(real, to);
        loads.end(real, from);
    }
}

fn exchange(new: View<'_>, place: Place, from: Meta, to: Meta) -> bool {
    let word = new.replies.connections.meta(place);
    word.is_some_and(|word| word.compare_exchange(from.0, to.0, Ordering::SeqCst, Ordering::SeqCst).is_ok())
}

/// Copies what a connection has beside its entry.
fn beside(old: View<'_>, place: Place, new: View<'_>, target: Place) {
    if !place.is_v6() {
        let address = old.virtuals.half(place.index() as usize).unwrap_or(0);
        new.virtuals.change_half(target.index() as usize, |_| Some(address));
    }
    tie(old, place, new, target);
}

/// Gives a connection whose answers come back through the director a reply record of its own. Without one its next packet asks for it.
fn tie(old: View<'_>, place: Place, new: View<'_>, target: Place) {
    if let Some(row) = old.replies.row_of(place) {
        let _ = new.replies.claim(target, &old.replies.record(row));
    }
}

#[cfg(test)]
#[path = "carry_tests.rs"]
mod tests;
