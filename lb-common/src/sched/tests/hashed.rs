//! sh, mh and dh against IPVS's rule for a table that is looked up: the slot, and the walk of the fallback.

use proptest::prelude::*;

use crate::abi::real::Capacity;
use crate::abi::service::{RING_EMPTY, flag, scheduler};
use crate::algo::hash::hsiphash_u32;
use crate::algo::ring::{RingMember, destination_hash, maglev_of, source_hash};
use crate::sched::Client;
use crate::sched::plain::Plain;

/// The multiplication by which the kernel hashes 32 bits, and of whose result it takes the upper eight.
fn multiplied(value: u32) -> u32 {
    (((u64::from(value) * 0x61c8_8647) & 0xffff_ffff) >> 24) as u32
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(2000))]

    #[test]
    fn a_slot_is_looked_up_and_the_fallback_walks_on(
        kind in prop::sample::select(vec![scheduler::SH, scheduler::MH, scheduler::DH]),
        servers in prop::collection::vec((0u32..6, any::<bool>(), any::<bool>()), 0..8),
        flags in prop::sample::select(vec![0, flag::PORT, flag::FALLBACK, flag::PORT | flag::FALLBACK]),
        address: u32,
        port: u16,
        destination: u32,
    ) {
        let members: Vec<_> = (0u32..)
            .zip(&servers)
            .map(|(number, (weight, ..))| RingMember { address: 0x0a00_0101 + number, port: 80, weight: *weight })
            .collect();
        let ring = match kind {
            scheduler::SH => source_hash(&members),
            scheduler::MH => maglev_of(&members, 251),
            _ => destination_hash(&members),
        };
        let slots = ring.len() as u32;
        // Some are drained after the ring was made.
        let weight = |number: usize| if servers[number].1 { 0 } else { servers[number].0 };
        let mut ours = Plain::new(kind, flags);
        let capacity = |number: usize| Capacity { weight: weight(number), upper: u32::MAX, ..Capacity::default() };
        let reals: Vec<_> = (0..servers.len()).map(|number| (number as u32, capacity(number))).collect();
        ours.set_members(&reals, ring.clone());
        for (number, (.., is_overloaded)) in servers.iter().enumerate() {
            ours.set_overloaded(number as u32, *is_overloaded);
        }

        let hashed_port = if flags & flag::PORT == 0 { 0 } else { u32::from(port) };
        let key = address.wrapping_add(hashed_port);
        let slot = |offset: u32| match kind {
            scheduler::SH => (offset + multiplied(key)) % 256,
            scheduler::MH => hsiphash_u32(offset.wrapping_add(key), [2_654_435_761; 2]) % 251,
            _ => multiplied(destination),
        };
        let at = |slot: u32| match ring[slot as usize] {
            RING_EMPTY => None,
            number => Some((u32::from(number), weight(number as usize) > 0 && !servers[number as usize].2)),
        };
        let walks = kind != scheduler::DH && flags & flag::FALLBACK != 0;
        let expected = match at(slot(0)) {
            Some((number, true)) => Some(number),
            Some((_, false)) if walks => (0..slots)
                .map(|offset| at(slot((offset + slot(0)) % slots)))
                .take_while(Option::is_some)
                .flatten()
                .find_map(|(number, is_usable)| is_usable.then_some(number)),
            _ => None,
        };
        prop_assert_eq!(ours.pick(Client { address, port, destination }), expected);
    }
}
