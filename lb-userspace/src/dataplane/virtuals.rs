//! The address that a connection's client sent to: its service's, or, for a mark of many, what the datapath keeps beside the table.

use std::net::{IpAddr, Ipv4Addr};

use lb_common::algo::hash;

use super::tables::Tables;
use crate::model::Protocol;
use crate::model::mark::width;

/// Addresses by the number that connections have.
pub struct Virtuals {
    numbers: Vec<Option<(IpAddr, u8, bool)>>,
    secret: [u64; 2],
}

impl Tables {
    /// The addresses that connections are to, by their numbers.
    pub fn virtuals(&self) -> Virtuals {
        let mut numbers = Vec::new();
        for (key, row) in self.services() {
            for ((ip, prefix, protocol), number) in &row.numbers {
                let is_many = key.protocol == Protocol::Mark && *prefix < width(*ip);
                let number = *number as usize;
                if numbers.len() <= number {
                    numbers.resize(number + 1, None);
                }
                numbers[number] = Some((*ip, *protocol, is_many));
            }
        }
        Virtuals { numbers, secret: self.settings().secret() }
    }
}

impl Virtuals {
    fn get(&self, number: u32) -> Option<(IpAddr, u8, bool)> {
        *self.numbers.get(number as usize)?
    }

    /// The packet's own key of IPv4 entry `index`, and the address it was sent to.
    pub(super) fn v4(&self, tables: &Tables, number: u32, index: usize, key: u64) -> (u64, Option<(IpAddr, u8)>) {
        match self.get(number) {
            Some((_, protocol, true)) => {
                let address = tables.maps.virtuals_v4.half(index).unwrap_or(0);
                let mark = hash::mark([u64::from(address), 0], protocol, self.secret);
                (key ^ mark, Some((IpAddr::V4(Ipv4Addr::from(address.to_ne_bytes())), protocol)))
            }
            Some((ip, protocol, false)) => (key, Some((ip, protocol))),
            None => (key, None),
        }
    }

    /// The address that IPv6 connections with this number were sent to: of a mark of many the first one.
    pub(super) fn v6(&self, number: u32) -> Option<(IpAddr, u8)> {
        self.get(number).map(|(ip, protocol, _)| (ip, protocol))
    }
}
