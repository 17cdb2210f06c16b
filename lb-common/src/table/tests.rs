//! The table alone: victim order, and real threads that insert, find and expire at once.

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread;

use super::atomic::EntryV4;
use super::*;
use crate::abi::connection::KeyV4;
use crate::abi::settings::DEFAULT_TIMEOUTS;

type Entries = [EntryV4; WAYS];

fn insert(first: &Entries, second: &Entries, key: u64, meta: Meta, now: u32) -> Option<Option<Meta>> {
    let Claimed { slot, evicted } = claim(first, second, now, &DEFAULT_TIMEOUTS, true)?;
    slot.write_key(KeyV4(key));
    slot.publish(meta);
    Some(evicted)
}

#[test]
fn finds_only_its_own_service_and_key() {
    let (first, second) = (Entries::default(), Entries::default());
    insert(&first, &second, 7, Meta::new(1, 5, State::SynRecv, 0), 0).unwrap();
    assert_eq!(find(&first, KeyV4(7), 1).unwrap().meta.real(), 5);
    assert!(find(&first, KeyV4(7), 2).is_none());
    assert!(find(&first, KeyV4(8), 1).is_none());
    assert!(find(&second, KeyV4(7), 1).is_none());
}

#[test]
fn a_stale_key_of_a_freed_entry_is_not_a_connection() {
    let (first, second) = (Entries::default(), Entries::default());
    let meta = Meta::new(1, 5, State::SynRecv, 0);
    insert(&first, &second, 7, meta, 0).unwrap();
    let slot = (&first).slot(0);
    assert!(slot.exchange(meta, Meta::FREE));
    assert!(find(&first, KeyV4(7), 1).is_none());
}

#[test]
fn gives_up_free_expired_half_open_closing_and_udp_ones_and_never_a_live_established_one() {
    let (first, second) = (Entries::default(), Entries::default());
    let now = 5000;
    for (key, (state, idle)) in [
        (State::Established, 10),
        (State::Established, 10),
        (State::CloseWait, 10),
        (State::Established, 901),
        (State::SynRecv, 2),
        (State::SynRecv, 3),
        (State::FinWait, 5),
        (State::Udp, 100),
    ]
    .into_iter()
    .enumerate()
    {
        insert(&first, &second, key as u64, Meta::new(0, 0, state, now - idle), now).unwrap();
    }
    let fresh = Meta::new(0, 1, State::Established, now);
    let evicted = |key| insert(&first, &second, key, fresh, now).map(|evicted| evicted.unwrap());
    assert_eq!(evicted(10).unwrap().idle(now), 901, "expired first");
    assert_eq!(evicted(11).unwrap().idle(now), 3, "then the half-open one idle longest");
    assert_eq!(evicted(12).unwrap().idle(now), 2);
    assert_eq!(evicted(13).unwrap().state(), State::FinWait);
    assert_eq!(evicted(14).unwrap().state(), State::Udp);
    assert!(evicted(15).is_none(), "established ones stay");
}

/// SCTP's states fall into the same classes, beside TCP's.
#[test]
fn an_association_yields_as_a_tcp_connection_does() {
    use State::{Established, FinWait, SctpClosed, SctpInit1, SctpShutdownReceived, SynRecv};
    let (first, second) = (Entries::default(), Entries::default());
    let states = [SynRecv, SctpInit1, SctpClosed, FinWait, SctpShutdownReceived, Established, Established, Established];
    for (key, state) in states.into_iter().enumerate() {
        insert(&first, &second, key as u64, Meta::new(0, 0, state, 100 - key as u32), 100).unwrap();
    }
    let fresh = Meta::new(0, 1, Established, 100);
    let evicted: Vec<_> =
        (10..15).map(|key| insert(&first, &second, key, fresh, 100).unwrap().unwrap().state()).collect();
    assert_eq!(
        evicted,
        [SctpInit1, SynRecv, SctpShutdownReceived, FinWait, SctpClosed],
        "longest idle first in its class"
    );
    assert!(insert(&first, &second, 15, fresh, 100).is_none(), "established ones stay");
}

#[test]
fn an_entry_being_written_is_neither_found_nor_taken() {
    let (first, second) = (Entries::default(), Entries::default());
    for _ in 0..2 * WAYS {
        claim(&first, &second, 0, &DEFAULT_TIMEOUTS, true).unwrap();
    }
    assert!(claim(&first, &second, 0, &DEFAULT_TIMEOUTS, true).is_none());
    assert!((1..3).all(|service| find(&first, KeyV4(0), service).is_none()));
}

/// Keys carry their real's number; a reader that ever sees another real has caught a torn entry. Counts are settled by whoever
/// wins a compare-exchange, so at the end they equal what the table holds.
#[test]
fn threads_never_see_a_wrong_real_and_counts_stay_exact() {
    const KEYS: u64 = 64;
    let first: &Entries = Box::leak(Box::default());
    let second: &Entries = Box::leak(Box::default());
    let live: &AtomicU64 = Box::leak(Box::default());
    let stop: &AtomicBool = Box::leak(Box::default());
    let timeouts = &DEFAULT_TIMEOUTS;
    let rounds = if cfg!(miri) { 200 } else { 200_000 };

    let writers: Vec<_> = (0..2u64)
        .map(|worker| {
            thread::spawn(move || {
                for round in 0..rounds {
                    let key = (round * 2 + worker) % KEYS;
                    if let Some(Claimed { slot, evicted }) = claim(first, second, 0, timeouts, true) {
                        slot.write_key(KeyV4(key));
                        slot.publish(Meta::new(1, key as u32, State::SynRecv, 0));
                        live.fetch_add(u64::from(evicted.is_none()), Ordering::SeqCst);
                    }
                }
            })
        })
        .collect();
    let sweeper = thread::spawn(move || {
        while !stop.load(Ordering::SeqCst) {
            for slot in first.iter().chain(second) {
                let meta = slot.meta();
                if meta.is_live() && slot.exchange(meta, Meta::FREE) {
                    live.fetch_sub(1, Ordering::SeqCst);
                }
            }
        }
    });
    let reader = thread::spawn(move || {
        let mut hits = 0u64;
        while !stop.load(Ordering::SeqCst) {
            for key in 0..KEYS {
                for bucket in [first, second] {
                    if let Some(found) = find(bucket, KeyV4(key), 1) {
                        assert_eq!(u64::from(found.meta.real()), key);
                        hits += 1;
                    }
                }
            }
        }
        hits
    });
    for writer in writers {
        writer.join().unwrap();
    }
    stop.store(true, Ordering::SeqCst);
    sweeper.join().unwrap();
    reader.join().unwrap();
    let held = first.iter().chain(second).filter(|slot| slot.meta().is_live()).count() as u64;
    assert_eq!(live.load(Ordering::SeqCst), held);
}
