//! The schedulers choose as the list walks of [`super::models`] do, whatever happens to the service meanwhile.

use proptest::prelude::*;

use super::models::{Ipvs, Server};
use crate::abi::real::Capacity;
use crate::abi::service::{flag, scheduler};
use crate::sched::plain::Plain;
use crate::sched::{Client, twos};

/// What happens to a service.
#[derive(Clone, Debug)]
enum Event {
    /// A connection to this destination.
    Open {
        destination: u32,
        is_active: bool,
    },
    /// A server ends some connections, active and inactive.
    Close {
        server: usize,
        active: i64,
        inactive: i64,
    },
    Weigh {
        server: usize,
        weight: u32,
    },
    Add {
        weight: u32,
    },
    Remove {
        server: usize,
    },
    Overload {
        server: usize,
        is_overloaded: bool,
    },
    /// Time passes, in seconds.
    Wait {
        seconds: u32,
    },
}

/// Small ones tie and divide each other; 0 takes nobody; large ones are the greatest that ipvsadm 1.31 takes, and near it.
fn weight() -> impl Strategy<Value = u32> {
    prop_oneof![
        2 => Just(0u32),
        8 => 1u32..7,
        2 => (1u32..6).prop_map(|times| times * 12),
        2 => prop::sample::select(vec![100u32, 1000, 65_535, 65_536, (1 << 30) + 1, i32::MAX as u32 - 1, i32::MAX as u32]),
    ]
}

fn event() -> impl Strategy<Value = Event> {
    let server = || 0usize..12;
    prop_oneof![
        12 => (0u32..4, any::<bool>()).prop_map(|(destination, is_active)| Event::Open { destination, is_active }),
        2 => (server(), 0i64..5, 0i64..5).prop_map(|(server, active, inactive)| Event::Close { server, active, inactive }),
        2 => (server(), weight()).prop_map(|(server, weight)| Event::Weigh { server, weight }),
        1 => weight().prop_map(|weight| Event::Add { weight }),
        1 => server().prop_map(|server| Event::Remove { server }),
        2 => (server(), any::<bool>()).prop_map(|(server, is_overloaded)| Event::Overload { server, is_overloaded }),
        1 => prop::sample::select(vec![1u32, 86_399, 86_400, 86_401]).prop_map(|seconds| Event::Wait { seconds }),
    ]
}

/// A server that a service starts with: weight, active and inactive connections.
fn server() -> impl Strategy<Value = (u32, i64, i64)> {
    (weight(), prop_oneof![3 => 0i64..5, 1 => 0i64..100_000], prop_oneof![3 => 0i64..5, 1 => 0i64..100_000])
}

/// Both, with the same servers.
struct Both {
    /// wrr's walk goes through its list once for each weight between two: larger ones would take minutes.
    heaviest: u32,
    ours: Plain,
    theirs: Ipvs,
    next: u32,
}

impl Both {
    fn new(kind: u8, servers: &[(u32, i64, i64)]) -> Self {
        let mut both = Self {
            heaviest: if kind == scheduler::WRR { 2000 } else { u32::MAX },
            ours: Plain::new(kind, 0),
            theirs: Ipvs::default(),
            next: 0,
        };
        for (weight, active, inactive) in servers {
            both.add(*weight, *active, *inactive);
        }
        both
    }

    fn add(&mut self, weight: u32, active: i64, inactive: i64) {
        if self.theirs.list.len() < 12 {
            let weight = weight.min(self.heaviest);
            let number = self.next;
            self.next += 1;
            self.theirs.add(Server { number, weight: weight.into(), active, inactive, is_overloaded: false });
            self.publish();
            self.ours.count(number, active, inactive);
        }
    }

    /// The list as the daemon publishes it. Thresholds that nobody reaches make the schedulers look for overload.
    fn publish(&mut self) {
        let capacity = |weight| Capacity { weight, upper: u32::MAX, ..Capacity::default() };
        let list: Vec<_> =
            self.theirs.list.iter().map(|server| (server.number, capacity(server.weight as u32))).collect();
        self.ours.set_members(&list, Vec::new());
    }

    fn place(&self, server: usize) -> Option<usize> {
        server.checked_rem(self.theirs.list.len())
    }

    fn happen(&mut self, kind: u8, event: &Event) -> Result<(), TestCaseError> {
        match *event {
            Event::Open { destination, is_active } => {
                let theirs = self.choose(kind, destination);
                let ours = self.ours.pick(Client { address: 7, port: 7, destination });
                prop_assert_eq!(ours, theirs, "by scheduler {} of {:?}", kind, self.theirs);
                if let Some(server) = theirs.and_then(|number| self.theirs.server(number)) {
                    let (active, inactive) = (i64::from(is_active), i64::from(!is_active));
                    (server.active, server.inactive) = (server.active + active, server.inactive + inactive);
                    self.ours.count(server.number, active, inactive);
                }
            }
            Event::Close { server, active, inactive } => {
                if let Some(place) = self.place(server) {
                    let server = &mut self.theirs.list[place];
                    let (active, inactive) = (active.min(server.active), inactive.min(server.inactive));
                    (server.active, server.inactive) = (server.active - active, server.inactive - inactive);
                    let is_overloaded = server.is_overloaded;
                    self.ours.count(server.number, -active, -inactive);
                    self.ours.set_overloaded(server.number, is_overloaded);
                }
            }
            Event::Weigh { server, weight } => {
                let weight = weight.min(self.heaviest);
                // The same weight again is no change for the daemon. ipvsadm's `-e` with it sends IPVS's wrr back to the head.
                let changed = self.place(server).map(|place| &self.theirs.list[place]);
                if let Some(number) = changed.filter(|old| old.weight != weight.into()).map(|old| old.number) {
                    self.theirs.weigh(number, weight.into());
                    self.publish();
                }
            }
            Event::Add { weight } => self.add(weight, 0, 0),
            Event::Remove { server } => {
                if let Some(place) = self.place(server) {
                    self.theirs.remove(self.theirs.list[place].number);
                    self.publish();
                }
            }
            Event::Overload { server, is_overloaded } => {
                if let Some(place) = self.place(server) {
                    let server = &mut self.theirs.list[place];
                    server.is_overloaded = is_overloaded;
                    self.ours.set_overloaded(server.number, is_overloaded);
                }
            }
            Event::Wait { seconds } => {
                self.theirs.now += i64::from(seconds);
                self.ours.now = self.ours.now.wrapping_add(seconds);
            }
        }
        Ok(())
    }

    fn choose(&mut self, kind: u8, destination: u32) -> Option<u32> {
        let theirs = &mut self.theirs;
        match kind {
            scheduler::RR => theirs.rr(),
            scheduler::WRR => theirs.wrr(),
            scheduler::LC => theirs.lc(),
            scheduler::WLC => theirs.wlc(),
            scheduler::SED => theirs.sed(),
            scheduler::NQ => theirs.nq(),
            scheduler::FO => theirs.fo(),
            scheduler::OVF => theirs.ovf(),
            scheduler::LBLC => theirs.lblc(destination),
            scheduler::LBLCR => theirs.lblcr(destination),
            _ => {
                let mut cursor = self.ours.cursor;
                let sum = theirs.sum();
                let mut draw = || (twos::random(&mut cursor) % (sum as u64 + 1)) as i64;
                theirs.twos([draw(), draw()])
            }
        }
    }
}

const KINDS: [u8; 11] = [
    scheduler::RR,
    scheduler::WRR,
    scheduler::LC,
    scheduler::WLC,
    scheduler::SED,
    scheduler::NQ,
    scheduler::FO,
    scheduler::OVF,
    scheduler::LBLC,
    scheduler::LBLCR,
    scheduler::TWOS,
];

proptest! {
    #![proptest_config(ProptestConfig::with_cases(2000))]

    #[test]
    fn every_scheduler_chooses_as_the_list_walk_does(
        kind in prop::sample::select(KINDS.to_vec()),
        servers in prop::collection::vec(server(), 0..12),
        events in prop::collection::vec(event(), 1..60),
    ) {
        let mut both = Both::new(kind, &servers);
        for event in &events {
            both.happen(kind, event)?;
        }
    }
}

/// wrr goes down from any top to what the servers that are not overloaded weigh, and on in IPVS's order.
#[test]
fn wrr_finds_the_lightest_below_the_heaviest() {
    let heavy = i32::MAX as u32;
    // From the heaviest, which is overloaded, down to the first weight that a light one reaches: then these alone, as without it.
    for (weights, expected) in [
        ([heavy, 1, 2], [2, 1, 2, 2, 1, 2]),
        ([1, heavy, 1], [0, 2, 0, 2, 0, 2]),
        // Divisor 6, so 13: c; 7: b c; 1: b c.
        ([heavy - 1, 12, 18], [2, 1, 2, 1, 2, 2]),
    ] {
        let mut ours = Plain::new(scheduler::WRR, 0);
        let capacity = |weight| Capacity { weight, upper: u32::MAX, ..Capacity::default() };
        let reals: Vec<_> = (0..).zip(weights.map(capacity)).collect();
        ours.set_members(&reals, Vec::new());
        let heaviest = (0..3).max_by_key(|number| weights[*number as usize]).expect("there are three");
        ours.set_overloaded(heaviest, true);
        let got = [(); 6].map(|()| ours.pick(Client { address: 0, port: 0, destination: 0 }).expect("a light one"));
        assert_eq!(got, expected, "{weights:?}");
    }
}

/// The rule has UDP's connections as active ones when the service asks for it: sed, nq, ovf, and the bound of lblc and lblcr.
#[test]
fn udp_active_counts_inactive_ones() {
    for kind in [scheduler::SED, scheduler::NQ, scheduler::OVF, scheduler::LBLC, scheduler::LBLCR] {
        let choices = |flags: u8| -> Vec<u32> {
            let mut ours = Plain::new(kind, flags);
            let capacity = Capacity { weight: 2, ..Capacity::default() };
            ours.set_members(&[(0, capacity), (1, capacity)], Vec::new());
            (0..6)
                .map(|_| {
                    let real = ours.pick(Client { address: 0, port: 0, destination: 9 }).expect("one of two");
                    ours.count(real, 0, 1);
                    real
                })
                .collect()
        };
        assert!(choices(0).iter().all(|real| *real == 0), "{kind}: {:?}", choices(0));
        assert!(choices(flag::UDP_ACTIVE).contains(&1), "{kind}: {:?}", choices(flag::UDP_ACTIVE));
    }
}
