//! Direct routing: both MACs and nothing else.

use lb_common::abi::service::scheduler::RR;
use lb_common::abi::verdict::Verdict::*;
use lb_tests::director::{Director, OTHER, direct, hex};
use lb_tests::packet::{ACK, Packet, SYN};

use super::{CLIENT, CLIENT6, VIP, VIP6};

#[test]
fn every_byte_of_a_syn() {
    let mut director = Director::default();
    let mut real = direct("10.0.1.1:80", 1);
    real.destination_mac = [0xd0, 0xd1, 0xd2, 0xd3, 0xd4, 0xd5];
    real.source_mac = [0x50, 0x51, 0x52, 0x53, 0x54, 0x55];
    director.service("tcp://10.0.0.100:80", RR, 0, &[(real, 1)]);
    let sent = director.send(&Packet::v4(CLIENT, VIP).tcp(4000, 80, SYN).build());
    assert_eq!(
        hex(&sent.frame),
        "d0 d1 d2 d3 d4 d5 50 51 52 53 54 55 08 00 \
         45 00 00 28 12 34 40 00 40 06 5c 31 c0 00 02 07 0a 00 00 64 \
         0f a0 00 50 00 00 00 01 00 00 00 00 50 02 ff ff d3 86 00 00"
    );
}

#[test]
fn out_of_the_same_or_another_interface_with_any_tags() {
    let mut director = Director::default();
    let other = |at, number| {
        let mut real = direct(at, number);
        real.ifindex = OTHER;
        real
    };
    director.service("tcp://10.0.0.100:80", RR, 0, &[(direct("10.0.1.1:80", 1), 1), (other("10.0.1.2:80", 2), 1)]);
    director.service(
        "tcp://[fd00::100]:80",
        RR,
        0,
        &[(direct("[fd00::1:1]:80", 3), 1), (other("[fd00::1:2]:80", 4), 1)],
    );
    let mut port = 4000;
    for packet in [Packet::v4(CLIENT, VIP), Packet::v6(CLIENT6, VIP6)] {
        let tagged = [packet.clone(), packet.clone().vlan(5), packet.clone().tag(0x88a8, 7).vlan(5)];
        for packet in tagged {
            for shaped in
                [packet.clone(), packet.clone().tos(0xb8), packet.clone().ttl(1), packet.clone().payload(&[0xa5; 700])]
            {
                for verdict in [Direct, DirectRedirect] {
                    port += 1;
                    assert_eq!(director.send(&shaped.clone().tcp(port, 80, SYN).build()).verdict, verdict);
                    for _ in 0..3 {
                        assert_eq!(
                            director.send(&shaped.clone().tcp(port, 80, ACK).payload(b"data").build()).verdict,
                            verdict
                        );
                    }
                }
            }
        }
    }
}

/// A new MAC is one store: the next packet of an old connection has it.
#[test]
fn a_neighbour_that_changes_its_mac() {
    let mut director = super::standard();
    let key = "tcp://10.0.0.100:80".parse().unwrap();
    let frame = Packet::v4(CLIENT, VIP).tcp(4000, 80, SYN).build();
    director.send(&frame);
    director.change_real(&key, "10.0.1.1:80".parse().unwrap(), |real| real.destination_mac = [2, 9, 9, 9, 9, 9]);
    let sent = director.send(&frame);
    assert_eq!((sent.is_new, &sent.frame[..6]), (false, &[2, 9, 9, 9, 9, 9][..]));
}
