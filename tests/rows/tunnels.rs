//! Tunnels: IPv4 and IPv6 packets inside IPv4 and IPv6, byte for byte, and what of the outer header varies by flow.

use std::collections::BTreeSet;
use std::net::IpAddr;

use lb_common::abi::real::Real;
use lb_common::abi::service::scheduler::RR;
use lb_common::abi::verdict::Verdict::*;
use lb_tests::director::{Director, GRE, GUE, OTHER, hex, through, tunnel};
use lb_tests::expect;
use lb_tests::packet::{ACK, Packet, SYN, checksum, spoil};

use super::{CLIENT, CLIENT6, VIP, VIP6};

const SOURCE: &str = "172.16.0.1";
const SOURCE6: &str = "fd16::1";
const REAL: &str = "10.0.1.1:80";
const REAL6: &str = "[fd00::1:1]:80";

/// Service of the packet's family and a tunnel to this real.
fn director(real: Real) -> Director {
    let mut director = Director::default();
    director.service("tcp://10.0.0.100:80", RR, 0, &[(real, 1)]);
    director.service("tcp://[fd00::100]:80", RR, 0, &[(real, 1)]);
    director
}

#[test]
fn every_byte_of_ipv4_in_ipv4() {
    let sent =
        director(tunnel(REAL, 1, SOURCE)).send(&Packet::v4(CLIENT, VIP).tos(0xb9).ttl(61).tcp(4000, 80, SYN).build());
    assert_eq!(
        hex(&sent.frame),
        "02 00 00 00 0a 01 02 00 00 00 0b 01 08 00 \
         45 b9 00 3c 12 34 40 00 3d 04 73 bf ac 10 00 01 0a 00 01 01 \
         45 b9 00 28 12 34 40 00 3d 06 5e 78 c0 00 02 07 0a 00 00 64 \
         0f a0 00 50 00 00 00 01 00 00 00 00 50 02 ff ff d3 86 00 00"
    );
}

#[test]
fn every_byte_of_ipv6_in_ipv6_but_the_flow_label() {
    let sent = director(tunnel(REAL6, 1, SOURCE6))
        .send(&Packet::v6(CLIENT6, VIP6).tos(0xb9).ttl(61).tcp(4000, 80, SYN).build());
    let mut frame = sent.frame.clone();
    frame[15] &= 0xf0;
    frame[16..18].copy_from_slice(&[0, 0]);
    assert_eq!(
        hex(&frame[..14 + 40 + 8]),
        "02 00 00 00 0a 01 02 00 00 00 0b 01 86 dd \
         6b 90 00 00 00 3c 29 3d fd 16 00 00 00 00 00 00 00 00 00 00 00 00 00 01 \
         fd 00 00 00 00 00 00 00 00 00 00 00 00 01 00 01 \
         6b 9a bc de 00 14 06 3d"
    );
}

#[test]
fn every_byte_of_ipv4_in_ipv6_but_the_flow_label() {
    let sent = director(tunnel(REAL6, 1, SOURCE6)).send(&Packet::v4(CLIENT, VIP).tcp(4000, 80, SYN).build());
    let mut frame = sent.frame.clone();
    frame[15] &= 0xf0;
    frame[16..18].copy_from_slice(&[0, 0]);
    assert_eq!(
        hex(&frame[..14 + 40 + 4]),
        "02 00 00 00 0a 01 02 00 00 00 0b 01 86 dd \
         60 00 00 00 00 28 04 40 fd 16 00 00 00 00 00 00 00 00 00 00 00 00 00 01 \
         fd 00 00 00 00 00 00 00 00 00 00 00 00 01 00 01 \
         45 00 00 28"
    );
}

#[test]
fn every_byte_of_ipv6_in_ipv4_but_the_identification() {
    let sent = director(tunnel(REAL, 1, SOURCE)).send(&Packet::v6(CLIENT6, VIP6).ttl(255).tcp(4000, 80, SYN).build());
    let mut frame = sent.frame.clone();
    frame[18..20].copy_from_slice(&[0, 0]);
    frame[24..26].copy_from_slice(&[0, 0]);
    assert_eq!(
        hex(&frame[..14 + 20 + 4]),
        "02 00 00 00 0a 01 02 00 00 00 0b 01 08 00 \
         45 00 00 50 00 00 00 00 ff 29 00 00 ac 10 00 01 0a 00 01 01 \
         60 0a bc de"
    );
}

/// All four combinations, with every number of tags, both exits, and every field that the outer header takes from the inner one. The
/// director's harness compares every byte with what the RFCs ask for; checksums are verified once more over what came out.
#[test]
fn every_combination() {
    combinations(|real| real);
}

#[test]
fn every_combination_by_gue() {
    combinations(|real| through(real, GUE, false));
    combinations(|real| through(real, GUE, true));
}

#[test]
fn every_combination_by_gre() {
    combinations(|real| through(real, GRE, false));
    combinations(|real| through(real, GRE, true));
}

fn combinations(by: impl Fn(Real) -> Real) {
    let mut port = 1000;
    for (real, source) in [(REAL, SOURCE), (REAL6, SOURCE6)] {
        for ifindex in [1, OTHER] {
            let mut director = director(Real { ifindex, ..by(tunnel(real, 1, source)) });
            for packet in [Packet::v4(CLIENT, VIP), Packet::v6(CLIENT6, VIP6)] {
                let mut shapes = vec![
                    packet.clone(),
                    packet.clone().ttl(1),
                    packet.clone().ttl(255),
                    packet.clone().payload(&[0x5a; 601]),
                ];
                shapes.extend((0..=255).step_by(3).map(|tos| packet.clone().tos(tos)));
                shapes.extend([0x0000, 0x4000, 0x8000, 0xc000].map(|word| packet.clone().fragment_word(word)));
                shapes.extend([0, 1, 0xffff].map(|id| packet.clone().identification(id)));
                if packet.ip_offset() == 14 {
                    shapes.push(packet.clone().options(&[1; 12]));
                    shapes.push(packet.clone().extension(60, &[0, 1, 4, 0, 0, 0, 0]));
                }
                for shape in shapes {
                    for shape in [shape.clone(), shape.clone().vlan(5), shape.tag(0x88a8, 7).vlan(0xe123)] {
                        port += 1;
                        let sent = director.send(&shape.tcp(port, 80, SYN).build());
                        assert_eq!(sent.verdict, if ifindex == 1 { Tunnel } else { TunnelRedirect });
                        let outer = expect::locate(&sent.frame);
                        if outer.version == 4 {
                            let header = &sent.frame[outer.offset..outer.offset + 20];
                            assert_eq!(checksum(&[header]), 0, "outer header checksum");
                        }
                        assert_eq!(sent.frame.len(), outer.offset + outer.length, "lengths fit");
                    }
                }
            }
        }
    }
}

/// Bytes by hand: RFC 768's and RFC 2784's headers around a packet whose checksums are known.
#[test]
fn every_byte_of_gue_and_gre() {
    let frame = Packet::v4(CLIENT, VIP).tcp(4000, 80, SYN).build();
    let outer = |by, checksum| {
        let sent = director(through(tunnel(REAL, 1, SOURCE), by, checksum)).send(&frame);
        hex(&sent.frame[14..14 + 20 + 8])
    };
    assert_eq!(
        outer(GRE, false),
        "45 00 00 40 12 34 40 00 40 2f 71 49 ac 10 00 01 0a 00 01 01 00 00 08 00 45 00 00 28"
    );
    // The packet's 16-bit words add up to ~0x6086: 0x8000 + 0x0800 + that, complemented.
    let with_sum = outer(GRE, true);
    assert!(
        with_sum.starts_with("45 00 00 44 12 34 40 00 40 2f 71 45 ac 10 00 01 0a 00 01 01 80 00 08 00"),
        "{with_sum}"
    );
    let gue = outer(GUE, false);
    assert!(gue.starts_with("45 00 00 44 12 34 40 00 40 11 71 63 ac 10 00 01 0a 00 01 01"), "{gue}");
    assert!(gue.ends_with("17 c0 00 30 00 00"), "port 6080, 48 bytes, no checksum: {gue}");
}

/// UDP without checksum, fragments and ICMP: what a checksum can be told for, and what not. The harness compares every byte.
#[test]
fn checksums_only_where_they_are_known() {
    for by in [GUE, GRE] {
        for (real, source) in [("10.0.1.1:53", SOURCE), ("[fd00::1:1]:53", SOURCE6)] {
            let mut director = Director::default();
            let real = through(tunnel(real, 1, source), by, true);
            director.service("udp://10.0.0.100:53", RR, 0, &[(real, 1)]);
            director.service("udp://[fd00::100]:53", RR, 0, &[(real, 1)]);
            for packet in [Packet::v4(CLIENT, VIP), Packet::v6(CLIENT6, VIP6)] {
                for length in 0..40 {
                    let packet = packet.clone().udp(4000 + length, 53).payload(&vec![0xa5; usize::from(length)]);
                    assert_eq!(director.send(&packet.build()).verdict, Tunnel);
                }
            }
            let mut unsummed = Packet::v4(CLIENT, VIP).udp(5000, 53).payload(b"x").build();
            unsummed[14 + 20 + 6..14 + 20 + 8].copy_from_slice(&[0, 0]);
            assert_eq!(director.send(&unsummed).verdict, Tunnel);
        }
    }
}

/// What came damaged is refused at the tunnel's end, if not at the real: nothing on the way makes it look whole.
#[test]
fn a_wrong_checksum_inside_is_a_wrong_one_outside() {
    for (family, packet) in [("IPv4", Packet::v4(CLIENT, VIP)), ("IPv6", Packet::v6(CLIENT6, VIP6))] {
        let frame = packet.tcp(4000, 80, SYN).payload(b"data").build();
        let last = frame.len() - 1;
        for (input, is_right) in [(frame.clone(), true), (spoil(&frame, last, b"b"), false)] {
            let gre = director(through(tunnel(REAL, 1, SOURCE), GRE, true)).send(&input).frame;
            assert_eq!(checksum(&[&gre[14 + 20..]]) == 0, is_right, "{family} in GRE");
            let gue = director(through(tunnel(REAL, 1, SOURCE), GUE, true)).send(&input).frame;
            let udp = &gue[14 + 20..];
            let sum = checksum(&[&gue[14 + 12..14 + 20], &[0, 17], &udp[4..6], udp]);
            assert_eq!(sum == 0, is_right, "{family} in GUE");
        }
    }
}

/// GUE's source port says which flow it is, and is in the dynamic range.
#[test]
fn the_source_port_of_gue_varies() {
    for (real, source) in [(REAL, SOURCE), (REAL6, SOURCE6)] {
        let ports: BTreeSet<Vec<u8>> = flows(through(tunnel(real, 1, source), GUE, false), |_| Packet::v4(CLIENT, VIP))
            .iter()
            .map(|frame| {
                let ip = expect::locate(frame);
                let at = ip.offset + if ip.version == 4 { 20 } else { 40 };
                frame[at..at + 2].to_vec()
            })
            .collect();
        assert!(ports.len() > 190, "{} source ports for 200 flows", ports.len());
    }
}

/// Ethernet's padding travels behind the packet; the outer length does not count it.
#[test]
fn padding_is_not_part_of_the_packet() {
    let mut director = director(tunnel(REAL, 1, SOURCE));
    let frame = [Packet::v4(CLIENT, VIP).tcp(4000, 80, SYN).build(), vec![0; 6]].concat();
    let sent = director.send(&frame);
    assert_eq!((sent.verdict, sent.frame.len(), expect::locate(&sent.frame).length), (Tunnel, 80, 60));
}

fn flows(real: Real, packet: impl Fn(u16) -> Packet) -> Vec<Vec<u8>> {
    let mut director = director(real);
    let first: Vec<Vec<u8>> =
        (0..200).map(|port| director.send(&packet(port).tcp(4000 + port, 80, SYN).build()).frame).collect();
    for (port, before) in first.iter().enumerate() {
        let again =
            director.send(&packet(port as u16).tcp(4000 + port as u16, 80, ACK).payload(b"later").build()).frame;
        assert_eq!(expect::source(&again), expect::source(before), "a flow keeps its outer source");
        let ip = expect::locate(before);
        if ip.version == 6 {
            assert_eq!(again[ip.offset..ip.offset + 4], before[ip.offset..ip.offset + 4], "and its flow label");
        }
    }
    first
}

/// Receivers spread tunnels over their queues by the outer header: it must differ between flows, and only in the bits allowed.
#[test]
fn the_outer_source_varies_inside_its_bits() {
    let vary4 = u32::from_ne_bytes([0, 0, 0x0f, 0xff]);
    let vary6 = u32::from_ne_bytes([0, 0, 0xff, 0xff]);
    let with = |real, source, vary| {
        let mut real = tunnel(real, 1, source);
        real.vary_or_corrections = vary;
        real
    };
    for packet in [Packet::v4(CLIENT, VIP), Packet::v6(CLIENT6, VIP6)] {
        let sources: BTreeSet<IpAddr> = flows(with(REAL, "172.16.0.0", vary4), |_| packet.clone())
            .iter()
            .map(|frame| expect::source(frame))
            .collect();
        assert!(sources.len() > 150, "{} sources for 200 flows", sources.len());
        for source in &sources {
            let IpAddr::V4(source) = source else { panic!("an IPv4 outer header") };
            assert_eq!(source.to_bits() & 0xffff_f000, 0xac10_0000);
        }
        let sources: BTreeSet<IpAddr> =
            flows(with(REAL6, "fd16::", vary6), |_| packet.clone()).iter().map(|frame| expect::source(frame)).collect();
        assert!(sources.len() > 190, "{} sources for 200 flows", sources.len());
        for source in &sources {
            let IpAddr::V6(source) = source else { panic!("an IPv6 outer header") };
            assert_eq!(source.to_bits() >> 16, 0xfd16_u128 << 96);
        }
        let fixed: BTreeSet<IpAddr> =
            flows(tunnel(REAL, 1, SOURCE), |_| packet.clone()).iter().map(|frame| expect::source(frame)).collect();
        assert_eq!(fixed, BTreeSet::from([SOURCE.parse().unwrap()]), "no bits, no variation");
        let labels: BTreeSet<Vec<u8>> =
            flows(tunnel(REAL6, 1, SOURCE6), |_| packet.clone()).iter().map(|frame| frame[14..18].to_vec()).collect();
        assert!(labels.len() > 190, "{} flow labels for 200 flows", labels.len());
    }
}

/// 200 bytes of metadata in front of the frame (the kernel takes up to 216 in a test run) leave no room for an outer header. The frame must come out as it went in.
#[test]
fn no_headroom() {
    for (real, source) in [(REAL, SOURCE), (REAL6, SOURCE6)] {
        for packet in [Packet::v4(CLIENT, VIP), Packet::v6(CLIENT6, VIP6)] {
            let mut director = director(tunnel(real, 1, source));
            let frame = packet.tag(0x88a8, 7).vlan(5).tcp(4000, 80, SYN).build();
            match director.send_without_headroom(&frame, 200) {
                Some(sent) => assert_eq!(sent.verdict, NoHeadroom),
                None => println!("skipped: this kernel puts at most 32 bytes of metadata before a frame"),
            }
            assert_eq!(director.send_without_headroom(&frame, 4).unwrap().verdict, Tunnel);
        }
    }
}
