//! Two cores at once, by how much they share; each row alone, then both.

use std::sync::Barrier;
use std::thread;

use lb_tests::packet::{ACK, SYN};
use serde::Serialize;

use super::tables::{Shared, VIPS};
use crate::figures::Figure;
use crate::machine;
use crate::wrapped::{DIRECTOR, EMPTY, Wrapped};

/// Packets of a measurement, or a round of the flows.
const LEAST: u32 = 1 << 20;
/// Flows of one core and of the other.
const FLOWS: [u32; 3] = [1, 8192, 1 << 20];
/// New flows, half of them for each core where they are not the same.
const NEW: u32 = 1 << 17;

/// What the second core has in common with the first.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub(crate) enum Common {
    /// Nothing: tables of its own. What is left is the machine's.
    OwnTables,
    /// The tables.
    OtherService,
    /// The service and its reals, too; at any time it is half a round away.
    OtherFlows,
    /// The flows, too, and their order.
    SameFlows,
}

impl Common {
    pub(crate) const ALL: [Self; 4] = [Self::OwnTables, Self::OtherService, Self::OtherFlows, Self::SameFlows];
}

/// One line of the result: nanoseconds a packet, net of the wrapper.
#[derive(Clone, Debug, Serialize)]
pub(crate) struct Line {
    /// Known flows, or every packet a SYN of a new one.
    pub(crate) is_new: bool,
    pub(crate) flows: u32,
    pub(crate) common: Common,
    /// One after the other, the mean of both.
    pub(crate) alone: Figure,
    /// Both at once, the mean of both.
    pub(crate) both: Figure,
    /// How many times as much, within each round.
    pub(crate) ratio: Figure,
}

/// A row's programs: the first core's, and the second one's.
struct Case {
    is_new: bool,
    common: Common,
    flows: u32,
    first: Wrapped,
    second: Wrapped,
}

pub(crate) fn run(rounds: u32) -> anyhow::Result<Vec<Line>> {
    let cpus = machine::cpus()?;
    anyhow::ensure!(cpus.len() > 1, "two cores are needed");
    let pair = [cpus[cpus.len() - 1], cpus[0]];
    let mut lines = Vec::new();
    for (flows, is_new) in FLOWS.map(|flows| (flows, false)).into_iter().chain([(NEW, true)]) {
        eprintln!("{flows} {} flows", if is_new { "new" } else { "known" });
        let tables = [Shared::new(flows, !is_new)?, Shared::new(flows, !is_new)?];
        let cases = cases(&tables, flows, is_new)?;
        let mut values = vec![Vec::new(); cases.len()];
        // The first round warms up and is not counted.
        for round in 0..=rounds {
            for (case, values) in cases.iter().zip(&mut values) {
                let value = case.measure(&tables, pair)?;
                if round > 0 {
                    values.push(value);
                }
            }
        }
        lines.extend(cases.iter().zip(&values).map(|(case, values)| case.line(values)));
    }
    Ok(lines)
}

fn cases(tables: &[Shared; 2], flows: u32, is_new: bool) -> anyhow::Result<Vec<Case>> {
    let flags = if is_new { SYN } else { ACK };
    let case = |common: Common| {
        let [ours, theirs] = tables;
        let second = match common {
            Common::OwnTables => theirs.wrapped(VIPS[0], 0, flags),
            Common::OtherService => ours.wrapped(VIPS[1], 0, flags),
            // Half a round on, the wrapper's generator is half of the flows away, and stays so.
            Common::OtherFlows => ours.wrapped(VIPS[0], flows / 2, flags),
            Common::SameFlows => ours.wrapped(VIPS[0], 0, flags),
        };
        Ok(Case { is_new, common, flows, first: ours.wrapped(VIPS[0], 0, flags)?, second: second? })
    };
    // One flow is nobody's other one.
    Common::ALL.into_iter().filter(|common| flows > 1 || *common != Common::OtherFlows).map(case).collect()
}

impl Case {
    /// Nanoseconds a packet: alone, and both.
    fn measure(&self, tables: &[Shared; 2], pair: [usize; 2]) -> anyhow::Result<[f64; 2]> {
        let packets = if self.is_new { self.flows / 2 } else { LEAST.max(self.flows) };
        let together = |program: &str| both(&self.first, &self.second, program, packets, pair);
        // One after the other, and each on its own core: a flow may cost more than another because of where it is in its bucket.
        let alone = |program: &str| {
            let first = on(pair[0], || self.first.run(program, packets))?;
            self.prepare(tables)?;
            let second = on(pair[1], || self.second.run(program, packets))?;
            anyhow::Ok(f64::midpoint(first, second))
        };
        let (empty_alone, empty_both) = (alone(EMPTY)?, together(EMPTY)?);
        self.prepare(tables)?;
        let gross_alone = alone(DIRECTOR)?;
        self.prepare(tables)?;
        let gross_both = together(DIRECTOR)?;
        Ok([gross_alone - empty_alone, gross_both - empty_both])
    }

    /// Before new flows no flow is known.
    fn prepare(&self, tables: &[Shared; 2]) -> anyhow::Result<()> {
        if self.is_new { tables.iter().try_for_each(Shared::empty) } else { Ok(()) }
    }

    fn line(&self, values: &[[f64; 2]]) -> Line {
        let of = |value: fn(&[f64; 2]) -> f64| Figure::of(values.iter().map(value).collect());
        Line {
            is_new: self.is_new,
            flows: self.flows,
            common: self.common,
            alone: of(|value| value[0]),
            both: of(|value| value[1]),
            ratio: of(|value| value[1] / value[0]),
        }
    }
}

/// Runs something on a core, before everything else that is there.
fn on<T: Send>(cpu: usize, work: impl FnOnce() -> anyhow::Result<T> + Send) -> anyhow::Result<T> {
    let run = || {
        machine::go_first();
        machine::stay_on(cpu)?;
        work()
    };
    thread::scope(|scope| scope.spawn(run).join().expect("the measuring thread"))
}

/// The mean of two programs that begin together.
fn both(first: &Wrapped, second: &Wrapped, program: &str, packets: u32, pair: [usize; 2]) -> anyhow::Result<f64> {
    let barrier = Barrier::new(2);
    let run = |wrapped: &Wrapped, cpu: usize| {
        on(cpu, || {
            barrier.wait();
            wrapped.run(program, packets)
        })
    };
    thread::scope(|scope| {
        let other = scope.spawn(|| run(second, pair[1]));
        let ours = run(first, pair[0]);
        let theirs = other.join().expect("the other core's thread");
        Ok(f64::midpoint(ours?, theirs?))
    })
}
