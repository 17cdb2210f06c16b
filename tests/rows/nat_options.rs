//! TCP options that the director writes: the client's address for reals that full NAT hides it from, and the largest segment that a SYN
//! announces. The judge makes both from their documents ([`lb_tests::conversation`]).

use lb_common::abi::real::{Real, option};
use lb_common::abi::service::scheduler::RR;
use lb_common::abi::verdict::Verdict::*;
use lb_tests::director::{Director, Options, full_nat, hex, nat};
use lb_tests::packet::{ACK, FIN, Packet, RST, SYN};
use lb_tests::translated::{answer, is_right};

use super::full_nat::{LOCALS, Side, sides};

/// A connection whose handshake has come as far as the real's SYN.
struct Flow {
    director: Director,
    side: Side,
    at_real: Vec<u8>,
}

/// Acknowledges the real's SYN, whose number is 99, and no data.
const FIRST: u32 = 100;

impl Flow {
    fn begin(side: Side, options: u8, mtu: u16) -> Self {
        let mut director = Director::new(Options { locals: LOCALS, ..Options::default() });
        let real = Real { mtu, ..full_nat(&side.real(1, 8080), 1, options) };
        director.service(&side.service(80), RR, 0, &[(real, 1)]);
        let at_real = side.begin(&mut director, 4000).frame;
        assert_eq!(director.send(&answer(&at_real, SYN | ACK).numbers(99, 2).build()).verdict, Reply);
        Self { director, side, at_real }
    }

    fn packet(&self, flags: u8, acknowledged: u32) -> Packet {
        self.side.packet(4000, 80, flags).numbers(2, acknowledged)
    }

    /// Bytes by which the packet grew on its way.
    fn growth(&mut self, packet: &Packet) -> isize {
        let frame = packet.build();
        let sent = self.director.send(&frame);
        assert_eq!(sent.verdict, Nat);
        assert!(is_right(&sent.frame));
        sent.frame.len() as isize - frame.len() as isize
    }
}

fn tcp() -> impl Iterator<Item = Side> {
    sides().into_iter().filter(|side| side.protocol == "tcp")
}

/// Sides within one family, with the bytes of their option.
fn told() -> impl Iterator<Item = (Side, isize)> {
    tcp().filter(|side| !side.is_across()).map(|side| (side, if side.client_is_v6 { 20 } else { 8 }))
}

/// Kind 254, length, port 4000, address.
#[test]
fn the_bytes_of_the_option() {
    for (side, length) in told() {
        let mut flow = Flow::begin(side, option::TOA, 1500);
        let sent = flow.director.send(&flow.packet(ACK, FIRST).payload(b"GET /").build());
        let at = if side.client_is_v6 { 74 } else { 54 };
        let written = hex(&sent.frame[at..at + length as usize]);
        let wanted = if side.client_is_v6 {
            "fe 14 0f a0 20 01 0d b8 00 00 00 00 00 00 00 00 00 00 00 07"
        } else {
            "fe 08 0f a0 c0 00 02 07"
        };
        assert_eq!(written, wanted);
        assert_eq!(&sent.frame[at + length as usize..], b"GET /");
    }
}

#[test]
fn it_goes_along_until_the_client_has_got_data() {
    for (side, length) in told() {
        let mut flow = Flow::begin(side, option::TOA, 1500);
        for (packet, growth) in [
            (flow.packet(SYN, 0), 0),
            (flow.packet(ACK, FIRST), length),
            (flow.packet(ACK, FIRST).payload(b"ask"), length),
            (flow.packet(ACK, FIRST).payload(b"ask"), length),
            (flow.packet(ACK | FIN, FIRST), length),
            (flow.packet(ACK, FIRST + 1).payload(b"more"), 0),
            (flow.packet(ACK, FIRST - 1), 0),
            (flow.packet(0, FIRST), 0),
            (flow.packet(ACK | SYN, FIRST), 0),
        ] {
            assert_eq!(flow.growth(&packet), growth, "{side:?}");
        }
        assert_eq!(
            flow.director.send(&answer(&flow.at_real, ACK).numbers(100, 3).payload(b"told").build()).verdict,
            Reply
        );
        let packet = flow.packet(RST | ACK, FIRST);
        assert_eq!(flow.growth(&packet), 0);
    }
    for side in tcp().filter(Side::is_across) {
        let mut flow = Flow::begin(side, option::TOA, 1500);
        let packet = flow.packet(ACK, FIRST);
        assert_eq!(flow.growth(&packet), if side.client_is_v6 { -20 } else { 20 }, "the header's, no option's");
    }
    for (side, _) in told() {
        let mut flow = Flow::begin(side, 0, 1500);
        let packet = flow.packet(ACK, FIRST).payload(b"ask");
        assert_eq!(flow.growth(&packet), 0, "not asked for");
    }
}

/// A TCP header has 60 bytes at most, and a way its MTU. The next segment that has room carries it.
#[test]
fn without_room_it_stays_away() {
    for (side, length) in told() {
        let mut flow = Flow::begin(side, option::TOA, 1500);
        for options in (0..=40).step_by(4) {
            let fits = 20 + options as isize + length <= 60;
            let packet = flow.packet(ACK, FIRST).tcp_options(&vec![1; options]);
            assert_eq!(flow.growth(&packet), if fits { length } else { 0 }, "{options} bytes of options");
        }
        for mtu in [1280, 1400, 1500, 2000] {
            let mut flow = Flow::begin(side, option::TOA, mtu);
            let room = usize::from(mtu) - length as usize;
            for (total, fits) in [(room - 1, true), (room, true), (room + 1, false), (room + length as usize, false)] {
                let packet = flow.packet(ACK, FIRST).length(total);
                assert_eq!(flow.growth(&packet), if fits { length } else { 0 }, "{total} bytes on a way of {mtu}");
            }
        }
        let packet = flow.packet(ACK, FIRST);
        let mut others = vec![packet.clone().vlan(5)];
        others.push(if side.client_is_v6 {
            packet.extension(60, &[0, 1, 4, 0, 0, 0, 0])
        } else {
            packet.options(&[1; 4])
        });
        for other in others {
            assert_eq!(flow.growth(&other), 0, "behind tags or longer headers");
        }
    }
}

/// A service whose SYNs are cut.
fn clamping(side: Side, is_full: bool) -> Director {
    let mut director = Director::new(Options { locals: LOCALS, ..Options::default() });
    let at = side.real(1, 8080);
    let real = if is_full { full_nat(&at, 1, 0) } else { nat(&at, 1) };
    director.service(&side.service(80), RR, 0, &[(Real { options: option::CLAMP, ..real }, 1)]);
    director
}

fn announced(frame: &[u8], at: usize) -> u16 {
    let at = lb_tests::translated::Parts::of(frame).transport + 20 + at;
    u16::from_be_bytes([frame[at], frame[at + 1]])
}

#[test]
fn both_syns_announce_what_fits() {
    for is_full in [false, true] {
        for side in tcp().filter(|side| is_full || !side.is_across()) {
            let mut director = clamping(side, is_full);
            for options in [option::CLAMP, option::CLAMP | option::TOA] {
                for mtu in [1280, 1400, 1500] {
                    let (key, at) = (side.service(80).parse().unwrap(), side.real(1, 8080).parse().unwrap());
                    director.change_real(&key, at, |real| (real.mtu, real.options) = (mtu, options));
                    let told = if options & option::TOA != 0 { 20 } else { 0 };
                    let header = if side.real_is_v6 { 60 } else { 40 };
                    let fits = mtu - header - told;
                    for (said, becomes) in [(9000, fits), (fits + 1, fits), (fits, fits), (536, 536)] {
                        director.forget();
                        let announcing = [&[2, 4][..], &u16::to_be_bytes(said)].concat();
                        let there = director.send(&side.packet(4000, 80, SYN).tcp_options(&announcing).build());
                        assert_eq!((there.verdict, announced(&there.frame, 2)), (Nat, becomes), "{side:?} {mtu}");
                        let back = answer(&there.frame, SYN | ACK).tcp_options(&announcing);
                        let back = director.send(&back.build());
                        assert_eq!((back.verdict, announced(&back.frame, 2)), (Reply, becomes), "{side:?} {mtu}");
                        assert!(is_right(&there.frame) && is_right(&back.frame));
                    }
                }
            }
        }
    }
}

/// Where the option stands, and what stands there instead of it.
#[test]
fn the_option_among_others() {
    const BIG: [u8; 4] = [2, 4, 0x23, 0x28];
    let cut = |director: &mut Director, side: Side, options: &[u8], at: usize| {
        let sent = director.send(&side.packet(4000, 80, SYN).tcp_options(options).build());
        assert_eq!(sent.verdict, Nat);
        assert!(is_right(&sent.frame), "{options:?}");
        announced(&sent.frame, at)
    };
    for side in tcp() {
        let mut director = clamping(side, true);
        let fits = if side.real_is_v6 { 1440 } else { 1460 };
        let timestamps = [8, 10, 1, 2, 3, 4, 5, 6, 7, 8];
        for (before, behind) in [
            (&[1, 1, 1, 1][..], &[][..]),
            (&[1], &[1, 1, 1]),
            (&[4, 2], &[1, 1]),
            (&[3, 3, 7], &[1]),
            (&timestamps, &[1, 1]),
            (&[1, 3, 3, 7, 4, 2, 1], &[0]),
            // Of another length it is none.
            (&[2, 6, 0x23, 0x28, 0, 0], &[1, 1]),
        ] {
            let options = [before, &BIG, behind].concat();
            assert_eq!(cut(&mut director, side, &options, before.len() + 2), fits, "{options:?}");
        }
        // The end of the options, one that says it is as long as none is: what follows is no announcement.
        for before in [&[0, 1, 1, 1][..], &[9, 0, 1, 1], &[9, 1, 1, 1]] {
            let options = [before, &BIG].concat();
            assert_eq!(cut(&mut director, side, &options, before.len() + 2), 9000, "{options:?}");
        }
        let cut_off = [1, 1, 1, 1, 1, 2, 4, 0x23];
        assert_eq!(cut(&mut director, side, &cut_off, 6), 0x0423, "not all of it is there");
    }
}

#[test]
fn only_syns_are_cut_and_only_if_asked() {
    const BIG: [u8; 4] = [2, 4, 0x23, 0x28];
    for side in tcp() {
        let mut director = clamping(side, true);
        director.send(&side.packet(4000, 80, SYN).build());
        for flags in [ACK, ACK | FIN, RST] {
            let sent = director.send(&side.packet(4000, 80, flags).tcp_options(&BIG).build());
            assert_eq!((sent.verdict, announced(&sent.frame, 2)), (Nat, 9000));
        }
        let (key, at) = (side.service(80).parse().unwrap(), side.real(1, 8080).parse().unwrap());
        director.change_real(&key, at, |real| real.options = 0);
        director.forget();
        for _ in 0..2 {
            let sent = director.send(&side.packet(4000, 80, SYN).tcp_options(&BIG).build());
            assert_eq!((sent.verdict, announced(&sent.frame, 2)), (Nat, 9000));
        }
        let at_real = director.send(&side.packet(4000, 80, SYN).build()).frame;
        let back = director.send(&answer(&at_real, SYN | ACK).tcp_options(&BIG).build());
        assert_eq!((back.verdict, announced(&back.frame, 2)), (Reply, 9000));
    }
}
