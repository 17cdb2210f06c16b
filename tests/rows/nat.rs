//! NAT: the real gets the client's packet at its own address and port, and its answer leaves from the service's. All bytes are checked by
//! [`Director::send`], in both directions.

use lb_common::abi::service::scheduler::RR;
use lb_common::abi::settings::Settings;
use lb_common::abi::verdict::Verdict::*;
use lb_tests::director::{Director, INGRESS, OTHER, Options, Sent, hex, nat};
use lb_tests::packet::{ACK, Packet, SYN, spoil};
use lb_tests::translated::{Parts, answer, ends, is_right};
use lb_userspace::dataplane::clock::Clock;

use super::{CLIENT, CLIENT6, VIP, VIP6};

/// A service, its real, and the port that the client sends to.
pub(crate) struct Side {
    pub(crate) service: &'static str,
    pub(crate) real: &'static str,
    port: u16,
}

/// With another port, with the same one, and with the one that the client asks for.
pub(crate) const SIDES: [Side; 10] = [
    Side { service: "tcp://10.0.0.100:80", real: "10.0.1.1:8080", port: 80 },
    Side { service: "tcp://10.0.0.100:80", real: "10.0.1.1:80", port: 80 },
    Side { service: "tcp://10.0.0.100:0", real: "10.0.1.1:0", port: 8443 },
    Side { service: "udp://10.0.0.100:53", real: "10.0.1.1:5353", port: 53 },
    Side { service: "udp://10.0.0.100:0", real: "10.0.1.1:0", port: 123 },
    Side { service: "tcp://[fd00::100]:80", real: "[fd00::1:1]:8080", port: 80 },
    Side { service: "tcp://[fd00::100]:80", real: "[fd00::1:1]:80", port: 80 },
    Side { service: "tcp://[fd00::100]:0", real: "[fd00::1:1]:0", port: 8443 },
    Side { service: "udp://[fd00::100]:53", real: "[fd00::1:1]:5353", port: 53 },
    Side { service: "udp://[fd00::100]:0", real: "[fd00::1:1]:0", port: 123 },
];

impl Side {
    pub(crate) fn director(&self, options: Options) -> Director {
        let mut director = Director::new(options);
        director.service(self.service, RR, 0, &[(nat(self.real, 1), 1)]);
        director
    }

    /// A packet of the client, with these flags if it is TCP.
    pub(crate) fn packet(&self, flags: u8) -> Packet {
        let packet = if self.service.contains('[') { Packet::v6(CLIENT6, VIP6) } else { Packet::v4(CLIENT, VIP) };
        if self.service.starts_with("tcp") { packet.tcp(4000, self.port, flags) } else { packet.udp(4000, self.port) }
    }

    /// Sends the client's first packet, which goes to the real.
    pub(crate) fn begin(&self, director: &mut Director) -> Sent {
        let sent = director.send(&self.packet(SYN).build());
        assert_eq!((sent.verdict, sent.is_new), (Nat, true), "{}", self.service);
        sent
    }
}

#[test]
fn every_byte_of_a_question_and_its_answer() {
    let side = &SIDES[3];
    let mut director = side.director(Options::default());
    let sent = director.send(&side.packet(ACK).payload(b"ask").build());
    assert_eq!(
        hex(&sent.frame),
        "02 00 00 00 0a 01 02 00 00 00 0b 01 08 00 \
         45 00 00 1f 12 34 40 00 3f 11 5c 92 c0 00 02 07 0a 00 01 01 \
         0f a0 14 e9 00 0b 41 d3 61 73 6b"
    );
    let sent = director.send(&answer(&sent.frame, 0).payload(b"told").ttl(100).build());
    assert_eq!(sent.verdict, Reply);
    assert_eq!(
        hex(&sent.frame),
        "02 00 00 00 00 fe 02 00 00 00 00 01 08 00 \
         45 00 00 20 12 34 40 00 63 11 39 2e 0a 00 00 64 c0 00 02 07 \
         00 35 0f a0 00 0c 42 c2 74 6f 6c 64"
    );
}

#[test]
fn there_and_back() {
    for side in &SIDES {
        let mut director = side.director(Options::default());
        let sent = side.begin(&mut director);
        assert_eq!(ends(&sent.frame).source, ends(&side.packet(SYN).build()).source, "NAT leaves the client's end");
        for flags in [SYN | ACK, ACK, ACK] {
            assert_eq!(director.send(&answer(&sent.frame, flags).build()).verdict, Reply);
        }
        for length in [0, 1, 2, 3, 700, 1401] {
            let data = vec![0xa5; length];
            let again = director.send(&side.packet(ACK).payload(&data).tos(0xb9).ttl(2).build());
            assert_eq!((again.verdict, again.is_new), (Nat, false));
            let back = director.send(&answer(&sent.frame, ACK).payload(&data).tos(0xb9).ttl(255).build());
            assert_eq!((back.verdict, back.real), (Reply, Some(side.real.parse().unwrap())));
            assert!(is_right(&again.frame) && is_right(&back.frame));
        }
    }
}

/// Tags stay as they came, each way.
#[test]
fn tags_and_padding() {
    for side in &SIDES {
        let mut director = side.director(Options::default());
        let sent = side.begin(&mut director);
        let tagged = |packet: Packet| [packet.clone().vlan(5), packet.tag(0x88a8, 7).vlan(5)];
        for packet in tagged(side.packet(ACK)) {
            assert_eq!(director.send(&packet.build()).verdict, Nat);
        }
        for packet in tagged(answer(&sent.frame, ACK)) {
            let padded = [packet.build(), vec![0; 9]].concat();
            assert_eq!(director.send(&padded).verdict, Reply);
        }
    }
}

#[test]
fn ipv4_options_stay() {
    let side = &SIDES[0];
    let mut director = side.director(Options::default());
    let sent = side.begin(&mut director);
    for length in [4, 8, 20, 40] {
        assert_eq!(director.send(&side.packet(ACK).options(&vec![1; length]).build()).verdict, Nat);
        let back = answer(&sent.frame, ACK).options(&vec![1; length]).payload(b"data");
        assert_eq!(director.send(&back.build()).verdict, Reply);
    }
}

/// In front of the transport header, which is then found by walking them.
#[test]
fn ipv6_extension_headers_stay() {
    let eight = [0, 1, 4, 0, 0, 0, 0];
    for side in [&SIDES[5], &SIDES[8]] {
        let mut director = side.director(Options::default());
        let sent = side.begin(&mut director);
        for packet in [side.packet(ACK), answer(&sent.frame, ACK)] {
            for kinds in [&[0][..], &[60], &[43], &[0, 60], &[60, 51]] {
                let packet = kinds.iter().fold(packet.clone(), |packet, kind| {
                    packet.extension(*kind, if *kind == 51 { &[4; 23][..] } else { &eight })
                });
                for length in [0, 3, 1200] {
                    let sent = director.send(&packet.clone().payload(&vec![9; length]).build());
                    assert!(matches!(sent.verdict, Nat | Reply), "{kinds:?}: {:?}", sent.verdict);
                    assert!(is_right(&sent.frame));
                }
            }
        }
    }
}

#[test]
fn out_of_another_interface() {
    for side in &SIDES {
        let mut director = side.director(Options::default());
        director.change_real(&side.service.parse().unwrap(), side.real.parse().unwrap(), |real| real.ifindex = OTHER);
        let sent = director.send(&side.packet(SYN).build());
        assert_eq!(sent.verdict, NatRedirect);
        assert_eq!(director.send(&answer(&sent.frame, ACK).build()).verdict, Reply, "the client is behind {INGRESS}");
    }
}

/// RFC 1624: what was damaged on the way to the director arrives as damaged, so that the receiver sees it.
#[test]
fn a_wrong_checksum_stays_wrong() {
    for side in &SIDES {
        let mut director = side.director(Options::default());
        let sent = side.begin(&mut director);
        for frame in [side.packet(ACK).build(), answer(&sent.frame, ACK).build()] {
            let parts = Parts::of(&frame);
            let at = parts.transport + if parts.protocol == 6 { 16 } else { 6 };
            let right = u16::from_be_bytes([frame[at], frame[at + 1]]);
            for wrong in [right.wrapping_add(1), !right, 1, 0x8000] {
                let sent = director.send(&spoil(&frame, at, &wrong.to_be_bytes()));
                assert!(matches!(sent.verdict, Nat | Reply));
                assert!(!is_right(&sent.frame), "{wrong:#x} instead of {right:#x}");
            }
        }
    }
}

/// RFC 768: zero says that the sender made none. The header of the packet says nothing about its data then.
#[test]
fn a_datagram_without_checksum_stays_without() {
    let side = &SIDES[3];
    let mut director = side.director(Options::default());
    let sent = side.begin(&mut director);
    for frame in [side.packet(ACK).payload(b"x").build(), answer(&sent.frame, 0).payload(b"y").build()] {
        let sent = director.send(&spoil(&frame, 40, &[0, 0]));
        assert_eq!(sent.frame[40..42], [0, 0]);
    }
}

/// A sum of zero is sent as its other form (RFC 768): a receiver would take 0 for "none".
#[test]
fn a_datagram_whose_checksum_becomes_zero() {
    for side in [&SIDES[3], &SIDES[8]] {
        let mut director = side.director(Options::default());
        let mut sum = |data: [u8; 2]| {
            let sent = director.send(&side.packet(0).payload(&data).build());
            let at = Parts::of(&sent.frame).transport + 6;
            [sent.frame[at], sent.frame[at + 1]]
        };
        // What is missing to a sum of nothing but ones is the checksum itself.
        let missing = sum([0, 0]);
        assert_eq!(sum(missing), [0xff, 0xff]);
    }
}

/// The way back is that of the client's latest packets, looked up in one tick of four.
#[test]
fn a_client_that_comes_another_way() {
    for side in [&SIDES[0], &SIDES[5]] {
        let mut director = side.director(Options { tick_shift: 0, ..Options::default() });
        let sent = side.begin(&mut director);
        let back = |director: &mut Director| director.send(&answer(&sent.frame, ACK).build()).frame[..6].to_vec();
        assert_eq!(back(&mut director), [2, 0, 0, 0, 0, 0xfe]);
        for _ in 0..16 {
            director.send(&side.packet(ACK).mac([2, 9, 9, 9, 9, 9]).build());
            std::thread::sleep(std::time::Duration::from_millis(12));
        }
        assert_eq!(back(&mut director), [2, 9, 9, 9, 9, 9]);
    }
}

/// While somebody watches what changes, the way back is looked up in one tick of 256, and for every connection after a change.
#[test]
fn a_client_that_comes_another_way_while_somebody_watches() {
    let mut clock = Clock::load().unwrap();
    for side in [&SIDES[0], &SIDES[5]] {
        let mut director = side.director(Options { tick_shift: 0, ..Options::default() });
        let sent = side.begin(&mut director);
        // The kernel here knows no way to the client, so that each look finds the router that the packet came from: the row says it did.
        let watch = |director: &mut Director, tick: u32, changed: Option<u32>| {
            let settings = director.tables.settings();
            let changed = changed.map_or(settings.routes_changed, u64::from);
            let (watched, unknown) = (tick.into(), 0);
            director.tables.set_settings(&Settings {
                routes_changed: changed,
                routes_watched: watched,
                routes_unknown: unknown,
                ..settings
            });
        };
        let mut comes_by = |director: &mut Director, router: u8, is_changed: bool| {
            // A tick is a jiffy, ten milliseconds at most.
            std::thread::sleep(std::time::Duration::from_millis(12));
            let tick = clock.tick(0).unwrap();
            watch(director, tick, is_changed.then_some(tick));
            director.send(&side.packet(ACK).mac([2, 9, 9, 9, 9, router]).build());
            let sent_at = clock.tick(0).unwrap();
            let back = director.send(&answer(&sent.frame, ACK).build()).frame[..6].to_vec();
            ([tick, sent_at], back == [2, 9, 9, 9, 9, router])
        };
        // The first one still opens the connection: a change of state looks in any case.
        let ([begin, mut before], _) = comes_by(&mut director, 99, false);
        let mut looks = 0;
        for router in 0..60 {
            let ([watched, sent_at], has_looked) = comes_by(&mut director, router, false);
            // On a machine that let this thread wait for long, nobody watched in time, or the connection was silent.
            let is_in_time = sent_at - watched < 6 && sent_at - before < 60;
            looks += u32::from(has_looked && is_in_time);
            before = sent_at;
        }
        let turns = (before - begin) / 256 + 1;
        assert!(looks <= turns, "{looks} looks, {turns} turns");
        for router in 100..110 {
            assert!(comes_by(&mut director, router, true).1, "after a change the first packet of a tick looks");
        }
    }
}
