//! Services as rows make them, straight in the tables: by their key or by a rule of a mark, with what they schedule by.

use std::net::SocketAddr;

use lb_common::abi::real::{Capacity, Real};
use lb_common::abi::service::scheduler;
use lb_common::algo::ring::{RingMember, maglev, source_hash, wrr_steps};
use lb_common::wire::transport::{TCP, UDP};
use lb_userspace::dataplane::addresses::Address;
use lb_userspace::dataplane::identity::endpoint;
use lb_userspace::dataplane::tables::Pool;
use lb_userspace::model::mark::Destination;
use lb_userspace::model::{PortRange, ServiceKey};

use crate::director::Director;

impl Director {
    /// A service with its reals, first in the scheduler's order first.
    pub fn service(&mut self, key: &str, scheduler: u8, flags: u8, reals: &[(Real, u32)]) -> ServiceKey {
        let key: ServiceKey = key.parse().expect("a service");
        self.tables.add_service(key).expect("a number");
        self.fill(key, scheduler, flags, reals)
    }

    /// The service of a mark with one rule (`tcp 10.0.0.0/24:80`), of one port or any.
    pub fn mark(&mut self, mark: u32, rule: &str, scheduler: u8, flags: u8, reals: &[(Real, u32)]) -> ServiceKey {
        let (protocol, destination) = rule.split_once(' ').expect("a protocol and a destination");
        let Destination { address, prefix, ports } = destination.parse().expect("a destination");
        let protocol = if protocol == "tcp" { TCP } else { UDP };
        let port = ports.map_or(0, PortRange::first);
        let key = ServiceKey::of_mark(mark, address.is_ipv6());
        self.tables.add_service(key).expect("a number");
        let addresses = vec![Address { prefix, ..Address::single(address, protocol, port) }];
        self.tables.set_pool(&key, Pool { addresses, ..Pool::default() }).expect("room for the pool");
        self.fill(key, scheduler, flags, reals)
    }

    fn fill(&mut self, key: ServiceKey, scheduler: u8, flags: u8, reals: &[(Real, u32)]) -> ServiceKey {
        for (real, weight) in reals {
            let capacity = Capacity { weight: *weight, last_weight: *weight, ..Capacity::default() };
            self.tables.set_real(&key, endpoint(real).expect("an address"), real, &capacity).expect("a number");
        }
        let weights: Vec<_> =
            reals.iter().map(|(real, weight)| (endpoint(real).expect("an address"), *weight)).collect();
        self.pool(&key, scheduler, flags, &weights);
        key
    }

    /// Makes these members what the service schedules by.
    pub fn pool(&mut self, key: &ServiceKey, scheduler: u8, flags: u8, members: &[(SocketAddr, u32)]) {
        self.pool_with_ring(key, scheduler, flags, members, &ring(scheduler, members));
    }

    /// The same with a ring that was built for other weights, as mh's is when a real is drained.
    pub fn pool_with_ring(
        &mut self,
        key: &ServiceKey,
        scheduler: u8,
        flags: u8,
        members: &[(SocketAddr, u32)],
        ring: &[u16],
    ) {
        let (_, weight_start) = wrr_steps(members.iter().map(|(_, weight)| *weight));
        let known = || self.tables.services()[key].pool.addresses.clone();
        let addresses = Address::of_service(key).map_or_else(known, |address| vec![address]);
        let pool = Pool {
            scheduler,
            flags,
            members: members.to_vec(),
            ring: ring.to_vec(),
            weight_start,
            addresses,
            ..Pool::default()
        };
        self.tables.set_pool(key, pool).expect("room for the pool");
    }
}

fn ring(kind: u8, members: &[(SocketAddr, u32)]) -> Vec<u16> {
    let members: Vec<RingMember> = members
        .iter()
        .map(|(at, weight)| {
            let address = match at.ip() {
                std::net::IpAddr::V4(address) => address.to_bits(),
                std::net::IpAddr::V6(address) => address
                    .octets()
                    .chunks(4)
                    .fold(0, |folded, word| folded ^ u32::from_be_bytes([word[0], word[1], word[2], word[3]])),
            };
            RingMember { address, port: at.port(), weight: *weight }
        })
        .collect();
    match kind {
        scheduler::SH => source_hash(&members),
        scheduler::MH => maglev(&members),
        _ => Vec::new(),
    }
}
