//! Single connections from user space: found, begun and ended by the protocol that the program follows ([`lb_common::table`]).

use std::net::{IpAddr, SocketAddr};
use std::sync::atomic::{AtomicU64, Ordering};

use lb_common::abi::connection::{KeyV4, KeyV6, Meta, STATES};
use lb_common::abi::limits::WAYS;
use lb_common::abi::reply::Place;
use lb_common::algo::hash;
use lb_common::table::{self, Bucket, Claimed, Found, Slot};

use super::mapped::Mapped;
use super::pins::Buckets;

/// What names a connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Flow {
    /// Number of its service.
    pub service: u32,
    /// The client's address and port.
    pub client: SocketAddr,
    /// The port that the client talks to, host order.
    pub port: u16,
}

/// A connection in its table.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct At {
    pub(super) place: Place,
    pub(super) meta: Meta,
}

/// Both connection tables, and the secret of their hash.
#[derive(Clone, Copy)]
pub(super) struct Connections<'a> {
    pub(super) v4: &'a Mapped,
    pub(super) v6: &'a Mapped,
    /// Buckets of the families' tables.
    pub(super) buckets: [Buckets; 2],
    pub(super) secret: [u64; 2],
}

/// How room is made for a connection: by one that has had its time, or that may yield to it.
#[derive(Clone, Copy)]
pub(super) struct Entering<'a> {
    pub(super) now: u32,
    pub(super) timeouts: &'a [u32; STATES],
    pub(super) may_evict: bool,
}

/// An address as in packets, IPv4 in the first four bytes.
pub(super) fn bytes(address: IpAddr) -> [u8; 16] {
    let mut bytes = [0; 16];
    match address {
        IpAddr::V4(address) => bytes[..4].copy_from_slice(&address.octets()),
        IpAddr::V6(address) => bytes = address.octets(),
    }
    bytes
}

/// An address as in packets: IPv6 in two words, IPv4 in the lower half of the first.
pub(super) fn words(address: IpAddr) -> [u64; 2] {
    let bytes = bytes(address);
    [0, 8].map(|at| u64::from_ne_bytes(std::array::from_fn(|byte| bytes[at + byte])))
}

/// The address of such words.
pub(super) fn address(words: [u64; 2], is_v6: bool) -> IpAddr {
    let [first, second] = words.map(u64::to_ne_bytes);
    if is_v6 {
        let bytes: [u8; 16] = std::array::from_fn(|at| if at < 8 { first[at] } else { second[at - 8] });
        IpAddr::from(bytes)
    } else {
        let bytes: [u8; 4] = std::array::from_fn(|at| first[at]);
        IpAddr::from(bytes)
    }
}

/// Two ports as they stand in a packet, the first one first.
pub(super) fn ports(first: u16, second: u16) -> u32 {
    let ([a, b], [c, d]) = (first.to_be_bytes(), second.to_be_bytes());
    u32::from_ne_bytes([a, b, c, d])
}

/// The two ports, host order.
pub(super) fn ports_of(raw: u32) -> [u16; 2] {
    let [a, b, c, d] = raw.to_ne_bytes();
    [u16::from_be_bytes([a, b]), u16::from_be_bytes([c, d])]
}

impl Flow {
    /// Key words of its connection. IPv4: the first one.
    pub(super) fn key(&self) -> [u64; 3] {
        let (address, ports) = (words(self.client.ip()), ports(self.client.port(), self.port));
        if self.client.is_ipv4() {
            [KeyV4::new(address[0] as u32, ports).0, 0, 0]
        } else {
            KeyV6::new(address, ports).0
        }
    }

    /// The flow of a service with these key words.
    pub(super) fn of(service: u32, key: [u64; 3], is_v6: bool) -> Self {
        let (client, ports) = if is_v6 {
            ([key[0], key[1]], key[2] as u32)
        } else {
            ([u64::from(key[0] as u32), 0], (key[0] >> 32) as u32)
        };
        let [client_port, port] = ports_of(ports);
        Self { service, client: SocketAddr::new(address(client, is_v6), client_port), port }
    }
}

impl<'a> Connections<'a> {
    /// The flow's connection.
    pub(super) fn find(&self, flow: &Flow) -> Option<At> {
        self.find_key(flow.key(), flow.client.is_ipv6(), flow.service)
    }

    /// The connection of a service with these key words.
    pub(super) fn find_key(&self, key: [u64; 3], is_v6: bool, service: u32) -> Option<At> {
        if is_v6 { self.side_v6(key, service).find(service) } else { self.side_v4(key[0], service).find(service) }
    }

    /// Writes a connection of the flow, which must have none. Gives its place, and the meta word of one that had to go for it.
    pub(super) fn begin(
        &self,
        flow: &Flow,
        meta: Meta,
        now: u32,
        timeouts: &[u32; STATES],
    ) -> Option<(At, Option<Meta>)> {
        let evicting = Entering { now, timeouts, may_evict: true };
        let (place, evicted) = self.enter(flow.key(), flow.client.is_ipv6(), meta, evicting)?;
        Some((At { place, meta }, evicted))
    }

    /// The same by key words.
    pub(super) fn enter(
        &self,
        key: [u64; 3],
        is_v6: bool,
        meta: Meta,
        how: Entering<'_>,
    ) -> Option<(Place, Option<Meta>)> {
        let service = meta.service();
        if is_v6 { self.side_v6(key, service).enter(meta, how) } else { self.side_v4(key[0], service).enter(meta, how) }
    }

    /// Key words and meta word at a place; IPv4 has one key word.
    pub(super) fn read(&self, place: Place) -> Option<([u64; 3], Meta)> {
        let entry = self.entry(place);
        let (meta, words) = entry.split_last()?;
        let mut key = [0; 3];
        for (word, stored) in key.iter_mut().zip(words) {
            *word = stored.load(Ordering::SeqCst);
        }
        Some((key, Meta(meta.load(Ordering::SeqCst))))
    }

    /// Places of a family's table.
    pub(super) fn places(&self, is_v6: bool) -> u32 {
        self.buckets[usize::from(is_v6)].places() as u32
    }

    /// The meta word at a place.
    pub(super) fn meta(&self, place: Place) -> Option<&'a AtomicU64> {
        self.entry(place).last()
    }

    /// The words at a place; none past the end.
    fn entry(&self, place: Place) -> &'a [AtomicU64] {
        let (table, width) = if place.is_v6() { (self.v6, 4) } else { (self.v4, 2) };
        table.words(place.index() as usize * width, width)
    }

    fn side_v4(&self, key: u64, service: u32) -> Side<'a, 1> {
        let [first, second] = numbers(self.buckets[0], hash::flow_v4(key, self.secret), service);
        Side { table: self.v4, key: [key], buckets: [first, second], is_v6: false }
    }

    fn side_v6(&self, key: [u64; 3], service: u32) -> Side<'a, 3> {
        let [first, second] = numbers(self.buckets[1], hash::flow_v6(key, self.secret), service);
        Side { table: self.v6, key, buckets: [first, second], is_v6: true }
    }
}

/// A key in the table of its family.
struct Side<'a, const KEY: usize> {
    table: &'a Mapped,
    key: [u64; KEY],
    buckets: [usize; 2],
    is_v6: bool,
}

/// Numbers of a connection's two buckets.
fn numbers(buckets: Buckets, hash: u64, service: u32) -> [usize; 2] {
    let (mask, overflow_mask) = (u64::from(buckets.first - 1), u64::from(buckets.overflow - 1));
    let second = hash::connection_second(hash, service, mask, overflow_mask);
    [hash::connection_first(hash, service, mask), second].map(|number| number as usize)
}

impl<'a, const KEY: usize> Side<'a, KEY> {
    fn buckets(&self) -> [BucketAt<'a, KEY>; 2] {
        self.buckets.map(|number| BucketAt { table: self.table, number })
    }

    fn place(&self, entry: Entry<'a, KEY>) -> Place {
        Place::new(entry.index as u32, self.is_v6)
    }

    fn find(&self, service: u32) -> Option<At> {
        let mut found = self.buckets().into_iter().filter_map(|bucket| table::find(bucket, self.key, service));
        found.next().map(|Found { slot, meta }| At { place: self.place(slot), meta })
    }

    fn enter(&self, meta: Meta, how: Entering<'_>) -> Option<(Place, Option<Meta>)> {
        let [first, second] = self.buckets();
        let Claimed { slot, evicted } = table::claim(first, second, how.now, how.timeouts, how.may_evict)?;
        slot.write_key(self.key);
        slot.publish(meta);
        Some((self.place(slot), evicted))
    }
}

/// A bucket of a table of entries with `KEY` key words each.
#[derive(Clone, Copy)]
struct BucketAt<'a, const KEY: usize> {
    table: &'a Mapped,
    number: usize,
}

/// An entry: its key words, then its meta word.
#[derive(Clone, Copy)]
struct Entry<'a, const KEY: usize> {
    words: &'a [AtomicU64],
    index: usize,
}

impl<'a, const KEY: usize> Bucket for BucketAt<'a, KEY> {
    type Slot = Entry<'a, KEY>;

    fn slot(self, index: usize) -> Entry<'a, KEY> {
        let index = self.number * WAYS + index;
        Entry { words: self.table.words(index * (KEY + 1), KEY + 1), index }
    }
}

impl<const KEY: usize> Slot for Entry<'_, KEY> {
    type Key = [u64; KEY];

    fn meta(self) -> Meta {
        Meta(self.words[KEY].load(Ordering::SeqCst))
    }
    fn exchange(self, old: Meta, new: Meta) -> bool {
        self.words[KEY].compare_exchange(old.0, new.0, Ordering::SeqCst, Ordering::SeqCst).is_ok()
    }
    fn publish(self, meta: Meta) {
        self.words[KEY].store(meta.0, Ordering::SeqCst);
    }
    fn key_is(self, key: [u64; KEY]) -> bool {
        self.words.iter().zip(key).all(|(stored, word)| stored.load(Ordering::SeqCst) == word)
    }
    fn key(self) -> [u64; KEY] {
        std::array::from_fn(|at| self.words[at].load(Ordering::SeqCst))
    }
    fn write_key(self, key: [u64; KEY]) {
        for (stored, word) in self.words.iter().zip(key) {
            stored.store(word, Ordering::SeqCst);
        }
    }
}

#[cfg(test)]
mod tests {
    use lb_common::abi::connection::State;
    use lb_common::abi::settings::DEFAULT_TIMEOUTS;

    use super::*;

    #[test]
    fn a_connection_that_was_begun_is_found_in_its_place() {
        let (v4, v6) = (Mapped::of_file(5 * WAYS * 2), Mapped::of_file(5 * WAYS * 4));
        let buckets = Buckets { first: 4, overflow: 1 };
        let connections = Connections { v4: &v4, v6: &v6, buckets: [buckets, buckets], secret: [3, 5] };
        for (client, number) in ["192.0.2.7:4000", "[2001:db8::7]:4000"].into_iter().zip([7, 9]) {
            let flow = Flow { service: 2, client: client.parse().unwrap(), port: 50_000 };
            assert_eq!(connections.find(&flow), None);
            let meta = Meta::new(2, number, State::SynRecv, 5);
            let (at, evicted) = connections.begin(&flow, meta, 5, &DEFAULT_TIMEOUTS).unwrap();
            assert_eq!((connections.find(&flow), evicted), (Some(at), None));
            assert_eq!(connections.read(at.place), Some((flow.key(), meta)));
            assert_eq!(connections.meta(at.place).unwrap().load(Ordering::Relaxed), meta.0);
            assert_eq!(Flow::of(2, flow.key(), at.place.is_v6()), flow);
            assert_eq!(connections.find(&Flow { service: 3, ..flow }), None);
            assert_eq!(connections.find(&Flow { port: 50_001, ..flow }), None);
        }
    }

    #[test]
    fn keys_stand_as_in_the_packet() {
        let flow = Flow { service: 1, client: "192.0.2.7:4000".parse().unwrap(), port: 80 };
        assert_eq!(flow.key()[0].to_ne_bytes(), [192, 0, 2, 7, 0x0f, 0xa0, 0, 80]);
        let v6 = Flow { client: "[2001:db8::7]:4000".parse().unwrap(), ..flow };
        assert_eq!(v6.key()[0].to_ne_bytes(), [0x20, 1, 0x0d, 0xb8, 0, 0, 0, 0]);
        assert_eq!(v6.key()[2].to_ne_bytes(), [0x0f, 0xa0, 0, 80, 0, 0, 0, 0]);
    }
}
