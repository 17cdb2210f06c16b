//! Fragments: the first one is balanced like a whole packet, the others follow it; what reaches into a header is refused.

use lb_common::abi::real::{Real, disposition};
use lb_common::abi::service::scheduler::RR;
use lb_common::abi::verdict::Verdict::{self, *};
use lb_tests::director::{Director, GRE, GUE, Options, direct, through, tunnel};
use lb_tests::packet::{Packet, SYN};
use lb_tests::row::{row, run};

use super::{CLIENT, CLIENT6, OTHER, OTHER6, VIP, VIP6, standard};

/// A fragment of a packet: `offset` in bytes, more to come or not, and what it carries.
fn v4(id: u16, offset: u16, more: bool) -> Packet {
    Packet::v4(CLIENT, VIP).identification(id).fragment_word((offset / 8) | if more { 0x2000 } else { 0 })
}

fn v6(id: u16, offset: u16, more: bool) -> Packet {
    let (word, id) = ((offset | u16::from(more)).to_be_bytes(), id.to_be_bytes());
    Packet::v6(CLIENT6, VIP6).extension(44, &[0, word[0], word[1], 0, 0, id[0], id[1]])
}

fn fragment(is_v6: bool, id: u16, offset: u16, more: bool) -> Packet {
    if is_v6 { v6(id, offset, more) } else { v4(id, offset, more) }
}

/// A UDP datagram's first fragment, with the length of the whole in its header.
fn first(is_v6: bool, id: u16, port: u16) -> Vec<u8> {
    let packet = fragment(is_v6, id, 0, true).udp(port, 53).payload(&[1; 1400]);
    let at = packet.transport_offset();
    let mut frame = packet.build();
    frame[at + 4..at + 6].copy_from_slice(&8008u16.to_be_bytes());
    frame
}

fn later(is_v6: bool, id: u16, offset: u16, more: bool) -> Vec<u8> {
    fragment(is_v6, id, offset, more).raw(17, &[2; 800]).build()
}

/// Three reals that go by in turn, so that fragments of two packets would go to two if nothing held them together.
fn director(real: impl Fn(u8) -> Real) -> Director {
    let mut director = Director::default();
    for service in ["udp://10.0.0.100:53", "udp://[fd00::100]:53"] {
        director.service(service, RR, 0, &[(real(1), 1), (real(2), 1), (real(3), 1)]);
    }
    director
}

#[test]
fn later_fragments_follow_the_first_by_every_tunnel() {
    let ways: [&dyn Fn(u8) -> Real; 4] = [
        &|n| tunnel(&format!("10.0.1.{n}:53"), n, "172.16.0.1"),
        &|n| tunnel(&format!("[fd00::1:{n}]:53"), n, "fd16::1"),
        &|n| through(tunnel(&format!("10.0.1.{n}:53"), n, "172.16.0.1"), GUE, true),
        &|n| through(tunnel(&format!("[fd00::1:{n}]:53"), n, "fd16::1"), GRE, true),
    ];
    for way in ways {
        follow(&mut director(|n| Real { mtu: 2000, ..way(n) }), Tunnel);
    }
}

#[test]
fn later_fragments_follow_the_first_by_direct_routing() {
    let mut director = Director::default();
    let reals = |at: fn(u8) -> String| [1, 2, 3].map(|n| (direct(&at(n), n), 1));
    director.service("udp://10.0.0.100:53", RR, 0, &reals(|n| format!("10.0.1.{n}:53")));
    director.service("udp://[fd00::100]:53", RR, 0, &reals(|n| format!("[fd00::1:{n}]:53")));
    follow(&mut director, Direct);
}

fn follow(director: &mut Director, verdict: Verdict) {
    for is_v6 in [false, true] {
        for id in 0..20 {
            let real = director.send(&first(is_v6, id, 4000 + id));
            assert_eq!((real.verdict, real.is_new), (verdict, true));
            for (offset, more) in [(1408, true), (2816, true), (2816, true), (4224, false)] {
                let sent = director.send(&later(is_v6, id, offset, more));
                assert_eq!((sent.verdict, sent.real, sent.is_new), (verdict, real.real, false), "{id}, {offset}");
            }
        }
        // The flow's next packet, whole or not, has the same real; its fragments a name of their own.
        let again = director.send(&first(is_v6, 99, 4000));
        assert_eq!(director.send(&later(is_v6, 99, 1408, false)).real, again.real);
        assert!(!again.is_new);
        assert_eq!(director.send(&later(is_v6, 98, 1408, false)).verdict, FragmentEarly, "a packet not begun");
    }
}

#[test]
fn tags_and_tcp() {
    let mut director = standard();
    let syn = |word| Packet::v4(CLIENT, VIP).fragment_word(word).tcp(4000, 80, SYN).payload(&[3; 100]);
    assert_eq!(director.send(&syn(0x2000).vlan(5).build()).verdict, Direct);
    let rest = v4(0x1234, 120, false).raw(6, &[4; 50]);
    assert_eq!(director.send(&rest.clone().vlan(5).build()).verdict, Direct);
    assert_eq!(director.send(&rest.tag(0x88a8, 7).vlan(9).build()).verdict, Direct);
}

#[test]
fn what_is_no_fragment_to_balance() {
    let mut director = standard();
    let bytes = |is_v6, offset, more, protocol, length| {
        // As TCP: a header of 32 bytes.
        fragment(is_v6, 7, offset, more).raw(protocol, &vec![0x80; length]).build()
    };
    let mut rows = Vec::new();
    for is_v6 in [false, true] {
        rows.extend([
            row("TCP without all of its header", bytes(is_v6, 0, true, 6, 16), FragmentNoPorts),
            row("TCP whose header goes on in the next", bytes(is_v6, 0, true, 6, 24), FragmentNoPorts),
            row("UDP without all of its header", bytes(is_v6, 0, true, 17, 7), FragmentNoPorts),
            row("nothing", bytes(is_v6, 0, true, 17, 0), FragmentNoPorts),
            row("into TCP's header", bytes(is_v6, 8, true, 6, 64), FragmentOverlap),
            row("into TCP's header, last", bytes(is_v6, 16, false, 6, 8), FragmentOverlap),
            row("behind TCP's header", bytes(is_v6, 24, false, 6, 8), FragmentEarly),
            row("behind UDP's header", bytes(is_v6, 8, false, 17, 8), FragmentEarly),
            row("of another protocol", bytes(is_v6, 0, true, 132, 64), NotTransport),
            row("of another protocol, later", bytes(is_v6, 64, false, 1, 64), NotTransport),
        ]);
    }
    rows.extend([
        row("no fragment: DF", Packet::v4(CLIENT, VIP).fragment_word(0x4000).tcp(1, 80, SYN).build(), Direct),
        row(
            "no fragment: the reserved bit",
            Packet::v4(CLIENT, VIP).fragment_word(0x8000).tcp(1, 80, SYN).build(),
            Direct,
        ),
        row("atomic fragment", v6(7, 0, false).tcp(1, 80, SYN).build(), Direct),
        row("to somebody else", Packet::v4(CLIENT, OTHER).fragment_word(0x2000).udp(1, 53).build(), NotAService),
        row("of a port that no service has", v4(8, 0, true).udp(1, 9999).build(), NotAService),
        row(
            "to somebody else, IPv6",
            Packet::v6(CLIENT6, OTHER6).extension(44, &[0, 0, 1, 0, 0, 0, 9]).udp(1, 53).build(),
            NotAService,
        ),
        row("half an extension header", v6(9, 0, true).raw(60, &[6, 9]).build(), NotTransport),
    ]);
    run(&mut director, &rows);
}

#[test]
fn fragments_follow_what_becomes_of_the_real() {
    let mut director = standard();
    let real = director.send(&first(false, 7, 4000)).real.unwrap();
    let key = "udp://10.0.0.100:53".parse().unwrap();
    for (number, verdict) in [
        (disposition::DRAIN, Direct),
        (disposition::DROP, RealDown),
        (disposition::UNRESOLVED, RealUnresolved),
        (disposition::GONE, RealGone),
        (disposition::FORWARD, Direct),
    ] {
        director.change_real(&key, real, |real| real.disposition = number);
        assert_eq!(director.send(&later(false, 7, 1408, true)).verdict, verdict);
    }
}

/// More packets under way than a bucket holds: the oldest is forgotten, nobody goes to a wrong real.
#[test]
fn a_crowd_of_fragments_goes_right_or_not_at_all() {
    // Ticks so long that the time which the test takes is none.
    let mut director = Director::new(Options { tick_shift: 20, ..Options::default() });
    let real = |n| (tunnel(&format!("10.0.1.{n}:53"), n, "172.16.0.1"), 1);
    director.service("udp://10.0.0.100:53", RR, 0, &[real(1), real(2), real(3)]);
    let firsts: Vec<_> = (0..20_000u16).map(|id| director.send(&first(false, id, id)).real).collect();
    let mut known = 0;
    for (id, real) in firsts.iter().enumerate() {
        let sent = director.send(&later(false, id as u16, 1408, false));
        match sent.verdict {
            Tunnel => {
                known += 1;
                assert_eq!(sent.real, *real);
            }
            verdict => assert_eq!(verdict, FragmentEarly),
        }
    }
    assert!((10_000..=16_384).contains(&known), "{known} of 20 000 are known");
}
