//! VLAN tags: read over, and kept as they are.

use lb_common::abi::verdict::Verdict::*;
use lb_tests::packet::{Packet, SYN, cut};
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
