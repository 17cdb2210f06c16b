//! The schedulers of the BPF program against their twin in plain memory, on random sequences: servers come and go, weights and thresholds
//! change, connections begin, become active, close and are forgotten. Every choice of the program must be the twin's.
//!
//! `XVS_TWIN_SEQUENCES` and `XVS_TWIN_SEED` choose how many sequences a scheduler gets (10 000, or 1000
//! without `--release`) and where they begin; needs root.

mod cpus;
mod rings;

use std::time::Instant;

use lb_common::abi::service::{flag, scheduler};
use lb_tests::served::Served;

/// Sequences of each scheduler: unoptimized the twin takes ten times as long.
const SEQUENCES: u32 = if cfg!(debug_assertions) { 1000 } else { 10_000 };
/// Where the random numbers begin.
const SEED: u64 = 0x5eed_0004;
/// Servers that a service begins with, at most.
const SERVERS: u64 = 10;
/// Servers that it may have.
const MOST: usize = 12;

/// A scheduler with what its service may be.
struct Subject {
    name: &'static str,
    kind: u8,
    /// Flags of the services, one after the other.
    flags: &'static [u8],
    /// Destinations; more than one are a mark's.
    destinations: u8,
}

impl Subject {
    const fn new(name: &'static str, kind: u8) -> Self {
        Self { name, kind, flags: &[0], destinations: 1 }
    }
}

const HASH_FLAGS: &[u8] = &[flag::PORT, flag::PORT | flag::FALLBACK, 0, flag::FALLBACK];
const ACTIVE_FLAGS: &[u8] = &[0, flag::UDP_ACTIVE];

const SUBJECTS: [Subject; 14] = [
    Subject::new("rr", scheduler::RR),
    Subject::new("wrr", scheduler::WRR),
    Subject::new("lc", scheduler::LC),
    Subject::new("wlc", scheduler::WLC),
    Subject::new("fo", scheduler::FO),
    Subject { flags: ACTIVE_FLAGS, ..Subject::new("ovf", scheduler::OVF) },
    Subject { flags: ACTIVE_FLAGS, destinations: 4, ..Subject::new("lblc", scheduler::LBLC) },
    Subject { flags: ACTIVE_FLAGS, destinations: 4, ..Subject::new("lblcr", scheduler::LBLCR) },
    Subject { destinations: 16, ..Subject::new("dh", scheduler::DH) },
    Subject { flags: HASH_FLAGS, ..Subject::new("sh", scheduler::SH) },
    Subject { flags: HASH_FLAGS, ..Subject::new("mh", scheduler::MH) },
    Subject { flags: ACTIVE_FLAGS, ..Subject::new("sed", scheduler::SED) },
    Subject { flags: ACTIVE_FLAGS, ..Subject::new("nq", scheduler::NQ) },
    Subject::new("twos", scheduler::TWOS),
];

/// Random numbers that begin again from the same seed.
struct Dice(u64);

impl Dice {
    /// Below `sides`.
    fn roll(&mut self, sides: u64) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut word = self.0;
        word = (word ^ (word >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        word = (word ^ (word >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        (word ^ (word >> 31)) % sides
    }

    fn of<T: Copy>(&mut self, choices: &[T]) -> T {
        choices[self.roll(choices.len() as u64) as usize]
    }

    /// Small ones tie and divide each other; 0 takes nobody; the last is the greatest that ipvsadm takes.
    fn weight(&mut self) -> u32 {
        self.of(&[0, 1, 1, 1, 2, 2, 3, 3, 4, 5, 6, 8, 12, 100, 65_536, i32::MAX as u32])
    }
}

fn number(variable: &str, otherwise: u64) -> u64 {
    std::env::var(variable).map_or(otherwise, |text| text.parse().expect("a number"))
}

/// One sequence: a new list of servers, then a dozen and a half of events.
fn sequence(served: &mut Served, subject: &Subject, dice: &mut Dice) {
    served.clear();
    // mh is rebuilt with each change; the largest sizes take long, and have rows of their own in `rings`.
    served.slots = dice.of(&[251, 251, 251, 509]);
    let servers: Vec<_> = (1..=dice.roll(SERVERS + 1) as u8).map(|name| (name, dice.weight())).collect();
    served.set(&servers);
    let mut next = servers.len() as u8 + 1;
    for _ in 0..18 {
        let destination = dice.roll(subject.destinations.into()) as u8;
        let names = served.names();
        let connections = served.open_connections();
        match dice.roll(100) {
            0..56 => {
                served.open(destination);
            }
            56..74 if connections > 0 => {
                served.establish(dice.roll(connections as u64) as usize);
            }
            74..82 if connections > 0 => {
                served.end(dice.roll(connections as u64) as usize, dice.roll(2) == 0);
            }
            82..84 => {
                served.forget_ended();
                served.settle();
            }
            84..91 if !names.is_empty() => served.weigh(dice.of(&names), dice.weight()),
            91..95 if !names.is_empty() => {
                let upper = dice.roll(5) as u32;
                served.limit(dice.of(&names), upper, dice.roll(u64::from(upper) + 1) as u32);
            }
            95..97 if names.len() < MOST => {
                served.add(next, dice.weight());
                next += 1;
            }
            97..99 if !names.is_empty() => served.remove(dice.of(&names)),
            99 if subject.destinations > 1 => served.age_destinations(dice.of(&[1, 86_399, 86_401])),
            _ => {}
        }
    }
}

#[test]
fn the_program_chooses_as_its_twin() {
    let sequences = number("XVS_TWIN_SEQUENCES", SEQUENCES.into());
    let seed = number("XVS_TWIN_SEED", SEED);
    println!("{sequences} sequences of each scheduler, seed {seed}");
    for subject in &SUBJECTS {
        let start = Instant::now();
        let mut choices = 0;
        // Services of each flag, of TCP and of UDP.
        let services = subject.flags.len() as u64 * 2;
        for (at, flags) in subject.flags.iter().enumerate() {
            for is_udp in [false, true] {
                let place = at as u64 * 2 + u64::from(is_udp);
                let mut dice = Dice(seed ^ u64::from(subject.kind) << 32 ^ place << 40);
                let mut served = Served::new(subject.kind, *flags, is_udp, subject.destinations);
                // The first ones have what the division leaves over.
                for _ in 0..sequences / services + u64::from(place < sequences % services) {
                    sequence(&mut served, subject, &mut dice);
                }
                choices += served.choices();
            }
        }
        assert!(choices >= sequences, "{}: {choices} choices", subject.name);
        let seconds = start.elapsed().as_secs_f32();
        println!("{:<6} {sequences} sequences, {choices} choices, all the same; {seconds:.1} s", subject.name);
    }
}
