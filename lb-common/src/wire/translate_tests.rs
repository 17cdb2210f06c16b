//! Translated packets against checksums that are summed anew.

use proptest::prelude::*;

use super::super::readdress::{self, Corrections};
use super::super::slice::{Draft, Frame};
use super::*;

const AT: usize = 14;

/// RFC 1071 over bytes in network order, carries folded.
fn sum(bytes: &[u8]) -> u64 {
    let pairs = bytes.chunks(2).map(|pair| u64::from(pair[0]) << 8 | u64::from(*pair.get(1).unwrap_or(&0)));
    let mut sum: u64 = pairs.sum();
    while sum > 0xffff {
        sum = (sum & 0xffff) + (sum >> 16);
    }
    sum
}

/// What the transport checksum covers: addresses, protocol and length, and the segment itself.
fn covered(packet: &[u8], addresses: std::ops::Range<usize>, protocol: u8, segment: usize) -> u64 {
    let length = (packet.len() - segment) as u64;
    let sum = sum(&packet[addresses]) + u64::from(protocol) + length + sum(&packet[segment..]);
    (sum & 0xffff) + (sum >> 16)
}

fn set_checksum(packet: &mut [u8], addresses: std::ops::Range<usize>, protocol: u8, segment: usize) {
    let at = segment + if protocol == TCP { 16 } else { 6 };
    packet[at..at + 2].fill(0);
    let sum = !(covered(packet, addresses, protocol, segment) as u16);
    packet[at..at + 2].copy_from_slice(&if sum == 0 { [0xff, 0xff] } else { sum.to_be_bytes() });
}

fn segment(protocol: u8, ports: [u8; 4], payload: &[u8]) -> Vec<u8> {
    let mut bytes = ports.to_vec();
    if protocol == TCP {
        bytes.extend([0, 0, 0, 1, 0, 0, 0, 2, 0x50, 0x10, 1, 0, 0, 0, 0, 0]);
    } else {
        bytes.extend(((8 + payload.len()) as u16).to_be_bytes());
        bytes.extend([0, 0]);
    }
    bytes.extend(payload);
    bytes
}

fn packet_v4(protocol: u8, addresses: [u8; 8], ports: [u8; 4], options: usize, payload: &[u8]) -> Vec<u8> {
    let segment = segment(protocol, ports, payload);
    let header = 20 + 4 * options;
    let mut packet = vec![0x40 | (header / 4) as u8, 0];
    packet.extend(((header + segment.len()) as u16).to_be_bytes());
    packet.extend([0, 7, 0x40, 0, 64, protocol, 0, 0]);
    packet.extend(addresses);
    packet.resize(header, 1);
    let checksum = !(sum(&packet) as u16);
    packet[10..12].copy_from_slice(&checksum.to_be_bytes());
    packet.extend(segment);
    set_checksum(&mut packet, 12..20, protocol, header);
    packet
}

fn packet_v6(protocol: u8, addresses: &[u8; 32], ports: [u8; 4], payload: &[u8]) -> Vec<u8> {
    let segment = segment(protocol, ports, payload);
    let mut packet = vec![0x60, 0, 0, 0];
    packet.extend((segment.len() as u16).to_be_bytes());
    packet.extend([protocol, 64]);
    packet.extend(addresses);
    packet.extend(segment);
    set_checksum(&mut packet, 8..40, protocol, 40);
    packet
}

fn framed(packet: &[u8]) -> Vec<u8> {
    let mut frame = vec![0; AT];
    frame.extend(packet);
    frame
}

fn raw(bytes: &[u8]) -> u32 {
    u32::from_ne_bytes([bytes[0], bytes[1], bytes[2], bytes[3]])
}

fn raw_v6(bytes: &[u8]) -> [u64; 2] {
    [0, 8].map(|at| u64::from_ne_bytes(std::array::from_fn(|byte| bytes[at + byte])))
}

fn translate_v4(packet: &[u8], change: &Change<u32>) -> Result<Vec<u8>, Verdict> {
    let mut frame = framed(packet);
    let ip = ipv4::parse(&Frame(&frame), AT)?;
    let result = v4(&Draft::new(&mut frame), AT, &ip, change);
    if result.is_err() {
        assert_eq!(frame[AT..], *packet, "refused, and changed all the same");
    }
    result.map(|()| frame.split_off(AT))
}

fn translate_v6(packet: &[u8], change: &Change<[u64; 2]>) -> Result<Vec<u8>, Verdict> {
    let mut frame = framed(packet);
    let ip = ipv6::parse(&Frame(&frame), AT)?;
    let result = v6(&Draft::new(&mut frame), AT, &ip, change);
    if result.is_err() {
        assert_eq!(frame[AT..], *packet, "refused, and changed all the same");
    }
    result.map(|()| frame.split_off(AT))
}

fn protocols() -> impl Strategy<Value = u8> {
    prop::sample::select(vec![TCP, UDP])
}

proptest! {
    #[test]
    fn v4_is_what_would_be_built_with_the_new_ends(
        protocol in protocols(), old: [u8; 8], new: [u8; 8], ports: [u8; 4], becomes: [u8; 4], options in 0..10usize,
        payload in prop::collection::vec(any::<u8>(), 0..40),
    ) {
        let change = Change {
            source: Some(raw(&new)), destination: Some(raw(&new[4..])),
            ports: Some(Ports { old: raw(&ports), new: raw(&becomes) }),
        };
        let result = translate_v4(&packet_v4(protocol, old, ports, options, &payload), &change).unwrap();
        let header = 20 + 4 * options;
        prop_assert_eq!((sum(&result[..header]), result[8]), (0xffff, 63));
        prop_assert_eq!((&result[12..20], &result[header..header + 4]), (&new[..], &becomes[..]));
        prop_assert_eq!(covered(&result, 12..20, protocol, header), 0xffff);
    }

    #[test]
    fn v6_is_what_would_be_built_with_the_new_ends(
        protocol in protocols(), old: [u8; 32], new: [u8; 32], ports: [u8; 4], becomes: [u8; 4],
        payload in prop::collection::vec(any::<u8>(), 0..40),
    ) {
        let change = Change {
            source: Some(raw_v6(&new)), destination: Some(raw_v6(&new[16..])),
            ports: Some(Ports { old: raw(&ports), new: raw(&becomes) }),
        };
        let mut expected = packet_v6(protocol, &new, becomes, &payload);
        expected[7] = 63;
        let result = translate_v6(&packet_v6(protocol, &old, ports, &payload), &change).unwrap();
        prop_assert_eq!(covered(&result, 8..40, protocol, 40), 0xffff);
        // The two forms of a zero checksum aside.
        let at = 40 + if protocol == TCP { 16 } else { 6 };
        expected[at..at + 2].copy_from_slice(&result[at..at + 2]);
        prop_assert_eq!(result, expected);
    }

    #[test]
    fn one_end_alone_leaves_the_other(protocol in protocols(), old: [u8; 8], new: [u8; 4], ports: [u8; 4], port: u16) {
        let packet = packet_v4(protocol, old, ports, 0, b"data");
        let to = Change { source: None, destination: Some(raw(&new)), ports: Some(Ports::to(raw(&ports), port)) };
        let result = translate_v4(&packet, &to).unwrap();
        prop_assert_eq!((&result[12..16], &result[16..20], &result[20..22]), (&old[..4], &new[..], &ports[..2]));
        prop_assert_eq!(&result[22..24], port.to_ne_bytes());
        let from = Change { source: Some(raw(&new)), destination: None, ports: Some(Ports::from(raw(&ports), port)) };
        let result = translate_v4(&packet, &from).unwrap();
        prop_assert_eq!((&result[12..16], &result[16..20], &result[22..24]), (&new[..], &old[4..], &ports[2..]));
        prop_assert_eq!(&result[20..22], port.to_ne_bytes());
        prop_assert_eq!(covered(&result, 12..20, protocol, 20), 0xffff);
    }

    #[test]
    fn corrections_known_before_give_the_same(
        protocol in protocols(), old: [u8; 32], new: [u8; 16], ports: [u8; 4], port: u16, hops in 0..4u8, sum: Option<[u8; 2]>,
        payload in prop::collection::vec(any::<u8>(), 12..40),
    ) {
        let old_port = u16::from_ne_bytes([ports[2], ports[3]]);
        let at = if protocol == TCP { 16 } else { 6 };
        let ports = raw(&ports);

        let mut packet = packet_v4(protocol, old[..8].try_into().unwrap(), ports.to_ne_bytes(), 0, &payload);
        packet[8] = hops;
        if let Some(sum) = sum {
            packet[20 + at..][..2].copy_from_slice(&sum);
        }
        let address = raw(&new);
        let change = Change { source: None, destination: Some(address), ports: Some(Ports::to(ports, port)) };
        let by = Corrections::v4((raw(&old[4..]), old_port), (address, port));
        let mut frame = framed(&packet);
        frame[12..14].copy_from_slice(&[8, 0]);
        let result = readdress::v4(&Draft::new(&mut frame), protocol, (address, port), by);
        prop_assert!(by.0 & 0xffff != 0 && by.0 >> 16 != 0);
        let expected = translate_v4(&packet, &change).unwrap_or(packet);
        prop_assert_eq!(&frame[AT..], expected);
        prop_assert_eq!(result.is_some(), hops > 1);

        let mut packet = packet_v6(protocol, &old, ports.to_ne_bytes(), &payload);
        packet[7] = hops;
        if let Some(sum) = sum {
            packet[40 + at..][..2].copy_from_slice(&sum);
        }
        let address = raw_v6(&new);
        let change = Change { source: None, destination: Some(address), ports: Some(Ports::to(ports, port)) };
        let by = Corrections::v6((raw_v6(&old[16..]), old_port), (address, port));
        let mut frame = framed(&packet);
        let result = readdress::v6(&Draft::new(&mut frame), protocol, (address, port), by);
        let expected = translate_v6(&packet, &change).unwrap_or(packet);
        prop_assert_eq!(&frame[AT..], expected);
        prop_assert_eq!(result.is_some(), hops > 1);
    }

    #[test]
    fn a_wrong_checksum_stays_wrong_by_as_much(old: [u8; 8], new: [u8; 8], wrong in 1..0xffffu16) {
        let mut packet = packet_v4(TCP, old, [1, 2, 3, 4], 0, b"data");
        let right = u16::from_be_bytes([packet[36], packet[37]]);
        let bad = (u32::from(right) + u32::from(wrong)) % 0xffff;
        packet[36..38].copy_from_slice(&(bad as u16).to_be_bytes());
        let before = covered(&packet, 12..20, TCP, 20) % 0xffff;
        let change = Change { source: Some(raw(&new)), destination: Some(raw(&new[4..])), ports: None };
        let result = translate_v4(&packet, &change).unwrap();
        let ports = Some(Ports { old: raw(&[1, 2, 3, 4]), new: raw(&[9, 9, 9, 9]) });
        prop_assert_eq!(&result[36..38], &packet[36..38], "without ports it is a later fragment");
        let result = translate_v4(&packet, &Change { ports, ..change }).unwrap();
        prop_assert_eq!(covered(&result, 12..20, TCP, 20) % 0xffff, before);
    }
}

#[test]
fn udp_without_checksum_stays_without() {
    let mut packet = packet_v4(UDP, [10, 0, 0, 1, 10, 0, 0, 2], [1, 2, 3, 4], 0, b"data");
    packet[26..28].fill(0);
    let ports = Some(Ports { old: raw(&[1, 2, 3, 4]), new: raw(&[5, 6, 7, 8]) });
    let change = Change { source: Some(7), destination: Some(9), ports };
    assert_eq!(translate_v4(&packet, &change).unwrap()[26..28], [0, 0]);
}

#[test]
fn the_last_hop_is_not_gone_beyond() {
    let change = Change { source: None, destination: Some(9), ports: None };
    for hops in [0, 1] {
        let mut packet = packet_v4(UDP, [10, 0, 0, 1, 10, 0, 0, 2], [1, 2, 3, 4], 0, b"data");
        packet[8] = hops;
        assert_eq!(translate_v4(&packet, &change), Err(Verdict::HopsSpent));
        let mut packet = packet_v6(UDP, &[7; 32], [1, 2, 3, 4], b"data");
        packet[7] = hops;
        let change = Change { source: None, destination: Some([9; 2]), ports: None };
        assert_eq!(translate_v6(&packet, &change), Err(Verdict::HopsSpent));
    }
}

#[test]
fn a_frame_that_ends_early_is_refused_untouched() {
    let ports = Some(Ports { old: 1, new: 2 });
    let packet = packet_v4(TCP, [10, 0, 0, 1, 10, 0, 0, 2], [1, 2, 3, 4], 0, b"");
    let whole = framed(&packet);
    let ip = ipv4::parse(&Frame(&whole), AT).unwrap();
    for length in AT..whole.len() {
        let mut frame = whole[..length].to_vec();
        let change = Change { source: Some(1), destination: Some(2), ports };
        assert_eq!(v4(&Draft::new(&mut frame), AT, &ip, &change), Err(Verdict::Truncated), "{length}");
        assert_eq!(frame, whole[..length]);
    }
}
