//! The flood: calm, beside a core that forwards, under the flood, and afterwards.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use serde::Serialize;

use super::Arguments;
use super::table::{Held, Table};
use crate::figures::Figure;
use crate::machine;
use crate::traffic::director::{self, Service};
use crate::traffic::frame::{ACK, Clients, SYN, Stream};
use crate::traffic::generator::{Generator, Pace};
use crate::traffic::lab::{Lab, Lane};
use crate::traffic::programs;
use crate::traffic::real::{Look, Real, Seen};
use crate::traffic::shape::WATCHED;
use crate::wrapped::Wrapped;

const VIP: &str = "10.99.0.1";
/// Frames that the flood sends between two looks at the time: near a second.
const SLICE: u32 = 1_000_000;
/// The same where it shares a core with the measured packets.
const MIXED: u32 = 200_000;
/// The same between two runs of the wrapper.
const SHORT_SLICE: u32 = 30_000;
/// Few flows, which fit into the first caches, and many, which do not: packets of one measurement of the cost.
const FEW: (u32, u32) = (1024, 1 << 13);
/// The same of many: each power of two of flows twice.
const ROUNDS_OF_MANY: u32 = 2;
/// New clients that try at once.
const COHORT: u32 = 500;
/// Milliseconds until such a client answers the real's SYN.
const ROUND_TRIPS: [u64; 2] = [100, 1000];

/// What the flood did.
#[derive(Serialize)]
pub(crate) struct Outcome {
    pub(crate) seconds: f64,
    pub(crate) sources: u32,
    /// Places for IPv4 connections.
    pub(crate) places: u64,
    /// SYNs of the flood.
    pub(crate) sent: u64,
    pub(crate) established: u32,
    /// Of these, flows that are not in the table any more, are not established, or have another real there.
    pub(crate) lost: u64,
    /// Flows whose packet after the flood reached no real, or another one.
    pub(crate) silent: u64,
    pub(crate) strayed: u64,
    /// Least number of established flows that was in the table while the flood went on.
    pub(crate) least: u64,
    /// Of few flows, and of many.
    pub(crate) few: Costs,
    pub(crate) many: Costs,
    pub(crate) way: Way,
    pub(crate) attempts: Vec<Attempts>,
    /// What packets ended as while the flood went on, those that measured the cost left out.
    pub(crate) verdicts: BTreeMap<&'static str, u64>,
    /// The table afterwards, by state.
    pub(crate) states: BTreeMap<String, u64>,
}

/// Nanoseconds of a packet of an established flow, in the program.
#[derive(Serialize)]
pub(crate) struct Costs {
    /// Flows.
    pub(crate) flows: u32,
    /// Nothing else to do.
    pub(crate) calm: Figure,
    /// While another core sends packets through a forwarder that has no tables.
    pub(crate) beside: Figure,
    /// While another core floods.
    pub(crate) flooded: Figure,
    /// When the flood is over, and the table full of what it left.
    pub(crate) after: Figure,
    /// In turns with that forwarder on the same core.
    pub(crate) calm_turns: Figure,
    /// In turns with the flood on the same core.
    pub(crate) flood_turns: Figure,
}

/// Nanoseconds of a packet on its whole way, generator and real included, on one core.
#[derive(Serialize)]
pub(crate) struct Way {
    /// Of an established flow.
    pub(crate) calm: Figure,
    /// Of the flood.
    pub(crate) syn: Figure,
    /// Of an established flow, when every other packet is the flood's: what two take, less one of the flood's.
    pub(crate) flooded: Figure,
    /// How many times as much that is, within each round.
    pub(crate) ratio: Figure,
}

/// New clients while the flood went on.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
pub(crate) struct Attempts {
    pub(crate) round_trip_ms: u64,
    pub(crate) tried: u64,
    /// Those whose ACK reached the real that their SYN did.
    pub(crate) connected: u64,
}

pub(crate) fn run(arguments: &Arguments) -> anyhow::Result<Outcome> {
    let cpus = machine::cpus()?;
    let (other, own) = (cpus[0], cpus[cpus.len() - 1]);
    let lab = Lab::build("flood", &["bare", "xvs"])?;
    let (bare, lane) = (&lab.lanes[0], &lab.lanes[1]);
    let _forwarder = programs::forwarder(bare)?;
    let services = [Service { vip: VIP, scheduler: "rr", method: "direct" }];
    let connections = arguments.connections.map(|number| number.to_string());
    let size: Vec<&str> = connections.iter().flat_map(|number| ["--connections", number]).collect();
    let director = director::start(&lab, lane, &services, &size)?;
    let mut stage = Stage {
        real: Real::attach(&lab, Look::Watch)?,
        table: Table::of(&lab)?,
        generator: Generator::new(&lab)?,
        next_client: WATCHED / 2,
        lane,
        own,
    };
    eprintln!("opening {} flows", arguments.established);
    let known = Clients::Known { first: 0, flows: arguments.established };
    for flags in [SYN, ACK, SYN, ACK] {
        stage.send(stage.lane, flags, known, arguments.established)?;
    }
    let before = stage.table.held();
    anyhow::ensure!(
        before.established.len() == arguments.established as usize,
        "{} flows are established, not {}",
        before.established.len(),
        arguments.established
    );
    let wrapped = stage.wrapped(arguments.established)?;
    eprintln!("calm");
    let calm = stage.costs(&wrapped, arguments.rounds)?;
    eprintln!("beside a core that forwards");
    let mut flooder = Generator::new(&lab)?;
    let stream = |lane: &Lane, clients| Stream { flags: SYN, ..stage.stream(lane, ACK, clients) };
    let forwarded = stream(bare, Clients::Spoofed(arguments.sources));
    let flood = stream(lane, Clients::Spoofed(arguments.sources));
    let (beside, ..) = during(&mut flooder, other, forwarded, || stage.costs(&wrapped, arguments.rounds))?;
    eprintln!("flood of {} s", arguments.seconds);
    let verdicts = stage.table.verdicts();
    let (tally, sent, seconds) = during(&mut flooder, other, flood, || stage.endure(&wrapped, arguments))?;
    let ended = difference(&stage.table.verdicts(), &verdicts, tally.packets);
    eprintln!("after");
    let after = stage.costs(&wrapped, arguments.rounds)?;
    let (calm_turns, flood_turns) = stage.turns(&wrapped, forwarded, flood, arguments.rounds)?;
    let figure = |values: &[Cost], place: usize| Figure::of(values.iter().map(|cost| cost[place]).collect());
    let costs = |measured: &Measured, place| Costs {
        flows: measured.flows,
        calm: figure(&calm, place),
        beside: figure(&beside, place),
        flooded: figure(&tally.costs, place),
        after: figure(&after, place),
        calm_turns: figure(&calm_turns, place),
        flood_turns: figure(&flood_turns, place),
    };
    let way = stage.way(known, flood, arguments.rounds)?;
    let at_end = stage.table.held();
    let (silent, strayed) = stage.ask(known)?;
    drop(director);
    Ok(Outcome {
        seconds,
        sources: arguments.sources,
        places: stage.table.places(),
        sent,
        established: arguments.established,
        lost: lost(&before, &at_end),
        silent,
        strayed,
        least: tally.least,
        few: costs(&wrapped[0], 0),
        many: costs(&wrapped[1], 1),
        way,
        attempts: tally.attempts,
        verdicts: ended,
        states: at_end.states.iter().map(|(state, count)| (format!("{state:?}"), *count)).collect(),
    })
}

/// The pipeline over some of the established flows.
struct Measured {
    wrapped: Wrapped,
    flows: u32,
    packets: u32,
}

/// Nanoseconds a packet of few flows, and of many.
type Cost = [f64; 2];

struct Stage<'a> {
    lane: &'a Lane,
    generator: Generator,
    real: Real,
    table: Table,
    /// First number of the next cohort.
    next_client: u32,
    own: usize,
}

/// What was seen while the flood went on.
#[derive(Default)]
struct Tally {
    costs: Vec<Cost>,
    /// Packets that measured them.
    packets: u64,
    attempts: Vec<Attempts>,
    least: u64,
}

impl Stage<'_> {
    fn stream(&self, lane: &Lane, flags: u8, clients: Clients) -> Stream {
        let vip = VIP.parse().expect("an address");
        Stream { interface: lane.interface, mac: lane.mac(), vip, flags, clients, interval: 0 }
    }

    fn send(&mut self, lane: &Lane, flags: u8, clients: Clients, frames: u32) -> anyhow::Result<()> {
        let stream = self.stream(lane, flags, clients);
        self.generator.send(&[(self.own, stream)], Pace::Full, frames).map(drop)
    }

    fn wrapped(&self, established: u32) -> anyhow::Result<[Measured; 2]> {
        let of = |flows: u32, packets: u32| {
            let mut wrapped = self.table.wrapped(VIP)?;
            wrapped.set_flows(0, flows)?;
            anyhow::Ok(Measured { wrapped, flows, packets })
        };
        let many = 1 << established.ilog2();
        Ok([of(FEW.0.min(many), FEW.1)?, of(many, many * ROUNDS_OF_MANY)?])
    }

    /// Nanoseconds of a packet, on this stage's core.
    fn costs(&self, measured: &[Measured; 2], times: u32) -> anyhow::Result<Vec<Cost>> {
        let measure = || {
            machine::go_first();
            machine::stay_on(self.own)?;
            let cost = |measured: &Measured| measured.wrapped.net(measured.packets);
            (0..times).map(|_| Ok([cost(&measured[0])?, cost(&measured[1])?])).collect()
        };
        thread::scope(|scope| scope.spawn(measure).join().expect("the measuring thread"))
    }

    /// While the flood goes on: costs, new clients, the table.
    fn endure(&mut self, wrapped: &[Measured; 2], arguments: &Arguments) -> anyhow::Result<Tally> {
        let end = Instant::now() + Duration::from_secs(arguments.seconds.into());
        let attempts = ROUND_TRIPS.map(|round_trip_ms| Attempts { round_trip_ms, ..Attempts::default() });
        let mut tally = Tally { least: u64::MAX, attempts: attempts.to_vec(), ..Tally::default() };
        let mut cohorts = Vec::new();
        while Instant::now() < end {
            let begun = Instant::now();
            let first = self.next_client;
            for place in 0..ROUND_TRIPS.len() as u32 {
                self.send(self.lane, SYN, Clients::Known { first: first + place * COHORT, flows: COHORT }, COHORT)?;
            }
            self.next_client += COHORT * ROUND_TRIPS.len() as u32;
            anyhow::ensure!(self.next_client < WATCHED, "the flood takes too long for so many new clients");
            for (place, round_trip) in (0..).zip(ROUND_TRIPS) {
                let answered = begun + Duration::from_millis(round_trip);
                while Instant::now() < answered {
                    tally.costs.extend(self.costs(wrapped, 1)?);
                    // The wrapper around nothing shows in no verdict.
                    tally.packets += wrapped.iter().map(|measured| u64::from(measured.packets)).sum::<u64>();
                }
                let clients = Clients::Known { first: first + place * COHORT, flows: COHORT };
                self.send(self.lane, ACK, clients, COHORT)?;
                cohorts.push((place as usize, first + place * COHORT));
            }
            let held = self.table.held().established;
            let ours = held.range(..arguments.established).count() as u64;
            tally.least = tally.least.min(ours);
        }
        for (place, first) in cohorts {
            let seen = self.real.seen(first..first + COHORT)?;
            tally.attempts[place].tried += u64::from(COHORT);
            tally.attempts[place].connected += seen.iter().filter(|seen| is_connected(**seen)).count() as u64;
        }
        Ok(tally)
    }

    /// Costs in turns with the forwarder, and with the flood, on the same core.
    fn turns(
        &mut self,
        wrapped: &[Measured; 2],
        forwarded: Stream,
        flood: Stream,
        rounds: u32,
    ) -> anyhow::Result<(Vec<Cost>, Vec<Cost>)> {
        let (mut calm, mut flooded) = (Vec::new(), Vec::new());
        for _ in 0..rounds {
            for (stream, costs) in [(forwarded, &mut calm), (flood, &mut flooded)] {
                self.generator.send(&[(self.own, stream)], Pace::Full, SHORT_SLICE)?;
                costs.extend(self.costs(wrapped, 1)?);
            }
        }
        Ok((calm, flooded))
    }

    /// Established flows alone, the flood alone, and both in the same batches, on one core.
    fn way(&mut self, known: Clients, flood: Stream, rounds: u32) -> anyhow::Result<Way> {
        let known = self.stream(self.lane, ACK, known);
        let mut values: Vec<[f64; 4]> = Vec::new();
        for _ in 0..rounds {
            let alone = |stage: &mut Self, stream| {
                let sent = stage.generator.send(&[(stage.own, stream)], Pace::Full, MIXED)?[0];
                anyhow::Ok(sent.seconds * 1e9 / sent.frames as f64)
            };
            let (calm, syn) = (alone(self, known)?, alone(self, flood)?);
            let both = self.generator.send_in_turns(self.own, [known, flood], MIXED)?;
            let flooded = 2.0 * both - syn;
            values.push([calm, syn, flooded, flooded / calm]);
        }
        let [calm, syn, flooded, ratio] =
            [0, 1, 2, 3].map(|place| Figure::of(values.iter().map(|value| value[place]).collect()));
        Ok(Way { calm, syn, flooded, ratio })
    }

    /// A packet of each flow: how many reach no real, and how many flows have ever reached another than their first.
    fn ask(&mut self, known: Clients) -> anyhow::Result<(u64, u64)> {
        let Clients::Known { first, flows } = known else { anyhow::bail!("spoofed clients cannot be asked") };
        let before = self.real.seen(first..first + flows)?;
        self.send(self.lane, ACK, known, flows)?;
        let after = self.real.seen(first..first + flows)?;
        let packets = |seen: &Option<Seen>| seen.map_or(0, |seen| seen.packets + seen.strayed);
        let silent = before.iter().zip(&after).filter(|(before, after)| packets(before) == packets(after)).count();
        let strayed = after.iter().filter(|seen| seen.is_some_and(|seen| seen.strayed > 0)).count();
        Ok((silent as u64, strayed as u64))
    }
}

/// Both packets reached the same real.
fn is_connected(seen: Option<Seen>) -> bool {
    seen.is_some_and(|seen| seen.packets >= 2 && seen.strayed == 0)
}

/// Lets a core send a stream as long as the work takes; frames and seconds of that.
fn during<T>(
    generator: &mut Generator,
    cpu: usize,
    stream: Stream,
    work: impl FnOnce() -> anyhow::Result<T>,
) -> anyhow::Result<(T, u64, f64)> {
    let stop = AtomicBool::new(false);
    let send = || {
        let mut frames = generator.send(&[(cpu, stream)], Pace::Full, SHORT_SLICE)?[0].frames;
        while !stop.load(Ordering::Relaxed) {
            frames += generator.go_on(cpu, SLICE)?.frames;
        }
        anyhow::Ok(frames)
    };
    thread::scope(|scope| {
        let begun = Instant::now();
        let sending = scope.spawn(send);
        let done = work();
        stop.store(true, Ordering::Relaxed);
        let frames = sending.join().expect("the sending thread")?;
        Ok((done?, frames, begun.elapsed().as_secs_f64()))
    })
}

/// Flows that were established, and now are not, or with another real.
fn lost(before: &Held, after: &Held) -> u64 {
    before.established.iter().filter(|(flow, real)| after.established.get(flow) != Some(real)).count() as u64
}

/// Packets by verdict between two looks, less those that measured.
fn difference(
    now: &BTreeMap<lb_common::abi::verdict::Verdict, u64>,
    before: &BTreeMap<lb_common::abi::verdict::Verdict, u64>,
    measured: u64,
) -> BTreeMap<&'static str, u64> {
    use lb_common::abi::verdict::Verdict;
    let of = |(verdict, packets): (&Verdict, &u64)| {
        let since = packets - before.get(verdict).copied().unwrap_or(0);
        // Established flows' packets, which the wrapper sends nowhere, end as if they were redirected.
        let since = if *verdict == Verdict::DirectRedirect { since.saturating_sub(measured) } else { since };
        (since > 0).then(|| (verdict.name(), since))
    };
    now.iter().filter_map(of).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use lb_common::abi::verdict::Verdict;

    #[test]
    fn a_flow_with_another_real_is_lost_too() {
        let held = |flows: &[(u32, u32)]| Held { established: flows.iter().copied().collect(), ..Held::default() };
        assert_eq!(lost(&held(&[(1, 5), (2, 6), (3, 7)]), &held(&[(1, 5), (2, 7), (9, 9)])), 2);
    }

    #[test]
    fn a_client_is_connected_by_two_packets_at_one_real() {
        let seen = |packets, strayed| Some(Seen { real: 1, packets, strayed });
        assert!(is_connected(seen(2, 0)));
        assert!(!is_connected(seen(1, 0)) && !is_connected(seen(1, 1)) && !is_connected(None));
    }

    #[test]
    fn packets_that_measured_are_not_the_floods() {
        let before = [(Verdict::DirectRedirect, 10)].into();
        let now = [(Verdict::DirectRedirect, 40), (Verdict::TableFull, 3)].into();
        let expected = [(Verdict::DirectRedirect.name(), 10), (Verdict::TableFull.name(), 3)].into();
        assert_eq!(difference(&now, &before, 20), expected);
    }
}
