//! Address translation of what has no ports of its own: later fragments, and ICMP errors with the packet that they are about, in both
//! directions. All bytes are checked by [`Director::send`], inner headers and every checksum included.

use lb_common::abi::real::{Real, disposition};
use lb_common::abi::service::scheduler::{MH, RR};
use lb_common::abi::verdict::Verdict::*;
use lb_tests::director::{Director, OTHER as OTHER_INTERFACE, Options, full_nat, nat};
use lb_tests::packet::{ACK, Packet, SYN, spoil};
use lb_tests::translated::{answer, ends};

use super::{CLIENT, CLIENT6, OTHER, OTHER6, VIP, VIP6};

const LOCALS: &[(&str, &str)] = &[("10.0.1.250", "1024-65535"), ("fd00::1:fa", "1024-65535")];
const ROUTER: &str = "192.0.2.200";
const ROUTER6: &str = "2001:db8::ffff";
/// A router between director and real.
const NEAR: &str = "10.0.1.254";
const NEAR6: &str = "fd00::1:fe";

/// One service of each protocol and family, behind NAT or full NAT, with another port than its real's.
fn director(is_full: bool, options: Options) -> Director {
    let mut director = Director::new(Options { locals: LOCALS, ..options });
    let real = |at: &str, n| -> Real { if is_full { full_nat(at, n, 0) } else { nat(at, n) } };
    for (protocol, n) in [("tcp", 1), ("udp", 2)] {
        director.service(&format!("{protocol}://10.0.0.100:80"), RR, 0, &[(real("10.0.1.1:8080", n), 1)]);
        director.service(&format!("{protocol}://[fd00::100]:80"), RR, 0, &[(real("[fd00::1:1]:8080", n), 1)]);
    }
    director
}

/// The same behind prefixes that the VIPs are part of.
fn behind_prefixes(is_full: bool, options: Options) -> Director {
    let mut director = Director::new(Options { locals: LOCALS, ..options });
    let real = |at: &str, n| -> Real { if is_full { full_nat(at, n, 0) } else { nat(at, n) } };
    for (protocol, n) in [("tcp", 1), ("udp", 2)] {
        let [v4, v6] = ["10.0.0.0/24", "[fd00::/112]"].map(|prefix| format!("{protocol} {prefix}:80"));
        director.mark(n, &v4, RR, 0, &[(real("10.0.1.1:8080", n as u8), 1)]);
        director.mark(n, &v6, RR, 0, &[(real("[fd00::1:1]:8080", n as u8), 1)]);
    }
    director
}

/// Both.
const DIRECTORS: [fn(bool, Options) -> Director; 2] = [director, behind_prefixes];

fn to_vip(is_v6: bool) -> Packet {
    if is_v6 { Packet::v6(CLIENT6, VIP6) } else { Packet::v4(CLIENT, VIP) }
}

/// The same as a fragment.
fn fragment(packet: Packet, is_v6: bool, id: u16, offset: u16, more: bool) -> Packet {
    if is_v6 {
        let (word, id) = ((offset | u16::from(more)).to_be_bytes(), id.to_be_bytes());
        packet.extension(44, &[0, word[0], word[1], 0, 0, id[0], id[1]])
    } else {
        packet.identification(id).fragment_word((offset / 8) | u16::from(more) << 13)
    }
}

/// A datagram of 8008 bytes begins with this one; the checksum is over bytes that come later.
fn first(packet: Packet, is_v6: bool, id: u16, ports: [u16; 2]) -> Vec<u8> {
    let packet = fragment(packet, is_v6, id, 0, true).udp(ports[0], ports[1]).payload(&[1; 1400]);
    spoil(&packet.build(), packet.transport_offset() + 4, &8008u16.to_be_bytes())
}

fn later(packet: Packet, is_v6: bool, id: u16, offset: u16) -> Packet {
    fragment(packet, is_v6, id, offset, true).raw(17, &[2; 800])
}

#[test]
fn fragments_of_both_directions() {
    for (is_full, make) in [false, true].into_iter().flat_map(|is_full| DIRECTORS.map(|make| (is_full, make))) {
        for is_v6 in [false, true] {
            let mut director = make(is_full, Options::default());
            let mut send = |frame: Vec<u8>| director.send(&frame).verdict;
            for frame in [7, 8].map(|id| later(to_vip(is_v6), is_v6, id, 1408).build()) {
                assert_eq!(send(frame), FragmentEarly);
            }
            assert_eq!(send(first(to_vip(is_v6), is_v6, 7, [4000, 80])), Nat, "it begins the flow");
            let at_real = {
                let sent = director.send(&first(to_vip(is_v6), is_v6, 8, [4000, 80]));
                assert_eq!((sent.verdict, sent.is_new), (Nat, false));
                ends(&sent.frame)
            };
            let mut send = |frame: Vec<u8>| director.send(&frame).verdict;
            for offset in [8, 1408, 2208, 7208] {
                for id in [7, 8] {
                    assert_eq!(send(later(to_vip(is_v6), is_v6, id, offset).build()), Nat);
                    assert_eq!(send(later(to_vip(is_v6), is_v6, id, offset).vlan(5).build()), Nat);
                }
            }
            assert_eq!(send(later(to_vip(is_v6), is_v6, 9, 1408).build()), FragmentEarly);
            for hops in [0, 1] {
                assert_eq!(send(later(to_vip(is_v6), is_v6, 7, 1408).ttl(hops).build()), HopsSpent);
            }
            // The other way, with identifications of the real's own.
            let back = || Packet::new(at_real.destination.ip(), at_real.source.ip());
            let ports = [at_real.destination.port(), at_real.source.port()];
            assert_eq!(send(later(back(), is_v6, 20, 1408).build()), NotAService, "nobody's so far");
            assert_eq!(send(first(back(), is_v6, 20, ports)), Reply);
            for offset in [8, 1408, 7208] {
                assert_eq!(send(later(back(), is_v6, 20, offset).build()), Reply);
            }
            assert_eq!(send(later(back(), is_v6, 21, 1408).build()), NotAService);
            assert_eq!(send(later(back(), is_v6, 20, 1408).ttl(1).build()), HopsSpent);
            assert_eq!(send(first(back(), is_v6, 22, [ports[0] ^ 1, ports[1]])), NotAService, "no answer");
            assert_eq!(send(later(back(), is_v6, 22, 1408).build()), NotAService);
        }
    }
}

/// A record that became another connection's is nobody's for the fragments of the old one.
#[test]
fn later_fragments_of_a_connection_that_is_over() {
    // Two buckets of eight records: sixteen connections have all of them.
    let mut director = director(true, Options { reply_buckets: 2, ..Options::default() });
    director.service("udp://10.0.0.100:81", RR, 0, &[(full_nat("10.0.1.2:8080", 3, 0), 1)]);
    let at_real = ends(&director.send(&first(to_vip(false), false, 7, [4000, 80])).frame).reversed();
    let back = || Packet::new(at_real.source.ip(), at_real.destination.ip());
    let ports = [at_real.source.port(), at_real.destination.port()];
    assert_eq!(director.send(&first(back(), false, 9, ports)).verdict, Reply);
    director.forget();
    for port in 4000..4016 {
        assert_eq!(director.send(&to_vip(false).udp(port, 81).build()).verdict, Nat);
    }
    assert_eq!(director.send(&later(to_vip(false), false, 7, 1408).build()).verdict, NatUnsuited);
    assert_eq!(director.send(&later(back(), false, 9, 1408).build()).verdict, NotAService);
}

#[test]
fn fragments_too_long_for_their_way() {
    for is_full in [false, true] {
        for is_v6 in [false, true] {
            let mut director = director(is_full, Options { client_mtu: 65_536, ..Options::default() });
            let (service, real): (&str, &str) = if is_v6 {
                ("udp://[fd00::100]:80", "[fd00::1:1]:8080")
            } else {
                ("udp://10.0.0.100:80", "10.0.1.1:8080")
            };
            assert_eq!(director.send(&first(to_vip(is_v6), is_v6, 7, [4000, 80])).verdict, Nat);
            director.change_real(&service.parse().unwrap(), real.parse().unwrap(), |real| real.mtu = 800);
            assert_eq!(director.send(&later(to_vip(is_v6), is_v6, 7, 1408).build()).verdict, TooBig);
        }
    }
}

/// TCP's first fragment gets no option: with it it would reach into the next one.
#[test]
fn a_first_fragment_of_tcp() {
    use lb_common::abi::real::option;
    let mut director = Director::new(Options { locals: LOCALS, ..Options::default() });
    director.service("tcp://10.0.0.100:80", RR, 0, &[(full_nat("10.0.1.1:8080", 1, option::TOA), 1)]);
    let packet = |flags| to_vip(false).tcp(4000, 80, flags);
    let at_real = director.send(&packet(SYN).build()).frame;
    let back = answer(&at_real, SYN | ACK).numbers(99, 2).build();
    assert_eq!(director.send(&back).verdict, Reply);
    let whole = packet(ACK).numbers(2, 100).payload(&[9; 96]);
    let frame = fragment(whole.clone(), false, 7, 0, true).build();
    assert_eq!(director.send(&frame).frame.len(), frame.len());
    assert_eq!(director.send(&whole.build()).frame.len(), whole.build().len() + 8, "a whole one does");
}

/// Between the families there are none.
#[test]
fn no_fragments_and_errors_between_the_families() {
    let mut director = Director::new(Options { locals: LOCALS, ..Options::default() });
    director.service("udp://10.0.0.100:80", RR, 0, &[(full_nat("[fd00::1:1]:8080", 1, 0), 1)]);
    director.service("udp://[fd00::100]:80", RR, 0, &[(full_nat("10.0.1.1:8080", 2, 0), 1)]);
    for is_v6 in [false, true] {
        let begun = director.send(&to_vip(is_v6).udp(4000, 80).payload(b"ask").build());
        assert_eq!(begun.verdict, Nat);
        assert_eq!(director.send(&first(to_vip(is_v6), is_v6, 7, [4000, 80])).verdict, NatUnsuited);
        let verdict = director.send(&later(to_vip(is_v6), is_v6, 7, 1408).build()).verdict;
        assert!(matches!(verdict, NatUnsuited | FragmentEarly), "{verdict:?}");
        let about = answer(&to_vip(is_v6).udp(4000, 80).build(), 0);
        assert_eq!(director.send(&from_client_side(&about, 100).build()).verdict, NatUnsuited);
        let about = Packet::new(ends(&begun.frame).source.ip(), ends(&begun.frame).destination.ip());
        let about = about.udp(ends(&begun.frame).source.port(), 8080);
        assert_eq!(director.send(&from_real_side(&about, 100).build()).verdict, NatUnsuited);
        let back = Packet::new(ends(&begun.frame).destination.ip(), ends(&begun.frame).source.ip());
        let frame = first(back, !is_v6, 9, [8080, ends(&begun.frame).source.port()]);
        assert_eq!(director.send(&frame).verdict, NatUnsuited);
        assert_eq!(director.send(&answer(&begun.frame, 0).build()).verdict, Reply, "the flow goes on");
    }
}

fn quoted(about: &Packet, bytes: usize) -> Vec<u8> {
    let frame = about.build();
    frame[14..(14 + bytes).min(frame.len())].to_vec()
}

fn error(from: &str, about: &Packet, bytes: usize) -> Packet {
    let quoted = quoted(about, bytes);
    let to = ends(&about.build()).source.ip();
    let kind = if to.is_ipv4() { (3, 4) } else { (2, 0) };
    Packet::new(from.parse::<std::net::IpAddr>().unwrap(), to).icmp(kind.0, kind.1).payload(&quoted)
}

/// An error of a router on the client's side, about a packet that the service sent.
fn from_client_side(about: &Packet, bytes: usize) -> Packet {
    error(if ends(&about.build()).source.is_ipv6() { ROUTER6 } else { ROUTER }, about, bytes)
}

/// An error of a router on the real's side, about a packet that was translated for it.
fn from_real_side(about: &Packet, bytes: usize) -> Packet {
    error(if ends(&about.build()).source.is_ipv6() { NEAR6 } else { NEAR }, about, bytes)
}

/// The packet in a frame, as it was built: what a router quotes.
fn again(frame: &[u8]) -> Packet {
    let of = ends(frame);
    let packet = Packet::new(of.source.ip(), of.destination.ip());
    if of.protocol == 17 {
        packet.udp(of.source.port(), of.destination.port()).payload(&[7; 60])
    } else {
        packet.tcp(of.source.port(), of.destination.port(), ACK).payload(&[7; 61])
    }
}

#[test]
fn errors_of_both_directions() {
    for (is_full, make) in [false, true].into_iter().flat_map(|is_full| DIRECTORS.map(|make| (is_full, make))) {
        let mut director = make(is_full, Options::default());
        for is_v6 in [false, true] {
            for packet in [to_vip(is_v6).tcp(4000, 80, SYN), to_vip(is_v6).udp(4000, 80)] {
                let begun = director.send(&packet.build());
                assert_eq!((begun.verdict, begun.is_new), (Nat, true));
                let before = director.connections();
                let (about_answer, about_packet) = (again(&answer(&packet.build(), ACK).build()), again(&begun.frame));
                let least = if is_v6 { 48 } else { 28 };
                for bytes in [least, least + 1, 60, 500] {
                    for (error, verdict) in
                        [(from_client_side(&about_answer, bytes), Nat), (from_real_side(&about_packet, bytes), Reply)]
                    {
                        let mut shapes =
                            vec![error.clone(), error.clone().vlan(5), error.clone().tag(0x88a8, 7).vlan(9)];
                        if is_v6 {
                            shapes.push(error.clone().extension(60, &[0, 1, 4, 0, 0, 0, 0]));
                        } else {
                            shapes.push(error.clone().options(&[1; 8]));
                        }
                        for shape in shapes {
                            let sent = director.send(&shape.build());
                            assert_eq!((sent.verdict, sent.real, sent.is_new), (verdict, begun.real, false));
                            assert_eq!(director.send(&shape.ttl(1).build()).verdict, HopsSpent);
                        }
                    }
                }
                assert_eq!(director.connections(), before, "an error changes no connection");
            }
        }
    }
}

/// Headers between the embedded IP header and the ports, and a checksum that was wrong before.
#[test]
fn what_is_inside_errors() {
    for (is_full, make) in [false, true].into_iter().flat_map(|is_full| DIRECTORS.map(|make| (is_full, make))) {
        let mut director = make(is_full, Options::default());
        for is_v6 in [false, true] {
            let begun = director.send(&to_vip(is_v6).udp(4000, 80).build()).frame;
            let with = |packet: Packet| {
                if is_v6 { packet.extension(60, &[0, 1, 4, 0, 0, 0, 0]) } else { packet.options(&[1; 12]) }
            };
            let to_real = from_client_side(&with(again(&answer(&to_vip(is_v6).udp(4000, 80).build(), 0).build())), 500);
            let to_client = from_real_side(&with(again(&begun)), 500);
            for (error, verdict) in [(to_real, Nat), (to_client, Reply)] {
                let (frame, at) = (error.build(), error.transport_offset());
                assert_eq!(director.send(&frame).verdict, verdict);
                // A router may have changed the quoted header's checksum, or spoilt its own.
                for wrong in [[0, 0], [0xff, 0xff], [0x12, 0x34]] {
                    assert_eq!(director.send(&spoil(&frame, at + 2, &wrong)).verdict, verdict);
                    if !is_v6 {
                        assert_eq!(director.send(&spoil(&frame, at + 8 + 10, &wrong)).verdict, verdict);
                    }
                }
            }
        }
    }
}

#[test]
fn errors_about_nothing_of_ours() {
    for is_full in [false, true] {
        let mut director = director(is_full, Options::default());
        for is_v6 in [false, true] {
            let begun = director.send(&to_vip(is_v6).udp(4000, 80).build()).frame;
            let mut send = |error: &Packet| director.send(&error.build()).verdict;
            let client = if is_v6 { CLIENT6 } else { CLIENT };
            let (vip, other) = if is_v6 { (VIP6, OTHER6) } else { (VIP, OTHER) };
            let udp = |from: &str, to: &str, ports: [u16; 2]| {
                let packet = if is_v6 { Packet::v6(from, to) } else { Packet::v4(from, to) };
                packet.udp(ports[0], ports[1]).payload(&[7; 60])
            };
            // To the VIP.
            assert_eq!(send(&from_client_side(&udp(vip, client, [80, 4001]), 60)), IcmpNoFlow);
            assert_eq!(send(&from_client_side(&udp(vip, client, [81, 4000]), 60)), IcmpNoFlow);
            assert_eq!(send(&from_client_side(&udp(vip, other, [80, 4000]), 60)), IcmpNoFlow);
            let kind = |packet: Packet| if is_v6 { packet.icmp(1, 4) } else { packet.icmp(3, 3) };
            let astray = |quote: &Packet, to: &str| {
                kind(if is_v6 { Packet::v6(client, to) } else { Packet::v4(client, to) }).payload(&quoted(quote, 60))
            };
            assert_eq!(send(&astray(&udp(other, client, [80, 4000]), vip)), IcmpForged);
            assert_eq!(send(&astray(&again(&begun), vip)), IcmpForged, "the packet that went to the real");
            // To where the real's answers go.
            let at_real = ends(&begun);
            let (local, real) = (at_real.source, at_real.destination);
            let (local_text, real_text) = (local.ip().to_string(), real.ip().to_string());
            for wrong in [
                udp(&local_text, &real_text, [local.port() ^ 1, real.port()]),
                udp(&local_text, &real_text, [local.port(), real.port() ^ 1]),
                udp(&local_text, other, [local.port(), real.port()]),
                udp(other, &real_text, [local.port(), real.port()]),
            ] {
                assert_eq!(send(&from_real_side(&wrong, 60)), NotAService);
            }
            assert_eq!(send(&astray(&udp(other, client, [80, 4000]), &local_text)), NotAService, "not to its sender");
            // What hosts and routers send each other past us stays theirs: the kernel gets it.
            let echo =
                if is_v6 { Packet::v6(other, client).icmp(128, 0) } else { Packet::v4(other, client).icmp(8, 0) };
            assert_eq!(send(&astray(&echo.payload(&[1; 60]), other)), NotAService);
            assert_eq!(
                send(&kind(if is_v6 { Packet::v6(client, other) } else { Packet::v4(client, other) })),
                NotAService
            );
        }
    }
}

/// Ports that stand in Ethernet's padding are no packet's: to write them would spoil the checksum of what is.
#[test]
fn an_embedded_header_that_lies_about_its_length() {
    for is_full in [false, true] {
        let mut director = director(is_full, Options::default());
        let begun = director.send(&to_vip(false).udp(4000, 80).build()).frame;
        let about = [again(&answer(&to_vip(false).udp(4000, 80).build(), 0).build()), again(&begun)];
        let errors = [(from_client_side(&about[0], 28), IcmpMalformed), (from_real_side(&about[1], 28), NotAService)];
        for (error, verdict) in errors {
            let at = error.transport_offset() + 8;
            let ports = error.build()[at + 20..at + 28].to_vec();
            for words in 0..16u8 {
                let mut frame = spoil(&error.build(), at, &[0x40 | words]);
                frame.resize(at + 60, 0);
                // The flow's ports, where this header says that they are.
                frame.extend(&ports);
                if words > 5 {
                    frame[at + usize::from(words) * 4..][..8].copy_from_slice(&ports);
                }
                if words != 5 {
                    assert_eq!(director.send(&frame).verdict, verdict, "{words} words");
                }
            }
        }
    }
}

/// Behind a hash scheduler, too, only a connection says to whom a translated packet belonged.
#[test]
fn an_error_without_a_connection() {
    for scheduler in [RR, MH] {
        for real in [nat("10.0.1.1:8080", 1), full_nat("10.0.1.1:8080", 1, 0)] {
            let mut director = Director::new(Options { locals: LOCALS, ..Options::default() });
            director.service("udp://10.0.0.100:80", scheduler, 0, &[(real, 1)]);
            let about = answer(&to_vip(false).udp(4000, 80).build(), 0);
            assert_eq!(director.send(&from_client_side(&about, 60).build()).verdict, IcmpNoFlow);
            director.send(&to_vip(false).udp(4000, 80).build());
            assert_eq!(director.send(&from_client_side(&about, 60).build()).verdict, Nat);
            director.forget();
            assert_eq!(director.send(&from_client_side(&about, 60).build()).verdict, IcmpNoFlow);
        }
    }
}

#[test]
fn both_follow_what_becomes_of_the_real() {
    for is_full in [false, true] {
        let mut director = director(is_full, Options::default());
        let (key, real) = ("udp://10.0.0.100:80".parse().unwrap(), "10.0.1.1:8080".parse().unwrap());
        let begun = director.send(&first(to_vip(false), false, 7, [4000, 80])).frame;
        let about = again(&answer(&to_vip(false).udp(4000, 80).build(), 0).build());
        for (number, verdict) in [
            (disposition::DRAIN, Nat),
            (disposition::DROP, RealDown),
            (disposition::UNRESOLVED, RealUnresolved),
            (disposition::GONE, RealGone),
            (disposition::FORWARD, Nat),
        ] {
            director.change_real(&key, real, |real| real.disposition = number);
            assert_eq!(director.send(&later(to_vip(false), false, 7, 1408).build()).verdict, verdict);
            assert_eq!(director.send(&from_client_side(&about, 60).build()).verdict, verdict);
            assert_eq!(director.send(&from_real_side(&again(&begun), 60).build()).verdict, Reply);
        }
        director.change_real(&key, real, |real| real.ifindex = OTHER_INTERFACE);
        assert_eq!(director.send(&later(to_vip(false), false, 7, 1408).build()).verdict, NatRedirect);
        assert_eq!(director.send(&from_client_side(&about, 60).build()).verdict, NatRedirect);
    }
}
