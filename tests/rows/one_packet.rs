//! One-packet scheduling: each datagram goes to the next real, and nothing is remembered.

use lb_common::abi::verdict::Verdict::*;
use lb_tests::director::{Director, Sent};
use lb_tests::packet::{Packet, SYN};
use lb_tests::translated::answer;

use super::marks::mark;
use super::{CLIENT, CLIENT6, VIP, VIP6};

/// A UDP service with three reals reached by `method`, of the client's family.
fn file(is_v6: bool, method: &str) -> String {
    let at = if is_v6 { "[fd00::100]:53" } else { "10.0.0.100:53" };
    let reals: String = (1..=3)
        .map(|n| if is_v6 { format!("fd00::1:{n}") } else { format!("10.0.1.{n}") })
        .map(|at| format!("[[service.real]]\naddress = \"{at}\"\n"))
        .collect();
    format!(
        "[[service]]\naddress = \"{at}\"\nprotocol = \"udp\"\nscheduler = \"rr\"\none_packet = true\nmethod = \"{method}\"\n{reals}"
    )
}

fn datagram(director: &mut Director, is_v6: bool) -> Sent {
    let packet = if is_v6 { Packet::v6(CLIENT6, VIP6) } else { Packet::v4(CLIENT, VIP) };
    director.send(&packet.udp(5353, 53).payload(b"?").build())
}

#[test]
fn every_datagram_is_scheduled_and_leaves_nothing() {
    for is_v6 in [false, true] {
        for (method, verdict) in [("direct", Direct), ("tunnel", Tunnel), ("gue", Tunnel), ("nat", Nat)] {
            let mut director = Director::default();
            director.apply(&file(is_v6, method));
            let key = *director.tables.services().keys().next().unwrap();
            let reals: Vec<_> = (0..6)
                .map(|_| {
                    let sent = datagram(&mut director, is_v6);
                    // The harness compares every counter: one packet, one connection, at the real and its service.
                    assert_eq!((sent.verdict, sent.is_new), (verdict, true), "{method}");
                    sent.real.unwrap()
                })
                .collect();
            assert_eq!(reals[..3], reals[3..], "in turn");
            assert!(reals[0] != reals[1] && reals[1] != reals[2] && reals[0] != reals[2]);
            assert!(director.connections().is_empty());
            for at in reals {
                assert_eq!(director.load(&key, at), (0, 0));
            }
        }
    }
}

/// As documented, and with IPVS: nothing is left by which an answer of a NAT real could be translated.
#[test]
fn an_answer_by_nat_stays_as_it_is() {
    for is_v6 in [false, true] {
        let mut director = Director::default();
        director.apply(&file(is_v6, "nat"));
        let sent = datagram(&mut director, is_v6);
        assert_eq!(director.send(&answer(&sent.frame, 0).build()).verdict, NotAService);
    }
}

/// A mark's service may be both: its UDP is scheduled one by one, its TCP is not.
#[test]
fn of_a_mark_only_udp_is() {
    for rules in [["udp 10.0.0.0/24:80", "tcp 10.0.0.0/24:80"], ["udp [fd00::/64]:80", "tcp [fd00::/64]:80"]] {
        let is_v6 = rules[0].contains('[');
        let packet = || if is_v6 { Packet::v6(CLIENT6, VIP6) } else { Packet::v4(CLIENT, VIP) };
        for method in ["direct", "nat"] {
            let mut director = Director::default();
            director.apply(&mark(1, &rules, &format!("one_packet = true\nmethod = \"{method}\""), 3));
            for _ in 0..3 {
                assert!(director.send(&packet().udp(5353, 80).build()).is_new);
            }
            assert!(director.connections().is_empty());
            let first = director.send(&packet().tcp(5353, 80, SYN).build());
            let again = director.send(&packet().tcp(5353, 80, SYN).build());
            assert_eq!((first.is_new, again.is_new, again.real), (true, false, first.real));
            assert_eq!(director.connections().len(), 1);
        }
    }
}

/// With persistence a client's datagrams all go to one real: there is a template, and no connection.
#[test]
fn with_persistence_there_is_a_template_alone() {
    for is_v6 in [false, true] {
        let mut director = Director::default();
        director.apply(&file(is_v6, "direct").replace("one_packet", "persistence = { timeout = 300 }\none_packet"));
        let first = datagram(&mut director, is_v6).real;
        for _ in 0..3 {
            assert_eq!(datagram(&mut director, is_v6).real, first);
        }
        assert!(director.connections().iter().all(|(_, state)| state.is_template()));
        assert_eq!(director.connections().len(), 1);
    }
}
