//! The addresses that full NAT sends from, as the tables have them.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use lb_common::abi::reply::{Local, MAX_LOCALS};

use super::flows::words;
use super::tables::Tables;
use crate::model::PortRange;

/// An address of this host, and its ports.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct LocalAddress {
    /// The address.
    pub address: IpAddr,
    /// The ports that are used of it.
    pub ports: PortRange,
}

impl Tables {
    /// The addresses in the tables, IPv4 first.
    pub fn locals(&self) -> Vec<LocalAddress> {
        let counts = self.settings().locals;
        let of = |first: u32, count: u32| first..first + count.min(MAX_LOCALS);
        let numbers =
            of(0, counts as u32).map(|n| (n, true)).chain(of(MAX_LOCALS, (counts >> 32) as u32).map(|n| (n, false)));
        numbers.filter_map(|(number, is_v4)| read(&self.maps.locals.read(number)?, is_v4)).collect()
    }

    /// Makes these the addresses that new connections are sent from; at most [`MAX_LOCALS`] of each family. Connections that have one
    /// keep it.
    pub fn set_locals(&mut self, locals: &[LocalAddress]) {
        let mut counts = [0u32; 2];
        for local in locals {
            let (family, first) = if local.address.is_ipv4() { (0, 0) } else { (1, MAX_LOCALS) };
            if counts[family] < MAX_LOCALS {
                self.maps.locals.write(first + counts[family], &entry(local));
                counts[family] += 1;
            }
        }
        // Last: an entry counts from now on. One that is written while a packet reads it costs that packet an attempt.
        let settings = self.settings();
        self.set_local_counts(u64::from(counts[0]) | u64::from(counts[1]) << 32, &settings);
    }
}

fn entry(local: &LocalAddress) -> Local {
    Local {
        address: words(local.address),
        first_port: u32::from(local.ports.first()),
        ports: local.ports.count(),
        reserved: 0,
    }
}

fn read(entry: &Local, is_v4: bool) -> Option<LocalAddress> {
    let [first, second] = entry.address.map(u64::to_ne_bytes);
    let address = if is_v4 {
        IpAddr::V4(Ipv4Addr::from(<[u8; 4]>::try_from(&first[..4]).ok()?))
    } else {
        IpAddr::V6(Ipv6Addr::from(<[u8; 16]>::try_from([first, second].concat()).ok()?))
    };
    let first_port = u16::try_from(entry.first_port).ok()?;
    let last = u16::try_from(entry.first_port + entry.ports.checked_sub(1)?).ok()?;
    Some(LocalAddress { address, ports: PortRange::new(first_port, last)? })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_address_reads_back() {
        for address in ["192.0.2.1", "2001:db8::5"] {
            let local = LocalAddress { address: address.parse().unwrap(), ports: "1024-65535".parse().unwrap() };
            assert_eq!(read(&entry(&local), local.address.is_ipv4()), Some(local));
        }
        assert_eq!(read(&Local::default(), true), None);
    }
}
