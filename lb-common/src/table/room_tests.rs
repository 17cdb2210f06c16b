//! Tables that fill up: how many connections they hold, and that moving loses none, with others at work at the same time.

use std::cell::RefCell;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;

use super::atomic::EntryV4;
use super::room::{self, Space, Step};
use super::*;
use crate::abi::connection::KeyV4;
use crate::abi::limits::ROOM_STEPS;
use crate::abi::settings::DEFAULT_TIMEOUTS;
use crate::algo::hash;

type Entries = [EntryV4; WAYS];

const SECRET: [u64; 2] = [0x1234_5678_9abc_def1, 0x0fed_cba9_8765_4321];
const SERVICE: u32 = 5;

/// A table as the datapath has it: first buckets, then the others.
struct Table {
    buckets: Vec<Entries>,
    first: u64,
}

/// One CPU's view of it.
struct View<'a> {
    table: &'a Table,
    steps: RefCell<[Step; ROOM_STEPS as usize]>,
}

impl Table {
    fn new(first: usize, overflow: usize) -> Self {
        Self { buckets: (0..first + overflow).map(|_| Entries::default()).collect(), first: first as u64 }
    }

    fn numbers(&self, key: u64) -> [u32; 2] {
        let (hash, overflow) = (hash::flow_v4(key, SECRET), self.buckets.len() as u64 - self.first);
        let second = hash::connection_second(hash, SERVICE, self.first - 1, overflow - 1);
        [hash::connection_first(hash, SERVICE, self.first - 1) as u32, second as u32]
    }

    fn find(&self, key: u64) -> Option<Meta> {
        let mut found = self
            .numbers(key)
            .into_iter()
            .filter_map(|number| find(&self.buckets[number as usize], KeyV4(key), SERVICE).map(|found| found.meta));
        found.next()
    }

    fn places(&self) -> usize {
        self.buckets.len() * WAYS
    }
}

impl<'a> View<'a> {
    fn new(table: &'a Table) -> Self {
        Self { table, steps: RefCell::new([Step(0); ROOM_STEPS as usize]) }
    }

    fn claim(&self, key: u64) -> Option<Claimed<&'a EntryV4>> {
        let [first, second] = self.table.numbers(key).map(|number| &self.table.buckets[number as usize]);
        claim(first, second, 0, &DEFAULT_TIMEOUTS, false)
    }

    /// As the datapath does: claim, make room, claim again. True if there was room.
    fn insert(&self, key: u64, meta: Meta) -> bool {
        let claimed = self.claim(key).or_else(|| {
            let [first, second] = self.table.numbers(key);
            let (bucket, way) = room::make(self, room::search(self, first, second))?;
            self.bucket(bucket).slot(way).publish(Meta::FREE);
            self.claim(key)
        });
        claimed.is_some_and(|Claimed { slot, .. }| {
            slot.write_key(KeyV4(key));
            slot.publish(meta);
            true
        })
    }
}

impl<'a> Space for View<'a> {
    type Bucket = &'a Entries;

    fn bucket(&self, number: u32) -> &'a Entries {
        &self.table.buckets[number as usize]
    }
    fn other(&self, bucket: u32, slot: &'a EntryV4, meta: Meta) -> Option<u32> {
        let [first, second] = self.table.numbers(slot.key().0);
        meta.is_live().then_some(if bucket == first { second } else { first })
    }
    fn copy_beside(&self, _: (u32, usize), _: (u32, usize)) {}
    fn tell(&self, _: (u32, usize), _: (u32, usize)) {}
    fn noted(&self, number: u32) -> Step {
        self.steps.borrow()[number as usize]
    }
    fn note(&self, number: u32, step: Step) {
        self.steps.borrow_mut()[number as usize] = step;
    }
    fn each(&self, count: u32, mut visit: impl FnMut(u32) -> bool) {
        for number in 0..count {
            if !visit(number) {
                return;
            }
        }
    }
    fn unknown(&self, number: u32) -> u32 {
        number
    }
}

/// Fills a table up to a share of its places with established connections. How many were refused, and how many stand in the second bucket.
fn fill(first: usize, overflow: usize, percent: usize) -> (usize, usize, usize) {
    let table = Table::new(first, overflow);
    let view = View::new(&table);
    let flows = table.places() * percent / 100;
    let refused: Vec<bool> = (1..=flows as u64)
        .map(|key| !view.insert(key, Meta::new(SERVICE, key as u32, State::Established, 0)))
        .collect();
    for (key, refused) in (1u64..).zip(&refused) {
        let found = table.find(key).map(Meta::real);
        assert_eq!(found, (!refused).then_some(key as u32), "a connection was lost, or is another's");
    }
    let behind = table.buckets[first..].iter().flatten().filter(|slot| slot.meta().is_live()).count();
    (flows, refused.into_iter().filter(|refused| *refused).count(), behind)
}

const FIRST: usize = if cfg!(miri) { 16 } else { 1 << 14 };

/// As large as the daemon makes it for so many connections at least.
#[test]
fn four_fifths_of_its_places_hold_all_connections() {
    let (flows, refused, behind) = fill(FIRST, FIRST / 4, 80);
    assert_eq!(refused, 0, "of {flows}");
    if !cfg!(miri) {
        assert!(behind * 100 < flows * 21, "{behind} of {flows} are not in their first bucket");
    }
}

/// With as many places behind as in front.
#[test]
fn nineteen_of_twenty_places_can_be_taken() {
    let (flows, refused, _) = fill(FIRST, FIRST, 95);
    if !cfg!(miri) {
        assert!(refused * 2000 < flows, "{refused} of {flows}");
    }
}

#[test]
fn a_full_table_refuses_and_keeps_what_it_has() {
    let (flows, refused, _) = fill(16, 16, 100);
    assert!(refused > 0 && refused < flows / 5, "{refused} of {flows}");
}

/// One thread inserts until connections have to move, one takes connections out and puts them in again, and stamps others, as packets do.
/// Two look for connections that nobody takes out, and have to find each at every moment; a look that misses is made once more, as the
/// datapath does, since it may meet a move between its two buckets.
#[test]
fn a_connection_that_moves_is_always_found() {
    let first = if cfg!(miri) { 4 } else { 1 << 8 };
    let table: &Table = Box::leak(Box::new(Table::new(first, first)));
    let stop: &AtomicBool = Box::leak(Box::default());
    let staying = (table.places() / 2) as u64;
    let meta = |key: u64, now| Meta::new(SERVICE, key as u32, State::Established, now);
    for key in 1..=staying {
        assert!(View::new(table).insert(key, meta(key, 0)));
    }
    let writers: Vec<_> = (0..2u64)
        .map(|worker| {
            thread::spawn(move || {
                let view = View::new(table);
                let (rounds, guests) = if cfg!(miri) { (2, 12) } else { (400, staying * 2 / 5) };
                for round in 0..rounds {
                    let keys = (0..guests).map(|at| 1_000_000 * (worker + 1) + round * guests + at);
                    let held: Vec<u64> = keys.filter(|key| view.insert(*key, meta(*key, 0))).collect();
                    for key in held {
                        // It may be on its way: in two places, or not yet in the one that was looked at.
                        for number in table.numbers(key).into_iter().chain(table.numbers(key)) {
                            while let Some(found) = find(&table.buckets[number as usize], KeyV4(key), SERVICE) {
                                found.slot.exchange(found.meta, Meta::FREE);
                            }
                        }
                    }
                }
            })
        })
        .collect();
    let readers: Vec<_> = (0..2u32)
        .map(|reader| {
            thread::spawn(move || {
                let mut now = 0;
                while !stop.load(Ordering::SeqCst) {
                    for key in 1..=staying {
                        let found = table.find(key).or_else(|| table.find(key)).or_else(|| table.find(key));
                        let found = found.unwrap_or_else(|| panic!("connection {key} is gone"));
                        assert_eq!(u64::from(found.real()), key);
                        // A packet's stamp, now and then.
                        if key % 7 == u64::from(reader) {
                            for number in table.numbers(key) {
                                if let Some(found) = find(&table.buckets[number as usize], KeyV4(key), SERVICE) {
                                    found.slot.exchange(found.meta, found.meta.seen(now));
                                }
                            }
                        }
                    }
                    now = (now + 1) & 0xffff;
                }
            })
        })
        .collect();
    for writer in writers {
        writer.join().unwrap();
    }
    stop.store(true, Ordering::SeqCst);
    for reader in readers {
        reader.join().unwrap();
    }
    for key in 1..=staying {
        let copies = table.buckets.iter().flatten().filter(|slot| slot.meta().is_live() && slot.key_is(KeyV4(key)));
        assert_eq!(copies.count(), 1, "connection {key}");
    }
}
