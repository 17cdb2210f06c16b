//! Rounds: every row once, then every row again; by one CPU, by all, and then at a part of its rate for the latencies.

use serde::Serialize;

use super::lanes::{Lanes, Row};
use crate::figures::Figure;
use crate::traffic::frame::ACK;
use crate::traffic::generator::Pace;
use crate::traffic::histogram::Latency;
use crate::traffic::real::{Look, Real};

/// One line of the result.
#[derive(Clone, Debug, Serialize)]
pub(crate) struct Line {
    pub(crate) name: &'static str,
    pub(crate) flows: u32,
    /// Packets that reached a real, a second, by one CPU.
    pub(crate) one: Figure,
    /// The same by all CPUs.
    pub(crate) all: Figure,
    /// Both, round by round.
    pub(crate) rounds: Vec<[f64; 2]>,
    /// Of a million packets, those that reached no real: by one CPU at full speed.
    pub(crate) lost: u64,
    /// Reals that packets reached.
    pub(crate) reals: usize,
    /// Packets a second while latencies were measured.
    pub(crate) paced: Figure,
    /// Nanoseconds.
    pub(crate) p50: Figure,
    pub(crate) p99: Figure,
    pub(crate) p999: Figure,
}

/// What a row has shown so far.
#[derive(Default)]
struct Values {
    one: Vec<f64>,
    all: Vec<f64>,
    sent: u64,
    arrived: u64,
    reals: usize,
    paced: Vec<f64>,
    latencies: Vec<Latency>,
}

/// Frames of the first measurement of each row, which tells how long a frame takes.
const FIRST: u32 = 50_000;
/// Looks of the paced generator that tell how long one takes when nothing is due.
const LOOKS: u32 = 100_000;

/// What is measured, and how long.
pub(crate) struct Plan {
    pub(crate) rows: Vec<Row>,
    pub(crate) cpus: Vec<usize>,
    /// Seconds of one measurement.
    pub(crate) seconds: f64,
    pub(crate) rounds: u32,
    /// Percent of a row's own rate while latencies are measured.
    pub(crate) load: u32,
}

impl Plan {
    pub(crate) fn run(&self, lanes: &mut Lanes) -> anyhow::Result<Vec<Line>> {
        let mut values: Vec<Values> = self.rows.iter().map(|_| Values::default()).collect();
        self.rates(lanes, &mut values)?;
        self.latencies(lanes, &mut values)?;
        self.rows.iter().zip(values).map(|(row, values)| values.line(row)).collect()
    }

    /// The CPU that is measured alone: the last, as the first ones take more of the machine's interrupts.
    fn last(&self) -> &[usize] {
        &self.cpus[self.cpus.len() - 1..]
    }

    fn rates(&self, lanes: &mut Lanes, values: &mut [Values]) -> anyhow::Result<()> {
        let real = Real::attach(&lanes.lab, Look::Count)?;
        let mut rates = Vec::new();
        for row in &self.rows {
            eprintln!("preparing {} {}", row.name, row.flows);
            lanes.open(row, self.last()[0])?;
            rates.push(full_speed(lanes, &real, row, self.last(), FIRST, &mut Values::default())?);
        }
        for round in 1..=self.rounds {
            eprintln!("round {round} of {}", self.rounds);
            for ((row, values), rate) in self.rows.iter().zip(&mut *values).zip(&rates) {
                let frames = (rate * self.seconds) as u32;
                let one = full_speed(lanes, &real, row, self.last(), frames, values)?;
                values.one.push(one);
                let all = full_speed(lanes, &real, row, &self.cpus, frames, &mut Values::default())?;
                values.all.push(all);
            }
        }
        Ok(())
    }

    fn latencies(&self, lanes: &mut Lanes, values: &mut [Values]) -> anyhow::Result<()> {
        let mut real = Real::attach(&lanes.lab, Look::Time)?;
        let idle = lanes.streams(&self.rows[0], self.last(), ACK, u64::from(u32::MAX));
        let look = lanes.generator.send(&idle, Pace::Paced, LOOKS)?[0].look;
        eprintln!("the paced generator looks every {look} ns");
        real.latencies()?;
        for round in 1..=self.rounds {
            eprintln!("latencies, round {round} of {}", self.rounds);
            for (row, values) in self.rows.iter().zip(&mut *values) {
                let rate = Figure::of(values.one.clone()).median * f64::from(self.load) / 100.0;
                // What is left of the time besides the packets goes by in looks that find nothing due.
                let looks = self.seconds * (rate + (1e9 / look) * f64::from(100 - self.load) / 100.0);
                paced(lanes, &mut real, row, self.last(), rate, looks as u32, values)?;
            }
        }
        Ok(())
    }
}

/// Packets a second that reached a real.
fn full_speed(
    lanes: &mut Lanes,
    real: &Real,
    row: &Row,
    cpus: &[usize],
    frames: u32,
    values: &mut Values,
) -> anyhow::Result<f64> {
    let before = real.arrived()?;
    let streams = lanes.streams(row, cpus, ACK, 0);
    let sent = lanes.generator.send(&streams, Pace::Full, frames.max(1))?;
    let arrived = real.arrived()?.since(&before);
    values.sent += sent.iter().map(|sent| sent.frames).sum::<u64>();
    values.arrived += arrived.packets();
    values.reals = arrived.reals.iter().filter(|packets| **packets > 0).count();
    // Each CPU's packets reach their real on that CPU.
    Ok(sent.iter().map(|sent| arrived.cpus[sent.cpu] as f64 / sent.seconds).sum())
}

/// Latencies at so many packets a second.
fn paced(
    lanes: &mut Lanes,
    real: &mut Real,
    row: &Row,
    cpus: &[usize],
    rate: f64,
    looks: u32,
    values: &mut Values,
) -> anyhow::Result<()> {
    let streams = lanes.streams(row, cpus, ACK, (1e9 / rate) as u64);
    let sent = lanes.generator.send(&streams, Pace::Paced, looks)?;
    values.latencies.extend(real.latencies()?);
    values.paced.push(sent.iter().map(|sent| sent.frames as f64 / sent.seconds).sum());
    Ok(())
}

impl Values {
    fn line(self, row: &Row) -> anyhow::Result<Line> {
        let (name, flows) = (row.name, row.flows);
        // Fewer would mean that the row is not about what its name says.
        anyhow::ensure!(self.arrived * 100 >= self.sent * 90, "{name}: {} of {} arrived", self.arrived, self.sent);
        let spread = if flows == 1 { 1 } else { usize::from(row.reals) };
        anyhow::ensure!(self.reals == spread, "{name}: {} reals got packets, not {spread}", self.reals);
        anyhow::ensure!(!self.latencies.is_empty(), "{name}: no latencies");
        let latency = |of: fn(&Latency) -> u64| Figure::of(self.latencies.iter().map(|all| of(all) as f64).collect());
        Ok(Line {
            name,
            flows,
            lost: self.sent.saturating_sub(self.arrived) * 1_000_000 / self.sent.max(1),
            reals: self.reals,
            p50: latency(|all| all.p50),
            p99: latency(|all| all.p99),
            p999: latency(|all| all.p999),
            rounds: self.one.iter().zip(&self.all).map(|(one, all)| [*one, *all]).collect(),
            one: Figure::of(self.one),
            all: Figure::of(self.all),
            paced: Figure::of(self.paced),
        })
    }
}
