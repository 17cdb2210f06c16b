//! The daemon's sweep, a part of the tables at a time: a connection is gone with the tick after its time, as if all were looked at.

use lb_common::abi::settings::DEFAULT_TIMEOUTS;
use lb_tests::director::Director;
use lb_tests::packet::{ACK, Packet, RST, SYN};
use lb_userspace::dataplane::ageing::Ageing;
use lb_userspace::dataplane::connections::Connection;
use lb_userspace::dataplane::rounds::Rounds;

use super::templates::file;
use super::{CLIENT, CLIENT6, VIP, VIP6};

fn packet(is_v6: bool, port: u16, flags: u8) -> Vec<u8> {
    if is_v6 { Packet::v6(CLIENT6, VIP6) } else { Packet::v4(CLIENT, VIP) }.tcp(port, 80, flags).build()
}

fn all(director: &Director) -> Vec<Connection> {
    let mut all = Vec::new();
    director.tables.each_connection(|connection| all.push(connection));
    all
}

/// Opens connections: a third stays half-open (60 ticks), a third is established (900), a third is reset (10).
fn open(director: &mut Director, is_v6: bool, ports: std::ops::Range<u16>) {
    for port in ports {
        for flags in [SYN, ACK, RST].into_iter().take(1 + usize::from(port % 3)) {
            director.send(&packet(is_v6, port, flags));
        }
    }
}

#[test]
fn each_connection_goes_with_the_tick_after_its_time() {
    for is_v6 in [false, true] {
        let mut director = Director::default();
        director.apply(&file(is_v6, "", &[""]));
        let ageing = Ageing::director(DEFAULT_TIMEOUTS);
        let mut rounds = Rounds::default();
        open(&mut director, is_v6, 4000..4100);
        let begin = all(&director).iter().map(|connection| connection.meta.last_seen()).max().unwrap();
        let mut seen = std::collections::BTreeSet::new();
        for now in begin..begin + 920 {
            let before = all(&director);
            director.tables.sweep_due(&mut rounds, now, &ageing);
            let kept: Vec<_> =
                before.into_iter().filter(|connection| !ageing.is_expired(connection.meta, now)).collect();
            assert_eq!(all(&director), kept, "{} ticks later", now - begin);
            seen.insert(kept.len());
        }
        assert_eq!(all(&director), []);
        assert!(seen.len() >= 4, "all, without those reset, without the half-open, none: {seen:?}");
    }
}

/// What comes between two looks at a part is not forgotten there.
#[test]
fn connections_that_come_after_a_look_go_in_time() {
    for is_v6 in [false, true] {
        let mut director = Director::default();
        director.apply(&file(is_v6, "", &[""]));
        let ageing = Ageing::director(DEFAULT_TIMEOUTS);
        let mut rounds = Rounds::default();
        open(&mut director, is_v6, 4000..4001);
        let begin = all(&director)[0].meta.last_seen();
        for step in 0..200 {
            // Their stamps are of `begin`, or little later: the test takes less time than it plays.
            if step == 2 {
                open(&mut director, is_v6, 5000..5100);
            }
            director.tables.sweep_due(&mut rounds, begin + step, &ageing);
            let late = all(&director)
                .into_iter()
                .filter(|connection| connection.meta.idle(begin + step) > ageing.timeout(connection.meta) + 2);
            assert_eq!(late.count(), 0, "{step} ticks later");
        }
        assert!(all(&director).len() >= 33, "the established ones are there");
    }
}
