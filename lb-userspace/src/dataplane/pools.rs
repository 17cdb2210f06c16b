//! What services schedule by, published: a new pool is written to fresh places and becomes current by one store of the target word of each
//! of the service's addresses.

use std::collections::{BTreeMap, BTreeSet};
use std::net::{IpAddr, SocketAddr};

use lb_common::abi::limits::{MAX_SERVICES, RING_LINE};
use lb_common::abi::service::{Config, Cursor, Member, RING_EMPTY, RingLine, Target, scheduler};
use lb_common::algo::hash;
use lb_common::algo::ring::wrr_steps;
use lb_common::sched;

use super::DataplaneError;
use super::addresses::{Address, Addresses, inexact_of};
use super::tables::{Pool, RESTS, Tables, number_key};
use crate::model::{Protocol, ServiceKey};

impl Tables {
    /// Numbers and weights that new connections to an address are scheduled by at this moment, as the datapath reads them.
    pub fn published(&self, address: &Address) -> Option<Vec<(u32, u32)>> {
        let target = Addresses::led_to(&self.maps.services_v4, &self.maps.services_v6, address)?;
        let config = self.maps.configs.read::<Config>(target.config())?;
        let member = |index| self.maps.members.read::<Member>(config.members.checked_add(index)?);
        (0..config.member_count).map(member).map(|member| Some((member?.number(), member?.weight))).collect()
    }

    /// The number of a real of the service that is reached at an address.
    pub fn number_of(&self, address: &Address, endpoint: SocketAddr) -> Option<u32> {
        let row = self.services.values().find(|row| row.pool.addresses.contains(address))?;
        row.reals.get(&endpoint).copied()
    }

    /// Makes `pool` what the service schedules by. Its members must have numbers.
    pub fn set_pool(&mut self, key: &ServiceKey, pool: Pool) -> Result<(), DataplaneError> {
        let row = self
            .services
            .get(key)
            .ok_or_else(|| DataplaneError::other(format!("pool of {key}"), "the service has no number"))?;
        let (id, old_config) = (row.id, row.config);
        let mut members = Vec::with_capacity(pool.members.len());
        for (endpoint, weight) in &pool.members {
            let real = *row.reals.get(endpoint).ok_or_else(|| {
                DataplaneError::other(format!("pool of {key}"), format!("real {endpoint} has no number"))
            })?;
            let limited = if self.capacity(real).upper > 0 { Member::LIMITED } else { 0 };
            members.push(Member { real: real | limited, weight: *weight });
        }
        let own = row.own_numbers();
        let numbers = self.numbers_for(key, &pool)?;
        let config = self.write_pool(key, id, &pool, &members)?;
        // Before the addresses, or packets would not look for them.
        let inexact = self.addresses.inexact() | inexact_of(pool.addresses.iter());
        self.write_shapes_with(&pool.addresses);
        self.write_settings(&self.settings(), inexact);
        let mut placed = Ok(());
        for address in &pool.addresses {
            let number = numbers.get(&number_key(address)).copied().unwrap_or(id);
            let target = Target::new(number, config);
            let target = if address.is_many() { target.many() } else { target };
            placed = placed.and(self.addresses.set(&self.maps.services_v4, &self.maps.services_v6, address, target));
        }
        if let Err(error) = placed {
            // What found a place works; the next attempt, in a second, leads all addresses to one configuration.
            self.rest(old_config);
            if let Some(row) = self.services.get_mut(key) {
                row.config = config;
                // Those that are to go lead to it until then.
                numbers.values().for_each(|number| {
                    self.untaken.remove(number);
                });
                row.numbers.extend(numbers);
            }
            return Err(error);
        }
        let Some(row) = self.services.get_mut(key) else { return Ok(()) };
        let old_pool = std::mem::take(&mut row.pool);
        let number = |endpoint: &SocketAddr| self.services.get(key)?.reals.get(endpoint).copied();
        self.carry_cursors(id, old_config, &old_pool, &pool, number);
        for address in old_pool.addresses.iter().filter(|address| !pool.addresses.contains(address)) {
            self.addresses.remove(&self.maps.services_v4, &self.maps.services_v6, address, &own);
        }
        self.write_shapes();
        self.set_settings(&self.settings());
        self.rest(old_config);
        if let Some(row) = self.services.get_mut(key) {
            let kept: BTreeSet<u32> = numbers.values().copied().chain([id]).collect();
            for number in row.numbers.values().filter(|number| !kept.contains(number)) {
                self.untaken.insert(*number);
                self.resting.insert(*number, RESTS);
            }
            kept.iter().for_each(|number| {
                self.untaken.remove(number);
            });
            row.numbers = numbers;
            if pool.members.len() != old_pool.members.len() {
                row.pack();
            }
            row.pool = pool;
            row.config = config;
        }
        Ok(())
    }

    /// A number for each address of a pool: the service's own where there is one address, else what the address has, or a new one.
    pub(super) fn numbers_for(
        &self,
        key: &ServiceKey,
        pool: &Pool,
    ) -> Result<BTreeMap<(IpAddr, u8, u8), u32>, DataplaneError> {
        let Some(row) = self.services.get(key) else { return Ok(BTreeMap::new()) };
        let wanted: BTreeSet<_> = pool.addresses.iter().map(number_key).collect();
        if key.protocol != Protocol::Mark {
            return Ok(wanted.into_iter().map(|address| (address, row.id)).collect());
        }
        let mut free = self.free_numbers();
        let mut numbers = BTreeMap::new();
        for address in wanted {
            let number = row
                .numbers
                .get(&address)
                .copied()
                .or_else(|| free.next())
                .ok_or_else(|| DataplaneError::Full(format!("no number is free for {} of {key}", address.0)))?;
            numbers.insert(address, number);
        }
        Ok(numbers)
    }

    /// Cursors of a configuration that is left go on in the one that follows: where they stand, as far as that is still there.
    pub(super) fn carry_cursors(
        &self,
        id: u32,
        old_config: u32,
        old: &Pool,
        new: &Pool,
        number: impl Fn(&SocketAddr) -> Option<u32>,
    ) {
        let Some(left) = self.maps.configs.read::<Config>(old_config) else { return };
        let numbers = |pool: &Pool| -> Vec<u32> {
            pool.members.iter().map(|(real, _)| number(real).unwrap_or(u32::MAX)).collect()
        };
        let (before, after) = (numbers(old), numbers(new));
        let (step, top) = wrr_steps(new.members.iter().map(|(_, weight)| *weight));
        for cpu in 0..self.geometry.cpu_places() {
            let index = cpu * MAX_SERVICES + id;
            let Some(cursor) = self.maps.cursors.read::<Cursor>(index) else { continue };
            let is_fresh = cursor.generation != left.generation;
            let (at, weight) = if is_fresh { (Cursor::HEAD, old.weight_start) } else { (cursor.index, cursor.weight) };
            let moved = match new.scheduler {
                _ if old.scheduler != new.scheduler => Cursor { index: Cursor::HEAD, weight: top, ..cursor },
                scheduler::WRR if old.members != new.members => {
                    Cursor { index: Cursor::HEAD, weight: sched::wrr::changed(weight, top, step), ..cursor }
                }
                scheduler::WRR => Cursor { index: at, weight, ..cursor },
                _ => Cursor { index: sched::rr::carry(at, &before, &after), ..cursor },
            };
            self.maps.cursors.write(index, &Cursor { generation: self.generation, ..moved });
        }
    }

    /// A service's random numbers begin differently on each CPU, and with each director.
    pub(super) fn seed_cursors(&self, id: u32) {
        let secret = self.settings().secret()[1];
        for cpu in 0..self.geometry.cpu_places() {
            let seed = hash::mark([u64::from(cpu) << 32 | u64::from(id), 0], 0, [secret, secret]) as u32;
            self.maps.cursors.write(cpu * MAX_SERVICES + id, &Cursor { seed, ..Cursor::default() });
        }
    }

    /// The shapes of what is in the tables.
    pub(super) fn write_shapes(&self) {
        self.maps.shapes.write(0, &self.addresses.shapes());
    }

    /// The same, and of what is about to be.
    pub(super) fn write_shapes_with(&self, more: &[Address]) {
        self.maps.shapes.write(0, &self.addresses.shapes_with(more));
    }

    pub(super) fn write_pool(
        &mut self,
        key: &ServiceKey,
        group: u32,
        pool: &Pool,
        members: &[Member],
    ) -> Result<u32, DataplaneError> {
        let lines = (pool.ring.len() as u32).div_ceil(RING_LINE);
        let places = (self.configs.take(1), self.members.take(members.len() as u32), self.rings.take(lines));
        let (Some(config), Some(first), Some(ring)) = places else {
            self.configs.rest(places.0.unwrap_or(0), u32::from(places.0.is_some()));
            self.members.rest(places.1.unwrap_or(0), places.1.map_or(0, |_| members.len() as u32));
            self.rings.rest(places.2.unwrap_or(0), places.2.map_or(0, |_| lines));
            return Err(DataplaneError::Full(format!(
                "no room for the members or ring of {key}: wait a second for old ones to be freed, or start with a larger --reals"
            )));
        };
        for (index, member) in members.iter().enumerate() {
            self.maps.members.write(first + index as u32, member);
        }
        for (index, slots) in pool.ring.chunks(RING_LINE as usize).enumerate() {
            let mut line = RingLine { slots: [RING_EMPTY; RING_LINE as usize] };
            line.slots[..slots.len()].copy_from_slice(slots);
            self.maps.rings.write(ring + index as u32, &line);
        }
        self.generation = self.generation.wrapping_add(1).max(1);
        let (step, top) = wrr_steps(pool.members.iter().map(|(_, weight)| *weight));
        let value = Config {
            members: first,
            member_count: members.len() as u32,
            ring,
            ring_slots: pool.ring.len() as u32,
            generation: self.generation,
            weight_step: step,
            weight_top: top,
            weight_start: pool.weight_start,
            scheduler: pool.scheduler,
            flags: pool.flags,
            netmask: pool.netmask,
            mark: key.mark().unwrap_or(0),
            group,
            persistence: pool.persistence,
            timeouts: pool.timeouts,
            ..Config::default()
        };
        self.maps.configs.write(config, &value);
        Ok(config)
    }
}
