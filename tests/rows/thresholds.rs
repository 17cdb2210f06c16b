//! Connection thresholds: a real that has its upper one gets no more connections until it has fewer than its lower one, however those went.

use lb_common::abi::connection::State;
use lb_common::abi::verdict::Verdict::*;
use lb_tests::configured::spec;
use lb_tests::director::{Director, Options};
use lb_tests::packet::{ACK, Packet, RST, SYN};

use super::templates::{file, key, real};
use super::{CLIENT, CLIENT6, VIP, VIP6};

fn packet(is_v6: bool, port: u16, flags: u8) -> Vec<u8> {
    if is_v6 { Packet::v6(CLIENT6, VIP6) } else { Packet::v4(CLIENT, VIP) }.tcp(port, 80, flags).build()
}

/// One real with these thresholds.
fn limited(is_v6: bool, upper: u32, lower: u32) -> String {
    file(is_v6, "", &[&format!("upper_threshold = {upper}\nlower_threshold = {lower}")])
}

/// Opens connections from these ports; how many were taken.
fn open(director: &mut Director, is_v6: bool, ports: std::ops::Range<u16>) -> usize {
    ports
        .filter(|port| {
            let sent = director.send(&packet(is_v6, *port, SYN));
            assert_eq!(sent.is_new, sent.verdict == Direct);
            assert!(sent.is_new || sent.verdict == NoReal, "{:?}", sent.verdict);
            sent.is_new
        })
        .count()
}

#[test]
fn nothing_above_the_upper_threshold_until_below_the_lower_one() {
    for is_v6 in [false, true] {
        // Lower threshold, and how many of 8 connections may be left so that new ones are taken: below three quarters without one.
        for (lower, most) in [(0, 5), (1, 0), (3, 2), (8, 7)] {
            let mut director = Director::new(Options { tick_shift: 0, ..Options::default() });
            let text = limited(is_v6, 8, lower);
            director.apply(&text);
            assert_eq!(open(&mut director, is_v6, 4000..4020), 8);
            for port in 4000..4008 {
                assert_eq!(director.send(&packet(is_v6, port, ACK)).verdict, Direct, "what it has goes on");
            }
            // One goes at a time: reset by its client, then past CLOSE's 10 seconds.
            for left in (0..8).rev() {
                director.send(&packet(is_v6, 4000 + left, RST));
                director.forget_all_in(State::Close);
                let taken = open(&mut director, is_v6, 5000..5001) == 1;
                assert_eq!(taken, left <= most, "{left} left of 8, lower threshold {lower}");
                if taken {
                    break;
                }
            }
        }
    }
}

/// The daemon's sweep and a packet that takes another's place end connections, too.
#[test]
fn the_sweep_and_an_eviction_relieve_a_real() {
    for is_v6 in [false, true] {
        let text = limited(is_v6, 4, 4);
        let mut director = Director::default();
        director.apply(&text);
        assert_eq!(open(&mut director, is_v6, 4000..4010), 4);
        director.sweep(&spec(&text), 70);
        assert_eq!(director.connections(), []);
        assert_eq!(open(&mut director, is_v6, 4000..4010), 4, "as at the beginning");

        // Another service's connections fill both buckets: those of the limited real go.
        let other = if is_v6 { "[fd00::100]:81" } else { "10.0.0.100:81" };
        let at = if is_v6 { "fd00::1:9" } else { "10.0.1.9" };
        let text = format!(
            "{}[[service]]\naddress = \"{other}\"\n[[service.real]]\naddress = \"{at}\"\n",
            limited(is_v6, 4, 0)
        );
        let mut director = Director::new(Options { buckets: 2, ..Options::default() });
        director.apply(&text);
        assert_eq!(open(&mut director, is_v6, 4000..4010), 4);
        for port in 5000..5006 {
            let packet = if is_v6 { Packet::v6(CLIENT6, VIP6) } else { Packet::v4(CLIENT, VIP) };
            assert!(director.send(&packet.clone().tcp(port, 81, SYN).build()).is_new);
            director.send(&packet.tcp(port, 81, ACK).build());
        }
        let (active, inactive) = director.load(&key(is_v6), real(is_v6, 1));
        assert_eq!((active, inactive), (0, 2), "two of four had to go");
        assert_eq!(open(&mut director, is_v6, 6000..6001), 1, "two is below three quarters of four");
    }
}

#[test]
fn thresholds_change_at_run_time() {
    for is_v6 in [false, true] {
        let mut director = Director::default();
        director.apply(&file(is_v6, "", &[""]));
        assert_eq!(open(&mut director, is_v6, 4000..4006), 6);
        // As __ip_vs_update_dest: what a real has counts from its next connection on.
        director.apply(&limited(is_v6, 4, 0));
        assert!(open(&mut director, is_v6, 4100..4110) <= 1, "it has more than enough");
        director.apply(&limited(is_v6, 10, 0));
        let now = director.load(&key(is_v6), real(is_v6, 1)).1 as usize;
        assert_eq!(open(&mut director, is_v6, 4200..4220), 10 - now, "a higher one lets connections in at once");
        director.apply(&limited(is_v6, 10, 10));
        assert_eq!(open(&mut director, is_v6, 4300..4310), 0);
        director.apply(&file(is_v6, "", &[""]));
        assert_eq!(open(&mut director, is_v6, 4400..4410), 10, "none at all");
    }
}

/// Each scheduler goes past a real that is full; but for lblc, which as in IPVS asks a destination's real for its weight and load alone.
#[test]
fn the_other_reals_take_what_one_does_not() {
    for is_v6 in [false, true] {
        for scheduler in ["rr", "wrr", "lc", "wlc", "sed", "nq", "fo", "ovf", "lblcr"] {
            let mut director = Director::default();
            let text = file(is_v6, "", &["upper_threshold = 3", "upper_threshold = 5"])
                .replace("\"rr\"", &format!("\"{scheduler}\""));
            director.apply(&text);
            let taken = open(&mut director, is_v6, 4000..4020);
            let loads: Vec<u32> = [1, 2].map(|n| director.load(&key(is_v6), real(is_v6, n)).1).into();
            assert_eq!((taken, loads), (8, vec![3, 5]), "{scheduler}");
        }
    }
}

/// A template leads to its real even if that has its upper threshold: IPVS looks at the weight of a template's server alone.
#[test]
fn a_template_leads_to_a_full_real() {
    for is_v6 in [false, true] {
        let mut director = Director::default();
        director.apply(&file(is_v6, "persistence = { timeout = 300 }", &["upper_threshold = 2"]));
        assert_eq!(open(&mut director, is_v6, 4000..4005), 5);
        let packet = if is_v6 { Packet::v6("2001:db8::8", VIP6) } else { Packet::v4("192.0.2.8", VIP) };
        assert_eq!(director.send(&packet.tcp(4000, 80, SYN).build()).verdict, NoReal, "a new client is not taken");
    }
}
