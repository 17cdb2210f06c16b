//! dh, lblc and lblcr go by the address that the client sent to, also where a mark stands for a prefix of them, in both families.

use std::net::{IpAddr, Ipv6Addr, SocketAddr};

use lb_common::abi::real::Capacity;
use lb_common::abi::service::scheduler::{DH, LBLC, LBLCR};
use lb_common::abi::verdict::Verdict;
use lb_common::algo::ring::{RingMember, destination_hash};
use lb_common::wire::transport::TCP;
use lb_tests::director::{Director, direct};
use lb_tests::packet::{Packet, SYN};
use lb_userspace::dataplane::addresses::Address;
use lb_userspace::dataplane::tables::Pool;
use lb_userspace::model::ServiceKey;

use crate::{CLIENT, CLIENT6};

/// Reals of a service.
const REALS: usize = 5;

/// A mark of the prefix at port 80, and its reals.
fn director(scheduler: u8, prefix: IpAddr, bits: u8) -> (Director, Vec<SocketAddr>) {
    let mut director = Director::default();
    let is_v4 = prefix.is_ipv4();
    let key: ServiceKey = if is_v4 { "mark://7" } else { "mark6://7" }.parse().unwrap();
    director.tables.add_service(key).unwrap();
    let reals: Vec<SocketAddr> = (1..=REALS)
        .map(|n| if is_v4 { format!("10.0.1.{n}:80") } else { format!("[fd00::1:{n}]:80") }.parse().unwrap())
        .collect();
    for (at, number) in reals.iter().zip(1..) {
        let capacity = Capacity { weight: 1, last_weight: 1, ..Capacity::default() };
        director.tables.set_real(&key, *at, &direct(&at.to_string(), number), &capacity).unwrap();
    }
    let member = RingMember { address: 0, port: 80, weight: 1 };
    let pool = Pool {
        scheduler,
        members: reals.iter().map(|at| (*at, 1)).collect(),
        ring: if scheduler == DH { destination_hash(&[member; REALS]) } else { Vec::new() },
        addresses: vec![Address { ip: prefix, prefix: bits, protocol: TCP, port: 80, port_bits: 16 }],
        ..Pool::default()
    };
    director.tables.set_pool(&key, pool).unwrap();
    (director, reals)
}

/// A client's connection to a destination.
fn open(director: &mut Director, destination: IpAddr, port: u16) -> Option<SocketAddr> {
    let client = if destination.is_ipv4() { CLIENT } else { CLIENT6 };
    let client: IpAddr = client.parse().unwrap();
    let sent = director.send(&Packet::new(client, destination).tcp(port, 80, SYN).build());
    assert_eq!(sent.verdict, Verdict::Direct);
    sent.real
}

/// A prefix, its length, and destinations in it with the number that each is folded to.
type Prefix = (IpAddr, u8, Vec<(IpAddr, u32)>);

/// Forty destinations of each family.
fn destinations() -> [Prefix; 2] {
    let v4 = (0..40u32).map(|n| 0x0a00_0000 + n * 5).map(|bits| (IpAddr::from(bits.to_be_bytes()), bits)).collect();
    let v6 = (0..40u32)
        .map(|n| {
            let words = [0xfd00_0000, 7, n * 0x0101_0001, n * n + 1];
            let bits = words.iter().fold(0, |bits, word| bits << 32 | u128::from(*word));
            (IpAddr::from(Ipv6Addr::from_bits(bits)), words.iter().fold(0, |folded, word| folded ^ word))
        })
        .collect();
    [("10.0.0.0".parse().unwrap(), 24, v4), ("fd00:0:0:7::".parse().unwrap(), 64, v6)]
}

#[test]
fn dh_of_a_prefix() {
    for (prefix, bits, destinations) in destinations() {
        let (mut director, reals) = director(DH, prefix, bits);
        for (destination, folded) in destinations {
            // The upper 8 bits of a product with the golden ratio; slots are filled in turn.
            let slot = folded.wrapping_mul(0x61c8_8647) >> 24;
            assert_eq!(open(&mut director, destination, 4000), Some(reals[slot as usize % REALS]), "{destination}");
        }
    }
}

/// Half-open connections only: wlc gives new destinations to the reals in turn, and each destination stays.
#[test]
fn lblc_and_lblcr_of_a_prefix() {
    for scheduler in [LBLC, LBLCR] {
        for (prefix, bits, destinations) in destinations() {
            let (mut director, reals) = director(scheduler, prefix, bits);
            for (at, (destination, _)) in destinations.iter().enumerate() {
                assert_eq!(open(&mut director, *destination, 4000), Some(reals[at % REALS]), "{destination}");
            }
            for (at, (destination, _)) in destinations.iter().enumerate() {
                assert_eq!(open(&mut director, *destination, 4001), Some(reals[at % REALS]), "{destination} again");
            }
            assert_eq!(director.tables.remembered_destinations(), destinations.len() as u32);
        }
    }
}
