//! Repetitions: every case once, then every case again. What disturbs the machine for a while then disturbs all alike.

use serde::Serialize;

use super::case::Case;
use super::instance::Instance;
use crate::figures::Figure;

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
    for ((case, instance), net) in cases.iter().zip(&instances).zip(net) {
        instance.check()?;
        let Figure { median: ns, min, max } = Figure::of(net);
        rows.push(Row {
            name: case.name,
            method: case.method,
            family: case.family(),
            flows: case.flows,
            ns,
            min,
            max,
            insns: instance.instructions,
        });
    }
    Ok(rows)
}
