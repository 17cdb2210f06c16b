//! Parsers against bytes that lie. The rows that run through the kernel's own program are in the tests crate.

use proptest::prelude::*;

use super::parse::{Parsed, v4, v6};
use super::slice::Frame;
use super::tunnel::{Ends, Inner, Shim, outer_v4, outer_v6};
use super::*;
use crate::abi::verdict::Verdict;

fn tcp_v4() -> Vec<u8> {
    let mut frame = vec![0; 14];
    frame[12..].copy_from_slice(&[8, 0]);
    frame.extend([0x45, 0, 0, 40, 0, 1, 0x40, 0, 64, 6, 0, 0, 10, 0, 0, 1, 10, 0, 0, 100]);
    frame.extend([0x30, 0x39, 0, 80, 0, 0, 0, 1, 0, 0, 0, 0, 0x50, 0x02, 0, 0, 0, 0, 0, 0]);
    frame
}

#[test]
fn reads_a_plain_syn() {
    let frame = tcp_v4();
    let link = ethernet::parse(&Frame(&frame)).unwrap();
    assert_eq!((link.ethertype, link.payload), (ethernet::IPV4, 14));
    let Ok(Parsed::Flow(flow)) = v4(&Frame(&frame), link.payload) else { panic!("a flow") };
    assert_eq!(flow.ip.source.to_ne_bytes(), [10, 0, 0, 1]);
    assert_eq!(u16::from_be(flow.transport.source_port()), 12345);
    assert_eq!(u16::from_be(flow.transport.destination_port()), 80);
    assert_eq!(flow.transport.flags, 2);
}

#[test]
fn every_truncation_is_noticed() {
    let frame = tcp_v4();
    for length in 14..frame.len() {
        let verdict = v4(&Frame(&frame[..length]), 14).unwrap_err();
        assert!(matches!(verdict, Verdict::Truncated | Verdict::BadHeader), "{length} bytes: {verdict:?}");
    }
}

#[test]
fn three_vlan_tags_are_too_many() {
    let mut frame = tcp_v4();
    for _ in 0..3 {
        frame.splice(12..12, [0x81, 0, 0, 5]);
    }
    assert_eq!(ethernet::parse(&Frame(&frame)), Err(Verdict::TooManyHeaders));
    frame.drain(12..16);
    assert_eq!(ethernet::parse(&Frame(&frame)).unwrap().payload, 22);
}

/// A TCP or UDP packet with so many bytes of data in an untagged frame.
fn plain_frame(is_v6: bool, is_udp: bool, payload: usize) -> Vec<u8> {
    let protocol = if is_udp { 17 } else { 6 };
    let mut transport =
        if is_udp { vec![0x30, 0x39, 0, 80, 0, 8 + payload as u8, 0, 0] } else { tcp_v4()[34..].to_vec() };
    transport.extend(std::iter::repeat_n(0xab, payload));
    let length = transport.len() as u8;
    let mut frame = vec![0; 12];
    if is_v6 {
        frame.extend([0x86, 0xdd, 0x60, 0, 0, 0, 0, length, protocol, 64]);
        frame.extend([0xfd; 32]);
    } else {
        frame.extend([8, 0, 0x45, 0, 0, 20 + length, 0, 1, 0x40, 0, 64, protocol, 0, 0, 10, 0, 0, 1, 10, 0, 0, 100]);
    }
    frame.extend(transport);
    frame
}

#[test]
fn tags_options_extension_headers_fragments_and_other_protocols_are_not_plain() {
    let with = |is_v6, at: usize, bytes: &[u8]| {
        let mut frame = plain_frame(is_v6, false, 12);
        frame[at..at + bytes.len()].copy_from_slice(bytes);
        plain::v4(&Frame(&frame)).is_some() || plain::v6(&Frame(&frame)).is_some()
    };
    assert!(with(false, 12, &[8, 0]) && with(true, 12, &[0x86, 0xdd]));
    assert!(with(false, 20, &[0x40]) && with(false, 15, &[0xff]) && with(true, 15, &[0xff]), "DF, classes");
    for (is_v6, at, bytes) in [
        (false, 12, [0x81, 0x00]),
        (true, 12, [0x81, 0x00]),
        (false, 14, [0x46, 0]),
        (false, 20, [0x20, 0]),
        (false, 20, [0, 1]),
        (false, 22, [64, 132]),
        (true, 20, [44, 64]),
        (true, 14, [0x50, 0]),
        (false, 16, [0xff, 0xff]),
        (false, 46, [0x40, 0]),
        (false, 46, [0xf0, 0]),
    ] {
        assert!(!with(is_v6, at, &bytes), "{is_v6} {at} {bytes:?}");
    }
}

/// What a packet is taken for, by its fragment word and the bytes behind its IP header.
fn taken_for(is_v6: bool, offset: u16, more: bool, protocol: u8, payload: &[u8]) -> &'static str {
    fn name<H>(parsed: Result<Parsed<H>, Verdict>) -> &'static str {
        match parsed.expect("a packet") {
            Parsed::Flow(flow) => {
                assert_eq!(u16::from_be(flow.transport.destination_port()), 80);
                "flow"
            }
            Parsed::FirstFragment(flow) => {
                assert_eq!(u16::from_be(flow.transport.destination_port()), 80);
                "first fragment"
            }
            Parsed::Unbalanced(_) => "unbalanced",
        }
    }
    let length = payload.len() as u16;
    let mut frame;
    if is_v6 {
        frame = vec![0x60, 0, 0, 0, 0, 0, 44, 64];
        frame[4..6].copy_from_slice(&(length + 8).to_be_bytes());
        frame.extend([0xfd; 32]);
        frame.extend([protocol, 0]);
        frame.extend((offset | u16::from(more)).to_be_bytes());
        frame.extend([0, 0, 0, 9]);
    } else {
        frame = vec![0x45, 0, 0, 0, 0, 9, 0, 0, 64, protocol, 0, 0, 10, 0, 0, 1, 10, 0, 0, 100];
        frame[2..4].copy_from_slice(&(length + 20).to_be_bytes());
        frame[6..8].copy_from_slice(&((offset / 8) | (u16::from(more) << 13)).to_be_bytes());
    }
    frame.extend(payload);
    if is_v6 { name(v6(&Frame(&frame), 0)) } else { name(v4(&Frame(&frame), 0)) }
}

#[test]
fn a_fragment_is_balanced_if_it_has_ports() {
    // Longer than what is there: the datagram goes on in the next fragment.
    let udp = [0x30, 0x39, 0, 80, 0x10, 0, 0, 0];
    let tcp = |words: u8| {
        [&[0x30, 0x39, 0, 80, 0, 0, 0, 1, 0, 0, 0, 0, words << 4, 2, 0, 0, 0, 0, 0, 0][..], &[1; 12]].concat()
    };
    for is_v6 in [false, true] {
        let taken = |offset, more, protocol, payload: &[u8]| taken_for(is_v6, offset, more, protocol, payload);
        assert_eq!(taken(0, true, 17, &udp), "first fragment");
        assert_eq!(taken(0, true, 6, &tcp(5)), "first fragment");
        assert_eq!(taken(0, true, 6, &tcp(8)), "first fragment");
        assert_eq!(taken(0, true, 6, &tcp(9)), "unbalanced", "its header goes on");
        assert_eq!(taken(0, true, 6, &tcp(4)), "unbalanced", "no header is that short");
        assert_eq!(taken(0, true, 6, &tcp(5)[..16]), "unbalanced");
        assert_eq!(taken(0, true, 17, &udp[..7]), "unbalanced");
        assert_eq!(taken(0, true, 132, &tcp(5)), "unbalanced", "another protocol");
        assert_eq!(taken(8, true, 17, &udp), "unbalanced", "a later one");
        assert_eq!(taken(8, false, 6, &tcp(5)), "unbalanced", "the last one");
        assert_eq!(taken(0, false, 6, &tcp(5)), "flow", "whole");
    }
}

/// Nothing between outer header and packet.
const BARE: Shim = Shim { protocol: 4, length: 0, words: [0; 2] };

#[test]
fn an_outer_v4_header_has_a_valid_checksum_and_the_inner_dont_fragment() {
    let frame = tcp_v4();
    let raw = |bytes: [u8; 4]| u32::from_ne_bytes(bytes);
    let ends = Ends { source: [raw([198, 18, 0, 0])], destination: [raw([10, 9, 8, 7])], vary: 0xffffu32.to_be() };
    let outer = outer_v4(&Inner::v4(&Frame(&frame), 14).unwrap(), &BARE, &ends, 0x1234_5678);
    let bytes: Vec<u8> = outer.iter().flat_map(|w| w.to_ne_bytes()).collect();
    let sum = outer.iter().fold(0, |sum, &word| crate::algo::checksum::add_u32(sum, word));
    assert_eq!(crate::algo::checksum::finish(sum), 0);
    assert_eq!(bytes[..4], [0x45, 0, 0, 60]);
    assert_eq!(bytes[6..10], [0x40, 0, 64, 4]);
    assert_eq!(bytes[12..14], [198, 18]);
    assert_eq!(bytes[16..], [10, 9, 8, 7]);
}

#[test]
fn congestion_marks_do_not_leave_through_the_tunnel_twice() {
    let frame = tcp_v4();
    for (inner, outer) in [(0, 0), (1, 1), (2, 2), (3, 2), (0xb8 | 3, 0xb8 | 2)] {
        let header = Inner { tos: inner, ..Inner::v4(&Frame(&frame), 14).unwrap() };
        let words = outer_v4(&header, &BARE, &Ends { source: [0], destination: [0], vary: 0 }, 0);
        assert_eq!(words[0].to_ne_bytes()[1], outer);
        let words = outer_v6(&header, &BARE, &Ends { source: [0; 4], destination: [0; 4], vary: 0 }, 0);
        assert_eq!((u32::from_be(words[0]) >> 20) as u8, outer);
    }
}

proptest! {
    #[test]
    fn no_bytes_make_a_parser_panic_or_point_outside(bytes in prop::collection::vec(any::<u8>(), 0..200), offset in 0usize..60) {
        let frame = Frame(&bytes);
        let _ = ethernet::parse(&frame);
        if let Ok(Parsed::Flow(flow) | Parsed::FirstFragment(flow)) = v4(&frame, offset) {
            prop_assert!(flow.ip.payload + 8 <= bytes.len());
            prop_assert!(offset + flow.ip.total_length as usize <= bytes.len());
        }
        if let Ok(Parsed::Flow(flow) | Parsed::FirstFragment(flow)) = v6(&frame, offset) {
            prop_assert!(flow.ip.payload + 8 <= bytes.len());
            prop_assert!(offset + flow.ip.total_length as usize <= bytes.len());
        }
    }

    #[test]
    fn what_is_plain_is_read_alike_by_the_whole_parser(
        is_v6: bool, is_udp: bool, payload in 0usize..40, cut in 0usize..60,
        lies in prop::collection::vec((12usize..76, prop::sample::select(vec![0u8, 1, 2, 4, 5, 6, 8, 17, 20, 28, 40, 44, 0x40, 0x45, 0x46, 0x50, 0x60, 0x81, 0x86, 0xdd, 0xff])), 0..3),
    ) {
        let mut frame = plain_frame(is_v6, is_udp, payload);
        let is_whole = cut >= 20;
        if !is_whole {
            frame.truncate(frame.len().saturating_sub(cut));
        }
        for (at, byte) in &lies {
            if let Some(place) = frame.get_mut(*at) {
                *place = *byte;
            }
        }
        let (packet, link) = (Frame(&frame), ethernet::parse(&Frame(&frame)));
        let is_plain = if let Some(flow) = plain::v4(&packet) {
            prop_assert_eq!(link, Ok(ethernet::Link { ethertype: ethernet::IPV4, payload: plain::OFFSET }));
            prop_assert_eq!(v4(&packet, plain::OFFSET), Ok(Parsed::Flow(flow)));
            prop_assert_eq!(plain::v6(&packet), None);
            true
        } else if let Some(flow) = plain::v6(&packet) {
            prop_assert_eq!(link, Ok(ethernet::Link { ethertype: ethernet::IPV6, payload: plain::OFFSET }));
            prop_assert_eq!(v6(&packet, plain::OFFSET), Ok(Parsed::Flow(flow)));
            true
        } else {
            false
        };
        // Of a UDP packet so many bytes are looked at as a TCP header has.
        if lies.is_empty() && is_whole {
            prop_assert_eq!(is_plain, !is_udp || payload >= 12);
        }
    }

    #[test]
    fn plausible_v6_chains_end(first in 0u8..=255, tail in prop::collection::vec(prop::sample::select(vec![0u8, 43, 44, 51, 60, 6, 17, 58, 132, 135]), 0..12), fill: u8) {
        let mut bytes = vec![0x60, 0, 0, 0, 0, 0, first, 64];
        bytes.extend([fill; 32]);
        for next in tail {
            bytes.extend([next, 0, fill, fill, 0, 0, 0, 0]);
        }
        bytes.extend([0x50; 40]);
        let length = (bytes.len() - 40) as u16;
        bytes[4..6].copy_from_slice(&length.to_be_bytes());
        if let Ok(Parsed::Flow(flow) | Parsed::FirstFragment(flow)) = v6(&Frame(&bytes), 0) {
            prop_assert!(flow.ip.payload + 8 <= bytes.len());
        }
    }
}
