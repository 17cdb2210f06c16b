//! Schedulers against plain models: the definitions written down the slow, obvious way.

use proptest::prelude::*;

use super::*;
use crate::abi::connection::SEEN_MASK;
use crate::algo::ring::{RingMember, common_divisor, maglev, source_hash};

mod hashed;
mod models;
mod same;

/// A service in plain vectors; members are numbered by position.
#[derive(Clone, Debug, Default)]
pub(super) struct Fake {
    pub(super) weights: Vec<u32>,
    pub(super) loads: Vec<(u32, u32)>,
    /// Members that are overloaded.
    pub(super) overloaded: Vec<u32>,
    pub(super) ring: Vec<u16>,
    pub(super) now: u32,
    /// Remembered destinations: address, reals, when they were changed.
    pub(super) rows: std::cell::RefCell<Vec<(u32, Vec<u32>, u32)>>,
}

impl memory::Memory for Fake {
    type Row = usize;

    fn find(&self, destination: u32) -> Option<usize> {
        self.rows.borrow().iter().position(|row| row.0 == destination)
    }
    fn make(&self, destination: u32) -> Option<usize> {
        self.rows.borrow_mut().push((destination, Vec::new(), self.now));
        Some(self.rows.borrow().len() - 1)
    }
    fn touch(&self, _row: usize) {}
    fn len(&self, row: usize) -> u32 {
        self.rows.borrow()[row].1.len() as u32
    }
    fn real(&self, row: usize, at: u32) -> u32 {
        self.rows.borrow()[row].1[at as usize]
    }
    fn set_real(&self, row: usize, at: u32, real: u32) {
        let reals = &mut self.rows.borrow_mut()[row].1;
        reals.resize(reals.len().max(at as usize + 1), 0);
        reals[at as usize] = real;
    }
    fn set_len(&self, row: usize, len: u32) {
        let row = &mut self.rows.borrow_mut()[row];
        row.1.truncate(len as usize);
        row.2 = self.now;
    }
    fn age(&self, row: usize) -> u32 {
        self.now.wrapping_sub(self.rows.borrow()[row].2) & SEEN_MASK as u32
    }
    fn weight(&self, real: u32) -> u32 {
        self.weights.get(real as usize).copied().unwrap_or(0)
    }
}

impl Pool for Fake {
    fn member(&self, index: u32) -> Option<Member> {
        let limited = if self.overloaded.is_empty() { 0 } else { Member::LIMITED };
        self.weights.get(index as usize).map(|&weight| Member { real: index | limited, weight })
    }
    fn zero(&self) -> u32 {
        0
    }
    fn load(&self, real: u32) -> Load {
        let (active, inactive) = self.loads[real as usize];
        let overloaded = if self.overloaded.contains(&real) { Load::OVERLOADED } else { 0 };
        Load(u64::from(active) | (u64::from(inactive) << 32) | overloaded)
    }
    fn ring(&self, slot: u32) -> Option<u32> {
        self.ring.get(slot as usize).map(|&slot| u32::from(slot))
    }
    fn scan<F: FnMut(u32) -> bool>(&self, steps: u32, step: F) {
        let _ = (0..steps).all(step);
    }
}

fn config(scheduler: u8, weights: &[u32]) -> Config {
    let step = common_divisor(weights.iter().copied()).max(1);
    let most = weights.iter().copied().max().unwrap_or(0);
    let top = if most == 0 { 0 } else { most - (step - 1) };
    Config {
        scheduler,
        member_count: weights.len() as u32,
        generation: 1,
        weight_step: step,
        weight_top: top,
        weight_start: top,
        ..Config::default()
    }
}

const NOBODY: Client = Client { address: 0, port: 0, destination: 0 };

fn sequence(scheduler: u8, weights: &[u32], length: usize) -> Vec<Option<u32>> {
    let fake = Fake { weights: weights.to_vec(), loads: vec![(0, 0); weights.len()], ring: vec![], ..Fake::default() };
    let config = config(scheduler, weights);
    let mut cursor = Cursor::default();
    (0..length).map(|_| pick(&config, &fake, &mut cursor, NOBODY).map(Member::number)).collect()
}

#[test]
fn rr_goes_round_and_leaves_out_weight_zero() {
    let expected: Vec<_> = [0, 2, 3, 0, 2, 3, 0].map(Some).to_vec();
    assert_eq!(sequence(scheduler::RR, &[1, 0, 7, 2], 7), expected);
    assert_eq!(sequence(scheduler::RR, &[0, 0], 2), [None, None]);
    assert_eq!(sequence(scheduler::RR, &[], 1), [None]);
}

#[test]
fn wrr_is_the_kernels_sequence() {
    // 5:3:2 from the top: one pass a weight, each with the members that reach it.
    let expected: Vec<_> = [0, 0, 0, 1, 0, 1, 2, 0, 1, 2].map(Some).to_vec();
    assert_eq!(sequence(scheduler::WRR, &[5, 3, 2], 10), expected);
    assert_eq!(sequence(scheduler::WRR, &[0, 0], 1), [None]);
    assert_eq!(sequence(scheduler::WRR, &[], 1), [None]);
}

/// Recorded from the kernel: servers added as 5, 3, 2 stand as 2, 3, 5, and the first one, alone, left the current weight at 1.
#[test]
fn wrr_starts_like_a_service_filled_one_by_one() {
    let fake = Fake { weights: vec![2, 3, 5], loads: vec![(0, 0); 3], ring: vec![], ..Fake::default() };
    let config = Config { weight_start: 1, ..config(scheduler::WRR, &fake.weights) };
    let mut cursor = Cursor::default();
    let picks: Vec<_> = (0..10).map(|_| pick(&config, &fake, &mut cursor, NOBODY).unwrap().real).collect();
    assert_eq!(picks, [0, 1, 2, 2, 2, 1, 2, 0, 1, 2]);
}

#[test]
fn a_changed_list_sets_cursors_back() {
    let fake = Fake { weights: vec![1, 1, 1], loads: vec![(0, 0); 3], ring: vec![], ..Fake::default() };
    let mut config = config(scheduler::RR, &fake.weights);
    let mut cursor = Cursor::default();
    assert_eq!(pick(&config, &fake, &mut cursor, NOBODY).unwrap().real, 0);
    config.generation = 2;
    assert_eq!(pick(&config, &fake, &mut cursor, NOBODY).unwrap().real, 0);
    assert_eq!(pick(&config, &fake, &mut cursor, NOBODY).unwrap().real, 1);
}

#[test]
fn a_cursor_beyond_the_list_is_harmless() {
    let fake = Fake { weights: vec![1, 1], loads: vec![(0, 0); 2], ring: vec![], ..Fake::default() };
    for kind in [scheduler::RR, scheduler::WRR] {
        let config = config(kind, &fake.weights);
        let mut cursor = Cursor { generation: 1, index: 1_000_000, weight: 1, seed: 0 };
        assert!(pick(&config, &fake, &mut cursor, NOBODY).is_some());
    }
}

#[test]
fn sh_refuses_or_falls_back_when_its_member_is_drained() {
    let members: Vec<_> = [3, 3, 3].map(|weight| RingMember { address: 0, port: 0, weight }).to_vec();
    let mut fake =
        Fake { weights: vec![3, 3, 3], loads: vec![(0, 0); 3], ring: source_hash(&members), ..Fake::default() };
    let mut config = config(scheduler::SH, &fake.weights);
    let client = Client { address: 0x0a00_0005, port: 1234, destination: 0 };
    let owner = pick(&config, &fake, &mut Cursor::default(), client).unwrap().real;
    fake.weights[owner as usize] = 0;
    assert_eq!(pick(&config, &fake, &mut Cursor::default(), client), None);
    config.flags = flag::FALLBACK;
    assert_ne!(pick(&config, &fake, &mut Cursor::default(), client).unwrap().real, owner);
    fake.weights = vec![0, 0, 0];
    assert_eq!(pick(&config, &fake, &mut Cursor::default(), client), None);
}

use crate::abi::service::flag;

proptest! {
    #[test]
    fn wrr_gives_exact_shares(weights in prop::collection::vec(0u32..40, 1..12)) {
        let total: u32 = weights.iter().sum();
        let step = common_divisor(weights.iter().copied()).max(1);
        let picks = sequence(scheduler::WRR, &weights, (total / step) as usize);
        for (index, weight) in weights.iter().enumerate() {
            let got = picks.iter().filter(|&&pick| pick == Some(index as u32)).count() as u32;
            prop_assert_eq!(got, weight / step);
        }
    }

    #[test]
    fn lc_takes_the_least_and_wlc_the_least_per_weight(
        members in prop::collection::vec((0u32..5, 0u32..1000, 0u32..1000), 0..20)
    ) {
        let fake = Fake {
            weights: members.iter().map(|m| m.0).collect(),
            loads: members.iter().map(|m| (m.1, m.2)).collect(),
            ..Fake::default()
        };
        let overhead = |index: usize| u64::from(members[index].1) * 256 + u64::from(members[index].1 + members[index].2);
        let usable: Vec<usize> = (0..members.len()).filter(|&i| members[i].0 > 0).collect();

        let lc = usable.iter().copied().min_by_key(|&i| (overhead(i), i)).map(|i| i as u32);
        let picked = pick(&config(scheduler::LC, &fake.weights), &fake, &mut Cursor::default(), NOBODY);
        prop_assert_eq!(picked.map(Member::number), lc);

        let mut wlc: Option<usize> = None;
        for &i in &usable {
            if wlc.is_none_or(|best| overhead(best) * u64::from(members[i].0) > overhead(i) * u64::from(members[best].0)) {
                wlc = Some(i);
            }
        }
        let picked = pick(&config(scheduler::WLC, &fake.weights), &fake, &mut Cursor::default(), NOBODY);
        prop_assert_eq!(picked.map(Member::number), wlc.map(|i| i as u32));
    }

    #[test]
    fn hash_schedulers_depend_on_the_client_alone(address: u32, port: u16, other_port: u16) {
        let members: Vec<_> = (0..7).map(|n| RingMember { address: n, port: 80, weight: n + 1 }).collect();
        for (kind, ring) in [(scheduler::SH, source_hash(&members)), (scheduler::MH, maglev(&members))] {
            let fake = Fake { weights: vec![1; 7], loads: vec![(0, 0); 7], ring, ..Fake::default() };
            let config = Config { ring_slots: fake.ring.len() as u32, ..config(kind, &fake.weights) };
            let mut cursor = Cursor { generation: 9, index: 9, weight: 9, seed: 0 };
            let one = pick(&config, &fake, &mut cursor, Client { address, port, destination: 0 });
            let two = pick(&config, &fake, &mut Cursor::default(), Client { address, port: other_port, destination: 9 });
            prop_assert!(one.is_some());
            prop_assert_eq!(one, two);
        }
    }
}
