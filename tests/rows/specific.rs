//! The most specific rule wins, whatever rules there are, in which order they came, and which were there before: against a model that
//! looks at every rule.

use std::cell::{Cell, RefCell};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use lb_common::abi::verdict::Verdict;
use lb_tests::configured::spec;
use lb_tests::director::Director;
use lb_tests::packet::{Packet, SYN};
use lb_userspace::model::mark::network;
use lb_userspace::model::{Protocol, Spec};
use proptest::prelude::*;
use proptest::test_runner::{Config, TestRunner};

use super::{CLIENT, CLIENT6};

/// A rule: mark, protocol, bits of the address, index of the prefix length, ports.
type Rule = (u8, bool, u8, usize, Option<(u16, u16)>);
/// A packet: protocol, bits of the address, port.
type Probe = (bool, u8, u16);

const PREFIXES: [[u8; 5]; 2] = [[0, 24, 30, 31, 32], [0, 64, 65, 127, 128]];
/// First port of the ranges.
const BASE: u16 = 8000;

fn address(is_v6: bool, bits: u8) -> IpAddr {
    // The two upper bits of three are far up, so that each prefix length divides them in its own way.
    let (high, middle, low) = (u32::from(bits >> 3 & 1), u32::from(bits >> 2 & 1), u32::from(bits & 3));
    if is_v6 {
        Ipv6Addr::from_bits(0xfd00 << 112 | u128::from(high) << 64 | u128::from(middle) << 63 | u128::from(low)).into()
    } else {
        Ipv4Addr::from_bits(10 << 24 | high << 8 | middle << 1 << 1 | low).into()
    }
}

fn rules() -> impl Strategy<Value = Vec<Rule>> {
    let ports = prop::option::of((0..16u16, 0..16u16).prop_map(|(a, b)| (BASE + a.min(b), BASE + a.max(b))));
    prop::collection::vec((1..4u8, any::<bool>(), 0..16u8, 0..5usize, ports), 1..12)
}

fn probes() -> impl Strategy<Value = Vec<Probe>> {
    prop::collection::vec((any::<bool>(), 0..16u8, BASE - 2..BASE + 18), 24)
}

/// A file with the rules, of which none match the same packets, and a service for each mark.
fn file(is_v6: bool, rules: &[Rule]) -> String {
    let mut seen = std::collections::BTreeSet::new();
    let mut text = String::new();
    for (mark, is_tcp, bits, prefix, ports) in rules {
        let prefix = PREFIXES[usize::from(is_v6)][*prefix];
        let base = network(address(is_v6, *bits), prefix);
        if !seen.insert((*is_tcp, base, prefix, *ports)) {
            continue;
        }
        let ports = ports.map_or(String::new(), |(first, last)| format!(":{first}-{last}"));
        let at = if is_v6 { format!("[{base}/{prefix}]{ports}") } else { format!("{base}/{prefix}{ports}") };
        let protocol = if *is_tcp { "tcp" } else { "udp" };
        text += &format!("[[mark]]\nmark = {mark}\nprotocol = \"{protocol}\"\naddress = \"{at}\"\n");
    }
    for mark in 1..4 {
        let (family, real) = if is_v6 { ("ipv6", format!("fd01::{mark}")) } else { ("ipv4", format!("10.1.0.{mark}")) };
        text += &format!("[[service]]\nmark = {mark}\nfamily = \"{family}\"\n[[service.real]]\naddress = \"{real}\"\n");
    }
    text
}

/// Longest prefix, then narrowest range; of two as narrow the one that begins first.
fn model(spec: &Spec, is_tcp: bool, to: IpAddr, port: u16) -> Option<u32> {
    let protocol = if is_tcp { Protocol::Tcp } else { Protocol::Udp };
    let matching = spec.marks.iter().filter(|rule| {
        let has_port = rule.ports.is_none_or(|ports| (ports.first()..=ports.last()).contains(&port));
        rule.protocol == protocol && rule.covers(to) && has_port
    });
    let width = |ports: Option<lb_userspace::model::PortRange>| {
        ports.map_or((1 << 17, 0), |ports| (ports.count(), ports.first()))
    };
    matching.min_by_key(|rule| (255 - rule.prefix, width(rule.ports))).map(|rule| rule.mark)
}

#[test]
fn the_most_specific_rule_wins() {
    let (director, compared) = (RefCell::new(Director::default()), Cell::new(0));
    let mut runner = TestRunner::new(Config { cases: 150, ..Config::default() });
    runner
        .run(&(any::<bool>(), rules(), probes()), |(is_v6, rules, probes)| {
            let text = file(is_v6, &rules);
            let spec = spec(&text);
            let mut director = director.borrow_mut();
            director.forget();
            if !director.try_apply(&spec) {
                return Ok(());
            }
            for (index, (is_tcp, bits, port)) in probes.into_iter().enumerate() {
                let to = address(is_v6, bits);
                let packet =
                    if is_v6 { Packet::v6(CLIENT6, &to.to_string()) } else { Packet::v4(CLIENT, &to.to_string()) };
                let from = 4000 + index as u16;
                let sent =
                    director.send(&if is_tcp { packet.tcp(from, port, SYN) } else { packet.udp(from, port) }.build());
                let expected = model(&spec, is_tcp, to, port);
                prop_assert_eq!(
                    sent.service.and_then(|key| key.mark()),
                    expected,
                    "to {} port {} of\n{}",
                    to,
                    port,
                    text
                );
                prop_assert_eq!(sent.verdict, if expected.is_some() { Verdict::Direct } else { Verdict::NotAService });
                compared.set(compared.get() + 1);
            }
            Ok(())
        })
        .unwrap();
    assert!(compared.get() > 1000, "nearly all configurations fit: {} packets compared", compared.get());
}
