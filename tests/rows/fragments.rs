//! Fragments: judged by the VIP alone, for they may carry no ports.

use lb_common::abi::verdict::Verdict::*;
use lb_tests::packet::{Packet, SYN};
use lb_tests::row::{row, run};

use super::{CLIENT, CLIENT6, OTHER, OTHER6, VIP, VIP6, standard};

#[test]
fn ipv4_fragments() {
    let mut director = standard();
    let to = |vip: &str, word: u16| Packet::v4(CLIENT, vip).tcp(4000, 80, SYN).fragment_word(word).build();
    run(
        &mut director,
        &[
            row("first fragment", to(VIP, 0x2000), Fragment),
            row("middle fragment", to(VIP, 0x2010), Fragment),
            row("last fragment", to(VIP, 0x0010), Fragment),
            row("offset 1", to(VIP, 0x0001), Fragment),
            row("fragment with DF", to(VIP, 0x6000), Fragment),
            row("no fragment: DF", to(VIP, 0x4000), Direct),
            row("no fragment: nothing set", to(VIP, 0x0000), Direct),
            row("no fragment: the reserved bit", to(VIP, 0x8000), Direct),
            row("fragment to somebody else", to(OTHER, 0x2000), NotAService),
            row(
                "fragment of another protocol to a VIP",
                Packet::v4(CLIENT, VIP).raw(132, &[0; 16]).fragment_word(0x2000).build(),
                Fragment,
            ),
            row(
                "fragment without any data",
                Packet::v4(CLIENT, VIP).raw(17, &[]).fragment_word(0x2001).build(),
                Fragment,
            ),
            row(
                "fragment of a port that no service has",
                Packet::v4(CLIENT, VIP).udp(1, 9999).fragment_word(0x2000).build(),
                Fragment,
            ),
        ],
    );
    assert!(director.connections().len() == 1, "fragments make no connections");
}

#[test]
fn ipv6_fragments() {
    let mut director = standard();
    let to = |vip: &str, word: u16| {
        let word = word.to_be_bytes();
        Packet::v6(CLIENT6, vip).extension(44, &[0, word[0], word[1], 0, 0, 0, 9]).tcp(4000, 80, SYN).build()
    };
    run(
        &mut director,
        &[
            row("first fragment", to(VIP6, 0x0001), Fragment),
            row("middle fragment", to(VIP6, 0x0081), Fragment),
            row("last fragment", to(VIP6, 0x0080), Fragment),
            row("atomic fragment", to(VIP6, 0x0000), Direct),
            row("fragment to somebody else", to(OTHER6, 0x0001), NotAService),
            row(
                "fragment that begins with half an extension header",
                Packet::v6(CLIENT6, VIP6).extension(44, &[0, 0, 1, 0, 0, 0, 9]).raw(60, &[6, 9]).build(),
                Fragment,
            ),
        ],
    );
}
