//! What never begins a connection, whatever the way to the real.

use lb_common::abi::real::{Real, option};
use lb_common::abi::service::scheduler::{MH, RR};
use lb_common::abi::verdict::Verdict::*;
use lb_tests::director::{Director, GUE, Options, direct, full_nat, nat, through, tunnel};
use lb_tests::packet::{ACK, Packet, SYN};

use super::{CLIENT, CLIENT6, VIP, VIP6};

const LOCALS: &[(&str, &str)] = &[("10.0.1.250", "1024-65535"), ("fd00::1:fa", "1024-65535")];

/// Every way to a real.
fn ways() -> Vec<[Real; 2]> {
    let [v4, v6] = ["10.0.1.1:0", "[fd00::1:1]:0"];
    vec![
        [direct(v4, 1), direct(v6, 2)],
        [tunnel(v4, 1, "172.16.0.1"), tunnel(v6, 2, "fd16::1")],
        [through(tunnel(v4, 1, "172.16.0.1"), GUE, true), through(tunnel(v6, 2, "fd16::1"), GUE, true)],
        [nat(v4, 1), nat(v6, 2)],
        [full_nat(v4, 1, option::TOA | option::CLAMP), full_nat(v6, 2, 0)],
        // The other family's.
        [full_nat(v6, 2, 0), full_nat(v4, 1, 0)],
    ]
}

fn director(reals: [Real; 2], scheduler: u8) -> Director {
    let mut director = Director::new(Options { locals: LOCALS, ..Options::default() });
    for (address, real) in ["10.0.0.100", "[fd00::100]"].into_iter().zip(reals) {
        director.service(&format!("tcp://{address}:0"), scheduler, 0, &[(real, 1)]);
        director.service(&format!("udp://{address}:0"), scheduler, 0, &[(real, 1)]);
    }
    director
}

#[test]
fn from_the_services_own_address() {
    for scheduler in [RR, MH] {
        for way in ways() {
            let mut director = director(way, scheduler);
            for packet in [Packet::v4(VIP, VIP), Packet::v6(VIP6, VIP6)] {
                for packet in
                    [packet.clone().tcp(80, 80, SYN), packet.clone().tcp(4000, 80, SYN | ACK), packet.udp(53, 53)]
                {
                    assert_eq!(director.send(&packet.build()).verdict, Land);
                }
            }
            assert!(director.connections().is_empty());
        }
    }
}

#[test]
fn from_or_to_port_zero() {
    for scheduler in [RR, MH] {
        for way in ways() {
            let mut director = director(way, scheduler);
            for packet in [Packet::v4(CLIENT, VIP), Packet::v6(CLIENT6, VIP6)] {
                for (from, to) in [(0, 80), (4000, 0), (0, 0)] {
                    assert_eq!(director.send(&packet.clone().tcp(from, to, SYN).build()).verdict, PortZero);
                    assert_eq!(director.send(&packet.clone().udp(from, to).build()).verdict, PortZero);
                }
                assert!(director.send(&packet.tcp(4000, 80, SYN).build()).is_new, "any other port begins one");
            }
            assert_eq!(director.connections().len(), 2);
        }
    }
}

/// Port 0 of an address without a service of any port is no service's.
#[test]
fn to_port_zero_of_a_service_with_a_port() {
    let mut director = super::standard();
    for packet in [Packet::v4(CLIENT, VIP), Packet::v6(CLIENT6, VIP6)] {
        assert_eq!(director.send(&packet.clone().tcp(4000, 0, SYN).build()).verdict, NotAService);
        assert_eq!(director.send(&packet.clone().tcp(0, 80, SYN).build()).verdict, PortZero);
        assert_eq!(director.send(&packet.udp(0, 53).build()).verdict, PortZero);
    }
    assert!(director.connections().is_empty());
}
