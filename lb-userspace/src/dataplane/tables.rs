//! Who has which number: services, reals and their pools, kept as rows beside the mapped tables and written through them.
//!
//! The tables are the truth: [`Tables::adopt`] makes the rows from what is there, so a daemon that was killed goes on where it was.
//! A new pool is written to fresh places and becomes current by one store of the service's target word.

use std::collections::{BTreeMap, BTreeSet};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::sync::atomic::Ordering;

use lb_common::abi::fragment;
use lb_common::abi::limits::{MAX_SERVICES, RING_LINE};
use lb_common::abi::real::{Capacity, Load, Real, disposition, family};
use lb_common::abi::service::{Config, Cursor, Member, RING_EMPTY, RingLine, Target, scheduler};
use lb_common::abi::settings::Settings;
use lb_common::abi::tables::Table;
use lb_common::algo::hash;
use lb_common::sched;
use lb_common::wire::transport::{SCTP, TCP, UDP};

use super::DataplaneError;
use super::addresses::{Address, Addresses, inexact_of};
use super::mapped::Mapped;
use super::memory::Memory;
use super::pins::Geometry;
use super::ranges::Ranges;
use crate::model::{Protocol, ServiceKey};

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
    cursors: Mapped,
    capacities: Mapped,
    shapes: Mapped,
    pub(super) remembered: Mapped,
    pub(super) virtuals_v4: Mapped,
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
#[derive(Debug, Clone, Default, PartialEq, Eq)]
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
    /// Persistence: leading bits of a client's address.
    pub netmask: u8,
    /// Persistence: ticks that a template is kept.
    pub persistence: u32,
    /// Ticks that idle connections are kept, TCP, TCP after a FIN, UDP; 0: the director's.
    pub timeouts: [u32; 3],
    /// Where clients reach it; sorted.
    pub addresses: Vec<Address>,
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
    /// Numbers that connections to its addresses have, by IP address, prefix and protocol. A service of one address has its own number
    /// there; connections to two addresses of a mark must not be taken for one.
    pub(super) numbers: BTreeMap<(IpAddr, u8, u8), u32>,
}

/// All rows.
pub struct Tables {
    pub(crate) maps: Maps,
    /// How large the tables are.
    pub geometry: Geometry,
    services: BTreeMap<ServiceKey, ServiceRow>,
    /// Services that were removed; their numbers are free again when no connection has them.
    retired: BTreeSet<u32>,
    /// Numbers of addresses that were taken away, and the settlings that they rest for still.
    resting: BTreeMap<u32, u8>,
    free_reals: BTreeSet<u32>,
    /// Numbers that nobody needed at the last settling: free at this one if still nobody does.
    idle: BTreeSet<u32>,
    addresses: Addresses,
    configs: Ranges,
    members: Ranges,
    rings: Ranges,
    generation: u32,
}

// === impl ServiceRow ===

impl ServiceRow {
    /// Its own number and those of its addresses.
    fn own_numbers(&self) -> BTreeSet<u32> {
        std::iter::once(self.id).chain(self.numbers.values().copied()).collect()
    }
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
            cursors: mapped(Table::Cursors)?,
            capacities: mapped(Table::Capacities)?,
            shapes: mapped(Table::Shapes)?,
            remembered: mapped(Table::Remembered)?,
            // Two addresses a word.
            virtuals_v4: pairs(Table::VirtualsV4)?,
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
            resting: BTreeMap::new(),
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
        let mut groups: BTreeMap<u32, Vec<(Address, Target)>> = BTreeMap::new();
        for (address, target) in tables.addresses.adopt(&tables.maps.services_v4, &tables.maps.services_v6) {
            let config = tables.maps.configs.read::<Config>(target.config()).unwrap_or_default();
            groups.entry(config.group).or_default().push((address, target));
        }
        for (group, addresses) in groups {
            let reals = of_service.remove(&group).unwrap_or_default();
            let named = format!("adopting the service of {}", addresses[0].0.ip);
            let (key, row) = tables.adopt_service(group, &addresses, reals).ok_or_else(|| {
                DataplaneError::other(named, "its configuration contradicts itself; remove the pins to start anew")
            })?;
            tables.services.insert(key, row);
        }
        // Reals whose service is gone: the daemon was stopped between the two.
        tables.retired.extend(of_service.into_keys());
        Ok(tables)
    }

    /// A service of these addresses. A daemon that was stopped while it led them to a new configuration leaves two: the newer one counts.
    fn adopt_service(
        &mut self,
        group: u32,
        addresses: &[(Address, Target)],
        reals: BTreeMap<SocketAddr, u32>,
    ) -> Option<(ServiceKey, ServiceRow)> {
        let read = |target: &Target| Some((target.config(), self.maps.configs.read::<Config>(target.config())?));
        let (index, config) =
            addresses.iter().filter_map(|(_, target)| read(target)).max_by_key(|(_, config)| config.generation)?;
        let lines = config.ring_slots.div_ceil(RING_LINE);
        let is_ours = self.configs.take_at(index, 1)
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
            members.push((*by_number.get(&member.number())?, member.weight));
        }
        let mut ring = Vec::new();
        for line in 0..lines {
            ring.extend(self.maps.rings.read::<RingLine>(config.ring + line)?.slots);
        }
        ring.truncate(config.ring_slots as usize);
        let key = adopted_key(&config, addresses.first()?.0)?;
        let pool = Pool {
            scheduler: config.scheduler,
            flags: config.flags,
            members,
            ring,
            weight_start: config.weight_start,
            netmask: config.netmask,
            persistence: config.persistence,
            timeouts: config.timeouts,
            // Those that a stopped daemon had not led on yet are led on by the next publication.
            addresses: addresses
                .iter()
                .filter(|(_, target)| target.config() == index)
                .map(|(address, _)| *address)
                .collect(),
        };
        let numbers = addresses.iter().map(|(address, target)| (number_key(address), target.service())).collect();
        Some((key, ServiceRow { id: group, config: index, pool, reals, numbers }))
    }

    /// Every service by its key.
    pub fn services(&self) -> &BTreeMap<ServiceKey, ServiceRow> {
        &self.services
    }

    /// Services by the numbers that connections have.
    pub fn numbers(&self) -> BTreeMap<u32, ServiceKey> {
        let of = |(key, row): (&ServiceKey, &ServiceRow)| {
            std::iter::once(row.id)
                .chain(row.numbers.values().copied())
                .map(|number| (number, *key))
                .collect::<Vec<_>>()
        };
        self.services.iter().flat_map(of).collect()
    }

    /// A real's value.
    pub fn real(&self, number: u32) -> Option<Real> {
        self.maps.reals.read(number)
    }

    /// A real's connection counts.
    pub fn load(&self, number: u32) -> Load {
        Load(self.maps.loads.value(number).first().map_or(0, |word| word.load(Ordering::Relaxed)))
    }

    /// Weight and thresholds of a real.
    pub fn capacity(&self, number: u32) -> Capacity {
        self.maps.capacities.read(number).unwrap_or_default()
    }

    /// Numbers that are free for new reals, and for services and their addresses.
    pub fn room(&self) -> (usize, usize) {
        (self.free_reals.len(), MAX_SERVICES as usize - self.used_numbers().len())
    }

    /// Numbers of services and addresses that are taken, or rest. 0 is what free connection entries show.
    fn used_numbers(&self) -> BTreeSet<u32> {
        let rows = self.services.values();
        let of_rows = rows.flat_map(|row| std::iter::once(row.id).chain(row.numbers.values().copied()));
        of_rows.chain(self.retired.iter().copied()).chain(self.resting.keys().copied()).chain([0]).collect()
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

    /// Writes the settings value. How addresses are looked up, and how many local addresses there are, is the tables' own to say.
    pub fn set_settings(&mut self, settings: &Settings) {
        self.write_settings(settings, self.addresses.inexact());
    }

    fn write_settings(&self, settings: &Settings, inexact: u64) {
        let locals = self.settings().locals;
        self.maps.settings.write(0, &Settings { inexact, locals, ..*settings });
    }

    pub(super) fn set_local_counts(&self, locals: u64, settings: &Settings) {
        self.maps.settings.write(0, &Settings { locals, ..*settings });
    }

    /// Gives a new service a number. It is found by packets once it has a pool.
    pub fn add_service(&mut self, key: ServiceKey) -> Result<(), DataplaneError> {
        let used = self.used_numbers();
        let id = (1..MAX_SERVICES).find(|id| !used.contains(id)).ok_or_else(|| {
            DataplaneError::Full(format!(
                "no number is free for service {key}: {} are in use or still have connections",
                MAX_SERVICES - 1
            ))
        })?;
        self.maps.clear_counters(id, MAX_SERVICES, self.geometry.cpus, true);
        self.seed_cursors(id);
        let (pool, reals, numbers) = (Pool::default(), BTreeMap::new(), BTreeMap::new());
        self.services.insert(key, ServiceRow { id, config: u32::MAX, pool, reals, numbers });
        Ok(())
    }

    /// Takes a service away: packets to it go to the kernel from now on. Its reals and number follow once no connection has them.
    pub fn remove_service(&mut self, key: &ServiceKey) {
        let Some(row) = self.services.remove(key) else { return };
        let own = row.own_numbers();
        for address in &row.pool.addresses {
            self.addresses.remove(&self.maps.services_v4, &self.maps.services_v6, address, &own);
        }
        self.write_shapes();
        self.set_settings(&self.settings());
        self.resting.extend(row.numbers.values().filter(|number| **number != row.id).map(|number| (*number, RESTS)));
        for number in row.reals.values() {
            self.set_disposition(*number, disposition::GONE);
        }
        self.rest(row.config);
        self.retired.insert(row.id);
    }

    /// Writes a real of a service, giving it a number if it has none. `value` carries no identity yet.
    pub fn set_real(
        &mut self,
        key: &ServiceKey,
        endpoint: SocketAddr,
        value: &Real,
        capacity: &Capacity,
    ) -> Result<(), DataplaneError> {
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
                self.maps.capacities.write(number, &Capacity::default());
                row.reals.insert(endpoint, number);
                number
            }
        };
        let old = self.maps.capacities.read::<Capacity>(number).unwrap_or_default();
        self.maps.capacities.write(number, capacity);
        // As __ip_vs_update_dest: a higher threshold, or none, is a new beginning.
        if capacity.upper == 0 || capacity.upper > old.upper {
            self.maps.set_overloaded(number, false);
        }
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
        let (id, old_config, old_pool) = (row.id, row.config, row.pool.clone());
        let mut members = Vec::with_capacity(pool.members.len());
        for (endpoint, weight) in &pool.members {
            let real = *row.reals.get(endpoint).ok_or_else(|| {
                DataplaneError::other(format!("pool of {key}"), format!("real {endpoint} has no number"))
            })?;
            let limited = if self.capacity(real).upper > 0 { Member::LIMITED } else { 0 };
            members.push(Member { real: real | limited, weight: *weight });
        }
        let (reals, own) = (row.reals.clone(), row.own_numbers());
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
                row.numbers.extend(numbers);
            }
            return Err(error);
        }
        self.carry_cursors(id, old_config, &old_pool, &pool, |endpoint| reals.get(endpoint).copied());
        for address in old_pool.addresses.iter().filter(|address| !pool.addresses.contains(address)) {
            self.addresses.remove(&self.maps.services_v4, &self.maps.services_v6, address, &own);
        }
        self.write_shapes();
        self.set_settings(&self.settings());
        self.rest(old_config);
        if let Some(row) = self.services.get_mut(key) {
            let gone = row.numbers.values().filter(|number| !numbers.values().any(|kept| kept == *number));
            self.resting.extend(gone.filter(|number| **number != id).map(|number| (*number, RESTS)));
            row.numbers = numbers;
            row.pool = pool;
            row.config = config;
        }
        Ok(())
    }

    /// A number for each address of a pool: the service's own where there is one address, else what the address has, or a new one.
    fn numbers_for(&self, key: &ServiceKey, pool: &Pool) -> Result<BTreeMap<(IpAddr, u8, u8), u32>, DataplaneError> {
        let Some(row) = self.services.get(key) else { return Ok(BTreeMap::new()) };
        let wanted: BTreeSet<_> = pool.addresses.iter().map(number_key).collect();
        if key.protocol != Protocol::Mark {
            return Ok(wanted.into_iter().map(|address| (address, row.id)).collect());
        }
        let used = self.used_numbers();
        let mut free = (1..MAX_SERVICES).filter(|number| !used.contains(number));
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
    fn carry_cursors(
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
        let (step, top) = steps(new);
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
    fn seed_cursors(&self, id: u32) {
        let secret = self.settings().secret()[1];
        for cpu in 0..self.geometry.cpu_places() {
            let seed = hash::flow_v4(u64::from(cpu) << 32 | u64::from(id), 0, [secret, secret]) as u32;
            self.maps.cursors.write(cpu * MAX_SERVICES + id, &Cursor { seed, ..Cursor::default() });
        }
    }

    /// The shapes of what is in the tables.
    fn write_shapes(&self) {
        self.maps.shapes.write(0, &self.addresses.shapes());
    }

    /// The same, and of what is about to be.
    fn write_shapes_with(&self, more: &[Address]) {
        self.maps.shapes.write(0, &self.addresses.shapes_with(more));
    }

    fn write_pool(
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
        let (step, top) = steps(pool);
        let is_mark = key.protocol == Protocol::Mark;
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
            mark: if is_mark { mark_of(key) } else { 0 },
            group,
            persistence: pool.persistence,
            timeouts: pool.timeouts,
            ..Config::default()
        };
        self.maps.configs.write(config, &value);
        Ok(config)
    }

    /// Takes a real out of a service: its packets meet `disposition` until its connections are gone, then its number is free.
    pub fn remove_real(&mut self, key: &ServiceKey, endpoint: SocketAddr, disposition: u8) {
        if let Some(number) = self.services.get(key).and_then(|row| row.reals.get(&endpoint)) {
            // lblc and lblcr ask for the weight of a real that they remember.
            self.maps.capacities.write(*number, &Capacity { weight: 0, ..self.capacity(*number) });
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
        self.relieve_idle();
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
        self.resting.retain(|_, rests| {
            *rests -= 1;
            *rests > 0
        });
        let free: BTreeSet<u32> = idle.intersection(&self.idle).copied().collect();
        for row in self.services.values() {
            for number in row.reals.values().filter(|number| free.contains(number)) {
                self.keep_sum(row.id, *number);
            }
        }
        if !free.is_empty() {
            self.forget_reals(&free);
            self.forget_templates(&free);
        }
        for row in self.services.values_mut() {
            row.reals.retain(|_, number| !free.contains(number));
        }
        for number in &free {
            self.maps.reals.write(*number, &Real::default());
            self.maps.capacities.write(*number, &Capacity::default());
            self.free_reals.insert(*number);
        }
        self.idle = idle.difference(&free).copied().collect();
    }

    /// A real without connections is never overloaded. Where its last one ended between another CPU's count and that one's word that this
    /// was one too many, nothing would ever take the word back.
    fn relieve_idle(&self) {
        for number in self.services.values().flat_map(|row| row.reals.values()) {
            let load = self.load(*number);
            if load.is_overloaded() && load.total() == 0 {
                self.maps.set_overloaded(*number, false);
            }
        }
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

    /// Services and addresses that were removed and whose connections are to be forgotten.
    pub fn retired(&self) -> BTreeSet<u32> {
        self.retired.iter().chain(self.resting.keys()).copied().collect()
    }
}

impl Maps {
    /// Says that a real is overloaded, or is not.
    pub(super) fn set_overloaded(&self, number: u32, is_overloaded: bool) {
        let Some(load) = self.loads.value(number).first() else { return };
        if is_overloaded {
            load.fetch_or(Load::OVERLOADED, Ordering::SeqCst);
        } else {
            load.fetch_and(!Load::OVERLOADED, Ordering::SeqCst);
        }
    }
}

/// Settlings, seconds, that an address's number is not given to another: packets under way may still enter connections with it.
const RESTS: u8 = 3;

/// wrr's divisor and greatest current weight.
fn steps(pool: &Pool) -> (u32, u32) {
    let weights = || pool.members.iter().map(|(_, weight)| *weight);
    let step = lb_common::algo::ring::common_divisor(weights()).max(1);
    let heaviest = weights().max().unwrap_or(0);
    (step, if heaviest == 0 { 0 } else { heaviest - (step - 1) })
}

/// What the numbers of a service's addresses go by.
fn number_key(address: &Address) -> (IpAddr, u8, u8) {
    (address.ip, address.prefix, address.protocol)
}

/// The mark of a mark's key.
fn mark_of(key: &ServiceKey) -> u32 {
    match key.address {
        IpAddr::V4(address) => address.to_bits(),
        IpAddr::V6(address) => address.to_bits() as u32,
    }
}

/// The key of a service by its configuration and one of its addresses.
fn adopted_key(config: &Config, address: Address) -> Option<ServiceKey> {
    if config.mark != 0 {
        let number = if address.ip.is_ipv4() {
            IpAddr::V4(Ipv4Addr::from_bits(config.mark))
        } else {
            IpAddr::V6(Ipv6Addr::from_bits(u128::from(config.mark)))
        };
        return Some(ServiceKey { protocol: Protocol::Mark, address: number, port: 0 });
    }
    let protocol = match address.protocol {
        TCP => Protocol::Tcp,
        UDP => Protocol::Udp,
        SCTP => Protocol::Sctp,
        _ => return None,
    };
    Some(ServiceKey { protocol, address: address.ip, port: address.port })
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
