//! Packets without a connection: which may begin one.

use lb_common::abi::connection::State;
use lb_common::abi::service::scheduler::{LC, MH, RR, SH, WLC, WRR};
use lb_common::abi::settings::Settings;
use lb_common::abi::verdict::Verdict::*;
use lb_tests::director::{Director, Options, direct};
use lb_tests::packet::{ACK, FIN, Packet, RST, SYN};

use super::{CLIENT, CLIENT6, VIP, VIP6};

const REALS: [&str; 3] = ["10.0.1.1:80", "10.0.1.2:80", "10.0.1.3:80"];

fn director(scheduler: u8, sloppy_tcp: bool) -> Director {
    let mut director = Director::new(Options { sloppy_tcp, ..Options::default() });
    let reals: Vec<_> = REALS.iter().zip(1..).map(|(at, number)| (direct(at, number), 1)).collect();
    director.service("tcp://10.0.0.100:80", scheduler, 0, &reals);
    let reals: Vec<_> = (1..4).map(|number| (direct(&format!("[fd00::1:{number}]:80"), number), 1)).collect();
    director.service("tcp://[fd00::100]:80", scheduler, 0, &reals);
    director
}

fn both(port: u16, flags: u8) -> [Vec<u8>; 2] {
    [Packet::v4(CLIENT, VIP).tcp(port, 80, flags).build(), Packet::v6(CLIENT6, VIP6).tcp(port, 80, flags).build()]
}

#[test]
fn stateful_schedulers_want_a_syn() {
    for scheduler in [RR, WRR, LC, WLC] {
        let mut director = director(scheduler, false);
        for (port, (flags, verdict)) in [
            (ACK, MissNotSyn),
            (FIN | ACK, MissNotSyn),
            (0, MissNotSyn),
            (0x08 | ACK, MissNotSyn),
            (RST, MissNotSyn),
            (RST | ACK, MissNotSyn),
            (SYN | RST, MissNotSyn),
            (SYN, Direct),
            (SYN | ACK, Direct),
            (SYN | 0xc0, Direct),
        ]
        .into_iter()
        .enumerate()
        {
            for frame in both(4000 + port as u16, flags) {
                assert_eq!(director.send(&frame).verdict, verdict, "scheduler {scheduler}, flags {flags:#x}");
            }
        }
        assert_eq!(director.connections().len(), 6);
    }
}

/// While connections move to tables of another size what begins none may belong to one that is not there yet.
#[test]
fn while_connections_move_only_openings_begin_one() {
    for (scheduler, sloppy) in [(RR, false), (RR, true), (MH, false)] {
        let mut director = director(scheduler, sloppy);
        for frame in both(4000, SYN) {
            assert_eq!(director.send(&frame).verdict, Direct);
        }
        let settings = director.tables.settings();
        director.tables.set_settings(&Settings { moving: 1, ..settings });
        for (port, flags, verdict) in
            [(4000, ACK, Direct), (4001, ACK, Moving), (4001, RST, Moving), (4001, SYN, Direct), (4001, ACK, Direct)]
        {
            for frame in both(port, flags) {
                assert_eq!(director.send(&frame).verdict, verdict, "scheduler {scheduler}, {port}, flags {flags:#x}");
            }
        }
        assert_eq!(director.connections().len(), 4);
        // To no service, and no answer: only where answers come back through the director may it be one.
        let other = Packet::v4(CLIENT, "10.0.0.7").tcp(4000, 80, ACK).build();
        director.tables.set_settings(&Settings { moving: 1, replies: 0, ..settings });
        assert_eq!(director.send(&other).verdict, NotAService);
        director.tables.set_settings(&Settings { moving: 1, replies: 1, ..settings });
        assert_eq!(director.send(&other).verdict, Moving);
        let opening = Packet::v4(CLIENT, "10.0.0.7").tcp(4000, 80, SYN).build();
        assert_eq!(director.send(&opening).verdict, NotAService);
        director.tables.set_settings(&settings);
        assert_eq!(director.send(&other).verdict, NotAService);
    }
}

/// `sloppy_tcp`: anything but RST begins a connection, in the state that the table has for it.
#[test]
fn sloppy_tcp_takes_anything_but_a_reset() {
    let mut director = director(RR, true);
    for (flags, state) in [(ACK, State::Established), (FIN | ACK, State::Close), (SYN, State::SynRecv)] {
        let port = 4000 + u16::from(flags);
        for frame in both(port, flags) {
            assert_eq!(director.send(&frame).verdict, Direct, "flags {flags:#x}");
        }
        let states: Vec<_> = director
            .connections()
            .into_iter()
            .filter(|(client, _)| client.port() == port)
            .map(|(_, state)| state)
            .collect();
        assert_eq!(states, [state; 2], "flags {flags:#x}");
    }
    for frame in both(5000, RST | ACK) {
        assert_eq!(director.send(&frame).verdict, MissNotSyn);
    }
}

/// A packet with no flag at all may begin a sloppy connection, too. IPVS keeps it in state NONE; its entry must not look free.
#[test]
fn sloppy_tcp_keeps_a_packet_without_flags() {
    let mut director = director(RR, true);
    for frame in both(4000, 0) {
        let first = director.send(&frame);
        assert_eq!(first.verdict, Direct);
        let second = director.send(&frame);
        assert_eq!((second.real, second.is_new), (first.real, false), "the flow is remembered");
    }
}

/// A director that takes over with a hash scheduler finds each flow's real without having seen its SYN.
#[test]
fn hash_schedulers_agree_without_state() {
    for scheduler in [SH, MH] {
        let (mut first, mut second) = (director(scheduler, false), director(scheduler, false));
        let mut used = std::collections::BTreeSet::new();
        for client in 1..=40u8 {
            let syn = first.send(&Packet::v4(&format!("192.0.2.{client}"), VIP).tcp(4000, 80, SYN).build());
            let ack = second.send(&Packet::v4(&format!("192.0.2.{client}"), VIP).tcp(4000, 80, ACK).build());
            assert_eq!((ack.verdict, ack.real), (Direct, syn.real));
            assert!(ack.is_new);
            let syn6 = first.send(&Packet::v6(&format!("2001:db8::{client}"), VIP6).tcp(4000, 80, SYN).build());
            let ack6 = second.send(&Packet::v6(&format!("2001:db8::{client}"), VIP6).tcp(4000, 80, ACK).build());
            assert_eq!((ack6.verdict, ack6.real), (Direct, syn6.real));
            used.insert(syn.real);
        }
        assert_eq!(used.len(), 3, "40 clients use every real");
        assert!(second.connections().iter().all(|(_, state)| *state == State::Established));
    }
}

#[test]
fn a_reset_leaves_no_entry() {
    for scheduler in [SH, MH] {
        let mut director = director(scheduler, false);
        for flags in [RST, RST | ACK, RST | SYN] {
            for frame in both(4000, flags) {
                let sent = director.send(&frame);
                assert_eq!((sent.verdict, sent.is_new), (Direct, false), "sent on to the real that the flow has");
            }
        }
        assert!(director.connections().is_empty());
        for at in REALS {
            assert_eq!(director.load(&"tcp://10.0.0.100:80".parse().unwrap(), at.parse().unwrap()), (0, 0));
        }
    }
}

#[test]
fn no_real_means_the_kernel_answers() {
    for scheduler in [RR, WRR, LC, WLC, SH, MH] {
        for weights in [vec![], vec![0, 0]] {
            let mut director = Director::default();
            let reals: Vec<_> = REALS
                .iter()
                .zip(&weights)
                .zip(1..)
                .map(|((at, weight), number)| (direct(at, number), *weight))
                .collect();
            director.service("tcp://10.0.0.100:80", scheduler, 0, &reals);
            let sent = director.send(&Packet::v4(CLIENT, VIP).tcp(4000, 80, SYN).build());
            assert_eq!(sent.verdict, NoReal, "scheduler {scheduler}, weights {weights:?}");
            assert!(director.connections().is_empty());
        }
    }
}
