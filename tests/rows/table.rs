//! The connection table when it is full: who has to go, who never does, and that counts stay exact.

use std::thread;
use std::time::Duration;

use lb_common::abi::service::scheduler::{MH, RR};
use lb_common::abi::verdict::Verdict::*;
use lb_tests::director::{Director, Options, direct};
use lb_tests::packet::{ACK, FIN, Packet, RST, SYN};

/// Two buckets of four: every flow's two buckets are both of them.
const FULL: u16 = 8;
const REAL: &str = "10.0.1.1:80";
const REAL6: &str = "[fd00::1:1]:80";

/// One family's client, service and real.
#[derive(Clone, Copy)]
struct Side {
    service: &'static str,
    real: &'static str,
}

const SIDES: [Side; 2] =
    [Side { service: "tcp://10.0.0.100:80", real: REAL }, Side { service: "tcp://[fd00::100]:80", real: REAL6 }];

impl Side {
    fn send(self, director: &mut Director, port: u16, flags: u8) -> lb_tests::director::Sent {
        let packet = if self.real == REAL {
            Packet::v4(super::CLIENT, super::VIP)
        } else {
            Packet::v6(super::CLIENT6, super::VIP6)
        };
        director.send(&packet.tcp(port, 80, flags).build())
    }

    fn load(self, director: &Director) -> (u32, u32) {
        director.load(&self.service.parse().unwrap(), self.real.parse().unwrap())
    }
}

fn director(side: Side, scheduler: u8, options: Options) -> Director {
    let mut director = Director::new(Options { buckets: 2, ..options });
    director.service(side.service, scheduler, 0, &[(direct(side.real, 1), 1)]);
    director
}

#[test]
fn an_established_connection_never_yields_to_a_new_one() {
    for side in SIDES {
        let mut director = director(side, RR, Options::default());
        for port in 0..FULL {
            assert_eq!(side.send(&mut director, 4000 + port, SYN).verdict, Direct);
            assert_eq!(side.send(&mut director, 4000 + port, ACK).verdict, Direct);
        }
        assert_eq!(side.load(&director), (8, 0));
        let sent = side.send(&mut director, 5000, SYN);
        assert_eq!((sent.verdict, sent.is_new), (TableFull, false));
        for port in 0..FULL {
            assert!(!side.send(&mut director, 4000 + port, ACK).is_new, "every old connection is still there");
        }
        assert_eq!(side.load(&director), (8, 0));
    }
}

/// A connection whose client has closed can be spared, but half-open ones go before it and open ones never.
#[test]
fn a_closing_connection_yields_after_the_half_open_ones() {
    for side in SIDES {
        let mut director = director(side, RR, Options::default());
        for port in 0..FULL {
            let life: &[u8] = match port {
                0 => &[SYN],
                1 => &[SYN, ACK, FIN | ACK],
                2 => &[SYN, ACK, RST],
                _ => &[SYN, ACK],
            };
            for flags in life {
                side.send(&mut director, 4000 + port, *flags);
            }
        }
        let gone = |director: &Director| {
            let held: Vec<u16> = director.connections().iter().map(|(client, _)| client.port()).collect();
            (4000..4000 + FULL).filter(|port| !held.contains(port)).collect::<Vec<_>>()
        };
        assert_eq!(side.load(&director), (5, 3));
        for (port, expected) in [(5000, 1), (5001, 2), (5002, 3)] {
            let sent = side.send(&mut director, port, SYN);
            assert!(sent.is_new);
            // Established at once, so that it is not the next one to go.
            side.send(&mut director, port, ACK);
            assert_eq!(gone(&director).len(), expected);
        }
        assert_eq!(gone(&director), [4000, 4001, 4002], "the open ones are all there");
        assert_eq!(side.send(&mut director, 5003, SYN).verdict, TableFull);
        assert_eq!(side.load(&director), (8, 0));
    }
}

/// A UDP flow has no end: it is spared last, the one idle longest first, and there is always one that can be.
#[test]
fn a_udp_flow_yields_to_a_newer_one() {
    let mut director =
        Director::new(Options { buckets: 2, tick_shift: 0, timeout: Some(1_000_000), ..Options::default() });
    let key = director.service("udp://10.0.0.100:53", RR, 0, &[(direct("10.0.1.1:53", 1), 1)]);
    let datagram = |port| Packet::v4(super::CLIENT, super::VIP).udp(port, 53).build();
    for port in 0..FULL {
        director.send(&datagram(4000 + port));
        thread::sleep(Duration::from_millis(12));
    }
    director.send(&datagram(4000));
    thread::sleep(Duration::from_millis(12));
    assert!(director.send(&datagram(5000)).is_new);
    assert!(director.connections().iter().all(|(client, _)| client.port() != 4001), "the one that was idle longest");
    assert_eq!(director.load(&key, "10.0.1.1:53".parse().unwrap()), (0, 8));
}

#[test]
fn a_half_open_connection_yields() {
    for side in SIDES {
        let mut director = director(side, RR, Options::default());
        for port in 0..FULL {
            side.send(&mut director, 4000 + port, SYN);
            if port != 3 {
                side.send(&mut director, 4000 + port, ACK);
            }
        }
        assert_eq!(side.load(&director), (7, 1));
        assert!(side.send(&mut director, 5000, SYN).is_new);
        assert_eq!(side.load(&director), (7, 1), "one came, one went");
        assert_eq!(side.send(&mut director, 4003, ACK).verdict, MissNotSyn, "the half-open one is gone");
        assert_eq!(side.send(&mut director, 5000, ACK).verdict, Direct);
        assert_eq!(side.load(&director), (8, 0));
        assert_eq!(side.send(&mut director, 5001, SYN).verdict, TableFull);
    }
}

/// With a tick of one jiffy (4 ms at 250 Hz) idle times can be told apart without long waits.
#[test]
fn the_half_open_connection_that_was_idle_longest_goes_first() {
    for side in SIDES {
        let mut director =
            director(side, RR, Options { tick_shift: 0, timeout: Some(1_000_000), ..Options::default() });
        for port in 0..FULL {
            side.send(&mut director, 4000 + port, SYN);
            thread::sleep(Duration::from_millis(12));
        }
        side.send(&mut director, 4000, SYN);
        thread::sleep(Duration::from_millis(12));
        assert!(side.send(&mut director, 5000, SYN).is_new);
        assert!(
            director.connections().iter().all(|(client, _)| client.port() != 4001),
            "4000 was seen again, so 4001 is the oldest"
        );
        assert_eq!(director.connections().len(), 8);
        assert_eq!(side.load(&director), (0, 8));
    }
}

#[test]
fn an_expired_connection_goes_before_a_half_open_one() {
    for side in SIDES {
        let mut director =
            director(side, RR, Options { tick_shift: 0, timeout: Some(1_000_000), ..Options::default() });
        for port in 0..FULL {
            side.send(&mut director, 4000 + port, SYN);
            if port % 2 == 0 {
                side.send(&mut director, 4000 + port, ACK);
            }
        }
        // Established ones expire after 5 ticks now, half-open ones not yet.
        let mut settings = director.tables.settings();
        settings.timeouts[1] = 5;
        director.tables.set_settings(&settings);
        thread::sleep(Duration::from_millis(60));
        for port in 0..4 {
            assert!(side.send(&mut director, 5000 + port, SYN).is_new);
        }
        assert_eq!(side.load(&director), (0, 8), "four active ones went, four half-open ones came");
        let ports: Vec<u16> = director.connections().iter().map(|(client, _)| client.port()).collect();
        assert!([4001, 4003, 4005, 4007].iter().all(|port| ports.contains(port)), "{ports:?}");
    }
}

/// An idle time beyond its timeout does not end a connection by itself: until somebody needs the place, a late packet still finds it.
#[test]
fn a_late_packet_still_finds_its_connection() {
    for side in SIDES {
        let mut director = director(side, RR, Options { tick_shift: 0, timeout: Some(1), ..Options::default() });
        side.send(&mut director, 4000, SYN);
        thread::sleep(Duration::from_millis(40));
        let sent = side.send(&mut director, 4000, ACK);
        assert_eq!((sent.verdict, sent.is_new), (Direct, false));
        assert_eq!(side.load(&director), (1, 0));
    }
}

/// A hash scheduler needs no entry to stay with its real, so it serves on when there is no room.
#[test]
fn hash_schedulers_go_on_without_room() {
    for side in SIDES {
        let mut director = director(side, MH, Options::default());
        for port in 0..FULL {
            side.send(&mut director, 4000 + port, SYN);
            side.send(&mut director, 4000 + port, ACK);
        }
        for flags in [SYN, ACK, ACK] {
            let sent = side.send(&mut director, 5000, flags);
            assert_eq!((sent.verdict, sent.is_new), (Direct, false));
        }
        assert_eq!(side.load(&director), (8, 0));
    }
}

/// What the loads say is what the table holds, after thousands of random packets against a table far too small.
#[test]
fn loads_equal_the_table_after_a_flood() {
    let mut director = Director::new(Options { buckets: 16, tick_shift: 0, timeout: Some(20), ..Options::default() });
    let reals: Vec<_> = (1..=5).map(|n| (direct(&format!("10.0.1.{n}:80"), n), 1)).collect();
    director.service("tcp://10.0.0.100:80", RR, 0, &reals);
    let mut seed = 7u32;
    for _ in 0..6000 {
        seed = seed.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
        let flags = [SYN, ACK, FIN | ACK, 0x04, SYN, ACK][(seed >> 8) as usize % 6];
        director.send(&Packet::v4(super::CLIENT, super::VIP).tcp(4000 + (seed >> 16) as u16 % 300, 80, flags).build());
    }
    assert!(director.connections().len() > 32);
    assert!(director.tables.audit_loads().is_empty(), "loads that are wrong: {:?}", director.tables.audit_loads());
}
