//! The rows of tables as they are, empty or left by an earlier daemon.

use std::collections::{BTreeMap, BTreeSet};
use std::net::SocketAddr;

use lb_common::abi::limits::{MAX_SERVICES, RING_LINE};
use lb_common::abi::real::Real;
use lb_common::abi::service::{Config, Member, RingLine, Target};

use super::DataplaneError;
use super::addresses::{Address, Addresses};
use super::identity::{endpoint, identified};
use super::memory::Memory;
use super::pins::Geometry;
use super::ranges::Ranges;
use super::tables::{Maps, Pool, ServiceRow, Tables, number_key};
use crate::model::{Protocol, ServiceKey};

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
            limited: BTreeSet::new(),
            untaken: (1..MAX_SERVICES).collect(),
            idle: BTreeSet::new(),
            addresses: Addresses::default(),
            generation: 0,
        };
        let mut free = Vec::new();
        // Maps made of lists at once are full; filled one by one they would take nearly twice the memory.
        let mut of_service: BTreeMap<u32, Vec<(SocketAddr, u32)>> = BTreeMap::new();
        for number in 0..geometry.reals {
            let Some(real) = tables.maps.reals.read::<Real>(number) else { continue };
            match endpoint(&real) {
                Some(endpoint) => {
                    if tables.capacity(number).upper > 0 {
                        tables.limited.insert(number);
                    }
                    of_service.entry(u32::from(real.service)).or_default().push((endpoint, number));
                }
                None => free.push(number),
            }
        }
        tables.free_reals = free.into_iter().collect();
        let mut groups: BTreeMap<u32, Vec<(Address, Target)>> = BTreeMap::new();
        for (address, target) in tables.addresses.adopt(&tables.maps.services_v4, &tables.maps.services_v6) {
            let config = tables.maps.configs.read::<Config>(target.config()).unwrap_or_default();
            groups.entry(config.group).or_default().push((address, target));
        }
        for (group, addresses) in groups {
            let reals = of_service.remove(&group).unwrap_or_default().into_iter().collect();
            let named = format!("adopting the service of {}", addresses[0].0.ip);
            let (key, row) = tables.adopt_service(group, &addresses, reals).ok_or_else(|| {
                DataplaneError::other(named, "its configuration contradicts itself; remove the pins to start anew")
            })?;
            row.own_numbers().iter().for_each(|number| {
                tables.untaken.remove(number);
            });
            tables.services.insert(key, row);
        }
        // Reals whose service is gone: the daemon was stopped between the two.
        tables.retired.extend(of_service.into_keys());
        Ok(tables)
    }

    /// A service of these addresses. A daemon that was stopped while it led them to a new configuration leaves two: the newer one counts.
    pub(super) fn adopt_service(
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
        for (endpoint, number) in &reals {
            // What another version of the daemon did not write.
            if let Some(real) = self.maps.reals.read::<Real>(*number) {
                self.maps.reals.write(*number, &identified(&real, &key, group, *endpoint));
            }
        }
        let numbers = addresses.iter().map(|(address, target)| (number_key(address), target.service())).collect();
        Some((key, ServiceRow { id: group, config: index, pool, reals, numbers }))
    }
}

/// The key of a service by its configuration and one of its addresses.
fn adopted_key(config: &Config, address: Address) -> Option<ServiceKey> {
    if config.mark != 0 {
        return Some(ServiceKey::of_mark(config.mark, address.ip.is_ipv6()));
    }
    Some(ServiceKey { protocol: Protocol::of_number(address.protocol)?, address: address.ip, port: address.port })
}
