//! The service address tables: which bucket and way each address has.
//!
//! An address takes the first way without target in its bucket, or in the next one. Its key is written first, then its target: the
//! target's one store makes it visible. Taken away, it loses its target only; the key goes on telling readers to look in the next
//! bucket.
//!
//! A block of addresses or ports stands under its first ones and a tag that says how large it is ([`lb_common::abi::shape`]).

use std::collections::btree_map::Entry;
use std::collections::{BTreeMap, BTreeSet};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::sync::atomic::{AtomicU64, Ordering};

use lb_common::abi::limits::WAYS;
use lb_common::abi::service::{BUCKETS, PROTOCOL_ANY, Target, key_v4, key_v6_tail};
use lb_common::abi::settings::inexact;
use lb_common::abi::shape::{SHAPES, Shape, Shapes, WHOLE_PORT};
use lb_common::algo::hash;

use super::DataplaneError;
use super::mapped::Mapped;
use crate::model::ServiceKey;
use crate::model::mark::width;

/// What stands in the tables, by address.
#[derive(Debug, Default)]
pub(crate) struct Addresses {
    placed: BTreeMap<Address, Target>,
    /// Addresses by the VIP mark that they need.
    marked: BTreeMap<Address, u32>,
    /// Addresses that no plain lookup finds, by family (true is IPv4) and shape: those of blocks, and those of any port.
    shapes: BTreeMap<(bool, Shape), u32>,
    /// Addresses of any port, and of blocks.
    inexact: [u32; 2],
}

/// A block of addresses and ports that leads to one service.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Address {
    /// The address, or the first one.
    pub ip: IpAddr,
    /// Leading bits of it that count.
    pub prefix: u8,
    /// Protocol number.
    pub protocol: u8,
    /// The port in host order, or the first one; 0 for any.
    pub port: u16,
    /// Leading bits of it that count.
    pub port_bits: u8,
}

impl Address {
    /// One address, and one port or any (0).
    pub fn single(ip: IpAddr, protocol: u8, port: u16) -> Self {
        let port_bits = if port == 0 { 0 } else { WHOLE_PORT as u8 };
        Self { ip, prefix: width(ip), protocol, port, port_bits }
    }

    /// The address of a service that is no mark's.
    pub fn of_service(key: &ServiceKey) -> Option<Self> {
        Some(Self::single(key.address, key.protocol.number()?, key.port))
    }

    /// It stands for many addresses.
    pub fn is_many(&self) -> bool {
        self.prefix < width(self.ip)
    }

    /// It is found without a look at the shapes: one address, and one port or any.
    fn is_plain(&self) -> bool {
        !self.is_many() && (self.port_bits == 0 || u32::from(self.port_bits) == WHOLE_PORT)
    }

    fn shape(&self) -> Shape {
        Shape::new(u32::from(self.prefix), u32::from(self.port_bits))
    }

    /// What says that its addresses are VIPs.
    fn mark(&self) -> Self {
        if self.is_plain() {
            return Self { port: 0, port_bits: 0, protocol: PROTOCOL_ANY, ..*self };
        }
        Self { port: 0, protocol: PROTOCOL_ANY, ..*self }
    }

    fn is_mark(&self) -> bool {
        self.protocol == PROTOCOL_ANY
    }
}

/// Key words of an address: one for IPv4, three for IPv6.
fn words(address: &Address) -> Vec<u64> {
    let shape = address.shape();
    let (port, tags) = if address.is_plain() {
        (address.port, (0, 0))
    } else {
        (shape.port(address.port), (shape.tag_v4(), shape.tag_v6()))
    };
    match address.ip {
        IpAddr::V4(ip) => {
            vec![key_v4(u32::from_ne_bytes(ip.octets()), port.to_be(), address.protocol) | tags.0]
        }
        IpAddr::V6(ip) => {
            let [first, second] = halves(ip);
            vec![first, second, key_v6_tail(port.to_be(), address.protocol) | tags.1]
        }
    }
}

/// The address of a key's words: the other way round.
fn of_words(ip: IpAddr, raw_port: u16, protocol: u8, prefix_tag: u8, is_range: bool) -> Address {
    let port = u16::from_be(raw_port);
    if prefix_tag == 0 {
        return Address { protocol, ..Address::single(ip, protocol, port) };
    }
    let (port, port_bits) = if is_range {
        let lowest = port & port.wrapping_neg();
        (port & !lowest, (WHOLE_PORT - 1 - lowest.trailing_zeros()) as u8)
    } else {
        (port, WHOLE_PORT as u8)
    };
    Address { ip, prefix: prefix_tag - 1, protocol, port, port_bits }
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
    /// Reads the tables and returns the addresses in them.
    pub(crate) fn adopt(&mut self, v4: &Mapped, v6: &Mapped) -> Vec<(Address, Target)> {
        for index in 0..BUCKETS {
            for way in v4.value(index).chunks_exact(2) {
                let (key, target) = (way[0].load(Ordering::Acquire), Target(target(way).load(Ordering::Acquire)));
                let ip = IpAddr::V4(Ipv4Addr::from((key as u32).to_ne_bytes()));
                let tag = (key >> 56) as u8;
                self.adopt_one(
                    of_words(ip, (key >> 32) as u16, (key >> 48) as u8, tag & 0x7f, tag & 0x80 != 0),
                    target,
                );
            }
            for way in v6.value(index).chunks_exact(4) {
                let word = |at: usize| u128::from(way[at].load(Ordering::Acquire));
                let target = Target(target(way).load(Ordering::Acquire));
                let bytes =
                    if cfg!(target_endian = "little") { word(0) | (word(1) << 64) } else { (word(0) << 64) | word(1) };
                let ip = IpAddr::V6(Ipv6Addr::from(bytes.to_ne_bytes()));
                let tail = word(2);
                let address = of_words(ip, tail as u16, (tail >> 16) as u8, (tail >> 24) as u8, tail & (1 << 32) != 0);
                self.adopt_one(address, target);
            }
        }
        self.repair_marks(v4, v6);
        self.placed
            .iter()
            .filter(|(address, _)| !address.is_mark())
            .map(|(address, target)| (*address, *target))
            .collect()
    }

    /// A daemon that was killed between an address and its VIP mark leaves one without the other.
    fn repair_marks(&mut self, v4: &Mapped, v6: &Mapped) {
        let services: BTreeMap<Address, Target> = self
            .placed
            .iter()
            .filter(|(address, _)| !address.is_mark())
            .map(|(address, target)| (address.mark(), *target))
            .collect();
        let marks: BTreeSet<Address> = self.placed.keys().filter(|address| address.is_mark()).copied().collect();
        for mark in marks.iter().filter(|mark| !services.contains_key(mark)) {
            self.clear(table_of(v4, v6, mark.ip), *mark);
        }
        for (mark, target) in services.iter().filter(|(mark, _)| !marks.contains(mark)) {
            // A full bucket leaves the mark out, as it was.
            let _ = self.store(table_of(v4, v6, mark.ip), *mark, *target);
        }
    }

    fn adopt_one(&mut self, address: Address, target: Target) {
        if target.is_some() {
            self.place(address, target);
        }
    }

    fn place(&mut self, address: Address, target: Target) {
        if self.placed.insert(address, target).is_none() {
            self.count(&address, 1);
        }
    }

    /// What is asked of all addresses is kept, or each change of one would ask all.
    fn count(&mut self, address: &Address, by: i32) {
        fn add<K: Ord>(counts: &mut BTreeMap<K, u32>, key: K, by: i32) {
            match counts.entry(key) {
                Entry::Occupied(mut entry) => {
                    *entry.get_mut() = entry.get().saturating_add_signed(by);
                    if *entry.get() == 0 {
                        entry.remove();
                    }
                }
                Entry::Vacant(entry) => {
                    entry.insert(by.unsigned_abs());
                }
            }
        }
        if address.is_mark() {
            return;
        }
        add(&mut self.marked, address.mark(), by);
        if !address.is_plain() || address.port_bits == 0 {
            add(&mut self.shapes, (address.ip.is_ipv4(), address.shape()), by);
            let kind = &mut self.inexact[usize::from(!address.is_plain())];
            *kind = kind.saturating_add_signed(by);
        }
    }

    /// Leads a service's address to `target`, and marks its IP address as a VIP.
    pub(crate) fn set(
        &mut self,
        v4: &Mapped,
        v6: &Mapped,
        address: &Address,
        target: Target,
    ) -> Result<(), DataplaneError> {
        let table = table_of(v4, v6, address.ip);
        self.store(table, *address, target)?;
        self.store(table, address.mark(), target)
    }

    fn store(&mut self, table: &Mapped, address: Address, new: Target) -> Result<(), DataplaneError> {
        let key = words(&address);
        let mut free = None;
        for way in ways(table, &key) {
            let is_set = target(way).load(Ordering::Relaxed) != 0;
            if is_set && holds(way, &key) {
                target(way).store(new.0, Ordering::Release);
                self.place(address, new);
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
        self.place(address, new);
        Ok(())
    }

    /// Takes a service's address away, and the VIP mark with the last of its IP address. `numbers` are the service's: an address that leads
    /// to another one by now, as a rule that went from mark to mark, is that one's.
    pub(crate) fn remove(&mut self, v4: &Mapped, v6: &Mapped, address: &Address, numbers: &BTreeSet<u32>) {
        if self.placed.get(address).is_some_and(|target| !numbers.contains(&target.service())) {
            return;
        }
        let table = table_of(v4, v6, address.ip);
        self.clear(table, *address);
        let mark = address.mark();
        if !self.marked.contains_key(&mark) {
            self.clear(table, mark);
        }
    }

    fn clear(&mut self, table: &Mapped, address: Address) {
        let key = words(&address);
        for way in ways(table, &key).filter(|way| holds(way, &key)) {
            target(way).store(0, Ordering::Release);
        }
        if self.placed.remove(&address).is_some() {
            self.count(&address, -1);
        }
    }

    /// Where packets to an address are led now.
    pub(crate) fn led_to(v4: &Mapped, v6: &Mapped, address: &Address) -> Option<Target> {
        let key = words(address);
        let mut targets = ways(table_of(v4, v6, address.ip), &key)
            .filter(|way| holds(way, &key))
            .map(|way| Target(target(way).load(Ordering::Acquire)));
        targets.find(|target| target.is_some())
    }

    /// [`inexact`], as what stands in the tables needs it.
    pub(crate) fn inexact(&self) -> u64 {
        let [any_port, blocks] = self.inexact.map(|count| count > 0);
        [(any_port, inexact::ANY_PORT), (blocks, inexact::SHAPES)]
            .iter()
            .filter(|(is, _)| *is)
            .fold(0, |bits, (_, bit)| bits | bit)
    }

    /// The shapes that are needed beside the plain lookups.
    pub(crate) fn shapes(&self) -> Shapes {
        self.shapes_with(&[])
    }

    /// The same when these addresses have come in, too.
    pub(crate) fn shapes_with(&self, more: &[Address]) -> Shapes {
        let mut shapes = Shapes::default();
        for (list, is_v4) in [(&mut shapes.v4, true), (&mut shapes.v6, false)] {
            let mut found = shapes_of(more.iter().filter(|address| address.ip.is_ipv4() == is_v4));
            found.extend(self.shapes.keys().filter(|(of_v4, _)| *of_v4 == is_v4).map(|(_, shape)| *shape));
            for (place, shape) in list.iter_mut().zip(found.iter().rev()) {
                *place = shape.0;
            }
        }
        shapes
    }
}

/// How addresses without exact match are looked up when these are there.
pub(crate) fn inexact_of<'a>(addresses: impl Iterator<Item = &'a Address>) -> u64 {
    let mut bits = 0;
    for address in addresses.filter(|address| !address.is_mark()) {
        if !address.is_plain() {
            bits |= inexact::SHAPES;
        } else if address.port_bits == 0 {
            bits |= inexact::ANY_PORT;
        }
    }
    bits
}

/// The shapes that packets are looked up by: any port of one address among them, once there is another one.
pub(crate) fn shapes_of<'a>(addresses: impl Iterator<Item = &'a Address>) -> BTreeSet<Shape> {
    let is_needed = |address: &&Address| !address.is_plain() || address.port_bits == 0;
    addresses.filter(is_needed).map(Address::shape).collect()
}

/// Whether so many shapes are too many for the tables, and what to say then.
pub fn fits<'a>(addresses: &(impl Iterator<Item = &'a Address> + Clone)) -> Result<(), String> {
    for (family, is_v4) in [("IPv4", true), ("IPv6", false)] {
        let count = shapes_of(addresses.clone().filter(|address| address.ip.is_ipv4() == is_v4)).len();
        if count > SHAPES {
            return Err(format!(
                "the marks' {family} rules have {count} different prefix lengths and sizes of port blocks, at most {SHAPES} \
                 fit; let port ranges begin and end at multiples of a power of two"
            ));
        }
    }
    Ok(())
}

fn table_of<'a>(v4: &'a Mapped, v6: &'a Mapped, ip: IpAddr) -> &'a Mapped {
    if ip.is_ipv4() { v4 } else { v6 }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_address_reads_back_from_its_words() {
        let v4 = IpAddr::from([10, 0, 0, 0]);
        let v6: IpAddr = "fd00::".parse().unwrap();
        let mut all = Vec::new();
        for ip in [v4, v6] {
            for (port, port_bits) in [(80, 16), (0x8000, 1), (8000, 13), (0, 0), (0, 16), (0xffff, 16), (0xfffe, 15)] {
                for prefix in [0, 8, 24, width(ip)] {
                    all.push(Address { ip, prefix, protocol: 6, port, port_bits });
                }
            }
        }
        let mut seen = BTreeSet::new();
        for address in all {
            if address.is_plain() && address.port == 0 && address.port_bits != 0 {
                continue;
            }
            let key = words(&address);
            assert!(seen.insert(key.clone()), "{address:?} has another one's key");
            let tail = if key.len() == 1 { key[0] >> 32 } else { key[2] };
            let back = if key.len() == 1 {
                let tag = (key[0] >> 56) as u8;
                of_words(address.ip, tail as u16, (tail >> 16) as u8, tag & 0x7f, tag & 0x80 != 0)
            } else {
                of_words(address.ip, tail as u16, (tail >> 16) as u8, (tail >> 24) as u8, tail & (1 << 32) != 0)
            };
            assert_eq!(back, address);
        }
    }

    #[test]
    fn shapes_are_needed_for_what_no_plain_lookup_finds() {
        let ip = IpAddr::from([10, 0, 0, 1]);
        let exact = Address::single(ip, 6, 80);
        let any = Address::single(ip, 17, 0);
        let range = Address { port: 8000, port_bits: 13, ..exact };
        assert_eq!(inexact_of([exact].iter()), 0);
        assert_eq!(inexact_of([exact, any].iter()), inexact::ANY_PORT);
        assert_eq!(inexact_of([any, range].iter()), inexact::ANY_PORT | inexact::SHAPES);
        let shapes: Vec<_> = shapes_of([exact, any, range].iter()).into_iter().collect();
        assert_eq!(shapes, [Shape::new(32, 0), Shape::new(32, 13)]);
    }
}
