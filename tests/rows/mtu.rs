//! Packets that are longer than the way to their real takes.

use lb_common::abi::service::scheduler::RR;
use lb_common::abi::verdict::Verdict::*;
use lb_tests::director::{Director, direct, tunnel};
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
                let verdict = if overhead == 0 { Direct } else { Tunnel };
                let syn = packet.clone().tcp(4000, 80, SYN);
                let data = |length| packet.clone().vlan(5).tcp(4000, 80, ACK).length(length).build();
                assert_eq!(director.send(&syn.build()).verdict, verdict);
                assert_eq!(director.send(&data(longest)).verdict, verdict);
                assert_eq!(director.send(&data(longest + 1)).verdict, TooBig);
                assert_eq!(director.send(&data(longest + 500)).verdict, TooBig);
                let padded = [data(longest), vec![0; 30]].concat();
                assert_eq!(director.send(&padded).verdict, verdict, "padding is not part of the packet");
            }
        }
    }
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
