//! ICMP: errors about a balanced flow reach its real, whatever the way; forged and malformed ones do not. Echo requests.

use lb_common::abi::real::disposition;
use lb_common::abi::service::scheduler::{MH, RR};
use lb_common::abi::verdict::Verdict::{self, *};
use lb_tests::director::{Director, GRE, GUE, Options, direct, through, tunnel};
use lb_tests::packet::{ACK, Packet, SYN};
use lb_tests::row::{row, run};

use super::{CLIENT, CLIENT6, OTHER, OTHER6, VIP, VIP6, standard};

const ROUTER: &str = "192.0.2.200";
const ROUTER6: &str = "2001:db8::ffff";

fn packet(from: &str, to: &str) -> Packet {
    if to.contains(':') { Packet::v6(from, to) } else { Packet::v4(from, to) }
}

/// An error of a router on the way about what the service sent: `quoted` bytes of that packet.
fn error(about: &Packet, quoted: usize) -> Packet {
    let frame = about.build();
    let quote = &frame[about.ip_offset()..(about.ip_offset() + quoted).min(frame.len())];
    let to = if frame[12] == 0x08 { (ROUTER, VIP) } else { (ROUTER6, VIP6) };
    let kind = if frame[12] == 0x08 { (3, 4) } else { (2, 0) };
    packet(to.0, to.1).icmp(kind.0, kind.1).payload(quote)
}

/// What the service sends to a client.
fn answer(is_v6: bool, port: u16) -> Packet {
    if is_v6 { Packet::v6(VIP6, CLIENT6) } else { Packet::v4(VIP, CLIENT) }.tcp(80, port, ACK).payload(&[7; 100])
}

fn syn(is_v6: bool, port: u16) -> Vec<u8> {
    packet(if is_v6 { CLIENT6 } else { CLIENT }, if is_v6 { VIP6 } else { VIP }).tcp(port, 80, SYN).build()
}

/// The harness compares every byte: an error goes the way of the flow, as it is.
#[test]
fn an_error_goes_to_the_flows_real_by_every_method() {
    let ways: [&dyn Fn(u8) -> lb_common::abi::real::Real; 4] = [
        &|n| tunnel(&format!("10.0.1.{n}:80"), n, "172.16.0.1"),
        &|n| tunnel(&format!("[fd00::1:{n}]:80"), n, "fd16::1"),
        &|n| through(tunnel(&format!("10.0.1.{n}:80"), n, "172.16.0.1"), GUE, true),
        &|n| through(tunnel(&format!("[fd00::1:{n}]:80"), n, "fd16::1"), GRE, true),
    ];
    for way in ways {
        let mut director = Director::default();
        for service in ["tcp://10.0.0.100:80", "tcp://[fd00::100]:80"] {
            director.service(service, RR, 0, &[(way(1), 1), (way(2), 1), (way(3), 1)]);
        }
        errors_follow(&mut director, Tunnel);
    }
    let mut director = Director::default();
    director.service("tcp://10.0.0.100:80", RR, 0, &[1, 2, 3].map(|n| (direct(&format!("10.0.1.{n}:80"), n), 1)));
    director.service("tcp://[fd00::100]:80", RR, 0, &[1, 2, 3].map(|n| (direct(&format!("[fd00::1:{n}]:80"), n), 1)));
    errors_follow(&mut director, Direct);
}

fn errors_follow(director: &mut Director, verdict: Verdict) {
    for is_v6 in [false, true] {
        for port in 4000..4012 {
            let real = director.send(&syn(is_v6, port)).real;
            let before = director.connections();
            // As little as RFC 792 asks for, as much as RFC 4443 allows; behind tags; with options and extension headers outside.
            let about = answer(is_v6, port);
            let least = if is_v6 { 48 } else { 28 };
            let mut errors = vec![error(&about, least), error(&about, 500), error(&about, 500).vlan(5)];
            errors.push(error(&about, 500).tag(0x88a8, 7).vlan(9));
            if !is_v6 {
                errors.push(error(&about, 500).options(&[1; 8]));
                errors.push(error(&about.clone().options(&[1; 12]), 500));
            } else {
                errors.push(error(&about.clone().extension(60, &[0, 1, 4, 0, 0, 0, 0]), 500));
            }
            for error in errors {
                let sent = director.send(&error.build());
                assert_eq!((sent.verdict, sent.real, sent.is_new), (verdict, real, false));
            }
            assert_eq!(director.connections(), before, "an error changes no connection");
        }
    }
}

#[test]
fn errors_that_are_about_nothing_of_ours() {
    let mut director = standard();
    director.send(&syn(false, 4000));
    director.send(&syn(true, 4000));
    let about = |from: &str, to: &str| packet(from, to).tcp(80, 4000, ACK).payload(&[1; 60]);
    let udp = Packet::v4(VIP, CLIENT).udp(80, 4000).payload(&[1; 60]);
    let mut cut = error(&answer(false, 4000), 500).build();
    cut.truncate(14 + 20 + 8 + 27);
    cut[16..18].copy_from_slice(&55u16.to_be_bytes());
    run(
        &mut director,
        &[
            row("of this flow", error(&answer(false, 4000), 28).build(), Direct),
            row("of this flow, IPv6", error(&answer(true, 4000), 48).build(), Direct),
            row("of a flow that is not known", error(&answer(false, 4001), 28).build(), IcmpNoFlow),
            row("of a flow that is not known, IPv6", error(&answer(true, 4001), 48).build(), IcmpNoFlow),
            row("of a service that is not known", error(&udp, 28).build(), IcmpNoFlow),
            row("about somebody else's packet", error(&about(OTHER, CLIENT), 100).build(), IcmpForged),
            row("about somebody else's packet, IPv6", error(&about(OTHER6, CLIENT6), 100).build(), IcmpForged),
            row("about a packet to the VIP", error(&about(CLIENT, VIP), 100).build(), IcmpForged),
            row("without a packet", Packet::v4(ROUTER, VIP).icmp(3, 4).build(), IcmpMalformed),
            row("without a packet, IPv6", Packet::v6(ROUTER6, VIP6).icmp(2, 0).build(), IcmpMalformed),
            row("with half a packet", cut, IcmpMalformed),
            row(
                "about an ICMP message",
                error(&Packet::v4(VIP, CLIENT).icmp(0, 0).payload(&[0; 40]), 60).build(),
                IcmpMalformed,
            ),
            row(
                "about a later fragment",
                error(&answer(false, 4000).fragment_word(0x0010), 100).build(),
                IcmpMalformed,
            ),
            row(
                "about IPv5",
                error(&Packet::v4(VIP, CLIENT).raw(6, &[0x50; 40]), 60).payload(&[0x55; 60]).build(),
                IcmpMalformed,
            ),
            row("to somebody else", Packet::v4(CLIENT, OTHER).icmp(3, 4).build(), NotAService),
            row("to somebody else, IPv6", Packet::v6(CLIENT6, OTHER6).icmp(2, 0).build(), NotAService),
            row("no error", Packet::v4(CLIENT, VIP).icmp(13, 0).build(), NotTransport),
        ],
    );
}

#[test]
fn an_error_follows_what_becomes_of_the_real() {
    let mut director = standard();
    let real = director.send(&syn(false, 4000)).real.unwrap();
    let key = "tcp://10.0.0.100:80".parse().unwrap();
    for (number, verdict) in [
        (disposition::DRAIN, Direct),
        (disposition::DROP, RealDown),
        (disposition::UNRESOLVED, RealUnresolved),
        (disposition::GONE, RealGone),
        (disposition::FORWARD, Direct),
    ] {
        director.change_real(&key, real, |real| real.disposition = number);
        assert_eq!(director.send(&error(&answer(false, 4000), 28).build()).verdict, verdict);
    }
}

/// Any director knows whose flow it is, without having seen it.
#[test]
fn hash_schedulers_need_no_connection() {
    let mut director = Director::default();
    let reals = [1, 2, 3].map(|n| (direct(&format!("10.0.1.{n}:80"), n), 1));
    director.service("tcp://10.0.0.100:80", MH, 0, &reals);
    let sent = director.send(&error(&answer(false, 4000), 28).build());
    assert_eq!((sent.verdict, sent.is_new), (Direct, false));
    assert_eq!(director.send(&syn(false, 4000)).real, sent.real);
}

#[test]
fn echo_requests_are_answered_if_it_is_set() {
    let mut answering = Director::new(Options { answer_echo: true, ..Options::default() });
    answering.service("tcp://10.0.0.100:80", RR, 0, &[(direct("10.0.1.1:80", 1), 1)]);
    answering.service("tcp://[fd00::100]:80", RR, 0, &[(direct("[fd00::1:1]:80", 1), 1)]);
    let mut passing = standard();
    for length in [0, 1, 56, 1472] {
        for packet in [Packet::v4(CLIENT, VIP).icmp(8, 0), Packet::v6(CLIENT6, VIP6).icmp(128, 0)] {
            let packet = packet.ttl(3).payload(&vec![0xa5; length]);
            for shape in [packet.clone(), packet.clone().vlan(5), packet.tag(0x88a8, 7).vlan(9)] {
                assert_eq!(answering.send(&shape.build()).verdict, EchoAnswered);
                assert_eq!(passing.send(&shape.build()).verdict, NotTransport);
            }
        }
    }
    assert_eq!(answering.send(&Packet::v4(CLIENT, VIP).icmp(8, 0).options(&[1; 8]).build()).verdict, EchoAnswered);
    assert_eq!(answering.send(&Packet::v4(CLIENT, OTHER).icmp(8, 0).build()).verdict, NotAService);
    assert_eq!(answering.send(&Packet::v4(CLIENT, VIP).icmp(0, 0).build()).verdict, NotTransport, "a reply");
}
