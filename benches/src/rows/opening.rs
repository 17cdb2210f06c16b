//! What a connection's first packet costs by each scheduler, with few reals and with many: one object and one service, which gets another
//! scheduler and other members before each repetition.

use lb_common::abi::service::scheduler;
use serde::{Deserialize, Serialize};

use super::case::{self, Case};
use super::instance::Instance;
use crate::figures::{Figure, rounded};

/// Reals that each scheduler is measured with.
pub(crate) const REALS: [usize; 3] = [10, 100, 1000];
/// Schedulers by name.
const SCHEDULERS: [(&str, u8); 14] = [
    ("rr", scheduler::RR),
    ("wrr", scheduler::WRR),
    ("lc", scheduler::LC),
    ("wlc", scheduler::WLC),
    ("fo", scheduler::FO),
    ("ovf", scheduler::OVF),
    ("lblc", scheduler::LBLC),
    ("lblcr", scheduler::LBLCR),
    ("dh", scheduler::DH),
    ("sh", scheduler::SH),
    ("mh", scheduler::MH),
    ("sed", scheduler::SED),
    ("nq", scheduler::NQ),
    ("twos", scheduler::TWOS),
];

/// One figure of the table.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(crate) struct Opening {
    pub(crate) scheduler: String,
    pub(crate) reals: usize,
    /// Median over the repetitions, net of the harness.
    pub(crate) ns: f64,
    pub(crate) min: f64,
    pub(crate) max: f64,
}

/// The case that all figures are variants of, for `--filter`.
pub(crate) fn case() -> Case {
    case::opening()
}

/// Measures every scheduler with every number of reals, all once and then all again.
pub(crate) fn run(repetitions: usize) -> anyhow::Result<Vec<Opening>> {
    let case = case();
    eprintln!("preparing {}", case.title());
    let mut instance = Instance::new(&case)?;
    let subjects: Vec<_> =
        SCHEDULERS.iter().flat_map(|scheduler| REALS.map(|reals| (scheduler.0, scheduler.1, reals))).collect();
    let mut net = vec![Vec::new(); subjects.len()];
    // The first repetition warms up and is not counted.
    for repetition in 0..=repetitions {
        eprintln!("openings, repetition {repetition} of {repetitions}");
        for ((_, scheduler, reals), net) in subjects.iter().zip(&mut net) {
            instance.schedule_by(*scheduler, *reals)?;
            let harness = instance.measure_harness()?;
            let gross = instance.measure()?;
            if repetition > 0 {
                net.push(rounded(gross - harness));
            }
        }
    }
    instance.check()?;
    let row = |((scheduler, _, reals), net): ((&'static str, u8, usize), Vec<f64>)| {
        let Figure { median: ns, min, max } = Figure::of(net);
        Opening { scheduler: scheduler.to_owned(), reals, ns, min, max }
    };
    Ok(subjects.into_iter().zip(net).map(row).collect())
}
