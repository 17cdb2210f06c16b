//! Bytes that nobody would send: whatever comes in, one known verdict is counted and a packet that is not forwarded keeps every byte.
//! [`Director::send`] checks both for every frame, and all bytes of those that are forwarded.

use std::cell::RefCell;
use std::collections::BTreeMap;

use lb_common::abi::service::scheduler::{MH, RR};
use lb_common::abi::verdict::Verdict;
use lb_tests::director::{Director, direct, tunnel};
use lb_tests::packet::{ACK, Packet, SYN, chunk};
use proptest::prelude::*;
use proptest::test_runner::{Config, TestRunner};

use super::{CLIENT, CLIENT6, OTHER, VIP, VIP6};

fn director() -> Director {
    let mut director = Director::default();
    director.service(
        "tcp://10.0.0.100:80",
        RR,
        0,
        &[(direct("10.0.1.1:80", 1), 1), (tunnel("10.0.1.2:80", 2, "172.16.0.1"), 1)],
    );
    director.service("udp://10.0.0.100:0", MH, 0, &[(tunnel("[fd00::1:1]:0", 3, "fd16::1"), 1)]);
    director.service(
        "tcp://[fd00::100]:80",
        MH,
        0,
        &[(direct("[fd00::1:2]:80", 4), 1), (tunnel("10.0.1.3:80", 5, "172.16.0.1"), 1)],
    );
    director.service("udp://[fd00::100]:53", RR, 0, &[(tunnel("[fd00::1:3]:53", 6, "fd16::1"), 1)]);
    director.service("sctp://10.0.0.100:3868", MH, 0, &[(direct("10.0.1.4:3868", 7), 1)]);
    director.service("sctp://[fd00::100]:3868", RR, 0, &[(tunnel("[fd00::1:4]:3868", 8, "fd16::1"), 1)]);
    director
}

fn seeds() -> Vec<Vec<u8>> {
    let eight = [0, 1, 4, 0, 0, 0, 0];
    let v4 = || Packet::v4(CLIENT, VIP);
    let v6 = || Packet::v6(CLIENT6, VIP6);
    [
        v4().tcp(4000, 80, SYN),
        v4().tcp(4000, 80, ACK).payload(&[7; 40]),
        v4().options(&[1; 8]).tcp(4001, 80, SYN),
        v4().udp(4000, 53).payload(b"question"),
        v4().icmp(3, 4).payload(&[0; 28]),
        v4().vlan(5).tcp(4000, 80, SYN),
        v4().tag(0x88a8, 7).vlan(5).udp(4000, 53),
        Packet::v4(CLIENT, OTHER).tcp(4000, 80, SYN),
        v6().tcp(4000, 80, SYN),
        v6().tcp(4000, 80, ACK).payload(&[7; 40]),
        v6().extension(0, &eight).extension(43, &eight).tcp(4000, 80, ACK),
        v6().extension(44, &[0, 0, 0, 0, 0, 0, 9]).udp(4000, 53),
        v6().extension(51, &[4; 23]).extension(60, &eight).udp(4000, 53).payload(b"x"),
        v6().vlan(5).udp(4000, 53),
        v6().icmp(2, 0).payload(&[0; 48]),
        v4().sctp(4000, 3868, &[&chunk(1, &[0; 16])]),
        v4().sctp(4000, 3868, &[&chunk(10, &[7; 21]), &chunk(6, &[])]),
        v6().sctp(4000, 3868, &[&chunk(1, &[0; 16])]),
        v6().extension(60, &eight).sctp(4000, 3868, &[&chunk(0, &[7; 21])]),
    ]
    .iter()
    .map(Packet::build)
    .collect()
}

fn check(strategy: impl Strategy<Value = Vec<u8>>, cases: u32) -> BTreeMap<Verdict, u32> {
    let director = RefCell::new(director());
    let met = RefCell::new(BTreeMap::new());
    TestRunner::new(Config { cases, failure_persistence: None, ..Config::default() })
        .run(&strategy, |frame| {
            let sent = director.borrow_mut().send(&frame);
            *met.borrow_mut().entry(sent.verdict).or_default() += 1;
            Ok(())
        })
        .unwrap();
    let met = met.into_inner();
    println!("{met:?}");
    let total: u64 = director.borrow().tables.verdicts().iter().map(|(_, count)| count).sum();
    assert_eq!(total, u64::from(met.values().sum::<u32>()), "counters know every packet");
    met
}

#[test]
fn mutated_frames() {
    let seeds = seeds();
    let interesting =
        prop_oneof![any::<u8>(), Just(0), Just(0xff), Just(0x45), Just(0x60), Just(44), Just(60), Just(0x81)];
    let strategy = (
        0..seeds.len(),
        prop::collection::vec((12usize..80, interesting), 0..5),
        prop_oneof![3 => Just(usize::MAX), 1 => 14usize..140],
    )
        .prop_map(move |(seed, changes, length)| {
            let mut frame = seeds[seed].clone();
            for (at, byte) in changes {
                if let Some(place) = frame.get_mut(at) {
                    *place = byte;
                }
            }
            frame.truncate(length);
            frame
        });
    let met = check(strategy, 10_000);
    for verdict in [
        Verdict::Direct,
        Verdict::Tunnel,
        Verdict::NotAService,
        Verdict::BadHeader,
        Verdict::Truncated,
        Verdict::FragmentEarly,
    ] {
        assert!(met.contains_key(&verdict), "{verdict:?} is met in {met:?}");
    }
}

#[test]
fn random_bytes() {
    check(prop::collection::vec(any::<u8>(), 14..300), 3000);
}

/// Random bytes behind an Ethernet and IP header that make it past the first checks.
#[test]
fn random_bytes_behind_an_ip_header() {
    let v4 = Packet::v4(CLIENT, VIP).raw(6, &[]).build();
    let v6 = Packet::v6(CLIENT6, VIP6).raw(0, &[]).build();
    let protocols = prop::sample::select(vec![0u8, 6, 17, 1, 58, 43, 44, 50, 51, 60, 132, 135, 139, 140]);
    let strategy = (any::<bool>(), protocols, prop::collection::vec(any::<u8>(), 0..200)).prop_map(
        move |(is_v4, protocol, bytes)| {
            let mut frame = if is_v4 { v4.clone() } else { v6.clone() };
            let length = bytes.len() as u16;
            if is_v4 {
                frame[23] = protocol;
                frame[16..18].copy_from_slice(&(length + 20).to_be_bytes());
            } else {
                frame[20] = protocol;
                frame[18..20].copy_from_slice(&length.to_be_bytes());
            }
            frame.extend(bytes);
            frame
        },
    );
    check(strategy, 6000);
}

/// Not a test: the seeds for the fuzzer (tests/fuzz/README.md).
#[test]
#[ignore = "writes files for the fuzzer"]
fn write_the_fuzzers_corpus() {
    let directory = concat!(env!("CARGO_MANIFEST_DIR"), "/fuzz/corpus/parse");
    std::fs::create_dir_all(directory).unwrap();
    for (number, frame) in seeds().iter().enumerate() {
        std::fs::write(format!("{directory}/seed-{number}"), frame).unwrap();
    }
}
