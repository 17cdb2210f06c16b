//! VLAN tags: read over, and kept as they are.

use lb_common::abi::real::Real;
use lb_common::abi::service::scheduler::RR;
use lb_common::abi::verdict::Verdict::*;
use lb_tests::director::{Director, Options, direct, nat, tunnel};
use lb_tests::packet::{ACK, FIN, Packet, RST, SYN, cut};
use lb_tests::row::{row, run};

use super::{CLIENT, CLIENT6, VIP, VIP6, standard};

#[test]
fn tags_are_read_over() {
    let mut director = standard();
    let v4 = || Packet::v4(CLIENT, VIP).tcp(4000, 80, SYN);
    let v6 = || Packet::v6(CLIENT6, VIP6).tcp(4000, 80, SYN);
    run(
        &mut director,
        &[
            row("802.1Q", v4().vlan(5).build(), Direct),
            row("802.1Q with priority", v4().vlan(0xe005).build(), Direct),
            row("priority tag, VLAN 0", v4().vlan(0xa000).build(), Direct),
            row("802.1ad alone", v4().tag(0x88a8, 7).build(), Direct),
            row("QinQ", v4().tag(0x88a8, 7).vlan(5).build(), Direct),
            row("two customer tags", v4().vlan(7).vlan(5).build(), Direct),
            row("three tags", v4().tag(0x88a8, 7).vlan(5).vlan(6).build(), TooManyHeaders),
            row("four tags", v4().vlan(1).vlan(2).vlan(3).vlan(4).build(), TooManyHeaders),
            row("IPv6, 802.1Q", v6().vlan(5).build(), Direct),
            row("IPv6, QinQ", v6().tag(0x88a8, 7).vlan(5).build(), Direct),
            row("IPv6, three tags", v6().vlan(1).vlan(2).vlan(3).build(), TooManyHeaders),
            row("tag, then half a second one", cut(&v4().vlan(7).vlan(5).build(), 20), Truncated),
            row("tag, then half an IP header", cut(&v4().vlan(7).build(), 30), Truncated),
            row("tag, then a frame shorter than the packet", cut(&v4().vlan(7).build(), 57), BadHeader),
            row("tag and fragment", v4().vlan(7).fragment_word(0x2000).build(), Direct),
        ],
    );
}

/// A flow keeps its connection whatever VLAN its packets come in by: the key is addresses and ports.
#[test]
fn tags_are_no_part_of_a_flow() {
    let mut director = standard();
    let packet = Packet::v4(CLIENT, VIP).tcp(4000, 80, SYN);
    assert!(director.send(&packet.build()).is_new);
    assert!(!director.send(&packet.clone().vlan(5).build()).is_new);
}

/// Packets without tags take ways of their own through the program ([`lb_common::wire::plain`]), and the shortest one if they change nothing.
/// What comes out is what the common way makes of the same packet, which a tag makes it take.
#[test]
fn without_a_tag_packets_end_as_with_one() {
    let reals: [fn(&str) -> Real; 3] = [|at| direct(at, 1), |at| nat(at, 2), |at| tunnel(at, 3, "172.16.0.1")];
    for (service, real, is_udp) in [
        ("tcp://10.0.0.100:80", "10.0.1.1:8080", false),
        ("udp://10.0.0.100:80", "10.0.1.1:8080", true),
        ("tcp://[fd00::100]:80", "[fd00::1:1]:8080", false),
        ("udp://[fd00::100]:80", "[fd00::1:1]:8080", true),
    ] {
        for (method, make) in reals.iter().enumerate() {
            // An IPv4 tunnel for packets of both families.
            let at = if method == 2 { "10.0.1.1:80" } else { real };
            // No tick passes meanwhile.
            let mut director = Director::new(Options { tick_shift: 20, ..Options::default() });
            director.service(service, RR, 0, &[(make(at), 1)]);
            let packet = |flags| {
                let packet = if service.contains('[') { Packet::v6(CLIENT6, VIP6) } else { Packet::v4(CLIENT, VIP) };
                if is_udp { packet.udp(4000, 80) } else { packet.tcp(4000, 80, flags) }
            };
            assert!(director.send(&packet(SYN).build()).is_new);
            director.send(&packet(ACK).build());
            let mut both = |packet: Packet| {
                let (plain, mut tagged) = (director.send(&packet.build()), director.send(&packet.vlan(5).build()));
                assert_eq!((plain.verdict, plain.real, plain.is_new), (tagged.verdict, tagged.real, tagged.is_new));
                tagged.frame.drain(12..16);
                assert_eq!(plain.frame, tagged.frame, "{service} {method}");
                plain.verdict
            };
            let sent = [Direct, Nat, Tunnel][method];
            for length in [0, 1, 11, 12, 700, 1300] {
                let data = vec![0xa5; length];
                assert_eq!(both(packet(ACK).payload(&data).tos(0xb9).ttl(2)), sent);
            }
            assert_eq!(both(packet(ACK).payload(&[1; 20]).ttl(1)), if sent == Nat { HopsSpent } else { sent });
            for flags in [SYN, FIN | ACK, ACK, RST] {
                both(packet(flags).payload(&[2; 20]));
            }
        }
    }
}
