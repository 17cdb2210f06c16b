//! Packets that are longer than the way to their real takes.

use lb_common::abi::service::scheduler::RR;
use lb_common::abi::verdict::Verdict::*;
use lb_tests::director::{Director, direct, tunnel};
use lb_tests::expect;
use lb_tests::packet::{ACK, Packet, SYN};

use super::{CLIENT, CLIENT6, VIP, VIP6};

#[test]
fn the_longest_packet_goes_and_one_byte_more_does_not() {
    for (real, overhead) in [
        (direct("10.0.1.1:80", 1), 0),
        (tunnel("10.0.1.1:80", 1, "172.16.0.1"), 20),
        (tunnel("[fd00::1:1]:80", 1, "fd16::1"), 40),
    ] {
        for mtu in [1280, 1500, 2000] {
            let mut real = real;
            real.mtu = mtu;
            let mut director = Director::default();
            director.service("tcp://10.0.0.100:80", RR, 0, &[(real, 1)]);
            director.service("tcp://[fd00::100]:80", RR, 0, &[(real, 1)]);
            for packet in [Packet::v4(CLIENT, VIP), Packet::v6(CLIENT6, VIP6)] {
                let longest = usize::from(mtu) - overhead;
                let is_v4 = packet.ip_offset() == 14 && packet.build()[12] == 0x08;
                let verdict = if overhead == 0 { Direct } else { Tunnel };
                let syn = packet.clone().tcp(4000, 80, SYN);
                let data = |length| packet.clone().vlan(5).tcp(4000, 80, ACK).length(length).build();
                assert_eq!(director.send(&syn.build()).verdict, verdict);
                assert_eq!(director.send(&data(longest)).verdict, verdict);
                for length in [longest + 1, longest + 500] {
                    let sent = director.send(&data(length));
                    // No IPv6 path takes less than 1280: a shorter packet is not told about.
                    let is_told = is_v4 || length > 1280;
                    assert_eq!(sent.verdict, if is_told { TooBigTold } else { TooBig }, "{length} of {longest}");
                    if is_told {
                        assert_eq!(told_mtu(&sent.frame), if is_v4 { longest } else { longest.max(1280) });
                    }
                }
                let padded = [data(longest), vec![0; 30]].concat();
                assert_eq!(director.send(&padded).verdict, verdict, "padding is not part of the packet");
            }
        }
    }
}

/// The MTU that an ICMP message names, behind one VLAN tag.
fn told_mtu(frame: &[u8]) -> usize {
    let ip = expect::locate(frame);
    let at = ip.offset + if ip.version == 4 { 20 } else { 40 } + 6;
    usize::from(u16::from_be_bytes([frame[at], frame[at + 1]]))
}

/// IPv4 without "don't fragment": nobody asked, so nobody is told.
#[test]
fn a_sender_that_allows_fragments_is_not_told() {
    let mut director = Director::default();
    director.service("tcp://10.0.0.100:80", RR, 0, &[(direct("10.0.1.1:80", 1), 1)]);
    let packet = Packet::v4(CLIENT, VIP).fragment_word(0);
    assert_eq!(director.send(&packet.clone().tcp(4000, 80, SYN).build()).verdict, Direct);
    assert_eq!(director.send(&packet.tcp(4000, 80, ACK).length(1501).build()).verdict, TooBig);
}

/// 50 messages at once, then as many as the clock allows: 1000 a second.
#[test]
fn messages_are_limited() {
    let mut director = Director::default();
    director.service("tcp://10.0.0.100:80", RR, 0, &[(direct("10.0.1.1:80", 1), 1)]);
    director.send(&Packet::v4(CLIENT, VIP).tcp(4000, 80, SYN).build());
    let big = Packet::v4(CLIENT, VIP).tcp(4000, 80, ACK).length(1501).build();
    let start = std::time::Instant::now();
    let told = (0..3000).filter(|_| director.send(&big).verdict == TooBigTold).count();
    // The clock of the limit has steps of some milliseconds.
    let allowed = 50 + (start.elapsed().as_millis() as usize + 20);
    assert!((50..=allowed).contains(&told), "{told} told in {:?}", start.elapsed());
    std::thread::sleep(std::time::Duration::from_millis(300));
    assert_eq!(director.send(&big).verdict, TooBigTold, "and again after a while");
}

/// A real without a known MTU (0) takes nothing.
#[test]
fn no_mtu() {
    let mut director = Director::default();
    let mut real = direct("10.0.1.1:80", 1);
    real.mtu = 0;
    director.service("tcp://10.0.0.100:80", RR, 0, &[(real, 1)]);
    assert_eq!(director.send(&Packet::v4(CLIENT, VIP).tcp(4000, 80, SYN).build()).verdict, TooBig);
}
