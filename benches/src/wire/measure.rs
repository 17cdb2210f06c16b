//! Rounds: every row once, then every row again; by one CPU, by all, and then at a part of its rate for the latencies.

use serde::Serialize;

use super::lanes::{Lanes, ROWS, Row};
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

pub(crate) fn run(
    lanes: &mut Lanes,
    cpus: &[usize],
    seconds: f64,
    rounds: u32,
    load: u32,
) -> anyhow::Result<Vec<Line>> {
    let last = &cpus[cpus.len() - 1..];
    let mut values: Vec<Values> = ROWS.iter().map(|_| Values::default()).collect();
    let real = Real::attach(&lanes.lab, Look::Count)?;
    let mut rates = Vec::new();
    for row in &ROWS {
        eprintln!("preparing {} {}", row.name, row.flows);
        lanes.open(row, last[0])?;
        rates.push(full_speed(lanes, &real, row, last, FIRST, &mut Values::default())?);
    }
    for round in 1..=rounds {
        eprintln!("round {round} of {rounds}");
        for ((row, values), rate) in ROWS.iter().zip(&mut values).zip(&rates) {
            let frames = (rate * seconds) as u32;
            let one = full_speed(lanes, &real, row, last, frames, values)?;
            values.one.push(one);
            let all = full_speed(lanes, &real, row, cpus, frames, &mut Values::default())?;
            values.all.push(all);
        }
    }
    drop(real);
    let mut real = Real::attach(&lanes.lab, Look::Time)?;
    let idle = lanes.streams(&ROWS[0], last, ACK, u64::from(u32::MAX));
    let look = lanes.generator.send(&idle, Pace::Paced, LOOKS)?[0].look;
    eprintln!("the paced generator looks every {look} ns");
    for round in 1..=rounds {
        eprintln!("latencies, round {round} of {rounds}");
        for (row, values) in ROWS.iter().zip(&mut values) {
            let rate = Figure::of(values.one.clone()).median * f64::from(load) / 100.0;
            // What is left of the time besides the packets goes by in looks that find nothing due.
            let looks = seconds * (rate + (1e9 / look) * f64::from(100 - load) / 100.0);
            paced(lanes, &mut real, row, last, rate, looks as u32, values)?;
        }
    }
    ROWS.iter().zip(values).map(|(row, values)| values.line(row)).collect()
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
            one: Figure::of(self.one),
            all: Figure::of(self.all),
            paced: Figure::of(self.paced),
        })
    }
}
