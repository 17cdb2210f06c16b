//! What two CPUs do to the exactness of rr, wrr, lc and wlc: how far any server's number of connections is from its share, at worst. By
//! turns, at random as a NIC's queues do it, and at the same time.

use lb_common::abi::service::scheduler;
use lb_tests::director::{Cpus, Director, Options, direct};
use lb_tests::packet::{Packet, SYN};

use crate::Dice;

/// Connections of a measurement: a multiple of what a round of 5, 3 and 2 takes, on each of two CPUs.
const CONNECTIONS: u32 = 2000;

/// Deviation by turns, at random and at once.
struct Deviation {
    by_turns: f64,
    at_random: f64,
    at_once: Option<f64>,
}

/// A director with one service of these servers.
fn service(kind: u8, weights: &[u32]) -> Director {
    let mut director = Director::new(Options { buckets: 2048, reply_buckets: 16, ..Options::default() });
    let reals: Vec<_> =
        (1u8..).zip(weights).map(|(name, weight)| (direct(&format!("10.0.1.{name}:80"), name), *weight)).collect();
    director.service("tcp://10.0.0.100:80", kind, 0, &reals);
    director
}

fn frame(number: u32) -> Vec<u8> {
    let address = std::net::Ipv4Addr::from_bits(0xc000_0200 + number / 1000);
    let vip = std::net::Ipv4Addr::new(10, 0, 0, 100);
    Packet::new(address, vip).tcp(1024 + (number % 1000) as u16, 80, SYN).build()
}

/// The server of a frame that went to it, counted from 0.
fn server(out: &[u8]) -> usize {
    usize::from(out[5]) - 1
}

/// The largest difference between what a server has and its share of all.
fn worst(counts: &[u32], weights: &[u32]) -> f64 {
    let (all, sum): (u32, u32) = (counts.iter().sum(), weights.iter().sum());
    let share = |weight: u32| f64::from(all) * f64::from(weight) / f64::from(sum);
    counts.iter().zip(weights).map(|(count, weight)| (f64::from(*count) - share(*weight)).abs()).fold(0.0, f64::max)
}

/// One connection after the other, each on the CPU that `choose` names; the worst at any moment.
fn one_by_one(kind: u8, weights: &[u32], mut choose: impl FnMut(u32) -> usize) -> f64 {
    let mut director = service(kind, weights);
    let cpus = Cpus::usable();
    let mut counts = vec![0; weights.len()];
    let mut most = 0.0;
    for number in 0..CONNECTIONS {
        cpus.move_to(choose(number));
        counts[server(&director.pass(&frame(number)).1)] += 1;
        most = worst(&counts, weights).max(most);
    }
    most
}

fn measure(kind: u8, weights: &[u32], cpus: usize) -> Deviation {
    let mut dice = Dice(u64::from(kind));
    let by_turns = one_by_one(kind, weights, |number| number as usize % cpus);
    let at_random = one_by_one(kind, weights, |_| dice.roll(cpus as u64) as usize);
    let at_once = (cpus > 1).then(|| {
        let director = service(kind, weights);
        let halves: Vec<Vec<_>> =
            (0..2).map(|cpu| (0..CONNECTIONS).filter(|number| number % 2 == cpu).map(frame).collect()).collect();
        let mut counts = vec![0; weights.len()];
        for out in director.pass_at_once(&halves) {
            counts[server(&out)] += 1;
        }
        assert_eq!(counts.iter().sum::<u32>(), CONNECTIONS);
        worst(&counts, weights)
    });
    Deviation { by_turns, at_random, at_once }
}

#[test]
fn several_cpus_are_nearly_exact() {
    let cpus = Cpus::usable().count().min(2);
    println!(
        "largest difference between a server's connections and its share, {CONNECTIONS} connections on {cpus} CPUs"
    );
    println!("            one CPU  by turns  at random  at once");
    for (name, kind, weights) in [
        ("rr", scheduler::RR, [1, 1, 1]),
        ("wrr", scheduler::WRR, [5, 3, 2]),
        ("lc", scheduler::LC, [1, 1, 1]),
        ("wlc", scheduler::WLC, [5, 3, 2]),
    ] {
        let alone = one_by_one(kind, &weights, |_| 0);
        let found = measure(kind, &weights, cpus);
        let at_once = found.at_once.map_or_else(|| "-".to_owned(), |worst| format!("{worst:.1}"));
        println!("{name:<4} {weights:?} {alone:>6.1} {:>9.1} {:>10.1} {at_once:>8}", found.by_turns, found.at_random);
        // Counts are everybody's, and cursors a CPU's: two of these are off by twice what one is off.
        let twice = 2.0 * alone + 1e-9;
        let is_counting = matches!(kind, scheduler::LC | scheduler::WLC);
        if is_counting {
            assert!(found.by_turns <= alone && found.at_random <= alone, "{name}: the same as on one CPU");
        } else {
            assert!(found.by_turns <= twice && found.at_random <= twice, "{name}: each CPU's rounds are exact");
        }
        // CPUs that choose at the same moment may choose the same server: one more than alone.
        let bound = if is_counting { alone + 1.0 } else { twice };
        assert!(found.at_once.is_none_or(|worst| worst <= bound), "{name}: {at_once} of {bound}");
    }
}
