//! Who has which number: services, reals and their pools, kept as rows beside the mapped tables and written through them.
//!
//! The tables are the truth: [`Tables::adopt`] makes the rows from what is there, so a daemon that was killed goes on where it was.
//! A new pool is written to fresh places and becomes current by one store of the service's target word.

use std::collections::{BTreeMap, BTreeSet};
use std::net::{IpAddr, SocketAddr};
use std::sync::atomic::Ordering;

use lb_common::abi::fragment;
use lb_common::abi::limits::{MAX_SERVICES, RING_LINE};
use lb_common::abi::real::{Capacity, Load, Real, disposition};
use lb_common::abi::service::Config;
use lb_common::abi::settings::Settings;
use lb_common::abi::tables::Table;

use super::DataplaneError;
use super::addresses::{Address, Addresses};
use super::identity::identified;
use super::mapped::Mapped;
use super::memory::Memory;
use super::pins::Geometry;
use super::ranges::Ranges;
use crate::model::ServiceKey;

/// Every table; mapped is what is looked at.
pub struct Maps {
    pub(crate) settings: Mapped,
    pub(crate) connections_v4: Mapped,
    pub(crate) connections_v6: Mapped,
    pub(super) services_v4: Mapped,
    pub(super) services_v6: Mapped,
    pub(super) configs: Mapped,
    pub(super) members: Mapped,
    pub(super) rings: Mapped,
    pub(super) reals: Mapped,
    pub(super) cursors: Mapped,
    pub(super) capacities: Mapped,
    pub(super) shapes: Mapped,
    pub(super) remembered: Mapped,
    pub(super) virtuals_v4: Mapped,
    pub(crate) loads: Mapped,
    pub(crate) verdicts: Mapped,
    pub(crate) service_counters: Mapped,
    pub(crate) real_counters: Mapped,
    pub(super) fragments: Mapped,
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
    pub(super) config: u32,
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
    pub(super) services: BTreeMap<ServiceKey, ServiceRow>,
    /// Services that were removed; their numbers are free again when no connection has them.
    pub(super) retired: BTreeSet<u32>,
    /// Numbers of addresses that were taken away, and the settlings that they rest for still.
    pub(super) resting: BTreeMap<u32, u8>,
    pub(super) free_reals: BTreeSet<u32>,
    /// Numbers of reals that may have a threshold.
    pub(super) limited: BTreeSet<u32>,
    /// Numbers that neither a service has nor an address. 0 is what free connection entries show.
    pub(super) untaken: BTreeSet<u32>,
    /// Numbers that nobody needed at the last settling: free at this one if still nobody does.
    pub(super) idle: BTreeSet<u32>,
    pub(super) addresses: Addresses,
    pub(super) configs: Ranges,
    pub(super) members: Ranges,
    pub(super) rings: Ranges,
    pub(super) generation: u32,
}

// === impl ServiceRow ===

impl ServiceRow {
    /// Its own number and those of its addresses.
    pub(super) fn own_numbers(&self) -> BTreeSet<u32> {
        std::iter::once(self.id).chain(self.numbers.values().copied()).collect()
    }

    /// Makes the map of its reals anew: one that has been filled real by real takes nearly twice the memory, 30 MB of a million reals.
    pub(super) fn pack(&mut self) {
        self.reals = std::mem::take(&mut self.reals).into_iter().collect();
    }
}

// === impl Maps ===

impl Maps {
    /// Maps every table.
    pub(super) fn of(memory: &Memory, geometry: &Geometry) -> Result<Self, DataplaneError> {
        let mapped = |table| Mapped::of(memory.map(table), geometry.layout(table));
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
            virtuals_v4: mapped(Table::VirtualsV4)?,
            loads: mapped(Table::Loads)?,
            verdicts: mapped(Table::Verdicts)?,
            service_counters: mapped(Table::ServiceCounters)?,
            real_counters: mapped(Table::RealCounters)?,
            fragments: mapped(Table::Fragments)?,
            locals: mapped(Table::Locals)?,
            reply_index: mapped(Table::ReplyIndex)?,
            replies: mapped(Table::Replies)?,
            ties_v4: mapped(Table::TiesV4)?,
            ties_v6: mapped(Table::TiesV6)?,
        })
    }
}

// === impl Tables ===

impl Tables {
    /// Gives back what is mapped of the tables, until it is looked at again, but for the connections' own ([`Tables::unmap_connections`]). Those
    /// that are named nowhere are small, and read all the time.
    pub fn unmap(&mut self) {
        let maps = &mut self.maps;
        let large = [
            &mut maps.services_v4,
            &mut maps.services_v6,
            &mut maps.configs,
            &mut maps.members,
            &mut maps.rings,
            &mut maps.reals,
            &mut maps.cursors,
            &mut maps.capacities,
            &mut maps.remembered,
            &mut maps.virtuals_v4,
            &mut maps.loads,
            &mut maps.service_counters,
            &mut maps.real_counters,
            &mut maps.reply_index,
            &mut maps.replies,
            &mut maps.ties_v4,
            &mut maps.ties_v6,
        ];
        large.into_iter().for_each(Mapped::unmap);
    }

    /// Gives back what is mapped of the connection tables. While packets flow, sweeps come back to every part of them within seconds,
    /// and mapping it costs more than the sweep itself.
    pub fn unmap_connections(&mut self) {
        self.maps.connections_v4.unmap();
        self.maps.connections_v6.unmap();
    }

    /// Every service by its key.
    pub fn services(&self) -> &BTreeMap<ServiceKey, ServiceRow> {
        &self.services
    }

    /// Services by the numbers that connections have.
    pub fn numbers(&self) -> BTreeMap<u32, ServiceKey> {
        let of = |(key, row): (&ServiceKey, &ServiceRow)| {
            let key = *key;
            row.own_numbers().into_iter().map(move |number| (number, key))
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

    /// Says that routes, links or neighbours have changed by `tick`.
    pub fn note_routes_changed(&mut self, tick: u32) {
        self.set_settings(&Settings { routes_changed: tick.into(), ..self.settings() });
    }

    /// Says that somebody sees such changes in `tick`.
    pub fn note_routes_watched(&mut self, tick: u32) {
        self.set_settings(&Settings { routes_watched: tick.into(), ..self.settings() });
    }

    pub(super) fn write_settings(&self, settings: &Settings, inexact: u64) {
        let locals = self.settings().locals;
        self.maps.settings.write(0, &Settings { inexact, locals, ..*settings });
    }

    pub(super) fn set_local_counts(&self, locals: u64, settings: &Settings) {
        self.maps.settings.write(0, &Settings { locals, ..*settings });
    }

    /// Gives a new service a number. It is found by packets once it has a pool.
    pub fn add_service(&mut self, key: ServiceKey) -> Result<(), DataplaneError> {
        let id = self.free_numbers().next().ok_or_else(|| {
            DataplaneError::Full(format!(
                "no number is free for service {key}: {} are in use or still have connections",
                MAX_SERVICES - 1
            ))
        })?;
        self.maps.clear_counters(id, MAX_SERVICES, self.geometry.cpus, true);
        self.seed_cursors(id);
        let (pool, reals, numbers) = (Pool::default(), BTreeMap::new(), BTreeMap::new());
        self.untaken.remove(&id);
        self.services.insert(key, ServiceRow { id, config: u32::MAX, pool, reals, numbers });
        Ok(())
    }

    /// Takes a service away: packets to it go to the kernel from now on. Its reals and number follow once no connection has them.
    pub fn remove_service(&mut self, key: &ServiceKey) {
        let Some(row) = self.services.remove(key) else { return };
        let own = row.own_numbers();
        self.untaken.extend(&own);
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
        if capacity.upper > 0 {
            self.limited.insert(number);
        }
        // As __ip_vs_update_dest: a higher threshold, or none, is a new beginning.
        if capacity.upper == 0 || capacity.upper > old.upper {
            self.maps.set_overloaded(number, false);
        }
        self.maps.reals.write(number, &identified(value, key, row.id, endpoint));
        Ok(())
    }

    /// Takes a real out of a service: its packets meet `disposition` until its connections are gone, then its number is free.
    pub fn remove_real(&mut self, key: &ServiceKey, endpoint: SocketAddr, disposition: u8) {
        if let Some(number) = self.services.get(key).and_then(|row| row.reals.get(&endpoint)) {
            // lblc and lblcr ask for the weight of a real that they remember.
            self.maps.capacities.write(*number, &Capacity { weight: 0, ..self.capacity(*number) });
            self.set_disposition(*number, disposition);
        }
    }

    pub(super) fn set_disposition(&mut self, number: u32, disposition: u8) {
        if let Some(mut real) = self.real(number) {
            real.disposition = disposition;
            self.maps.reals.write(number, &real);
        }
    }

    pub(super) fn rest(&mut self, config: u32) {
        if let Some(old) = self.maps.configs.read::<Config>(config) {
            self.configs.rest(config, 1);
            self.members.rest(old.members, old.member_count);
            self.rings.rest(old.ring, old.ring_slots.div_ceil(RING_LINE));
        }
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
pub(super) const RESTS: u8 = 3;

/// What the numbers of a service's addresses go by.
pub(super) fn number_key(address: &Address) -> (IpAddr, u8, u8) {
    (address.ip, address.prefix, address.protocol)
}
