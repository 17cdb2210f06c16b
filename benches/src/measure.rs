//! Repetitions: every case once, then every case again. What disturbs the machine for a while then disturbs all alike.

use nix::sched::{CpuSet, sched_setaffinity};
use nix::unistd::Pid;
use serde::Serialize;

use crate::case::Case;
use crate::instance::Instance;

/// One line of the result.
#[derive(Clone, Debug, Serialize)]
pub(crate) struct Row {
    pub(crate) name: &'static str,
    pub(crate) method: &'static str,
    pub(crate) family: &'static str,
    pub(crate) flows: u32,
    /// Median over the repetitions, net of the harness.
    pub(crate) ns: f64,
    pub(crate) min: f64,
    pub(crate) max: f64,
    /// Instructions of the program after the verifier's rewriting, wrapper included.
    pub(crate) insns: u32,
}

/// Measures the cases.
pub(crate) fn run(cases: &[Case], repetitions: usize) -> anyhow::Result<Vec<Row>> {
    let mut instances = Vec::new();
    for case in cases {
        eprintln!("preparing {}", case.title());
        instances.push(Instance::new(case)?);
    }
    let mut net: Vec<Vec<f64>> = vec![Vec::new(); cases.len()];
    // The first repetition warms up and is not counted.
    for repetition in 0..=repetitions {
        eprintln!("repetition {repetition} of {repetitions}");
        for (instance, net) in instances.iter_mut().zip(&mut net) {
            let harness = instance.measure_harness()?;
            let gross = instance.measure()?;
            if repetition > 0 {
                net.push(gross - harness);
            }
        }
    }
    let mut rows = Vec::new();
    for ((case, instance), mut net) in cases.iter().zip(&instances).zip(net) {
        instance.check()?;
        net.sort_by(f64::total_cmp);
        rows.push(Row {
            name: case.name,
            method: case.method,
            family: case.family(),
            flows: case.flows,
            ns: median(&net),
            min: net[0],
            max: net[net.len() - 1],
            insns: instance.instructions,
        });
    }
    Ok(rows)
}

/// The middle of sorted figures.
pub(crate) fn median(sorted: &[f64]) -> f64 {
    let middle = sorted.len() / 2;
    if sorted.len() % 2 == 1 { sorted[middle] } else { f64::midpoint(sorted[middle - 1], sorted[middle]) }
}

/// The last CPU: the first ones take more of the machine's interrupts.
pub(crate) fn stay_on_last_cpu() -> anyhow::Result<()> {
    let allowed = nix::sched::sched_getaffinity(Pid::from_raw(0))?;
    let last = (0..CpuSet::count()).rev().find(|cpu| allowed.is_set(*cpu).unwrap_or(false));
    let mut set = CpuSet::new();
    set.set(last.unwrap_or(0))?;
    Ok(sched_setaffinity(Pid::from_raw(0), &set)?)
}
