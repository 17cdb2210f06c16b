//! Connections that begin, go on, move and end while they are carried: none is lost, none is there twice, and reals' loads are right.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Mutex;

use lb_common::abi::connection::State;
use lb_common::abi::limits::WAYS;
use lb_common::abi::reply::{self, Record};
use lb_common::abi::settings::DEFAULT_TIMEOUTS;
use proptest::prelude::*;

use super::super::flows::{Connections, Flow};
use super::super::pins::Buckets;
use super::super::replies::ends;
use super::*;

const REALS: u32 = 4;
const FLOWS: u16 = 40;
const STATES_MET: [State; 4] = [State::SynRecv, State::Established, State::FinWait, State::TimeWait];

/// Tables of so many buckets, as words.
struct Tables {
    words: [Mapped; 7],
    buckets: Buckets,
}

impl Tables {
    fn new(first: u32, overflow: u32) -> Self {
        let buckets = Buckets { first, overflow };
        let places = buckets.places() as usize;
        let rows = 16 * reply::WAYS;
        let sizes = [places * 2, places * 4, places / 2, places / 2, places / 2, rows, rows * 16];
        Self { words: sizes.map(Mapped::of_file), buckets }
    }

    fn view(&self) -> View<'_> {
        let [v4, v6, ties_v4, ties_v6, virtuals, index, records] = &self.words;
        let connections = Connections { v4, v6, buckets: [self.buckets; 2], secret: [3, 5] };
        View { replies: Replies { index, records, ties: [ties_v4, ties_v6], connections }, virtuals }
    }

    fn carrier(&self) -> Carrier {
        Carrier::new([self.buckets.places() as usize; 2])
    }

    /// Every connection: its flow, its place, its meta word.
    fn all(&self) -> Vec<(Flow, Place, Meta)> {
        let places = [false, true]
            .into_iter()
            .flat_map(|is_v6| (0..self.buckets.places() as u32).map(move |index| Place::new(index, is_v6)));
        let read = |place: Place| {
            let (key, meta) = self.view().read(place)?;
            Some((Flow::of(meta.service(), key, place.is_v6()), place, meta))
        };
        places.filter_map(read).collect()
    }

    fn counted(&self) -> BTreeMap<u32, u64> {
        let mut counted: BTreeMap<u32, u64> = (0..REALS).map(|real| (real, 0)).collect();
        for (_, _, meta) in self.all() {
            *counted.get_mut(&meta.real()).unwrap() += unit(meta.state());
        }
        counted
    }
}

/// What programs count for reals.
struct Counts(Mutex<BTreeMap<u32, u64>>);

impl Loads for Counts {
    fn begin(&self, real: u32, unit: u64) {
        let mut counts = self.0.lock().unwrap();
        let count = counts.get_mut(&real).unwrap();
        *count = count.wrapping_add(unit);
    }
    fn end(&self, real: u32, unit: u64) {
        let mut counts = self.0.lock().unwrap();
        let count = counts.get_mut(&real).unwrap();
        *count = count.wrapping_sub(unit);
    }
}

fn flow(number: u16) -> Flow {
    let client = if number.is_multiple_of(2) { "192.0.2.7" } else { "2001:db8::7" };
    Flow { service: 2, client: std::net::SocketAddr::new(client.parse().unwrap(), 4000 + number), port: 80 }
}

fn key_of(flow: &Flow) -> ([u64; 3], bool) {
    (flow.key(), flow.client.is_ipv6())
}

/// What a program does to a flow.
#[derive(Clone, Copy, Debug)]
enum Act {
    Packet {
        flow: u16,
        real: u32,
        state: State,
    },
    End {
        flow: u16,
    },
    /// The connection goes to an entry with a higher number, as far as there is one.
    Move {
        flow: u16,
    },
}

fn act() -> impl Strategy<Value = Act> {
    let packet = (0..FLOWS, 0..REALS, 0..STATES_MET.len());
    prop_oneof![
        5 => packet.prop_map(|(flow, real, state)| Act::Packet { flow, real, state: STATES_MET[state] }),
        2 => (0..FLOWS).prop_map(|flow| Act::End { flow }),
        1 => (0..FLOWS).prop_map(|flow| Act::Move { flow }),
    ]
}

/// Acts as the datapath does, which counts for the reals what it changes.
fn run(tables: &Tables, counts: &Counts, acts: &[Act], now: u32) {
    let connections = tables.view().replies.connections;
    let store = |place, meta: Meta| connections.meta(place).unwrap().store(meta.0, Ordering::SeqCst);
    for act in acts {
        match *act {
            Act::Packet { flow: number, real, state } => match connections.find(&flow(number)) {
                Some(at) => {
                    recount(counts, at.meta.real(), unit(at.meta.state()), unit(state));
                    store(at.place, at.meta.with(state, now));
                }
                None => {
                    let (key, is_v6) = key_of(&flow(number));
                    let how = Entering { now, timeouts: &DEFAULT_TIMEOUTS, may_evict: false };
                    if connections.enter(key, is_v6, Meta::new(2, real, state, now), how).is_some() {
                        counts.begin(real, unit(state));
                    }
                }
            },
            Act::End { flow: number } => {
                if let Some(at) = connections.find(&flow(number)) {
                    store(at.place, Meta::FREE);
                    counts.end(at.meta.real(), unit(at.meta.state()));
                }
            }
            Act::Move { flow: number } => {
                if let Some(at) = connections.find(&flow(number)) {
                    let (key, is_v6) = key_of(&flow(number));
                    let how = Entering { now, timeouts: &DEFAULT_TIMEOUTS, may_evict: false };
                    // Into the next free entry of its buckets, which is another one while it still stands in this one.
                    if connections.enter(key, is_v6, at.meta, how).is_some() {
                        store(at.place, Meta::FREE);
                    }
                }
            }
        }
    }
}

fn live(tables: &Tables) -> BTreeMap<u16, Meta> {
    tables.all().into_iter().map(|(flow, _, meta)| (flow.client.port() - 4000, meta)).collect()
}

fn acts() -> impl Strategy<Value = Vec<Act>> {
    prop::collection::vec(act(), 0..60)
}

proptest! {
    #[test]
    fn none_is_lost_or_there_twice_and_loads_are_right(
        grows in any::<bool>(), first in acts(), second in acts(), late in acts(), after in acts()
    ) {
        let (small, large) = (Tables::new(8, 8), Tables::new(32, 8));
        let (old, new) = if grows { (small, large) } else { (large, small) };
        let counts = Counts(Mutex::new(old.counted()));
        let mut carrier = old.carrier();
        run(&old, &counts, &first, 10);
        let carried = carrier.follow(old.view(), new.view(), 11, &DEFAULT_TIMEOUTS);
        prop_assume!(carried.lost == 0);
        run(&old, &counts, &second, 12);
        prop_assume!(carrier.follow(old.view(), new.view(), 12, &DEFAULT_TIMEOUTS).lost == 0);
        prop_assert_eq!(live(&new), live(&old));
        prop_assert_eq!(&new.counted(), &*counts.0.lock().unwrap());
        run(&old, &counts, &late, 13);
        // The other program is there.
        let before = live(&new);
        run(&new, &counts, &after, 14);
        let (at_the_end, served) = (live(&old), live(&new));
        let settled = carrier.settle(old.view(), new.view(), 15, &DEFAULT_TIMEOUTS, &counts);

        let result = live(&new);
        let keys: BTreeSet<_> = new.all().iter().map(|(flow, _, _)| *flow).collect();
        prop_assert_eq!(keys.len(), new.all().len(), "none is there twice");
        prop_assert_eq!(&new.counted(), &*counts.0.lock().unwrap(), "loads count what is there");
        if settled.lost == 0 {
            for (number, meta) in &at_the_end {
                let is_ended = before.contains_key(number) && !served.contains_key(number);
                let begun_anew = served.get(number).is_some_and(|now| !now.same_identity(*meta));
                prop_assert!(result.contains_key(number) || is_ended, "flow {} is lost", number);
                let is_its_own = result.get(number).is_none_or(|now| now.same_identity(*meta));
                prop_assert!(is_its_own || begun_anew, "flow {} has another real", number);
            }
        }
        for number in result.keys() {
            prop_assert!(at_the_end.contains_key(number) || served.contains_key(number), "flow {} is over", number);
        }
    }
}

#[test]
fn answers_find_back_and_addresses_go_along() {
    let (old, new) = (Tables::new(8, 8), Tables::new(32, 8));
    let (client, real) = ("192.0.2.7:4000".parse().unwrap(), "10.0.0.1:80".parse().unwrap());
    let meta = Meta::new(2, 1, State::Established, 5);
    let (at, _) = old.view().replies.connections.begin(&flow(0), meta, 5, &DEFAULT_TIMEOUTS).unwrap();
    let (source, destination, its_ends) = ends(real, client);
    let (identity, key) = (meta.identity(), flow(0).key());
    let record = Record { source, destination, ends: its_ends.0, identity, key, ..Record::default() };
    old.view().replies.claim(at.place, &record).unwrap();
    old.view().virtuals.word(at.place.index() as usize / 2).unwrap().store(0x0102_0304_0102_0304, Ordering::SeqCst);

    let (mut carrier, counts) = (old.carrier(), Counts(Mutex::new(old.counted())));
    carrier.follow(old.view(), new.view(), 6, &DEFAULT_TIMEOUTS);
    let (_, found, there) = new.view().replies.find(real, client).unwrap();
    assert_eq!((found, there.meta), (record, meta));
    let pair = new.view().virtuals.word(there.place.index() as usize / 2).unwrap().load(Ordering::SeqCst);
    assert_eq!((pair >> (32 * (there.place.index() % 2))) as u32, 0x0102_0304);

    // A second one, after the last copy.
    let (client, second) = ("192.0.2.7:4002".parse().unwrap(), flow(2));
    let (at, _) = old.view().replies.connections.begin(&second, meta, 7, &DEFAULT_TIMEOUTS).unwrap();
    counts.begin(1, unit(meta.state()));
    let (source, destination, its_ends) = ends(real, client);
    let record = Record { source, destination, ends: its_ends.0, identity, key: second.key(), ..Record::default() };
    old.view().replies.claim(at.place, &record).unwrap();
    let settled = carrier.settle(old.view(), new.view(), 8, &DEFAULT_TIMEOUTS, &counts);
    assert_eq!((settled.begun, settled.lost), (1, 0));
    assert_eq!(new.view().replies.find(real, client).map(|(_, found, _)| found), Some(record));
    assert_eq!(&new.counted(), &*counts.0.lock().unwrap());
    assert_eq!(new.all().len(), WAYS / 2);
}

#[test]
fn a_table_that_is_too_small_says_so() {
    let (old, new) = (Tables::new(32, 8), Tables::new(1, 1));
    let counts = Counts(Mutex::new(old.counted()));
    let packets: Vec<Act> = (0..FLOWS).map(|flow| Act::Packet { flow, real: 0, state: State::Established }).collect();
    run(&old, &counts, &packets, 1);
    let carried = old.carrier().follow(old.view(), new.view(), 1, &DEFAULT_TIMEOUTS);
    assert_eq!((carried.begun, carried.lost), (4 * WAYS as u64, u64::from(FLOWS) - 4 * WAYS as u64));
}
