//! Persistence: the real that a client has had is the one that it gets, by a template that is no connection.

use std::net::SocketAddr;

use lb_common::abi::connection::State;
use lb_common::abi::real::disposition;
use lb_common::abi::verdict::Verdict::*;
use lb_tests::configured::spec;
use lb_tests::director::{Director, Options, Sent};
use lb_tests::packet::{ACK, FIN, Packet, SYN};
use lb_userspace::model::ServiceKey;

use super::{CLIENT, CLIENT6, VIP, VIP6};

/// One family's service with three reals, as `real` gives their lines.
pub(crate) fn file(is_v6: bool, head: &str, reals: &[&str]) -> String {
    let address = if is_v6 { "[fd00::100]:80" } else { "10.0.0.100:80" };
    let reals: String = reals
        .iter()
        .enumerate()
        .map(|(index, more)| {
            let at = if is_v6 { format!("fd00::1:{}", index + 1) } else { format!("10.0.1.{}", index + 1) };
            format!("[[service.real]]\naddress = \"{at}\"\n{more}\n")
        })
        .collect();
    format!("[[service]]\naddress = \"{address}\"\nscheduler = \"rr\"\n{head}\n{reals}")
}

/// The endpoint of the real with this number.
pub(crate) fn real(is_v6: bool, number: u8) -> SocketAddr {
    let text = if is_v6 { format!("[fd00::1:{number}]:80") } else { format!("10.0.1.{number}:80") };
    text.parse().unwrap()
}

pub(crate) fn key(is_v6: bool) -> ServiceKey {
    if is_v6 { "tcp://[fd00::100]:80" } else { "tcp://10.0.0.100:80" }.parse().unwrap()
}

fn client(is_v6: bool) -> &'static str {
    if is_v6 { CLIENT6 } else { CLIENT }
}

fn packet(from: &str, port: u16, flags: u8) -> Vec<u8> {
    let packet = if from.contains(':') { Packet::v6(from, VIP6) } else { Packet::v4(from, VIP) };
    packet.tcp(port, 80, flags).build()
}

fn syn(director: &mut Director, from: &str, port: u16) -> Sent {
    director.send(&packet(from, port, SYN))
}

/// Entries of the tables that are templates, by client.
fn templates(director: &Director) -> Vec<SocketAddr> {
    let all = director.connections();
    let mut clients: Vec<_> = all.iter().filter(|(_, state)| state.is_template()).map(|(client, _)| *client).collect();
    clients.sort();
    clients
}

const PERSISTENT: &str = "persistence = { timeout = 300 }";

#[test]
fn a_client_gets_the_real_that_it_had_and_others_their_turn() {
    for is_v6 in [false, true] {
        let mut director = Director::default();
        director.apply(&file(is_v6, PERSISTENT, &["", "", ""]));
        let others = if is_v6 { ["2001:db8::8", "2001:db8::9"] } else { ["192.0.2.8", "192.0.2.9"] };
        let first = syn(&mut director, client(is_v6), 4000).real;
        let second = syn(&mut director, others[0], 4000).real;
        let third = syn(&mut director, others[1], 4000).real;
        assert!(first != second && second != third && first != third, "each takes its turn once");
        for port in 4001..4020 {
            for (from, expected) in [(client(is_v6), first), (others[0], second), (others[1], third)] {
                let sent = syn(&mut director, from, port);
                assert_eq!((sent.verdict, sent.is_new, sent.real), (Direct, true, expected));
                assert_eq!(director.send(&packet(from, port, ACK)).real, expected);
            }
        }
        assert_eq!(templates(&director).len(), 3);
        assert!(templates(&director).iter().all(|client| client.port() == 0));
        let sum: u32 = (1..=3).map(|n| director.load(&key(is_v6), real(is_v6, n))).map(|(a, i)| a + i).sum();
        assert_eq!(sum, 60, "templates count as nobody's connection");
    }
}

/// Clients of one network are one. Prefixes around the border between the two halves of an IPv6 address, too.
#[test]
fn a_netmask_groups_clients() {
    // Mask, a client, one that it groups with it, one that it does not.
    let rows = [
        ("255.255.255.255", "192.0.2.6", None, Some("192.0.2.7")),
        ("255.255.255.254", "192.0.2.6", Some("192.0.2.7"), Some("192.0.2.4")),
        ("255.255.255.0", "192.0.2.6", Some("192.0.2.255"), Some("192.0.3.6")),
        ("255.0.0.0", "192.0.2.6", Some("192.255.1.1"), Some("193.0.2.6")),
        ("128.0.0.0", "192.0.2.6", Some("129.0.0.1"), Some("127.255.0.1")),
        ("/1", "2001:db8::7", Some("7fff::1"), Some("8001:db8::7")),
        ("/63", "2001:db8::7", Some("2001:db8:0:1::7"), Some("2001:db8:0:2::7")),
        ("/64", "2001:db8::7", Some("2001:db8::ffff:0:0:7"), Some("2001:db8:0:1::7")),
        ("/65", "2001:db8::7", Some("2001:db8::7fff:0:0:7"), Some("2001:db8::8000:0:0:7")),
        ("/127", "2001:db8::6", Some("2001:db8::7"), Some("2001:db8::4")),
        ("/128", "2001:db8::6", None, Some("2001:db8::7")),
    ];
    for (mask, from, same, other) in rows {
        let is_v6 = from.contains(':');
        let mut director = Director::default();
        let head = format!("persistence = {{ timeout = 300, netmask = \"{mask}\" }}");
        director.apply(&file(is_v6, &head, &["", "", ""]));
        let first = syn(&mut director, from, 4000).real;
        if let Some(same) = same {
            assert_eq!(syn(&mut director, same, 5000).real, first, "{mask}: {same} is of the network of {from}");
            assert_eq!(templates(&director).len(), 1);
        }
        if let Some(other) = other {
            assert_ne!(syn(&mut director, other, 5000).real, first, "{mask}: {other} takes its own turn");
            assert_eq!(templates(&director).len(), 2);
        }
    }
}

/// As `ip_vs_check_template`: a real of weight 0 keeps its clients, unless `expire_quiescent_template` is set.
#[test]
fn weight_0_keeps_its_clients_unless_told_otherwise() {
    for (is_v6, expires) in [(false, false), (true, false), (false, true), (true, true)] {
        let mut director = Director::default();
        let global = format!("[director]\nexpire_quiescent_template = {expires}\n");
        let with = |weight: u32| {
            let weight = format!("weight = {weight}");
            format!("{global}{}", file(is_v6, PERSISTENT, &["", "", &weight]))
        };
        director.apply(&with(1));
        let first = syn(&mut director, client(is_v6), 4000).real;
        assert_eq!(first, Some(real(is_v6, 3)), "the last one that was added is the first to be asked");
        director.apply(&with(0));
        let sent = syn(&mut director, client(is_v6), 4001);
        assert_eq!(sent.real == first, !expires);
        assert_eq!(syn(&mut director, client(is_v6), 4002).real, sent.real, "what replaced it holds as well");
        assert_eq!(templates(&director).len(), 1);
        let other = if is_v6 { "2001:db8::8" } else { "192.0.2.8" };
        assert_ne!(syn(&mut director, other, 4000).real, first, "nobody new comes to weight 0");
    }
}

#[test]
fn a_real_that_is_out_is_not_followed_and_its_template_replaced() {
    for is_v6 in [false, true] {
        for state in [
            disposition::GONE,
            disposition::DROP,
            disposition::RESCHEDULE,
            disposition::UNRESOLVED,
            disposition::KEEP,
            200,
        ] {
            let mut director = Director::default();
            director.apply(&file(is_v6, PERSISTENT, &["", ""]));
            let first = syn(&mut director, client(is_v6), 4000).real.unwrap();
            director.change_real(&key(is_v6), first, |real| real.disposition = state);
            let other = [1, 2].map(|n| real(is_v6, n)).into_iter().find(|at| *at != first).unwrap();
            let pool = director.tables.services()[&key(is_v6)].pool.clone();
            let members =
                pool.members.iter().map(|(at, weight)| (*at, if *at == first { 0 } else { *weight })).collect();
            director.tables.set_pool(&key(is_v6), lb_userspace::dataplane::tables::Pool { members, ..pool }).unwrap();
            for port in [4001, 4002] {
                assert_eq!(syn(&mut director, client(is_v6), port).real, Some(other), "disposition {state}");
            }
            director.change_real(&key(is_v6), first, |real| real.disposition = disposition::FORWARD);
            assert_eq!(syn(&mut director, client(is_v6), 4003).real, Some(other), "the old template is gone for good");
            assert_eq!(templates(&director).len(), 1);
        }
    }
}

/// A number is free when its real has no connections. Templates are none: the next owner of the number must not get their clients.
#[test]
fn a_template_of_a_number_that_another_service_has_now_is_not_followed() {
    for is_v6 in [false, true] {
        let mut director = Director::default();
        let two = |first: &str| {
            let other = if is_v6 { "[fd00::200]:80" } else { "10.0.0.200:80" };
            let at = if is_v6 { "fd00::2:1" } else { "10.0.2.1" };
            format!("{first}[[service]]\naddress = \"{other}\"\n[[service.real]]\naddress = \"{at}\"\n")
        };
        director.apply(&file(is_v6, PERSISTENT, &["", ""]));
        let first = syn(&mut director, client(is_v6), 4000).real.unwrap();
        let number = director.tables.services()[&key(is_v6)].reals[&first];
        director.sweep(&spec(&file(is_v6, PERSISTENT, &["", ""])), 70);
        assert_eq!((director.connections().len(), templates(&director).len()), (1, 1));
        // The other real alone is left, and the number free; then somebody else has it.
        let left = if first == real(is_v6, 2) { file(is_v6, PERSISTENT, &[""]) } else { panic!("rr begins with it") };
        director.apply(&left);
        director.apply(&two(&left));
        let taken = director.tables.services().values().flat_map(|row| row.reals.values()).any(|one| *one == number);
        assert!(taken, "the number was given away: otherwise this shows nothing");
        let sent = syn(&mut director, client(is_v6), 4001);
        assert_eq!((sent.service, sent.real), (Some(key(is_v6)), Some(real(is_v6, 1))));
    }
}

#[test]
fn a_packet_from_port_0_is_no_templates() {
    for is_v6 in [false, true] {
        for head in [PERSISTENT, ""] {
            let mut director = Director::default();
            director.apply(&file(is_v6, head, &["", ""]));
            syn(&mut director, client(is_v6), 4000);
            let before = director.connections();
            for flags in [SYN, ACK, SYN | ACK, FIN, 0x04] {
                assert!(!director.send(&packet(client(is_v6), 0, flags)).verdict.is_forwarded(), "flags {flags:#x}");
            }
            assert_eq!(director.connections(), before);
        }
    }
}

/// What a template saves is a client's basket, what a connection saves is the connection.
#[test]
fn templates_yield_when_buckets_are_full_and_connections_do_not() {
    for is_v6 in [false, true] {
        let from = |n: u16| if is_v6 { format!("2001:db8::{n:x}") } else { format!("192.0.2.{n}") };
        let mut director = Director::new(Options { buckets: 2, ..Options::default() });
        director.apply(&file(is_v6, PERSISTENT, &["", ""]));
        // Four clients, each with its template and an open connection: eight entries, all there are.
        for n in 1..=4 {
            assert_eq!(syn(&mut director, &from(n), 4000).verdict, Direct);
            director.send(&packet(&from(n), 4000, ACK));
        }
        assert_eq!(templates(&director).len(), 4);
        // Two more take the places of four templates.
        for n in 5..=6 {
            assert_eq!(syn(&mut director, &from(n), 4000).verdict, Direct);
            director.send(&packet(&from(n), 4000, ACK));
        }
        assert_eq!((director.connections().len(), templates(&director).len()), (8, 2));
        for n in 7..=20 {
            syn(&mut director, &from(n), 4000);
            director.send(&packet(&from(n), 4000, ACK));
        }
        for n in 1..=6 {
            assert!(!director.send(&packet(&from(n), 4000, ACK)).is_new, "client {n} still has its connection");
        }
        let loads: u32 = [1, 2].map(|n| director.load(&key(is_v6), real(is_v6, n)).0).iter().sum();
        let open = director.connections().iter().filter(|(_, state)| *state == State::Established).count();
        assert_eq!(loads as usize, open);
    }
}

/// A template stays while a connection made by it does, and a minute at a time after that (`ip_vs_conn_expire`).
#[test]
fn a_template_lives_while_its_connections_do() {
    for is_v6 in [false, true] {
        let text = file(is_v6, "persistence = { timeout = 20 }", &["", ""]);
        let spec = spec(&text);
        let mut director = Director::default();
        director.apply(&text);
        let first = syn(&mut director, client(is_v6), 4000).real;
        director.send(&packet(client(is_v6), 4000, ACK));
        director.sweep(&spec, 200);
        assert_eq!(templates(&director).len(), 1, "its connection has 900 seconds");
        assert_eq!(syn(&mut director, client(is_v6), 4001).real, first);
        director.forget_all_in(State::SynRecv);
        director.forget_all_in(State::Established);
        assert_eq!(templates(&director).len(), 1);
        director.sweep(&spec, 1);
        assert_eq!(templates(&director).len(), 1, "it has time left");
        director.sweep(&spec, 200);
        assert_eq!(templates(&director).len(), 0);
        assert_ne!(syn(&mut director, client(is_v6), 4002).real, first, "it is forgotten: round robin goes on");
    }
}

/// A service that is persistent no longer, and one that becomes so, go by what they are now.
#[test]
fn persistence_comes_and_goes_at_run_time() {
    let mut director = Director::default();
    director.apply(&file(false, "", &["", ""]));
    let turns = |director: &mut Director, from: u16| {
        let reals: std::collections::BTreeSet<_> =
            (from..from + 4).map(|port| syn(director, CLIENT, port).real).collect();
        reals.len()
    };
    assert_eq!(turns(&mut director, 4000), 2);
    director.apply(&file(false, PERSISTENT, &["", ""]));
    assert_eq!(turns(&mut director, 4100), 1);
    let plain = file(false, "", &["", ""]);
    director.apply(&plain);
    assert_eq!(turns(&mut director, 4200), 2);
    director.sweep(&spec(&plain), 1);
    assert_eq!(templates(&director).len(), 0, "nobody needs it any more");
}
