//! Marks: one service of many addresses and ports, by rules of prefixes and ranges.

use std::collections::BTreeSet;
use std::net::{IpAddr, SocketAddr};

use lb_common::abi::verdict::Verdict::*;
use lb_tests::configured::spec;
use lb_tests::director::{Director, Options, Sent};
use lb_tests::packet::{ACK, Packet, SYN};
use lb_tests::translated::{answer, ends};

use super::{CLIENT, CLIENT6};

/// A service of a mark by these rules (`tcp 10.0.0.0/24:80`), with reals 10.0.N.1 to 10.0.N.`reals`, or fd00:N::1 to ..., N being the mark.
pub(crate) fn mark(number: u8, rules: &[&str], head: &str, reals: u8) -> String {
    let is_v6 = rules.first().is_some_and(|rule| rule.contains('['));
    let family = if is_v6 { "ipv6" } else { "ipv4" };
    let mut text: String = rules
        .iter()
        .map(|rule| {
            let (protocol, address) = rule.split_once(' ').unwrap();
            format!("[[mark]]\nmark = {number}\nprotocol = \"{protocol}\"\naddress = \"{address}\"\n")
        })
        .collect();
    text += &format!("[[service]]\nmark = {number}\nfamily = \"{family}\"\nscheduler = \"rr\"\n{head}\n");
    for real in 1..=reals {
        let at = if is_v6 { format!("fd00:{number}::{real}") } else { format!("10.1.{number}.{real}") };
        text += &format!("[[service.real]]\naddress = \"{at}\"\n");
    }
    text
}

fn packet(protocol: &str, to: SocketAddr, from_port: u16, flags: u8) -> Packet {
    let packet = match to.ip() {
        IpAddr::V4(ip) => Packet::v4(CLIENT, &ip.to_string()),
        IpAddr::V6(ip) => Packet::v6(CLIENT6, &ip.to_string()),
    };
    if protocol == "tcp" { packet.tcp(from_port, to.port(), flags) } else { packet.udp(from_port, to.port()) }
}

fn send(director: &mut Director, protocol: &str, to: &str, from_port: u16) -> Sent {
    director.send(&packet(protocol, to.parse().unwrap(), from_port, SYN).build())
}

/// The number of the mark whose service took the packet.
fn taken(sent: &Sent) -> Option<u32> {
    sent.service.map(|key| key.mark().unwrap_or(0))
}

#[test]
fn two_vips_and_two_protocols_share_one_template() {
    let sides: [&[&str]; 2] = [
        &["tcp 10.0.0.100:80", "tcp 10.0.0.200:80", "udp 10.0.0.100:80", "tcp 10.0.0.100:443"],
        &["tcp [fd00::100]:80", "tcp [fd00::200]:80", "udp [fd00::100]:80", "tcp [fd00::100]:443"],
    ];
    for rules in sides {
        let mut director = Director::default();
        director.apply(&mark(1, rules, "persistence = { timeout = 300 }", 3));
        let mut reals = BTreeSet::new();
        for _ in 0..2 {
            for (index, rule) in rules.iter().enumerate() {
                let (protocol, to) = rule.split_once(' ').unwrap();
                let is_known = reals.len() == 1 && director.connections().len() == rules.len() + 1;
                let sent = send(&mut director, protocol, to, 4000);
                assert_eq!((sent.verdict, taken(&sent), sent.is_new), (Direct, Some(1), !is_known), "{index}");
                reals.insert(sent.real);
            }
        }
        assert_eq!(reals.len(), 1, "one template for all of them");
        let all = director.connections();
        assert_eq!(all.iter().filter(|(_, state)| state.is_template()).count(), 1);
        assert_eq!(all.len(), rules.len() + 1, "the same client port is a connection to each");
        // Without persistence each connection takes its turn.
        let mut director = Director::default();
        director.apply(&mark(1, rules, "", 4));
        let reals: BTreeSet<_> = rules
            .iter()
            .map(|rule| rule.split_once(' ').unwrap())
            .map(|(protocol, to)| send(&mut director, protocol, to, 4000).real)
            .collect();
        assert_eq!(reals.len(), 4);
    }
}

#[test]
fn prefixes_of_both_families_take_their_addresses_and_no_others() {
    let rows = [
        ("0.0.0.0/0", ["10.0.0.1", "255.255.255.254"], None),
        ("128.0.0.0/1", ["128.0.0.1", "255.0.0.1"], Some("127.255.255.255")),
        ("10.0.0.0/8", ["10.0.0.0", "10.255.255.255"], Some("11.0.0.0")),
        ("10.0.0.0/24", ["10.0.0.0", "10.0.0.255"], Some("10.0.1.0")),
        ("10.0.0.2/31", ["10.0.0.2", "10.0.0.3"], Some("10.0.0.4")),
        ("10.0.0.2/32", ["10.0.0.2", "10.0.0.2"], Some("10.0.0.3")),
        ("::/0", ["::2", "ffff::1"], None),
        ("8000::/1", ["8000::1", "ffff::1"], Some("7fff::1")),
        ("fd00:0:0:2::/63", ["fd00:0:0:2::1", "fd00:0:0:3::1"], Some("fd00:0:0:4::1")),
        ("fd00:0:0:2::/64", ["fd00:0:0:2::1", "fd00:0:0:2:ffff::1"], Some("fd00:0:0:3::1")),
        ("fd00:0:0:2::/65", ["fd00:0:0:2::1", "fd00:0:0:2:7fff::1"], Some("fd00:0:0:2:8000::1")),
        ("fd00::2/127", ["fd00::2", "fd00::3"], Some("fd00::4")),
        ("fd00::2/128", ["fd00::2", "fd00::2"], Some("fd00::3")),
    ];
    for (prefix, inside, outside) in rows {
        for port in ["", ":80", ":80-95", ":1-65535"] {
            let bracketed = |ip: &str| if ip.contains(':') { format!("[{ip}]") } else { ip.to_owned() };
            let mut director = Director::default();
            director.apply(&mark(1, &[&format!("tcp {}{port}", bracketed(prefix))], "", 1));
            for (index, ip) in inside.iter().enumerate() {
                let from = 4000 + index as u16;
                let sent = send(&mut director, "tcp", &format!("{}:80", bracketed(ip)), from);
                assert_eq!((sent.verdict, taken(&sent)), (Direct, Some(1)), "{ip} is in {prefix}{port}");
                let sent = send(&mut director, "udp", &format!("{}:80", bracketed(ip)), from);
                assert_eq!(sent.verdict, NotAService, "another protocol");
                let other_port = send(&mut director, "tcp", &format!("{}:96", bracketed(ip)), from).verdict;
                assert_eq!(other_port == Direct, port.is_empty() || port == ":1-65535");
            }
            if let Some(ip) = outside {
                let sent = send(&mut director, "tcp", &format!("{}:80", bracketed(ip)), 4000);
                assert_eq!(sent.verdict, NotAService, "{ip} is outside of {prefix}{port}");
            }
        }
    }
}

#[test]
fn a_range_takes_its_ports_and_no_others() {
    for (range, first, last) in [
        ("1-65535", 1i32, 65535i32),
        ("80-80", 80, 80),
        ("79-81", 79, 81),
        ("1000-1999", 1000, 1999),
        ("32767-32769", 32767, 32769),
    ] {
        for at in ["10.0.0.100", "10.0.0.0/24", "[fd00::100]", "[fd00::/64]"] {
            let mut director = Director::default();
            director.apply(&mark(1, &[&format!("udp {at}:{range}")], "", 1));
            let vip = if at.contains('[') { "[fd00::100]" } else { "10.0.0.100" };
            for port in [1, first - 1, first, (first + last) / 2, last, last + 1, 65535] {
                let port: u16 = u16::try_from(port).unwrap_or(65535).max(1);
                let sent = send(&mut director, "udp", &format!("{vip}:{port}"), 4000);
                assert_eq!(taken(&sent).is_some(), (first..=last).contains(&i32::from(port)), "{port} of {range}");
            }
        }
    }
}

/// One client port to two addresses of a prefix: two connections, and the answers of each come from its own VIP. By NAT the reals' answers
/// to both would have the same ends, so the second goes to another real or is refused; by full NAT it is told apart by its local port.
#[test]
fn answers_from_behind_a_prefix_come_from_the_right_vip() {
    let vips = |is_v6: bool| if is_v6 { ["[fd00::1:5]:80", "[fd00::1:9]:80"] } else { ["10.0.0.5:80", "10.0.0.9:80"] };
    for is_v6 in [false, true] {
        for (method, reals) in [("nat", 2), ("fullnat", 1), ("fullnat", 2)] {
            let rule = if is_v6 { "tcp [fd00::1:0/112]:80" } else { "tcp 10.0.0.0/24:80" };
            let local = if is_v6 { "fd00:9::9" } else { "10.9.9.9" };
            let text = format!(
                "[director]\nlocal_addresses = [\"{local}\"]\n{}",
                mark(1, &[rule], &format!("method = \"{method}\""), reals)
            );
            let mut director = Director::new(Options { replies: false, ..Options::default() });
            director.apply(&text);
            let sent: Vec<Sent> = vips(is_v6).iter().map(|vip| send(&mut director, "tcp", vip, 4000)).collect();
            for (vip, sent) in vips(is_v6).iter().zip(&sent) {
                assert_eq!((sent.verdict, sent.is_new, taken(sent)), (Nat, true, Some(1)), "{vip} by {method}");
            }
            for _ in 0..2 {
                for (vip, sent) in vips(is_v6).iter().zip(&sent) {
                    for flags in [SYN | ACK, ACK] {
                        let back = director.send(&answer(&sent.frame, flags).build());
                        assert_eq!(back.verdict, Reply);
                        assert_eq!(ends(&back.frame).source, vip.parse().unwrap(), "{method}");
                    }
                    let again = director.send(&packet("tcp", vip.parse().unwrap(), 4000, ACK).build());
                    assert_eq!((again.verdict, again.is_new, again.real), (Nat, false, sent.real));
                    assert_eq!(ends(&again.frame), ends(&sent.frame));
                }
            }
        }
    }
}

/// By NAT with one real both connections would have the same ends: the second is refused, the first goes on.
#[test]
fn nat_behind_a_prefix_never_mixes_two_connections() {
    for (rule, first, second) in [
        ("tcp 10.0.0.0/24:80", "10.0.0.5:80", "10.0.0.9:80"),
        ("tcp [fd00::1:0/112]:80", "[fd00::1:5]:80", "[fd00::1:9]:80"),
    ] {
        let mut director = Director::new(Options { replies: false, ..Options::default() });
        director.apply(&mark(1, &[rule], "method = \"nat\"", 1));
        let sent = send(&mut director, "tcp", first, 4000);
        director.send(&packet("tcp", first.parse().unwrap(), 4000, ACK).build());
        assert_eq!(director.send(&answer(&sent.frame, SYN | ACK).build()).verdict, Reply);
        let refused = send(&mut director, "tcp", second, 4000);
        assert!(!refused.verdict.is_forwarded(), "{:?}", refused.verdict);
        let back = director.send(&answer(&sent.frame, ACK).build());
        assert_eq!(ends(&back.frame).source, first.parse().unwrap());
        assert_eq!(send(&mut director, "tcp", second, 4001).verdict, Nat, "another port is no trouble");
    }
}

/// Echo requests, ICMP errors and fragments have no port: any address of a rule's prefix is a VIP.
#[test]
fn packets_without_ports_to_a_prefix() {
    for (rule, vip, router, outside) in [
        ("udp 10.0.0.0/24:53-60", "10.0.0.77", "192.0.2.200", "10.0.1.77"),
        ("udp 10.0.0.77:53-60", "10.0.0.77", "192.0.2.200", "10.0.1.77"),
        ("udp [fd00::/64]:53-60", "fd00::77", "2001:db8::ffff", "fd01::77"),
        ("udp [fd00::77]:53-60", "fd00::77", "2001:db8::ffff", "fd01::77"),
    ] {
        let is_v6 = vip.contains(':');
        let make = |from: &str, to: &str| if is_v6 { Packet::v6(from, to) } else { Packet::v4(from, to) };
        let client = if is_v6 { CLIENT6 } else { CLIENT };
        let (echo, kind) = if is_v6 { (128, (1, 4)) } else { (8, (3, 3)) };
        let mut director = Director::new(Options { answer_echo: true, ..Options::default() });
        let text = format!("[director]\nanswer_echo = true\n{}", mark(1, &[rule], "", 3));
        director.apply(&text);
        assert_eq!(director.send(&make(client, vip).icmp(echo, 0).payload(&[1; 20]).build()).verdict, EchoAnswered);
        assert_eq!(director.send(&make(client, outside).icmp(echo, 0).payload(&[1; 20]).build()).verdict, NotAService);
        for port in 4000..4006 {
            let sent = director.send(&make(client, vip).udp(port, 55).build());
            assert_eq!(sent.verdict, Direct);
            let about = make(vip, client).udp(55, port).payload(&[7; 60]).build();
            let error = make(router, vip).icmp(kind.0, kind.1).payload(&about[14..]).build();
            let told = director.send(&error);
            assert_eq!((told.verdict, told.real), (Direct, sent.real), "{rule}");
        }
        let unknown = make(vip, client).udp(55, 999).payload(&[7; 60]).build();
        let error = make(router, vip).icmp(kind.0, kind.1).payload(&unknown[14..]).build();
        assert_eq!(director.send(&error).verdict, IcmpNoFlow);
        if !is_v6 {
            for port in 4000..4003 {
                let first =
                    make(client, vip).identification(port).udp(port, 56).payload(&[3; 40]).fragment_word(0x2000);
                let later = make(client, vip).identification(port).raw(17, &[3; 24]).fragment_word(6);
                assert_eq!(director.send(&later.build()).verdict, FragmentEarly);
                let sent = director.send(&first.build());
                assert_eq!((sent.verdict, sent.is_new), (Direct, true));
                let follows = director.send(&later.build());
                assert_eq!((follows.verdict, follows.real), (Direct, sent.real));
            }
        }
        director.apply("");
        assert_eq!(director.send(&make(client, vip).icmp(echo, 0).payload(&[1; 20]).build()).verdict, NotAService);
    }
}

/// A service counts as a rule of its address and port.
#[test]
fn services_and_rules_side_by_side() {
    for is_v6 in [false, true] {
        let a =
            |ip: &str, port: u16| if is_v6 { format!("[fd00::{ip}]:{port}") } else { format!("10.0.0.{ip}:{port}") };
        let service = |at: String, real: &str| {
            let real = if is_v6 { format!("fd00:7::{real}") } else { format!("10.7.0.{real}") };
            format!("[[service]]\naddress = \"{at}\"\n[[service.real]]\naddress = \"{real}\"\n")
        };
        let (all, one) = if is_v6 {
            ("tcp [fd00::/64]", "tcp [fd00::10]:80-89")
        } else {
            ("tcp 10.0.0.0/24", "tcp 10.0.0.10:80-89")
        };
        let mut director = Director::default();
        let text =
            [mark(1, &[all], "", 1), mark(2, &[one], "", 1), service(a("10", 85), "1"), service(a("10", 0), "2")]
                .concat();
        director.apply(&text);
        let mut service_of = |to: String| send(&mut director, "tcp", &to, 4000).service.unwrap().to_string();
        let marked = |n: u8| if is_v6 { format!("mark6://{n}") } else { format!("mark://{n}") };
        assert_eq!(service_of(a("10", 84)), marked(2));
        assert_eq!(service_of(a("10", 85)), format!("tcp://{}", a("10", 85)));
        assert_eq!(service_of(a("10", 90)), format!("tcp://{}", a("10", 0)));
        assert_eq!(service_of(a("11", 85)), marked(1));
    }
}

/// Rules go from mark to mark, in both directions, and a prefix from a mark to a service's own address.
#[test]
fn a_rule_that_changes_its_mark_is_served_at_once() {
    let rules = ["tcp 10.0.0.100:80", "udp 10.0.0.0/24:8000-8015", "tcp 10.0.0.0/28"];
    let probes = [("tcp", "10.0.0.100:80"), ("udp", "10.0.0.9:8003"), ("tcp", "10.0.0.9:22")];
    let mut director = Director::default();
    let mut from_port = 4000;
    for turn in [[1, 1, 1], [2, 2, 2], [1, 1, 1], [1, 2, 1], [2, 1, 2], [2, 2, 1]] {
        let text: String = [1, 2]
            .map(|number| {
                let own: Vec<&str> =
                    rules.iter().zip(turn).filter(|(_, of)| *of == number).map(|(rule, _)| *rule).collect();
                mark(number, &own, "", 1)
            })
            .concat();
        director.apply(&text);
        from_port += 1;
        for ((protocol, to), expected) in probes.into_iter().zip(turn) {
            assert_eq!(taken(&send(&mut director, protocol, to, from_port)), Some(expected.into()), "{to} in {turn:?}");
        }
    }
    director.apply("[[service]]\naddress = \"10.0.0.100:80\"\n[[service.real]]\naddress = \"10.0.7.1\"\n");
    assert_eq!(send(&mut director, "tcp", "10.0.0.100:80", 4000).verdict, Direct);
    assert_eq!(send(&mut director, "tcp", "10.0.0.9:22", 4000).verdict, NotAService);
}

/// A rule that goes takes its connections along; the others' stay.
#[test]
fn rules_come_and_go_at_run_time() {
    let both = ["tcp 10.0.0.100:80", "tcp 10.0.0.0/24:443"];
    let mut director = Director::default();
    director.apply(&mark(1, &both, "", 2));
    let known = send(&mut director, "tcp", "10.0.0.100:80", 4000).real;
    let gone = send(&mut director, "tcp", "10.0.0.7:443", 4000);
    assert_eq!(gone.verdict, Direct);
    let one = mark(1, &both[..1], "", 2);
    director.apply(&one);
    assert_eq!(send(&mut director, "tcp", "10.0.0.7:443", 4000).verdict, NotAService);
    let again = send(&mut director, "tcp", "10.0.0.100:80", 4000);
    assert_eq!((again.is_new, again.real), (false, known));
    director.apply(&mark(1, &both, "", 2));
    assert_eq!(send(&mut director, "tcp", "10.0.0.9:443", 4000).verdict, Direct);
    assert_eq!(director.steps_to(&spec(&mark(1, &both, "", 2))), []);
}

/// Full NAT to a real of the other family, from two addresses of a prefix.
#[test]
fn across_the_families_from_behind_a_prefix() {
    for (rule, real, vips) in [
        ("tcp 10.0.0.0/24:80", "fd00:1::1", ["10.0.0.5:80", "10.0.0.9:80"]),
        ("tcp [fd00::1:0/112]:80", "10.1.1.1", ["[fd00::1:5]:80", "[fd00::1:9]:80"]),
    ] {
        let mut director = Director::new(Options { replies: false, ..Options::default() });
        director.apply(&format!(
            "[director]\nlocal_addresses = [\"10.9.9.9\", \"fd00:9::9\"]\n{}[[service.real]]\naddress = \"{real}\"\n",
            mark(1, &[rule], "method = \"fullnat\"", 0)
        ));
        let sent: Vec<Sent> = vips.iter().map(|vip| send(&mut director, "tcp", vip, 4000)).collect();
        for _ in 0..2 {
            for (vip, sent) in vips.iter().zip(&sent) {
                assert_eq!(sent.verdict, Nat, "{vip}");
                let back = director.send(&answer(&sent.frame, SYN | ACK).build());
                assert_eq!((back.verdict, ends(&back.frame).source), (Reply, vip.parse().unwrap()));
                let again = director.send(&packet("tcp", vip.parse().unwrap(), 4000, ACK).build());
                assert_eq!((again.is_new, ends(&again.frame)), (false, ends(&sent.frame)));
            }
        }
    }
}

/// The sweep knows whose connection is whose behind a prefix, where the key in the table has the address mixed in.
#[test]
fn a_template_behind_a_prefix_lives_while_its_connections_do() {
    for (rule, vip) in [("tcp 10.0.0.0/24", "10.0.0.7:80"), ("tcp [fd00::/64]", "[fd00::7]:80")] {
        let text = mark(1, &[rule], "persistence = { timeout = 20 }", 2);
        let spec = spec(&text);
        let mut director = Director::default();
        director.apply(&text);
        let first = send(&mut director, "tcp", vip, 4000).real;
        director.send(&packet("tcp", vip.parse().unwrap(), 4000, ACK).build());
        for _ in 0..3 {
            director.sweep(&spec, 100);
            assert_eq!(director.connections().len(), 2, "{rule}: the connection has 900 seconds");
        }
        assert_eq!(send(&mut director, "tcp", vip, 4001).real, first);
        director.sweep(&spec, 1100);
        director.sweep(&spec, 100);
        assert_eq!(director.connections(), [], "nothing holds it any more");
    }
}
