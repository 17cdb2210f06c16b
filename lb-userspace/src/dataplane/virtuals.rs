//! The address that a connection's client sent to: its service's, or, for a mark of many, what the datapath keeps beside the table.

use std::collections::BTreeMap;
use std::net::{IpAddr, Ipv4Addr};
use std::sync::atomic::Ordering;

use lb_common::algo::hash;

use super::tables::Tables;
use crate::model::Protocol;
use crate::model::mark::width;

/// Addresses by the number that connections have.
pub(super) struct Virtuals<'a> {
    tables: &'a Tables,
    numbers: BTreeMap<u32, (IpAddr, u8, bool)>,
    secret: [u64; 2],
}

impl<'a> Virtuals<'a> {
    pub(super) fn of(tables: &'a Tables) -> Self {
        let mut numbers = BTreeMap::new();
        for (key, row) in tables.services() {
            for ((ip, prefix, protocol), number) in &row.numbers {
                let is_many = key.protocol == Protocol::Mark && *prefix < width(*ip);
                numbers.insert(*number, (*ip, *protocol, is_many));
            }
        }
        Self { tables, numbers, secret: tables.settings().secret() }
    }

    /// The packet's own key of IPv4 entry `index`, and the address it was sent to.
    pub(super) fn v4(&self, number: u32, index: usize, key: u64) -> (u64, Option<(IpAddr, u8)>) {
        match self.numbers.get(&number) {
            Some((_, protocol, true)) => {
                let word = self.tables.maps.virtuals_v4.words().get(index / 2);
                let pair = word.map_or(0, |word| word.load(Ordering::Relaxed));
                let address = (pair >> (32 * (index % 2))) as u32;
                let mark = hash::mark([u64::from(address), 0], *protocol, self.secret);
                (key ^ mark, Some((IpAddr::V4(Ipv4Addr::from(address.to_ne_bytes())), *protocol)))
            }
            Some((ip, protocol, false)) => (key, Some((*ip, *protocol))),
            None => (key, None),
        }
    }

    /// The address that IPv6 connections with this number were sent to: of a mark of many the first one.
    pub(super) fn v6(&self, number: u32) -> Option<(IpAddr, u8)> {
        self.numbers.get(&number).map(|(ip, protocol, _)| (*ip, *protocol))
    }
}
