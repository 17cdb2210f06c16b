//! Connections whose real is gone, down or out of reach.

use lb_common::abi::real::{disposition, method};
use lb_common::abi::service::scheduler::{MH, RR};
use lb_common::abi::verdict::Verdict::*;
use lb_tests::director::{Director, direct};
use lb_tests::packet::{ACK, Packet, SYN};

use super::{CLIENT, CLIENT6, VIP, VIP6};

/// A client's packet, its service, its two reals.
const SIDES: [(&str, [&str; 2]); 2] = [
    ("tcp://10.0.0.100:80", ["10.0.1.1:80", "10.0.1.2:80"]),
    ("tcp://[fd00::100]:80", ["[fd00::1:1]:80", "[fd00::1:2]:80"]),
];

fn packet(service: &str, flags: u8) -> Vec<u8> {
    let packet = if service.contains("10.0") { Packet::v4(CLIENT, VIP) } else { Packet::v6(CLIENT6, VIP6) };
    packet.tcp(4000, 80, flags).build()
}

/// A director with an established connection to the first real.
fn director(service: &str, reals: [&str; 2], scheduler: u8) -> Director {
    let mut director = Director::default();
    director.service(service, scheduler, 0, &[(direct(reals[0], 1), 1), (direct(reals[1], 2), 1)]);
    director.send(&packet(service, SYN));
    assert_eq!(director.send(&packet(service, ACK)).verdict, Direct);
    director
}

#[test]
fn packets_are_dropped_and_the_connection_stays() {
    for (service, reals) in SIDES {
        for (disposition, verdict) in [
            (disposition::GONE, RealGone),
            (disposition::DROP, RealDown),
            (disposition::UNRESOLVED, RealUnresolved),
            (200, RealGone),
        ] {
            let mut director = director(service, reals, RR);
            let (key, first) = (service.parse().unwrap(), reals[0].parse().unwrap());
            director.change_real(&key, first, |real| real.disposition = disposition);
            assert_eq!(director.send(&packet(service, ACK)).verdict, verdict);
            assert_eq!(director.load(&key, first), (1, 0));
            director.change_real(&key, first, |real| real.disposition = disposition::FORWARD);
            let sent = director.send(&packet(service, ACK));
            assert_eq!(
                (sent.verdict, sent.is_new, sent.real),
                (Direct, false, Some(first)),
                "it goes on when the real is back"
            );
        }
    }
}

/// A dropped packet does not keep its connection alive: state and stamp stay as they were.
#[test]
fn a_dropped_packet_changes_no_state() {
    for (service, reals) in SIDES {
        let mut director = director(service, reals, RR);
        let (key, first) = (service.parse().unwrap(), reals[0].parse().unwrap());
        director.change_real(&key, first, |real| real.disposition = disposition::DROP);
        for flags in [0x04, 0x01] {
            director.send(&packet(service, flags));
        }
        assert_eq!(director.connections()[0].1, lb_common::abi::connection::State::Established);
        assert_eq!(director.load(&key, first), (1, 0));
    }
}

#[test]
fn reschedule_gives_the_connection_away() {
    for (service, reals) in SIDES {
        let (key, first, second) = (service.parse().unwrap(), reals[0].parse().unwrap(), reals[1].parse().unwrap());
        let give_away = |director: &mut Director| {
            director.change_real(&key, first, |real| real.disposition = disposition::RESCHEDULE);
            director.pool(&key, RR, 0, &[(second, 1)]);
        };
        let mut by_syn = director(service, reals, RR);
        give_away(&mut by_syn);
        let sent = by_syn.send(&packet(service, SYN));
        assert_eq!((sent.verdict, sent.is_new, sent.real), (Direct, true, Some(second)));
        assert_eq!((by_syn.load(&key, first), by_syn.load(&key, second)), ((0, 0), (0, 1)));

        let mut by_data = director(service, reals, RR);
        give_away(&mut by_data);
        assert_eq!(
            by_data.send(&packet(service, ACK)).verdict,
            MissNotSyn,
            "the new real would not know it: the kernel resets it"
        );
        assert_eq!(by_data.load(&key, first), (0, 0));
        assert!(by_data.connections().is_empty());
    }
}

/// With a hash scheduler data packets are rescheduled, too.
#[test]
fn reschedule_under_a_hash_scheduler() {
    for (service, reals) in SIDES {
        let mut director = director(service, reals, MH);
        let key = service.parse().unwrap();
        let old = director.send(&packet(service, ACK)).real.unwrap();
        let new = reals.iter().map(|at| at.parse().unwrap()).find(|at| *at != old).unwrap();
        director.change_real(&key, old, |real| real.disposition = disposition::RESCHEDULE);
        director.pool(&key, MH, 0, &[(new, 1)]);
        let sent = director.send(&packet(service, ACK));
        assert_eq!((sent.verdict, sent.is_new, sent.real), (Direct, true, Some(new)));
        assert_eq!((director.load(&key, old), director.load(&key, new)), ((0, 0), (1, 0)));
    }
}

/// What the daemon does when a real is taken out of a service.
#[test]
fn a_removed_real() {
    for (service, reals) in SIDES {
        let mut director = director(service, reals, RR);
        let (key, first, second) = (service.parse().unwrap(), reals[0].parse().unwrap(), reals[1].parse().unwrap());
        director.pool(&key, RR, 0, &[(second, 1)]);
        director.tables.remove_real(&key, first, disposition::GONE);
        assert_eq!(director.send(&packet(service, ACK)).verdict, RealGone);
        director.tables.settle(|_, at| *at == second);
        assert_eq!(
            director.send(&packet(service, ACK)).verdict,
            RealGone,
            "its number is kept while it has connections"
        );
    }
}

/// A forwarding method without meaning: the only way to `internal` from outside the program.
#[test]
fn an_unknown_method() {
    for (service, reals) in SIDES {
        let mut director = director(service, reals, RR);
        director.change_real(&service.parse().unwrap(), reals[0].parse().unwrap(), |real| real.method = 10);
        assert_eq!(director.send(&packet(service, ACK)).verdict, Internal);
    }
}

/// The kernel gets what is for the director itself as it is, new connections and known ones.
#[test]
fn a_real_that_is_the_director() {
    for (service, reals) in SIDES {
        let (key, own) = (service.parse().unwrap(), reals[0].parse().unwrap());
        let mut director = Director::default();
        director.service(service, RR, 0, &[(direct(reals[0], 1), 1)]);
        director.change_real(&key, own, |real| (real.method, real.ifindex) = (method::LOCAL, 0));
        for (flags, is_new) in [(SYN, true), (ACK, false), (0x01 | ACK, false)] {
            let sent = director.send(&packet(service, flags));
            assert_eq!((sent.verdict, sent.is_new, sent.real), (Local, is_new, Some(own)), "flags {flags:#x}");
        }
    }
}

/// A real that is drained keeps what it has; a client that begins again goes elsewhere, whatever state its old connection is in.
#[test]
fn drain_serves_what_it_has_and_nothing_that_begins() {
    for (service, reals) in SIDES {
        let (key, first, second) = (service.parse().unwrap(), reals[0].parse().unwrap(), reals[1].parse().unwrap());
        let drain = |director: &mut Director| {
            director.change_real(&key, first, |real| real.disposition = disposition::DRAIN);
            director.pool(&key, RR, 0, &[(first, 0), (second, 1)]);
        };
        let mut open = director(service, reals, RR);
        drain(&mut open);
        for flags in [ACK, SYN, ACK, 0x01 | ACK, ACK] {
            let sent = open.send(&packet(service, flags));
            assert_eq!((sent.verdict, sent.is_new, sent.real), (Direct, false, Some(first)), "flags {flags:#x}");
        }

        let mut half_open = Director::default();
        half_open.service(service, RR, 0, &[(direct(reals[0], 1), 1), (direct(reals[1], 2), 1)]);
        half_open.send(&packet(service, SYN));
        drain(&mut half_open);
        let sent = half_open.send(&packet(service, SYN));
        assert_eq!((sent.verdict, sent.is_new, sent.real), (Direct, true, Some(second)));
        assert_eq!((half_open.load(&key, first), half_open.load(&key, second)), ((0, 0), (0, 1)));
    }
}

/// Nobody waits for an answer from a real that gives none: a client that is still in its handshake, or begins again, gets another one. One
/// whose connection was established, too: the real reset it as it died, past the director.
#[test]
fn a_client_that_begins_again_leaves_a_real_that_is_out() {
    for (service, reals) in SIDES {
        let (key, first, second) = (service.parse().unwrap(), reals[0].parse().unwrap(), reals[1].parse().unwrap());
        for disposition in [disposition::GONE, disposition::DROP, disposition::UNRESOLVED] {
            for end in [vec![SYN], vec![SYN, ACK], vec![SYN, ACK, 0x01 | ACK], vec![SYN, ACK, 0x04]] {
                let mut director = Director::default();
                director.service(service, RR, 0, &[(direct(reals[0], 1), 1), (direct(reals[1], 2), 1)]);
                for flags in &end {
                    assert_eq!(director.send(&packet(service, *flags)).real, Some(first));
                }
                director.change_real(&key, first, |real| real.disposition = disposition);
                director.pool(&key, RR, 0, &[(second, 1)]);
                let sent = director.send(&packet(service, SYN));
                assert_eq!((sent.verdict, sent.is_new, sent.real), (Direct, true, Some(second)), "after {end:?}");
                assert_eq!((director.load(&key, first), director.load(&key, second)), ((0, 0), (0, 1)));
            }
        }
    }
}
