//! Full NAT: the real sees the director's own address, of either family; which ends are given out, and what becomes of them. All bytes are
//! checked by [`Director::send`], in both directions.

use lb_common::abi::real::option;
use lb_common::abi::service::scheduler::{MH, RR};
use lb_common::abi::verdict::Verdict::*;
use lb_tests::director::{Director, Options, Sent, full_nat, nat};
use lb_tests::packet::{ACK, Packet, SYN, spoil};
use lb_tests::translated::{Parts, answer, ends, is_right};

use super::{CLIENT, CLIENT6, VIP, VIP6};

pub(crate) const LOCALS: &[(&str, &str)] = &[("10.0.1.250", "1024-65535"), ("fd00::1:fa", "1024-65535")];
const CHUNK_INIT: u8 = 1;

/// A service with one real of either family.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Side {
    pub(crate) protocol: &'static str,
    pub(crate) client_is_v6: bool,
    pub(crate) real_is_v6: bool,
}

/// Every protocol between every two families.
pub(crate) fn sides() -> Vec<Side> {
    let families = [(false, false), (true, true), (false, true), (true, false)];
    ["tcp", "udp", "sctp"]
        .into_iter()
        .flat_map(|protocol| families.map(|(client_is_v6, real_is_v6)| Side { protocol, client_is_v6, real_is_v6 }))
        .collect()
}

impl Side {
    pub(crate) fn service(&self, port: u16) -> String {
        format!("{}://{}:{port}", self.protocol, if self.client_is_v6 { "[fd00::100]" } else { "10.0.0.100" })
    }

    pub(crate) fn real(&self, number: u8, port: u16) -> String {
        if self.real_is_v6 { format!("[fd00::1:{number:x}]:{port}") } else { format!("10.0.1.{number}:{port}") }
    }

    /// One service of port 80, whose real has another.
    pub(crate) fn director(&self, options: Options) -> Director {
        let mut director = Director::new(options);
        director.service(&self.service(80), RR, 0, &[(full_nat(&self.real(1, 8080), 1, 0), 1)]);
        director
    }

    pub(crate) fn is_across(&self) -> bool {
        self.client_is_v6 != self.real_is_v6
    }

    /// A packet of the client: with these flags if it is TCP, with a chunk of this type if it is SCTP.
    pub(crate) fn packet(&self, from: u16, to: u16, flags: u8) -> Packet {
        let packet = if self.client_is_v6 { Packet::v6(CLIENT6, VIP6) } else { Packet::v4(CLIENT, VIP) };
        match self.protocol {
            "tcp" => packet.tcp(from, to, flags),
            "udp" => packet.udp(from, to),
            _ => packet.sctp(from, to, &[&lb_tests::packet::chunk(flags, &[0x5a; 17])]),
        }
    }

    /// What begins a connection.
    pub(crate) fn opening(&self) -> u8 {
        if self.protocol == "sctp" { CHUNK_INIT } else { SYN }
    }

    pub(crate) fn begin(&self, director: &mut Director, from: u16) -> Sent {
        director.send(&self.packet(from, 80, self.opening()).build())
    }
}

fn options(locals: &'static [(&str, &str)]) -> Options {
    Options { locals, ..Options::default() }
}

#[test]
fn there_and_back_between_every_two_families() {
    for side in sides() {
        let mut director = side.director(options(LOCALS));
        let begun = side.begin(&mut director, 4000);
        assert_eq!((begun.verdict, begun.is_new), (Nat, true), "{side:?}");
        let at_real = ends(&begun.frame);
        assert_eq!(at_real.source.is_ipv6(), side.real_is_v6);
        assert_eq!(at_real.destination, side.real(1, 8080).parse().unwrap());
        // SYN and ACK, or INIT ACK.
        let accepted = if side.protocol == "sctp" { 2 } else { SYN | ACK };
        assert_eq!(director.send(&answer(&begun.frame, accepted).build()).verdict, Reply);
        let data = if side.protocol == "sctp" { 0 } else { ACK };
        for length in [0, 1, 2, 3, 12, 700, 1300] {
            let bytes: Vec<u8> = (0..length).map(|n| n as u8).collect();
            let more = |packet: Packet| if side.protocol == "sctp" { packet } else { packet.payload(&bytes) };
            let there = director.send(&more(side.packet(4000, 80, data).tos(0xb9).ttl(2)).build());
            assert_eq!((there.verdict, there.is_new), (Nat, false));
            let back = director.send(&more(answer(&begun.frame, data).tos(0xb9).ttl(255)).build());
            assert_eq!((back.verdict, back.real), (Reply, begun.real));
            assert!(is_right(&there.frame) && is_right(&back.frame));
        }
        for (packet, verdict) in [(side.packet(4000, 80, data), Nat), (answer(&begun.frame, data), Reply)] {
            for tagged in [packet.clone().vlan(5), packet.clone().tag(0x88a8, 7).vlan(5)] {
                assert_eq!(director.send(&tagged.build()).verdict, verdict);
                let padded = [tagged.build(), vec![0; 9]].concat();
                assert_eq!(director.send(&padded).verdict, verdict);
            }
            for hops in [0, 1] {
                assert_eq!(director.send(&packet.clone().ttl(hops).build()).verdict, HopsSpent);
            }
        }
    }
}

#[test]
fn a_wrong_checksum_stays_wrong() {
    for side in sides() {
        let mut director = side.director(options(LOCALS));
        let begun = side.begin(&mut director, 4000).frame;
        let data = if side.protocol == "sctp" { 0 } else { ACK };
        for frame in [side.packet(4000, 80, data).build(), answer(&begun, data).build()] {
            let at = Parts::of(&frame).transport + if side.protocol == "tcp" { 16 } else { 6 };
            let at = if side.protocol == "sctp" { at + 4 } else { at };
            for flipped in [1u8, 0x80, 0xff] {
                let sent = director.send(&spoil(&frame, at, &[frame[at] ^ flipped]));
                assert!(matches!(sent.verdict, Nat | Reply) && !is_right(&sent.frame), "{side:?}: {:?}", sent.verdict);
            }
        }
    }
}

/// Headers in front of the transport header stay in their family; the other one has no counterpart.
#[test]
fn options_and_extension_headers() {
    for side in sides() {
        let mut director = side.director(options(LOCALS));
        let begun = side.begin(&mut director, 4000).frame;
        let data = if side.protocol == "sctp" { 0 } else { ACK };
        for (packet, is_v6, verdict) in
            [(side.packet(4000, 80, data), side.client_is_v6, Nat), (answer(&begun, data), side.real_is_v6, Reply)]
        {
            let verdict = if side.is_across() { NatUnsuited } else { verdict };
            let longer = if is_v6 {
                vec![packet.clone().extension(0, &[0, 1, 4, 0, 0, 0, 0]), packet.extension(60, &[1; 15])]
            } else {
                [4, 12, 40].map(|length| packet.clone().options(&vec![1; length])).into()
            };
            for packet in longer {
                assert_eq!(director.send(&packet.build()).verdict, verdict, "{side:?}");
                assert_eq!(director.send(&packet.vlan(5).build()).verdict, verdict);
            }
        }
    }
}

/// RFC 768 and RFC 8200 section 8.1: a datagram without checksum has none to correct, and IPv6 takes none.
#[test]
fn datagrams_without_checksum() {
    for side in sides().into_iter().filter(|side| side.protocol == "udp") {
        let mut director = side.director(options(LOCALS));
        let begun = side.begin(&mut director, 4000).frame;
        for (frame, is_v6, verdict) in [
            (side.packet(4000, 80, 0).payload(b"x").build(), side.client_is_v6, Nat),
            (answer(&begun, 0).payload(b"y").build(), side.real_is_v6, Reply),
        ] {
            if is_v6 && !side.is_across() {
                continue;
            }
            let at = Parts::of(&frame).transport + 6;
            let sent = director.send(&spoil(&frame, at, &[0, 0]));
            assert_eq!(sent.verdict, if side.is_across() { NatUnsuited } else { verdict }, "{side:?}");
        }
    }
}

/// The headers differ by 20 bytes: so much less fits from IPv4 to IPv6, so much more the other way.
#[test]
fn what_fits_between_the_families() {
    for side in sides().into_iter().filter(|side| side.protocol == "udp") {
        let mut director = side.director(options(LOCALS));
        side.begin(&mut director, 4000);
        let fits = match (side.client_is_v6, side.real_is_v6) {
            (false, true) => 1480,
            (true, false) => 1520,
            _ => 1500,
        };
        let of = |length| side.packet(4000, 80, 0).length(length).build();
        assert_eq!(director.send(&of(fits)).verdict, Nat);
        let sent = director.send(&of(fits + 1));
        assert_eq!(sent.verdict, TooBigTold);
        let at = 14 + if side.client_is_v6 { 46 } else { 26 };
        assert_eq!(usize::from(u16::from_be_bytes([sent.frame[at], sent.frame[at + 1]])), fits, "what it names");
    }
}

/// Four ends, or two addresses with two each: as many connections to one real, and no more. To another real they are all free.
#[test]
fn ends_are_given_out_once_and_again() {
    let pools: [&'static [(&str, &str)]; 2] = [
        &[("10.0.1.250", "5000-5003"), ("fd00::1:fa", "5000-5003")],
        &[
            ("10.0.1.250", "5000-5001"),
            ("10.0.1.251", "6000-6001"),
            ("fd00::1:fa", "5000-5001"),
            ("fd00::1:fb", "6000-6001"),
        ],
    ];
    for side in sides() {
        for pool in pools {
            let mut director = side.director(options(pool));
            director.service(&side.service(81), RR, 0, &[(full_nat(&side.real(2, 8080), 2, 0), 1)]);
            let (key, at) = (side.service(80).parse().unwrap(), side.real(1, 8080).parse().unwrap());
            for round in 0..3 {
                let from = 4000 + 100 * round;
                let mut given: Vec<_> = (from..from + 4)
                    .map(|port| {
                        let sent = side.begin(&mut director, port);
                        assert_eq!((sent.verdict, sent.is_new), (Nat, true), "{side:?} {pool:?}");
                        assert_eq!(director.send(&answer(&sent.frame, 2).build()).verdict, Reply);
                        ends(&sent.frame).source
                    })
                    .collect();
                given.sort();
                given.dedup();
                assert_eq!(given.len(), 4);
                for port in from + 4..from + 7 {
                    assert_eq!(side.begin(&mut director, port).verdict, NatSpent);
                }
                assert_eq!(director.connections().len(), 4, "what has no end is given up");
                let (active, inactive) = director.load(&key, at);
                assert_eq!(active + inactive, 4);
                let other = director.send(&side.packet(from, 81, side.opening()).build());
                assert_eq!((other.verdict, other.is_new), (Nat, true), "the other real's are free");
                assert!(director.tables.audit_loads().is_empty());
                director.forget();
            }
        }
    }
}

/// A connection that is closed keeps its end until it has left the table.
#[test]
fn an_end_is_free_when_its_connection_has_left() {
    use lb_common::abi::connection::State;
    for side in sides().into_iter().filter(|side| side.protocol == "tcp") {
        let mut director = side.director(options(&[("10.0.1.250", "5000-5000"), ("fd00::1:fa", "5000-5000")]));
        let first = side.begin(&mut director, 4000);
        assert_eq!(side.begin(&mut director, 4001).verdict, NatSpent);
        assert_eq!(director.send(&side.packet(4000, 80, ACK).build()).verdict, Nat);
        assert_eq!(director.send(&side.packet(4000, 80, 0x04).build()).verdict, Nat);
        assert_eq!(side.begin(&mut director, 4001).verdict, NatSpent, "the real may still speak to it");
        director.forget_all_in(State::Close);
        let second = side.begin(&mut director, 4001);
        assert_eq!((second.verdict, second.is_new), (Nat, true));
        assert_eq!(ends(&second.frame).source, ends(&first.frame).source);
        assert_eq!(director.send(&answer(&second.frame, SYN | ACK).build()).verdict, Reply);
    }
}

/// The same client begins again on a closed connection: it may have its end again at once.
#[test]
fn a_client_that_uses_its_port_again() {
    for side in sides().into_iter().filter(|side| side.protocol == "tcp") {
        let mut director = side.director(options(&[("10.0.1.250", "5000-5000"), ("fd00::1:fa", "5000-5000")]));
        for _ in 0..3 {
            let begun = side.begin(&mut director, 4000);
            assert_eq!((begun.verdict, begun.is_new), (Nat, true), "{side:?}");
            assert_eq!(director.send(&answer(&begun.frame, SYN | ACK).build()).verdict, Reply);
            assert_eq!(director.send(&side.packet(4000, 80, ACK).build()).verdict, Nat);
            assert_eq!(director.send(&side.packet(4000, 80, 0x04).build()).verdict, Nat);
        }
        assert!(director.tables.audit_loads().is_empty());
    }
}

#[test]
fn no_local_address_of_the_reals_family() {
    for side in sides() {
        let mut director = side.director(options(if side.real_is_v6 { &LOCALS[..1] } else { &LOCALS[1..] }));
        for scheduler in [RR, MH] {
            director.pool(
                &side.service(80).parse().unwrap(),
                scheduler,
                0,
                &[(side.real(1, 8080).parse().unwrap(), 1)],
            );
            assert_eq!(side.begin(&mut director, 4000).verdict, NatSpent);
            assert!(director.connections().is_empty());
        }
        director.locals(LOCALS);
        assert_eq!(side.begin(&mut director, 4000).verdict, Nat);
    }
}

/// What has an end keeps it, whatever the pool becomes.
#[test]
fn a_pool_that_changes_under_a_connection() {
    for side in sides() {
        let mut director = side.director(options(LOCALS));
        let begun = side.begin(&mut director, 4000);
        let data = if side.protocol == "sctp" { 0 } else { ACK };
        for locals in [&[("10.0.1.251", "9-9"), ("fd00::1:fb", "9-9")][..], &[]] {
            director.locals(locals);
            let again = director.send(&side.packet(4000, 80, data).build());
            assert_eq!((again.verdict, ends(&again.frame).source), (Nat, ends(&begun.frame).source));
            assert_eq!(director.send(&answer(&begun.frame, data).build()).verdict, Reply);
        }
        assert_eq!(side.begin(&mut director, 4001).verdict, NatSpent);
    }
}

/// A client that has, or claims, a local address: behind NAT its packets have ends that full NAT may have given out.
#[test]
fn a_client_with_a_local_address() {
    let pool: &'static [(&str, &str)] = &[("10.0.1.250", "5000-5001")];
    let mut director = Director::new(options(pool));
    director.service("tcp://10.0.0.100:80", RR, 0, &[(full_nat("10.0.1.1:8080", 1, 0), 1)]);
    director.service("tcp://10.0.0.100:81", RR, 0, &[(nat("10.0.1.1:8080", 1), 1)]);
    let hidden = director.send(&Packet::v4(CLIENT, VIP).tcp(4000, 80, SYN).build());
    let taken = ends(&hidden.frame).source.port();
    let claimed = |port| Packet::v4("10.0.1.250", VIP).tcp(port, 81, SYN).build();
    assert_eq!(director.send(&claimed(taken)).verdict, NatConflict);
    let spoken_for = director.send(&claimed(taken ^ 1));
    assert_eq!((spoken_for.verdict, spoken_for.is_new), (Nat, true));
    assert_eq!(director.send(&Packet::v4(CLIENT, VIP).tcp(4001, 80, SYN).build()).verdict, NatSpent);
    for begun in [&hidden, &spoken_for] {
        let back = director.send(&answer(&begun.frame, SYN | ACK).build());
        assert_eq!((back.verdict, back.service), (Reply, begun.service), "each to its own client");
    }
}

/// A local address that is a service's, too: what comes to the service's port is the service's, answers come to other ports.
#[test]
fn a_local_address_that_is_a_vip() {
    for side in sides().into_iter().filter(|side| side.protocol != "sctp") {
        let mut director = side.director(options(&[("10.0.0.100", "5000-6000"), ("fd00::100", "5000-6000")]));
        let begun = side.begin(&mut director, 4000);
        assert_eq!(begun.verdict, Nat);
        assert_eq!(director.send(&answer(&begun.frame, SYN | ACK).build()).verdict, Reply, "{side:?}");
        let other = Packet::new(ends(&begun.frame).destination.ip(), ends(&begun.frame).source.ip());
        assert_eq!(director.send(&other.udp(9, 4999).build()).verdict, NotAService);
    }
}

/// Nobody else's packets are answers: not from another port, nor to another end.
#[test]
fn what_differs_from_an_answer_is_no_services() {
    for side in sides().into_iter().filter(|side| side.protocol != "sctp") {
        let mut director = side.director(options(LOCALS));
        let at_real = ends(&side.begin(&mut director, 4000).frame);
        let from_real = |source: u16, destination: u16, is_tcp: bool| {
            let packet = Packet::new(at_real.destination.ip(), at_real.source.ip());
            if is_tcp { packet.tcp(source, destination, ACK) } else { packet.udp(source, destination) }.build()
        };
        let (source, destination, is_tcp) = (8080, at_real.source.port(), side.protocol == "tcp");
        assert_eq!(director.send(&from_real(source ^ 1, destination, is_tcp)).verdict, NotAService);
        assert_eq!(director.send(&from_real(source, destination ^ 1, is_tcp)).verdict, NotAService);
        assert_eq!(director.send(&from_real(source, destination, !is_tcp)).verdict, NotAService);
        assert_eq!(director.send(&from_real(source, destination, is_tcp)).verdict, Reply);
        director.forget();
        assert_eq!(director.send(&from_real(source, destination, is_tcp)).verdict, NotAService, "it is over");
    }
}

/// A service of any port: the real gets the port that the client asks for.
#[test]
fn any_port() {
    for side in sides() {
        let mut director = Director::new(options(LOCALS));
        director.service(&side.service(0), RR, 0, &[(full_nat(&side.real(1, 0), 1, option::CLAMP), 1)]);
        for port in [80, 443, 65535] {
            let sent = director.send(&side.packet(4000, port, side.opening()).build());
            assert_eq!((sent.verdict, sent.is_new, ends(&sent.frame).destination.port()), (Nat, true, port));
            assert_eq!(director.send(&answer(&sent.frame, 2).build()).verdict, Reply);
        }
    }
}
