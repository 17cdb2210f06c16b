//! Numbers and places that were left: when they are free again, and how much room there is.

use std::collections::BTreeSet;
use std::net::SocketAddr;

use lb_common::abi::real::{Capacity, Load, Real, family};

use super::tables::Tables;
use crate::model::ServiceKey;

/// What a change takes of the tables.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Room {
    /// Numbers of reals.
    pub reals: usize,
    /// Numbers of services, and of the addresses of marks.
    pub services: usize,
    /// Members of pools.
    pub members: usize,
    /// Lines of rings.
    pub lines: usize,
    /// Configurations.
    pub configs: usize,
}

impl std::ops::AddAssign for Room {
    fn add_assign(&mut self, more: Self) {
        self.reals += more.reals;
        self.services += more.services;
        self.members += more.members;
        self.lines += more.lines;
        self.configs += more.configs;
    }
}

impl Tables {
    /// Once a second, after a sweep: frees places that were left and numbers that no connection has had for a second. `is_wanted` says
    /// whether a real is still configured.
    pub fn settle(&mut self, is_wanted: impl Fn(&ServiceKey, &SocketAddr) -> bool) {
        self.relieve_idle();
        self.configs.settle();
        self.members.settle();
        self.rings.settle();
        let mut idle = BTreeSet::new();
        // Members are reals: where there are as many, all reals are members.
        for (key, row) in self.services.iter().filter(|(_, row)| row.reals.len() > row.pool.members.len()) {
            let members: BTreeSet<&SocketAddr> = row.pool.members.iter().map(|(member, _)| member).collect();
            for (endpoint, number) in row.reals.iter().filter(|(endpoint, _)| !members.contains(endpoint)) {
                if self.load(*number) == Load(0) && !is_wanted(key, endpoint) {
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
        if !free.is_empty() {
            for row in self.services.values().filter(|row| row.reals.len() > row.pool.members.len()) {
                for number in row.reals.values().filter(|number| free.contains(number)) {
                    self.keep_sum(row.id, *number);
                }
            }
            self.forget_reals(&free);
            self.forget_templates(&free);
            for row in self.services.values_mut().filter(|row| row.reals.len() > row.pool.members.len()) {
                row.reals.retain(|_, number| !free.contains(number));
            }
        }
        for number in &free {
            self.limited.remove(number);
            self.maps.reals.write(*number, &Real::default());
            self.maps.capacities.write(*number, &Capacity::default());
            self.free_reals.insert(*number);
        }
        self.idle = idle.difference(&free).copied().collect();
    }

    /// A real without connections is never overloaded. Where its last one ended between another CPU's count and that one's word that this
    /// was one too many, nothing would ever take the word back.
    fn relieve_idle(&self) {
        for number in &self.limited {
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

    /// Whether there is room for a change, or will be once what is left now has rested.
    pub fn has_room(&self, needs: &Room) -> Result<(), String> {
        let (reals, services) = self.room();
        if needs.reals > reals || needs.services > services {
            return Err(format!(
                "the tables have room for {reals} more reals and {services} more services, this needs {} and {}; start the \
                 daemon with a larger --reals",
                needs.reals, needs.services
            ));
        }
        for (what, needed, room) in [
            ("members of services", needs.members, self.members.room()),
            ("lines of sh and mh rings", needs.lines, self.rings.room()),
            ("configurations of services", needs.configs, self.configs.room()),
        ] {
            if needed > room as usize {
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
        let rests: BTreeSet<u32> = self.retired();
        (self.free_reals.len(), self.untaken.len() - self.untaken.intersection(&rests).count())
    }

    /// Numbers that are free for services and addresses, the lowest first.
    pub(super) fn free_numbers(&self) -> impl Iterator<Item = u32> + '_ {
        let rests = |number: &u32| self.retired.contains(number) || self.resting.contains_key(number);
        self.untaken.iter().copied().filter(move |number| !rests(number))
    }
}
