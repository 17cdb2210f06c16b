//! The service address tables: which bucket and way each address has.
//!
//! An address takes the first way without target in its bucket, or in the next one. Its key is written first, then its target: the
//! target's one store makes it visible. Taken away, it loses its target only; the key goes on telling readers to look in the next
//! bucket.

use std::collections::{BTreeMap, BTreeSet};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::sync::atomic::{AtomicU64, Ordering};

use lb_common::abi::limits::WAYS;
use lb_common::abi::service::{BUCKETS, PROTOCOL_ANY, Target, key_v4, key_v6_tail};
use lb_common::algo::hash;
use lb_common::wire::transport::{SCTP, TCP, UDP};

use super::DataplaneError;
use super::mapped::Mapped;
use crate::model::{Protocol, ServiceKey};

/// What stands in the tables, by address.
#[derive(Debug, Default)]
pub(crate) struct Addresses {
    placed: BTreeMap<Address, Target>,
}

/// Address, port in host order, protocol number.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
struct Address {
    ip: IpAddr,
    port: u16,
    protocol: u8,
}

/// Key words of an address: one for IPv4, three for IPv6.
fn words(address: &Address) -> Vec<u64> {
    let port = address.port.to_be();
    match address.ip {
        IpAddr::V4(ip) => vec![key_v4(u32::from_ne_bytes(ip.octets()), port, address.protocol)],
        IpAddr::V6(ip) => {
            let [first, second] = halves(ip);
            vec![first, second, key_v6_tail(port, address.protocol)]
        }
    }
}

fn halves(ip: Ipv6Addr) -> [u64; 2] {
    let bytes = u128::from_ne_bytes(ip.octets());
    if cfg!(target_endian = "little") {
        [bytes as u64, (bytes >> 64) as u64]
    } else {
        [(bytes >> 64) as u64, bytes as u64]
    }
}

fn bucket(key: &[u64]) -> u32 {
    match *key {
        [a, b, c] => hash::service_v6([a, b, c], BUCKETS - 1),
        _ => hash::service_v4(key[0], BUCKETS - 1),
    }
}

/// The ways of a bucket and of the next: each its key words, then its target.
fn ways<'a>(table: &'a Mapped, key: &[u64]) -> impl Iterator<Item = &'a [AtomicU64]> {
    let first = bucket(key);
    let entry = key.len() + 1;
    [first, (first + 1) & (BUCKETS - 1)]
        .into_iter()
        .flat_map(move |bucket| table.value(bucket).chunks_exact(entry).take(WAYS))
}

fn holds(way: &[AtomicU64], key: &[u64]) -> bool {
    way.iter().zip(key).all(|(stored, word)| stored.load(Ordering::Relaxed) == *word)
}

fn target(way: &[AtomicU64]) -> &AtomicU64 {
    &way[way.len() - 1]
}

impl Addresses {
    /// Reads the tables and returns the services in them.
    pub(crate) fn adopt(&mut self, v4: &Mapped, v6: &Mapped) -> Vec<(ServiceKey, Target)> {
        for index in 0..BUCKETS {
            for way in v4.value(index).chunks_exact(2) {
                let (key, target) = (way[0].load(Ordering::Acquire), Target(target(way).load(Ordering::Acquire)));
                let ip = IpAddr::V4(Ipv4Addr::from((key as u32).to_ne_bytes()));
                self.adopt_one(ip, (key >> 32) as u16, (key >> 48) as u8, target);
            }
            for way in v6.value(index).chunks_exact(4) {
                let word = |at: usize| u128::from(way[at].load(Ordering::Acquire));
                let target = Target(target(way).load(Ordering::Acquire));
                let bytes =
                    if cfg!(target_endian = "little") { word(0) | (word(1) << 64) } else { (word(0) << 64) | word(1) };
                self.adopt_one(
                    IpAddr::V6(Ipv6Addr::from(bytes.to_ne_bytes())),
                    word(2) as u16,
                    (word(2) >> 16) as u8,
                    target,
                );
            }
        }
        self.repair_marks(v4, v6);
        let services = self.placed.iter().filter_map(|(address, target)| {
            let protocol = match address.protocol {
                TCP => Protocol::Tcp,
                UDP => Protocol::Udp,
                SCTP => Protocol::Sctp,
                _ => return None,
            };
            Some((ServiceKey { protocol, address: address.ip, port: address.port }, *target))
        });
        services.collect()
    }

    /// A daemon that was killed between an address and its VIP mark leaves one without the other.
    fn repair_marks(&mut self, v4: &Mapped, v6: &Mapped) {
        let is_mark = |address: &Address| address.protocol == PROTOCOL_ANY;
        let services: BTreeMap<IpAddr, Target> = self
            .placed
            .iter()
            .filter(|(address, _)| !is_mark(address))
            .map(|(address, target)| (address.ip, *target))
            .collect();
        let marks: BTreeSet<IpAddr> =
            self.placed.keys().filter(|address| is_mark(address)).map(|address| address.ip).collect();
        for ip in marks.iter().filter(|ip| !services.contains_key(ip)) {
            self.clear(table_of(v4, v6, *ip), Address { ip: *ip, port: 0, protocol: PROTOCOL_ANY });
        }
        for (ip, target) in services.iter().filter(|(ip, _)| !marks.contains(ip)) {
            // A full bucket leaves the mark out, as it was.
            let _ = self.store(table_of(v4, v6, *ip), Address { ip: *ip, port: 0, protocol: PROTOCOL_ANY }, *target);
        }
    }

    fn adopt_one(&mut self, ip: IpAddr, raw_port: u16, protocol: u8, target: Target) {
        if target.is_some() {
            self.placed.insert(Address { ip, port: u16::from_be(raw_port), protocol }, target);
        }
    }

    /// Leads a service's address to `target`, and marks its IP address as a VIP.
    pub(crate) fn set(
        &mut self,
        v4: &Mapped,
        v6: &Mapped,
        key: &ServiceKey,
        target: Target,
    ) -> Result<(), DataplaneError> {
        let address = address_of(key);
        self.store(table_of(v4, v6, key.address), address, target)?;
        self.store(table_of(v4, v6, key.address), Address { port: 0, protocol: PROTOCOL_ANY, ..address }, target)
    }

    fn store(&mut self, table: &Mapped, address: Address, new: Target) -> Result<(), DataplaneError> {
        let key = words(&address);
        let mut free = None;
        for way in ways(table, &key) {
            let is_set = target(way).load(Ordering::Relaxed) != 0;
            if is_set && holds(way, &key) {
                target(way).store(new.0, Ordering::Release);
                self.placed.insert(address, new);
                return Ok(());
            }
            if !is_set && free.is_none() {
                free = Some(way);
            }
        }
        let Some(way) = free else {
            return Err(DataplaneError::Full(format!(
                "the service table has no place left for {}, port {}: its two buckets are full",
                address.ip, address.port
            )));
        };
        for (stored, word) in way.iter().zip(&key) {
            stored.store(*word, Ordering::Release);
        }
        target(way).store(new.0, Ordering::Release);
        self.placed.insert(address, new);
        Ok(())
    }

    /// Takes a service's address away, and the VIP mark with the last of its IP address.
    pub(crate) fn remove(&mut self, v4: &Mapped, v6: &Mapped, key: &ServiceKey) {
        let address = address_of(key);
        let table = table_of(v4, v6, key.address);
        self.clear(table, address);
        let others: BTreeSet<&Address> =
            self.placed.keys().filter(|other| other.ip == address.ip && other.protocol != PROTOCOL_ANY).collect();
        if others.is_empty() {
            self.clear(table, Address { port: 0, protocol: PROTOCOL_ANY, ..address });
        }
    }

    fn clear(&mut self, table: &Mapped, address: Address) {
        let key = words(&address);
        for way in ways(table, &key).filter(|way| holds(way, &key)) {
            target(way).store(0, Ordering::Release);
        }
        self.placed.remove(&address);
    }
}

impl Addresses {
    /// Some service takes any port.
    pub(crate) fn has_any_port(&self) -> bool {
        self.placed.keys().any(|address| address.port == 0 && address.protocol != PROTOCOL_ANY)
    }
}

fn address_of(key: &ServiceKey) -> Address {
    let protocol = match key.protocol {
        Protocol::Tcp => TCP,
        Protocol::Udp => UDP,
        Protocol::Sctp => SCTP,
        // Never on the wire as a transport protocol; its address is no packet's either.
        Protocol::Mark => u8::MAX,
    };
    Address { ip: key.address, port: key.port, protocol }
}

fn table_of<'a>(v4: &'a Mapped, v6: &'a Mapped, ip: IpAddr) -> &'a Mapped {
    if ip.is_ipv4() { v4 } else { v6 }
}
