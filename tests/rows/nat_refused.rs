//! Packets that are not translated: spent hops, too long for their way, headers that lie or cannot be followed.

use lb_common::abi::verdict::Verdict::*;
use lb_tests::director::Options;
use lb_tests::expect;
use lb_tests::packet::{ACK, cut, spoil};
use lb_tests::translated::{Parts, answer};

use super::nat::SIDES;

/// RFC 1812 section 5.3.1: what would arrive with none left goes no further.
#[test]
fn hops() {
    for side in &SIDES {
        let mut director = side.director(Options::default());
        let at_real = side.begin(&mut director).frame;
        for packet in [side.packet(ACK), answer(&at_real, ACK)] {
            for (hops, is_spent) in [(0, true), (1, true), (2, false), (255, false)] {
                let sent = director.send(&packet.clone().ttl(hops).build());
                assert_eq!(sent.verdict == HopsSpent, is_spent, "{hops} hops: {:?}", sent.verdict);
            }
        }
    }
}

#[test]
fn the_longest_packet_goes_and_one_byte_more_does_not() {
    for mtu in [1280, 1500, 2000] {
        for side in &SIDES {
            let mut director = side.director(Options::default());
            let (service, real) = (side.service.parse().unwrap(), side.real.parse().unwrap());
            director.change_real(&service, real, |real| real.mtu = mtu);
            side.begin(&mut director);
            let data = |length| side.packet(ACK).vlan(5).length(length).build();
            assert_eq!(director.send(&data(usize::from(mtu))).verdict, Nat);
            let sent = director.send(&data(usize::from(mtu) + 1));
            assert_eq!(sent.verdict, TooBigTold);
            assert_eq!(told_mtu(&sent.frame), mtu);
            let allowed = [data(usize::from(mtu)), vec![0; 30]].concat();
            assert_eq!(director.send(&allowed).verdict, Nat, "padding is not part of the packet");
        }
    }
}

/// The MTU that an ICMP message names.
fn told_mtu(frame: &[u8]) -> u16 {
    let ip = expect::locate(frame);
    let at = ip.offset + if ip.version == 4 { 20 } else { 40 } + 6;
    u16::from_be_bytes([frame[at], frame[at + 1]])
}

/// IPv4 without "don't fragment": nobody asked, so nobody is told.
#[test]
fn a_sender_that_allows_fragments_is_not_told() {
    let side = &SIDES[0];
    let mut director = side.director(Options::default());
    side.begin(&mut director);
    assert_eq!(director.send(&side.packet(ACK).fragment_word(0).length(1501).build()).verdict, TooBig);
}

/// Lengths that contradict each other, in both directions: the packet keeps every byte.
#[test]
fn lengths_that_lie() {
    for side in &SIDES {
        let mut director = side.director(Options::default());
        let at_real = side.begin(&mut director).frame;
        for (packet, sent) in [(side.packet(ACK), Nat), (answer(&at_real, ACK), Reply)] {
            let frame = packet.payload(&[7; 40]).build();
            let Parts { ip, protocol, transport } = Parts::of(&frame);
            let field = if ip.version == 4 { ip.offset + 2 } else { ip.offset + 4 };
            let said = u16::from_be_bytes([frame[field], frame[field + 1]]);
            let header = transport - ip.offset;
            let mut send = |frame: &[u8]| director.send(frame).verdict;
            let saying = |length: u16| spoil(&frame, field, &length.to_be_bytes());
            assert_eq!(send(&saying(said + 1)), BadHeader, "longer than the frame");
            assert_eq!(send(&saying(0xffff)), BadHeader);
            let shortest = if ip.version == 4 { header as u16 } else { 0 };
            assert_eq!(send(&saying(shortest)), BadHeader, "no room for a transport header");
            assert_eq!(send(&saying(shortest + 7)), BadHeader);
            for length in [transport, transport + 7] {
                let lie = spoil(&frame, field, &shortest.to_be_bytes());
                let verdict = send(&cut(&lie, length));
                assert!(matches!(verdict, Truncated | BadHeader), "{verdict:?} of a frame cut to {length}");
            }
            if protocol == 6 {
                for (offset, verdict) in [(0, BadHeader), (0x40, BadHeader), (0xf0, sent), (0x50, sent)] {
                    assert_eq!(send(&spoil(&frame, transport + 12, &[offset])), verdict, "data offset {offset:#x}");
                }
                assert_eq!(send(&saying(shortest + 20)), sent, "data behind the packet is padding");
                assert_eq!(send(&spoil(&saying(shortest + 20), transport + 12, &[0x60])), BadHeader);
            } else {
                for (length, verdict) in
                    [(0, BadHeader), (7, BadHeader), (8, sent), (47, sent), (48, sent), (49, BadHeader)]
                {
                    let lie = spoil(&frame, transport + 4, &u16::to_be_bytes(length));
                    assert_eq!(send(&lie), verdict, "datagram of {length} bytes in one of 48");
                }
            }
        }
    }
}

/// Behind IPv4 headers of every length that they may say, and of those that they may not.
#[test]
fn ipv4_header_lengths_that_lie() {
    let side = &SIDES[0];
    let mut director = side.director(Options::default());
    let at_real = side.begin(&mut director).frame;
    for packet in [side.packet(ACK), answer(&at_real, ACK)] {
        let frame = packet.build();
        for words in 0..5 {
            assert_eq!(director.send(&spoil(&frame, 14, &[0x40 | words])).verdict, BadHeader);
        }
        // The transport header would begin where there is nothing.
        assert_eq!(director.send(&spoil(&frame, 14, &[0x4f])).verdict, BadHeader);
    }
}
