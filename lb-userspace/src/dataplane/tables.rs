//! Who has which number: services, reals and their pools, kept as rows beside the mapped tables and written through them.
//!
//! The tables are the truth: [`Tables::adopt`] makes the rows from what is there, so a daemon that was killed goes on where it was.
//! A new pool is written to fresh places and becomes current by one store of the service's target word.

use std::collections::{BTreeMap, BTreeSet};
use std::net::{IpAddr, SocketAddr};
use std::sync::atomic::Ordering;

use lb_common::abi::fragment;
use lb_common::abi::limits::{MAX_SERVICES, RING_LINE};
use lb_common::abi::real::{Load, Real, disposition, family};
use lb_common::abi::service::{Config, Member, RING_EMPTY, RingLine, Target};
use lb_common::abi::settings::Settings;
use lb_common::abi::tables::Table;

use super::DataplaneError;
use super::addresses::Addresses;
use super::mapped::Mapped;
use super::memory::Memory;
use super::pins::Geometry;
use super::ranges::Ranges;
use crate::model::ServiceKey;

/// Every table, mapped.
pub struct Maps {
    pub(crate) settings: Mapped,
    pub(crate) connections_v4: Mapped,
    pub(crate) connections_v6: Mapped,
    services_v4: Mapped,
    services_v6: Mapped,
    configs: Mapped,
    members: Mapped,
    rings: Mapped,
    reals: Mapped,
    pub(crate) loads: Mapped,
    pub(crate) verdicts: Mapped,
    pub(crate) service_counters: Mapped,
    pub(crate) real_counters: Mapped,
    fragments: Mapped,
    pub(super) locals: Mapped,
    pub(super) reply_index: Mapped,
    pub(super) replies: Mapped,
    pub(super) ties_v4: Mapped,
    pub(super) ties_v6: Mapped,
}

/// What a service schedules by.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Pool {
    /// `lb_common::abi::service::scheduler`.
    pub scheduler: u8,
    /// `lb_common::abi::service::flag`.
    pub flags: u8,
    /// Reals by endpoint, with their effective weights, in the scheduler's order.
    pub members: Vec<(SocketAddr, u32)>,
    /// Slots of the hash schedulers' ring: indices into `members`. Empty for the others.
    pub ring: Vec<u16>,
    /// wrr: where a CPU that has not scheduled for the service begins.
    pub weight_start: u32,
}

/// A service with a number.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ServiceRow {
    /// Its number.
    pub id: u32,
    config: u32,
    /// What it schedules by now.
    pub pool: Pool,
    /// Its reals' numbers, members or not.
    pub reals: BTreeMap<SocketAddr, u32>,
}

/// All rows.
pub struct Tables {
    pub(crate) maps: Maps,
    /// How large the tables are.
    pub geometry: Geometry,
    services: BTreeMap<ServiceKey, ServiceRow>,
    /// Services that were removed; their numbers are free again when no connection has them.
    retired: BTreeSet<u32>,
    free_reals: BTreeSet<u32>,
    /// Numbers that nobody needed at the last settling: free at this one if still nobody does.
    idle: BTreeSet<u32>,
    addresses: Addresses,
    configs: Ranges,
    members: Ranges,
    rings: Ranges,
    generation: u32,
}

// === impl Maps ===

impl Maps {
    /// Maps every table.
    fn of(memory: &Memory, geometry: &Geometry) -> Result<Self, DataplaneError> {
        let mapped = |table| Mapped::of(memory.map(table), geometry.layout(table));
        let pairs = |table| {
            let (size, count) = geometry.layout(table);
            Mapped::of(memory.map(table), (size * 2, count / 2))
        };
        Ok(Self {
            settings: mapped(Table::Settings)?,
            connections_v4: mapped(Table::ConnectionsV4)?,
            connections_v6: mapped(Table::ConnectionsV6)?,
            services_v4: mapped(Table::ServicesV4)?,
            services_v6: mapped(Table::ServicesV6)?,
            configs: mapped(Table::Configs)?,
            members: mapped(Table::Members)?,
            rings: mapped(Table::Rings)?,
            reals: mapped(Table::Reals)?,
            loads: mapped(Table::Loads)?,
            verdicts: mapped(Table::Verdicts)?,
            service_counters: mapped(Table::ServiceCounters)?,
            real_counters: mapped(Table::RealCounters)?,
            fragments: mapped(Table::Fragments)?,
            locals: mapped(Table::Locals)?,
            reply_index: mapped(Table::ReplyIndex)?,
            replies: mapped(Table::Replies)?,
            // Two ties a word.
            ties_v4: pairs(Table::TiesV4)?,
            ties_v6: pairs(Table::TiesV6)?,
        })
    }
}

// === impl Tables ===

impl Tables {
    /// The rows of tables as they are, empty or left by an earlier daemon.
    pub fn adopt(memory: &Memory, geometry: Geometry) -> Result<Self, DataplaneError> {
        let maps = Maps::of(memory, &geometry)?;
        let mut tables = Self {
            configs: Ranges::new(maps.configs.len() as u32),
            members: Ranges::new(maps.members.len() as u32),
            rings: Ranges::new(maps.rings.len() as u32),
            maps,
            geometry,
            services: BTreeMap::new(),
            retired: BTreeSet::new(),
            free_reals: BTreeSet::new(),
            idle: BTreeSet::new(),
            addresses: Addresses::default(),
            generation: 0,
        };
        let mut of_service: BTreeMap<u32, BTreeMap<SocketAddr, u32>> = BTreeMap::new();
        for number in 0..geometry.reals {
            let Some(real) = tables.maps.reals.read::<Real>(number) else { continue };
            match endpoint(&real) {
                Some(endpoint) => {
                    of_service.entry(u32::from(real.service)).or_default().insert(endpoint, number);
                }
                None => {
                    tables.free_reals.insert(number);
                }
            }
        }
        let found = tables.addresses.adopt(&tables.maps.services_v4, &tables.maps.services_v6);
        for (key, target) in found {
            let reals = of_service.remove(&target.service()).unwrap_or_default();
            let row = tables.adopt_service(target, reals).ok_or_else(|| {
                DataplaneError::other(
                    format!("adopting service {key}"),
                    "its configuration contradicts itself; remove the pins to start anew",
                )
            })?;
            tables.services.insert(key, row);
        }
        // Reals whose service is gone: the daemon was stopped between the two.
        tables.retired.extend(of_service.into_keys());
        Ok(tables)
    }

    fn adopt_service(&mut self, target: Target, reals: BTreeMap<SocketAddr, u32>) -> Option<ServiceRow> {
        let config = self.maps.configs.read::<Config>(target.config())?;
        let lines = config.ring_slots.div_ceil(RING_LINE);
        let is_ours = self.configs.take_at(target.config(), 1)
            && self.members.take_at(config.members, config.member_count)
            && self.rings.take_at(config.ring, lines);
        if !is_ours {
            return None;
        }
        self.generation = self.generation.max(config.generation);
        let by_number: BTreeMap<u32, SocketAddr> =
            reals.iter().map(|(endpoint, number)| (*number, *endpoint)).collect();
        let mut members = Vec::new();
        for index in 0..config.member_count {
            let member = self.maps.members.read::<Member>(config.members + index)?;
            members.push((*by_number.get(&member.real)?, member.weight));
        }
        let mut ring = Vec::new();
        for line in 0..lines {
            ring.extend(self.maps.rings.read::<RingLine>(config.ring + line)?.slots);
        }
        ring.truncate(config.ring_slots as usize);
        let pool =
            Pool { scheduler: config.scheduler, flags: config.flags, members, ring, weight_start: config.weight_start };
        Some(ServiceRow { id: target.service(), config: target.config(), pool, reals })
    }

    /// Every service by its key.
    pub fn services(&self) -> &BTreeMap<ServiceKey, ServiceRow> {
        &self.services
    }

    /// A real's value.
    pub fn real(&self, number: u32) -> Option<Real> {
        self.maps.reals.read(number)
    }

    /// A real's connection counts.
    pub fn load(&self, number: u32) -> Load {
        Load(self.maps.loads.value(number).first().map_or(0, |word| word.load(Ordering::Relaxed)))
    }

    /// Numbers that are free for new reals and services.
    pub fn room(&self) -> (usize, usize) {
        (self.free_reals.len(), MAX_SERVICES as usize - self.services.len() - self.retired.len())
    }

    /// The first fragment of the packet with this tag has been seen lately.
    pub fn knows_fragment(&self, tag: u64, now: u32) -> bool {
        let bucket = self.maps.fragments.value((tag >> 32) as u32 & (fragment::BUCKETS - 1));
        bucket.chunks(2).any(|entry| {
            let value = fragment::Value(entry[1].load(Ordering::Acquire));
            entry[0].load(Ordering::Acquire) == tag && value.age(now) <= fragment::LIFETIME
        })
    }

    /// The settings value.
    pub fn settings(&self) -> Settings {
        self.maps.settings.read(0).unwrap_or_default()
    }

    /// Writes the settings value. Whether a service takes any port, and how many local addresses there are, is the tables' own to say.
    pub fn set_settings(&mut self, settings: &Settings) {
        self.write_settings(settings, self.addresses.has_any_port());
    }

    fn write_settings(&self, settings: &Settings, any_port: bool) {
        let locals = self.settings().locals;
        self.maps.settings.write(0, &Settings { any_port: u64::from(any_port), locals, ..*settings });
    }

    pub(super) fn set_local_counts(&self, locals: u64, settings: &Settings) {
        self.maps.settings.write(0, &Settings { locals, ..*settings });
    }

    /// Gives a new service a number. It is found by packets once it has a pool.
    pub fn add_service(&mut self, key: ServiceKey) -> Result<(), DataplaneError> {
        let used: BTreeSet<u32> =
            self.services.values().map(|row| row.id).chain(self.retired.iter().copied()).collect();
        // 0 is what free connection entries show.
        let id = (1..MAX_SERVICES).find(|id| !used.contains(id)).ok_or_else(|| {
            DataplaneError::Full(format!(
                "no number is free for service {key}: {} are in use or still have connections",
                MAX_SERVICES - 1
            ))
        })?;
        self.maps.clear_counters(id, MAX_SERVICES, self.geometry.cpus, true);
        let pool = Pool { scheduler: 0, flags: 0, members: Vec::new(), ring: Vec::new(), weight_start: 0 };
        self.services.insert(key, ServiceRow { id, config: u32::MAX, pool, reals: BTreeMap::new() });
        Ok(())
    }

    /// Takes a service away: packets to it go to the kernel from now on. Its reals and number follow once no connection has them.
    pub fn remove_service(&mut self, key: &ServiceKey) {
        let Some(row) = self.services.remove(key) else { return };
        self.addresses.remove(&self.maps.services_v4, &self.maps.services_v6, key);
        self.set_settings(&self.settings());
        for number in row.reals.values() {
            self.set_disposition(*number, disposition::GONE);
        }
        self.rest(row.config);
        self.retired.insert(row.id);
    }

    /// Writes a real of a service, giving it a number if it has none. `value` carries no identity yet.
    pub fn set_real(&mut self, key: &ServiceKey, endpoint: SocketAddr, value: &Real) -> Result<(), DataplaneError> {
        let full = || {
            DataplaneError::Full(format!(
                "no number is free for real {endpoint} of {key}: start the daemon with a larger --reals"
            ))
        };
        let row = self
            .services
            .get_mut(key)
            .ok_or_else(|| DataplaneError::other(format!("real {endpoint}"), format!("service {key} has no number")))?;
        let number = match row.reals.get(&endpoint) {
            Some(number) => *number,
            None => {
                let number = self.free_reals.pop_first().ok_or_else(full)?;
                self.maps.clear_counters(number, self.geometry.reals, self.geometry.cpus, false);
                row.reals.insert(endpoint, number);
                number
            }
        };
        let mut real = *value;
        (real.address, real.family) = match endpoint.ip() {
            IpAddr::V4(address) => {
                let mut bytes = [0; 16];
                bytes[..4].copy_from_slice(&address.octets());
                (bytes, family::V4)
            }
            IpAddr::V6(address) => (address.octets(), family::V6),
        };
        real.service = row.id as u16;
        real.port = endpoint.port();
        self.maps.reals.write(number, &real);
        Ok(())
    }

    /// Makes `pool` what the service schedules by. Its members must have numbers.
    pub fn set_pool(&mut self, key: &ServiceKey, pool: Pool) -> Result<(), DataplaneError> {
        let row = self
            .services
            .get(key)
            .ok_or_else(|| DataplaneError::other(format!("pool of {key}"), "the service has no number"))?;
        let (id, old) = (row.id, row.config);
        let mut members = Vec::with_capacity(pool.members.len());
        for (endpoint, weight) in &pool.members {
            let real = *row.reals.get(endpoint).ok_or_else(|| {
                DataplaneError::other(format!("pool of {key}"), format!("real {endpoint} has no number"))
            })?;
            members.push(Member { real, weight: *weight });
        }
        let config = self.write_pool(key, &pool, &members)?;
        let target = Target::new(id, config);
        if key.port == 0 {
            // Before the address, or packets would not look for it.
            self.write_settings(&self.settings(), true);
        }
        if let Err(error) = self.addresses.set(&self.maps.services_v4, &self.maps.services_v6, key, target) {
            self.rest(config);
            return Err(error);
        }
        self.rest(old);
        if let Some(row) = self.services.get_mut(key) {
            row.pool = pool;
            row.config = config;
        }
        Ok(())
    }

    fn write_pool(&mut self, key: &ServiceKey, pool: &Pool, members: &[Member]) -> Result<u32, DataplaneError> {
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
        let weights = || pool.members.iter().map(|(_, weight)| *weight);
        let step = lb_common::algo::ring::common_divisor(weights()).max(1);
        let heaviest = weights().max().unwrap_or(0);
        let value = Config {
            members: first,
            member_count: members.len() as u32,
            ring,
            ring_slots: pool.ring.len() as u32,
            generation: self.generation,
            weight_step: step,
            weight_top: if heaviest == 0 { 0 } else { heaviest - (step - 1) },
            weight_start: pool.weight_start,
            scheduler: pool.scheduler,
            flags: pool.flags,
            ..Config::default()
        };
        self.maps.configs.write(config, &value);
        Ok(config)
    }

    /// Takes a real out of a service: its packets meet `disposition` until its connections are gone, then its number is free.
    pub fn remove_real(&mut self, key: &ServiceKey, endpoint: SocketAddr, disposition: u8) {
        if let Some(number) = self.services.get(key).and_then(|row| row.reals.get(&endpoint)) {
            self.set_disposition(*number, disposition);
        }
    }

    fn set_disposition(&mut self, number: u32, disposition: u8) {
        if let Some(mut real) = self.real(number) {
            real.disposition = disposition;
            self.maps.reals.write(number, &real);
        }
    }

    fn rest(&mut self, config: u32) {
        if let Some(old) = self.maps.configs.read::<Config>(config) {
            self.configs.rest(config, 1);
            self.members.rest(old.members, old.member_count);
            self.rings.rest(old.ring, old.ring_slots.div_ceil(RING_LINE));
        }
    }

    /// Once a second, after a sweep: frees places that were left and numbers that no connection has had for a second. `is_wanted` says
    /// whether a real is still configured.
    pub fn settle(&mut self, is_wanted: impl Fn(&ServiceKey, &SocketAddr) -> bool) {
        self.configs.settle();
        self.members.settle();
        self.rings.settle();
        let mut idle = BTreeSet::new();
        for (key, row) in &self.services {
            for (endpoint, number) in &row.reals {
                let is_member = row.pool.members.iter().any(|(member, _)| member == endpoint);
                if !is_member && !is_wanted(key, endpoint) && self.load(*number) == Load(0) {
                    idle.insert(*number);
                }
            }
        }
        if !self.retired.is_empty() {
            self.find_retired(&mut idle);
        }
        let free: BTreeSet<u32> = idle.intersection(&self.idle).copied().collect();
        for row in self.services.values() {
            for number in row.reals.values().filter(|number| free.contains(number)) {
                self.keep_sum(row.id, *number);
            }
        }
        for row in self.services.values_mut() {
            row.reals.retain(|_, number| !free.contains(number));
        }
        for number in &free {
            self.maps.reals.write(*number, &Real::default());
            self.free_reals.insert(*number);
        }
        self.idle = idle.difference(&free).copied().collect();
    }

    /// Reals of services that were removed: which are idle, and which services have none left.
    fn find_retired(&mut self, idle: &mut BTreeSet<u32>) {
        let mut left = BTreeSet::new();
        for number in (0..self.geometry.reals).filter(|number| !self.free_reals.contains(number)) {
            let Some(real) = self.maps.reals.read::<Real>(number) else { continue };
            if real.family != family::FREE && self.retired.contains(&u32::from(real.service)) {
                left.insert(u32::from(real.service));
                if self.load(number) == Load(0) {
                    idle.insert(number);
                }
            }
        }
        self.retired = left;
    }

    /// Whether there will be room for the members and rings of `pools`, once what is left now has rested.
    pub fn has_room<'a>(&self, pools: impl Iterator<Item = &'a Pool>) -> Result<(), String> {
        let (mut members, mut lines, mut configs) = (0u32, 0u32, 0u32);
        for pool in pools {
            members = members.saturating_add(pool.members.len() as u32);
            lines = lines.saturating_add((pool.ring.len() as u32).div_ceil(RING_LINE));
            configs = configs.saturating_add(1);
        }
        for (what, needed, room) in [
            ("members of services", members, self.members.room()),
            ("lines of sh and mh rings", lines, self.rings.room()),
            ("configurations of services", configs, self.configs.room()),
        ] {
            if needed > room {
                return Err(format!("the tables have room for {room} more {what}, this needs {needed}"));
            }
        }
        Ok(())
    }

    /// Services that were removed and whose connections are to be forgotten.
    pub fn retired(&self) -> &BTreeSet<u32> {
        &self.retired
    }
}

/// Address and port of a real's value; None when the number is free.
pub fn endpoint(real: &Real) -> Option<SocketAddr> {
    let address = match real.family {
        family::V4 => IpAddr::from(<[u8; 4]>::try_from(&real.address[..4]).ok()?),
        family::V6 => IpAddr::from(real.address),
        _ => return None,
    };
    Some(SocketAddr::new(address, real.port))
}
