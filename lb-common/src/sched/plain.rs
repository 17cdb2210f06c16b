//! A service in plain memory: the tables of the datapath as far as schedulers look at them, kept as the daemon keeps them. For programs
//! that run on the host: the twin that the tests hold against the BPF program, and simulations.

use std::cell::RefCell;
use std::collections::BTreeMap;

use super::memory::{Memory, SET};
use super::{Client, Pool, pick, rr, wrr};
use crate::abi::connection::SEEN_MASK;
use crate::abi::real::{Capacity, Load};
use crate::abi::service::{Config, Cursor, Member, RING_EMPTY, scheduler};
use crate::algo::ring::wrr_steps;

/// A service, and one CPU's cursor in it.
#[derive(Clone, Debug)]
pub struct Plain {
    /// Its configuration.
    pub config: Config,
    /// The CPU's cursor.
    pub cursor: Cursor,
    /// Ticks now.
    pub now: u32,
    members: Vec<Member>,
    capacities: BTreeMap<u32, Capacity>,
    loads: BTreeMap<u32, Load>,
    ring: Vec<u16>,
    rows: RefCell<Vec<Remembered>>,
}

/// A destination that lblc and lblcr remember.
#[derive(Clone, Debug, Default)]
struct Remembered {
    destination: u32,
    len: u32,
    reals: [u32; SET as usize],
    changed: u32,
}

impl Plain {
    /// A service without members.
    pub fn new(scheduler: u8, flags: u8) -> Self {
        Self {
            config: Config { scheduler, flags, ..Config::default() },
            cursor: Cursor::default(),
            now: 0,
            members: Vec::new(),
            capacities: BTreeMap::new(),
            loads: BTreeMap::new(),
            ring: Vec::new(),
            rows: RefCell::default(),
        }
    }

    /// Makes these the members, real numbers with what each may get, in IPVS's list order; `ring` as the scheduler needs it. The cursor
    /// moves along as the daemon moves it.
    pub fn set_members(&mut self, reals: &[(u32, Capacity)], ring: Vec<u16>) {
        let before: Vec<Member> = std::mem::take(&mut self.members);
        let weights =
            |members: &[Member]| members.iter().map(|member| (member.number(), member.weight)).collect::<Vec<_>>();
        let numbers = |members: &[Member]| members.iter().map(|member| member.number()).collect::<Vec<_>>();
        for (real, capacity) in reals {
            let old = self.capacities.insert(*real, *capacity).unwrap_or_default();
            if capacity.upper == 0 || capacity.upper > old.upper {
                self.set_overloaded(*real, false);
            }
            let limited = if capacity.upper > 0 { Member::LIMITED } else { 0 };
            self.members.push(Member { real: real | limited, weight: capacity.weight });
        }
        for gone in before.iter().filter(|old| !reals.iter().any(|(real, _)| *real == old.number())) {
            self.capacities.remove(&gone.number());
        }
        let (step, top) = wrr_steps(reals.iter().map(|(_, capacity)| capacity.weight));
        let left = self.config;
        self.config = Config {
            member_count: reals.len() as u32,
            ring_slots: ring.len() as u32,
            generation: left.generation + 1,
            weight_step: step,
            weight_top: top,
            weight_start: top,
            ..left
        };
        self.ring = ring;
        let is_fresh = left.generation == 0;
        let is_changed = weights(&before) != weights(&self.members);
        let index = match left.scheduler {
            scheduler::WRR if is_changed => Cursor::HEAD,
            scheduler::WRR => self.cursor.index,
            _ => rr::carry(self.cursor.index, &numbers(&before), &numbers(&self.members)),
        };
        let weight = if is_changed { wrr::changed(self.cursor.weight, top, step) } else { self.cursor.weight };
        let index = if is_fresh { Cursor::HEAD } else { index };
        self.cursor = Cursor { generation: self.config.generation, index, weight, ..self.cursor };
    }

    /// The real that takes the client's new connection.
    pub fn pick(&mut self, client: Client) -> Option<u32> {
        let mut cursor = self.cursor;
        let picked = pick(&self.config, self, &mut cursor, client).map(Member::number);
        self.cursor = cursor;
        picked
    }

    /// Connections of a real change by so many, active and inactive; thresholds as in `ip_vs_bind_dest` and `ip_vs_unbind_dest`.
    pub fn count(&mut self, real: u32, active: i64, inactive: i64) {
        let capacity = self.capacities.get(&real).copied().unwrap_or_default();
        let load = self.loads.entry(real).or_default();
        load.0 = load.0.wrapping_add((active as u64).wrapping_add((inactive as u64) << 32));
        let total = load.total();
        if active + inactive > 0 && capacity.is_reached(total) {
            self.set_overloaded(real, true);
        } else if active + inactive < 0 && capacity.is_relieved(total) {
            self.set_overloaded(real, false);
        }
    }

    /// Says that a real is overloaded, or is not.
    pub fn set_overloaded(&mut self, real: u32, is_overloaded: bool) {
        let load = self.loads.entry(real).or_default();
        load.0 = load.0 & !Load::OVERLOADED | if is_overloaded { Load::OVERLOADED } else { 0 };
    }

    /// Takes a real out of what is remembered of destinations, before its number is given to another.
    pub fn forget_real(&mut self, real: u32) {
        for row in self.rows.borrow_mut().iter_mut() {
            let kept: Vec<u32> = row.reals[..row.len as usize].iter().copied().filter(|other| *other != real).collect();
            row.reals[..kept.len()].copy_from_slice(&kept);
            row.len = kept.len() as u32;
        }
    }

    /// Takes all connections and remembered destinations away.
    pub fn forget(&mut self) {
        self.loads.clear();
        self.rows.borrow_mut().clear();
    }
}

impl Memory for Plain {
    type Row = usize;

    fn find(&self, destination: u32) -> Option<usize> {
        self.rows.borrow().iter().position(|row| row.destination == destination)
    }
    fn make(&self, destination: u32) -> Option<usize> {
        let mut rows = self.rows.borrow_mut();
        rows.push(Remembered { destination, changed: self.now, ..Remembered::default() });
        Some(rows.len() - 1)
    }
    fn touch(&self, _row: usize) {}
    fn len(&self, row: usize) -> u32 {
        self.rows.borrow()[row].len
    }
    fn real(&self, row: usize, at: u32) -> u32 {
        self.rows.borrow()[row].reals[at as usize]
    }
    fn set_real(&self, row: usize, at: u32, real: u32) {
        self.rows.borrow_mut()[row].reals[at as usize] = real;
    }
    fn set_len(&self, row: usize, len: u32) {
        let row = &mut self.rows.borrow_mut()[row];
        (row.len, row.changed) = (len, self.now);
    }
    fn age(&self, row: usize) -> u32 {
        self.now.wrapping_sub(self.rows.borrow()[row].changed) & SEEN_MASK as u32
    }
    fn weight(&self, real: u32) -> u32 {
        self.capacities.get(&real).map_or(0, |capacity| capacity.weight)
    }
}

impl Pool for Plain {
    fn member(&self, index: u32) -> Option<Member> {
        self.members.get(index as usize).copied()
    }
    fn zero(&self) -> u32 {
        0
    }
    fn load(&self, real: u32) -> Load {
        self.loads.get(&real).copied().unwrap_or_default()
    }
    fn ring(&self, slot: u32) -> Option<u32> {
        self.ring.get(slot as usize).filter(|member| **member != RING_EMPTY).map(|member| u32::from(*member))
    }
    fn scan<F: FnMut(u32) -> bool>(&self, steps: u32, step: F) {
        let _ = (0..steps).all(step);
    }
}
