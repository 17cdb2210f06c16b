//! UDP: one state, any packet begins a flow.

use lb_common::abi::connection::State;
use lb_common::abi::service::scheduler::RR;
use lb_common::abi::verdict::Verdict::*;
use lb_tests::director::{Director, direct};
use lb_tests::packet::Packet;

use super::{CLIENT, CLIENT6, VIP, VIP6};

#[test]
fn flows_stay_together_and_count_as_inactive() {
    for (packet, key, reals) in [
        (Packet::v4(CLIENT, VIP), "udp://10.0.0.100:53", ["10.0.1.1:53", "10.0.1.2:53"]),
        (Packet::v6(CLIENT6, VIP6), "udp://[fd00::100]:53", ["[fd00::1:1]:53", "[fd00::1:2]:53"]),
    ] {
        let mut director = Director::default();
        let key = director.service(key, RR, 0, &reals.map(|at| (direct(at, at.as_bytes()[7]), 1)));
        for round in 0..3 {
            for port in 0..6u16 {
                let sent = director.send(&packet.clone().udp(5000 + port, 53).payload(b"x").build());
                assert_eq!(sent.verdict, Direct);
                assert_eq!(sent.is_new, round == 0);
                assert_eq!(sent.real, Some(reals[usize::from(port % 2)].parse().unwrap()));
            }
        }
        assert!(director.connections().iter().all(|(_, state)| *state == State::Udp));
        for at in reals {
            assert_eq!(director.load(&key, at.parse().unwrap()), (0, 3), "IPVS counts UDP as inactive");
        }
    }
}

/// What would be flags in a TCP header is data here.
#[test]
fn data_is_not_taken_for_flags() {
    let mut director = Director::default();
    director.service("udp://10.0.0.100:53", RR, 0, &[(direct("10.0.1.1:53", 1), 1)]);
    for byte in [0x00, 0x02, 0x04, 0x01, 0xff] {
        let sent = director.send(&Packet::v4(CLIENT, VIP).udp(5000, 53).payload(&[byte; 16]).build());
        assert_eq!(sent.verdict, Direct);
    }
    assert_eq!(director.connections().len(), 1);
}
