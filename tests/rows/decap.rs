//! The real server's decapsulator: what it opens, and that it touches nothing else.

use lb_tests::decap::{Decap, GUE_PORT};
use lb_tests::director::{Director, hex, tunnel};
use lb_tests::packet::{Packet, SYN, cut, spoil};
use proptest::prelude::*;
use proptest::test_runner::{Config, TestRunner};

use super::{CLIENT, CLIENT6, OTHER, OTHER6, VIP, VIP6};

const PASS: u32 = 2;
const DIRECTOR: &str = "172.16.0.1";
const DIRECTOR6: &str = "fd16::1";
const REAL: &str = "10.0.1.1";
const REAL6: &str = "fd00::1:1";

fn inner(destination: &str) -> Vec<u8> {
    let packet =
        if destination.contains(':') { Packet::v6(CLIENT6, destination) } else { Packet::v4(CLIENT, destination) };
    packet.tos(0x2e).tcp(4000, 80, SYN).payload(b"hello").build()
}

/// The inner frame's IP packet inside an outer packet of either family.
fn outer(is_v6: bool, inner: &[u8]) -> Packet {
    let protocol = if inner[12] == 0x08 { 4 } else { 41 };
    let packet = if is_v6 { Packet::v6(DIRECTOR6, REAL6) } else { Packet::v4(DIRECTOR, REAL) };
    packet.raw(protocol, &inner[14..])
}

#[test]
fn all_four_combinations_are_opened() {
    let mut decap = Decap::new(&[VIP, VIP6]);
    for vip in [VIP, VIP6] {
        for is_v6 in [false, true] {
            let inner = inner(vip);
            let (action, frame, counters) = decap.send(&outer(is_v6, &inner).build());
            assert_eq!((action, hex(&frame), counters), (PASS, hex(&inner), (1, 0)), "{vip} in IPv6: {is_v6}");
            let padded = [outer(is_v6, &inner).build(), vec![0; 11]].concat();
            let (_, frame, _) = decap.send(&padded);
            assert_eq!(hex(&frame), hex(&[inner, vec![0; 11]].concat()), "padding stays where it is");
        }
    }
}

/// What stands between the outer header and the packet: GRE with and without checksum, GUE in both variants. What differs in one bit
/// is somebody else's.
#[test]
fn gue_and_gre_are_opened() {
    let mut decap = Decap::new(&[VIP, VIP6]);
    for vip in [VIP, VIP6] {
        for is_v6 in [false, true] {
            let inner = inner(vip);
            let (ethertype, protocol) = ([inner[12], inner[13]], if inner[12] == 0x08 { 4 } else { 41 });
            let outer = || if is_v6 { Packet::v6(DIRECTOR6, REAL6) } else { Packet::v4(DIRECTOR, REAL) };
            let gre = |between: &[u8]| outer().raw(47, &[between, &inner[14..]].concat()).build();
            let gue =
                |port, between: &[u8]| outer().udp(50_000, port).payload(&[between, &inner[14..]].concat()).build();
            let opened = [
                gre(&[[0, 0], ethertype].concat()),
                gre(&[[0x80, 0], ethertype, [1, 2], [0, 0]].concat()),
                gue(GUE_PORT, &[]),
                gue(GUE_PORT, &[0, protocol, 0, 0]),
            ];
            for (number, frame) in opened.iter().enumerate() {
                let (action, out, counters) = decap.send(frame);
                assert_eq!((action, hex(&out), counters), (PASS, hex(&inner), (1, 0)), "{vip}, {is_v6}, {number}");
            }
            let other = [
                gre(&[[0x20, 0], ethertype, [0, 0], [0, 1]].concat()),
                gre(&[[0, 1], ethertype].concat()),
                gre(&[0, 0, 0x65, 0x58]),
                gue(GUE_PORT + 1, &[]),
                gue(GUE_PORT, &[1, protocol, 0, 0, 0, 0, 0, 0]),
                gue(GUE_PORT, &[0x20, protocol, 0, 0]),
                gue(GUE_PORT, &[0, 47, 0, 0]),
                gue(GUE_PORT, &[0, protocol, 0, 1]),
                outer().udp(50_000, GUE_PORT).payload(b"no").build(),
            ];
            for (number, frame) in other.iter().enumerate() {
                let (action, out, counters) = decap.send(frame);
                assert_eq!((action, hex(&out), counters.0), (PASS, hex(frame), 0), "{vip}, {is_v6}, {number}");
            }
        }
    }
}

/// RFC 6040 section 4.2: congestion that the outer header met is told to a receiver that understands, and is loss to one that does not.
#[test]
fn a_congestion_mark_goes_inwards() {
    let mut decap = Decap::new(&[VIP, VIP6]);
    for vip in [VIP, VIP6] {
        for is_v6 in [false, true] {
            let with = |tos: u8| {
                let packet = if vip == VIP6 { Packet::v6(CLIENT6, vip) } else { Packet::v4(CLIENT, vip) };
                packet.tos(tos).tcp(4000, 80, SYN).payload(b"hello").build()
            };
            for capable in [0x2d, 0x2e, 0x2f] {
                let (action, frame, _) = decap.send(&outer(is_v6, &with(capable)).tos(0x2f).build());
                assert_eq!((action, hex(&frame)), (PASS, hex(&with(0x2f))), "{vip} in IPv6: {is_v6}, tos {capable:#x}");
            }
            let (action, _, _) = decap.send(&outer(is_v6, &with(0x2c)).tos(0x2f).build());
            assert_eq!(action, 1, "dropped");
        }
    }
}

/// What a director puts into a tunnel, a real server takes out again: nothing is lost but the MACs.
#[test]
fn what_the_director_sends_comes_out_again() {
    let mut decap = Decap::new(&[VIP, VIP6]);
    for (real, source) in [("10.0.1.1:80", "172.16.0.1"), ("[fd00::1:1]:80", "fd16::1")] {
        let mut director = Director::default();
        for service in ["tcp://10.0.0.100:80", "tcp://[fd00::100]:80"] {
            director.service(service, lb_common::abi::service::scheduler::RR, 0, &[(tunnel(real, 1, source), 1)]);
        }
        for vip in [VIP, VIP6] {
            let frame = inner(vip);
            let sent = director.send(&frame);
            let (_, out, counters) = decap.send(&sent.frame);
            assert_eq!((hex(&out[12..]), counters), (hex(&frame[12..]), (1, 0)));
        }
    }
}

#[test]
fn everything_else_is_passed_untouched() {
    let mut decap = Decap::new(&[VIP, VIP6]);
    let inner4 = inner(VIP);
    let good = outer(false, &inner4).build();
    let good6 = outer(true, &inner(VIP6)).build();
    let frames = [
        ("inner destination is not a VIP", outer(false, &inner(OTHER)).build(), 1),
        ("the same in IPv6", outer(true, &inner(OTHER)).build(), 1),
        ("IPv6 inside", outer(false, &inner(OTHER6)).build(), 1),
        ("IPv6 inside IPv6", outer(true, &inner(OTHER6)).build(), 1),
        ("IPv4 VIP mapped into IPv6", outer(false, &inner(&format!("::ffff:{VIP}"))).build(), 1),
        ("inner version 6 under protocol 4", spoil(&good, 34, &[0x65]), 1),
        ("inner version 4 under protocol 41", spoil(&good6, 54, &[0x45]), 1),
        ("outer options", outer(false, &inner4).options(&[1, 1, 1, 0]).build(), 0),
        ("outer fragment", outer(false, &inner4).fragment_word(0x2000).build(), 0),
        ("outer later fragment", outer(false, &inner4).fragment_word(0x0010).build(), 0),
        ("outer extension header", outer(true, &inner4).extension(60, &[0, 1, 4, 0, 0, 0, 0]).build(), 0),
        ("tagged", outer(false, &inner4).vlan(5).build(), 0),
        ("no tunnel: TCP to the VIP itself", inner4.clone(), 0),
        ("GRE", Packet::v4(DIRECTOR, REAL).raw(47, &inner4[14..]).build(), 0),
        ("ARP", spoil(&good, 12, &[0x08, 0x06]), 0),
        ("outer length lies", spoil(&good, 16, &[0xff, 0xff]), 0),
        ("outer IHL 4", spoil(&good, 14, &[0x44]), 0),
        ("nothing behind the outer header", Packet::v4(DIRECTOR, REAL).raw(4, &[]).build(), 1),
        ("nothing behind the outer IPv6 header", Packet::v6(DIRECTOR6, REAL6).raw(41, &[]).build(), 1),
        ("19 bytes behind", Packet::v4(DIRECTOR, REAL).raw(4, &inner4[14..33]).build(), 1),
        ("39 bytes behind", Packet::v4(DIRECTOR, REAL).raw(41, &inner(VIP6)[14..53]).build(), 1),
    ];
    for (name, frame, not_ours) in frames {
        let (action, out, counters) = decap.send(&frame);
        assert_eq!((action, hex(&out), counters), (PASS, hex(&frame), (0, not_ours)), "{name}");
    }
    for length in 14..34 {
        let (action, out, _) = decap.send(&cut(&good, length));
        assert_eq!((action, out.len()), (PASS, length));
    }
}

#[test]
fn without_vips_nothing_is_opened() {
    let mut decap = Decap::new(&[]);
    for vip in [VIP, VIP6] {
        for is_v6 in [false, true] {
            let frame = outer(is_v6, &inner(vip)).build();
            assert_eq!(decap.send(&frame), (PASS, frame, (0, 1)));
        }
    }
}

/// Hostile bytes: passed untouched or with exactly the outer header gone. Congestion marks, which change or drop, have a row of their
/// own.
#[test]
fn hostile_bytes() {
    let mut decap = Decap::new(&[VIP, VIP6]);
    let seeds: Vec<Vec<u8>> =
        [VIP, VIP6, OTHER].iter().flat_map(|vip| [false, true].map(|v6| outer(v6, &inner(vip)).build())).collect();
    let strategy = (0..seeds.len(), prop::collection::vec((0usize..110, any::<u8>()), 0..6), 14usize..140);
    let cell = std::cell::RefCell::new(&mut decap);
    TestRunner::new(Config { cases: 5000, failure_persistence: None, ..Config::default() })
        .run(&strategy, |(seed, changes, length)| {
            let mut frame = seeds[seed].clone();
            for (at, byte) in changes {
                if let Some(place) = frame.get_mut(at) {
                    *place = byte;
                }
            }
            // ECN of an outer IPv4 header stands in byte 15's low bits, of an IPv6 header in its bits 4 and 5.
            frame[15] &= if frame[12] == 0x08 { 0xfc } else { 0xcf };
            frame.truncate(length);
            let (action, out, (opened, _)) = cell.borrow_mut().send(&frame);
            prop_assert_eq!(action, PASS);
            if opened == 0 {
                prop_assert_eq!(&out, &frame);
            } else {
                let stripped = frame.len() - out.len();
                prop_assert!(stripped == 20 || stripped == 40);
                prop_assert_eq!(&out[..12], &frame[..12]);
                prop_assert_eq!(&out[14..], &frame[14 + stripped..]);
            }
            Ok(())
        })
        .unwrap();
}
