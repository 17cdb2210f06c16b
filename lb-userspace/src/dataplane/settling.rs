//! Numbers and places that were left: when they are free again, and how much room there is.

use std::collections::BTreeSet;
use std::net::SocketAddr;

use lb_common::abi::limits::{MAX_SERVICES, RING_LINE};
use lb_common::abi::real::{Capacity, Load, Real, family};

use super::tables::{Pool, ServiceRow, Tables};
use crate::model::ServiceKey;

impl Tables {
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
    pub(super) fn find_retired(&mut self, idle: &mut BTreeSet<u32>) {
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

    /// Numbers that are free for new reals, and for services and their addresses.
    pub fn room(&self) -> (usize, usize) {
        (self.free_reals.len(), MAX_SERVICES as usize - self.used_numbers().len())
    }

    /// Numbers of services and addresses that are taken, or rest. 0 is what free connection entries show.
    pub(super) fn used_numbers(&self) -> BTreeSet<u32> {
        let of_rows = self.services.values().flat_map(ServiceRow::own_numbers);
        of_rows.chain(self.retired.iter().copied()).chain(self.resting.keys().copied()).chain([0]).collect()
    }
}
