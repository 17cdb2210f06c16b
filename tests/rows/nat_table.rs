//! Answers that are nobody's, answers that could be two connections', and a reply table that is full.

use std::net::SocketAddr;

use lb_common::abi::connection::State;
use lb_common::abi::real::disposition;
use lb_common::abi::service::scheduler::{MH, RR};
use lb_common::abi::verdict::Verdict::*;
use lb_tests::director::{Director, Options, nat};
use lb_tests::packet::{ACK, Packet, RST, SYN};
use lb_tests::translated::{Ends, TCP, UDP, answer, ends};

use super::nat::{SIDES, Side};
use super::{CLIENT, CLIENT6, VIP, VIP6};

/// The packet of the other protocol, or with other ends.
fn forged(ends: Ends) -> Packet {
    let packet = Packet::new(ends.source.ip(), ends.destination.ip());
    let (source, destination) = (ends.source.port(), ends.destination.port());
    if ends.protocol == TCP { packet.tcp(source, destination, ACK) } else { packet.udp(source, destination) }
}

fn another_port(end: SocketAddr) -> SocketAddr {
    SocketAddr::new(end.ip(), end.port() ^ 1)
}

fn another_address(end: SocketAddr) -> SocketAddr {
    let other = if end.is_ipv4() { "10.0.1.77" } else { "fd00::1:4d" };
    SocketAddr::new(other.parse().unwrap(), end.port())
}

#[test]
fn what_differs_from_an_answer_is_no_services() {
    for side in &SIDES {
        let mut director = side.director(Options::default());
        let at_real = side.begin(&mut director).frame;
        let right = ends(&answer(&at_real, ACK).build());
        for wrong in [
            Ends { protocol: TCP + UDP - right.protocol, ..right },
            Ends { source: another_port(right.source), ..right },
            Ends { destination: another_port(right.destination), ..right },
            Ends { source: another_address(right.source), ..right },
            Ends { destination: another_address(right.destination), ..right },
            right.reversed(),
        ] {
            assert_eq!(director.send(&forged(wrong).build()).verdict, NotAService, "{wrong:?}");
        }
        assert_eq!(director.send(&forged(right).build()).verdict, Reply);
    }
}

#[test]
fn an_answer_without_a_connection_is_no_services() {
    for side in &SIDES {
        let mut director = side.director(Options::default());
        let request = side.packet(SYN);
        let to_client = answer(&request.build(), SYN | ACK).build();
        assert_eq!(director.send(&to_client).verdict, NotAService, "nobody has asked");
        let back = answer(&side.begin(&mut director).frame, SYN | ACK).build();
        assert_eq!(director.send(&back).verdict, Reply);
        director.forget();
        assert_eq!(director.send(&back).verdict, NotAService, "it is over");
        side.begin(&mut director);
        assert_eq!(director.send(&back).verdict, Reply, "it has begun again");
    }
}

/// The switch that a director without translated reals has off: the packets of a router that it is besides cost no look.
#[test]
fn answers_are_looked_up_only_where_there_may_be_some() {
    let side = &SIDES[0];
    let mut director = side.director(Options { replies: false, ..Options::default() });
    let sent = side.begin(&mut director);
    assert_eq!(director.send(&answer(&sent.frame, SYN | ACK).build()).verdict, NotAService);
}

/// What a real still has to say on its connections goes on when it gets no more.
#[test]
fn answers_of_a_real_that_is_drained_or_removed() {
    for side in [&SIDES[0], &SIDES[5]] {
        let mut director = side.director(Options::default());
        let sent = side.begin(&mut director);
        for of in [disposition::DRAIN, disposition::DROP, disposition::GONE] {
            let (service, real) = (side.service.parse().unwrap(), side.real.parse().unwrap());
            director.change_real(&service, real, |real| real.disposition = of);
            assert_eq!(director.send(&answer(&sent.frame, ACK).build()).verdict, Reply);
        }
        assert_eq!(director.send(&side.packet(ACK).build()).verdict, RealGone);
    }
}

/// Two services with one real: a client that uses one port for both would get answers that nobody can tell apart.
#[test]
fn one_port_of_a_client_through_two_services_to_one_real() {
    let sides = [
        (["tcp://10.0.0.100:80", "tcp://10.0.0.100:81"], "10.0.1.1:8080", Packet::v4(CLIENT, VIP)),
        (["tcp://[fd00::100]:80", "tcp://[fd00::100]:81"], "[fd00::1:1]:8080", Packet::v6(CLIENT6, VIP6)),
    ];
    for (services, real, packet) in sides {
        let mut director = Director::default();
        let keys = services.map(|service| director.service(service, RR, 0, &[(nat(real, 1), 1)]));
        let at = real.parse().unwrap();
        let to = |port, flags| packet.clone().tcp(4000, port, flags).build();
        let sent = director.send(&to(80, SYN));
        director.send(&to(80, ACK));
        for _ in 0..2 {
            assert_eq!(director.send(&to(81, SYN)).verdict, NatConflict);
            assert_eq!((director.load(&keys[1], at), director.connections().len()), ((0, 0), 1), "it is given up");
        }
        assert!(director.send(&packet.clone().tcp(4001, 81, SYN).build()).is_new, "another port of the client goes");
        assert_eq!(director.send(&to(80, ACK)).verdict, Nat, "the first connection goes on");
        assert_eq!(director.send(&answer(&sent.frame, ACK).build()).verdict, Reply);
        // Over, but still in its place: the client's port may be used again only when it has left.
        assert_eq!(director.send(&to(80, RST)).verdict, Nat);
        assert_eq!(director.send(&to(81, SYN)).verdict, NatConflict);
        director.forget_all_in(State::Close);
        let sent = director.send(&to(81, SYN));
        assert_eq!((sent.verdict, sent.is_new), (Nat, true));
        assert_eq!(director.send(&answer(&sent.frame, SYN | ACK).build()).verdict, Reply);
        assert!(director.tables.audit_loads().is_empty());
    }
}

/// An any-port service is one, with as many connections of one client's port as it has ports.
#[test]
fn one_port_of_a_client_to_two_ports_of_a_service() {
    let mut director = SIDES[2].director(Options::default());
    for port in [80, 443] {
        let sent = director.send(&Packet::v4(CLIENT, VIP).tcp(4000, port, SYN).build());
        assert_eq!((sent.verdict, sent.is_new), (Nat, true));
        assert_eq!(director.send(&answer(&sent.frame, SYN | ACK).build()).verdict, Reply);
    }
}

/// Two buckets of eight: every answer's two buckets are both of them.
const FULL: u16 = 16;

fn small(side: &Side) -> Director {
    side.director(Options { reply_buckets: 2, ..Options::default() })
}

#[test]
fn a_full_table_takes_no_new_connections() {
    for side in [&SIDES[0], &SIDES[5]] {
        let mut director = small(side);
        let key = side.service.parse().unwrap();
        let real = side.real.parse().unwrap();
        let packet = |port, flags| {
            let ends = ends(&side.packet(SYN).build());
            Packet::new(ends.source.ip(), ends.destination.ip()).tcp(port, 80, flags).build()
        };
        let at_real: Vec<_> = (0..FULL)
            .map(|port| {
                let sent = director.send(&packet(4000 + port, SYN));
                assert_eq!((sent.verdict, sent.is_new), (Nat, true));
                director.send(&packet(4000 + port, ACK));
                sent.frame
            })
            .collect();
        for port in 5000..5003 {
            assert_eq!(director.send(&packet(port, SYN)).verdict, NatFull);
            assert_eq!(director.send(&packet(port, ACK)).verdict, MissNotSyn, "it is given up");
        }
        assert_eq!(director.load(&key, real), (u32::from(FULL), 0));
        for (port, at_real) in (4000..).zip(&at_real) {
            let sent = director.send(&packet(port, ACK));
            assert_eq!((sent.verdict, sent.is_new), (Nat, false));
            assert_eq!(director.send(&answer(at_real, ACK).build()).verdict, Reply);
        }
        // Two connections end: two others have room, the third has not.
        for port in [4003, 4012] {
            director.send(&packet(port, RST));
        }
        assert_eq!(director.send(&packet(5000, SYN)).verdict, NatFull, "they are still in their places");
        director.forget_all_in(State::Close);
        for port in [5000, 5001] {
            let sent = director.send(&packet(port, SYN));
            assert_eq!((sent.verdict, sent.is_new), (Nat, true));
            assert_eq!(director.send(&answer(&sent.frame, SYN | ACK).build()).verdict, Reply);
        }
        assert_eq!(director.send(&packet(5002, SYN)).verdict, NatFull);
        assert_eq!(director.send(&answer(&at_real[3], ACK).build()).verdict, NotAService);
        assert!(director.tables.audit_loads().is_empty());
    }
}

/// Places of the reply table are those of connections: after any number of them there is as much room as before.
#[test]
fn a_table_used_many_times_over() {
    let mut director = small(&SIDES[0]);
    for round in 0..40 {
        for port in 0..FULL {
            let port = 4000 + round * FULL + port;
            let sent = director.send(&Packet::v4(CLIENT, VIP).tcp(port, 80, SYN).build());
            assert_eq!((sent.verdict, sent.is_new), (Nat, true));
            assert_eq!(director.send(&answer(&sent.frame, SYN | ACK).build()).verdict, Reply);
        }
        director.forget();
    }
}

/// A hash scheduler finds its real without a connection, translation does not.
#[test]
fn a_hash_scheduler_without_room_for_a_connection() {
    let mut director = Director::new(Options { buckets: 2, ..Options::default() });
    director.service("tcp://10.0.0.100:80", MH, 0, &[(nat("10.0.1.1:80", 1), 1)]);
    let packet = |port, flags| Packet::v4(CLIENT, VIP).tcp(port, 80, flags).build();
    for port in 0..8 {
        director.send(&packet(4000 + port, SYN));
        director.send(&packet(4000 + port, ACK));
    }
    assert_eq!(director.send(&packet(5000, SYN)).verdict, TableFull);
    assert_eq!(director.send(&packet(5000, ACK)).verdict, TableFull);
    assert_eq!(director.load(&"tcp://10.0.0.100:80".parse().unwrap(), "10.0.1.1:80".parse().unwrap()), (8, 0));
}

/// Where a hash scheduler sends a reset without an entry by direct routing, translation has nothing to send it by.
#[test]
fn a_reset_without_a_connection() {
    for scheduler in [RR, MH] {
        let mut director = Director::default();
        director.service("tcp://10.0.0.100:80", scheduler, 0, &[(nat("10.0.1.1:80", 1), 1)]);
        let sent = director.send(&Packet::v4(CLIENT, VIP).tcp(4000, 80, RST).build());
        assert_eq!(sent.verdict, MissNotSyn);
        assert!(director.connections().is_empty());
    }
}
