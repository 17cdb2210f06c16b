//! Groups and repetitions: every case once, then every case again. What disturbs the machine for a while then disturbs all alike.

use std::collections::BTreeSet;

use lb_tests::program::deepest;
use lb_userspace::dataplane::objects;
use serde::{Deserialize, Serialize};

use super::case::Case;
use super::instance::Instance;
use crate::figures::{Figure, rounded};

/// One line of the result.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(crate) struct Row {
    pub(crate) name: String,
    pub(crate) method: String,
    pub(crate) family: String,
    pub(crate) flows: u32,
    /// Median over the repetitions, net of the harness.
    pub(crate) ns: f64,
    pub(crate) min: f64,
    pub(crate) max: f64,
    /// Each repetition: those of one group were measured in turns, so the first of one row belongs to the first of another.
    pub(crate) samples: Vec<f64>,
    /// Instructions of the program after the verifier's rewriting, wrapper included.
    pub(crate) insns: u32,
    /// Bytes of stack on the deepest chain of calls, wrapper included.
    pub(crate) stack: u32,
}

/// Measures the cases: group by group, since the tables of all together do not fit into memory.
pub(crate) fn run(cases: &[Case], repetitions: usize) -> anyhow::Result<Vec<Row>> {
    let mut rows: Vec<Option<Row>> = vec![None; cases.len()];
    for group in cases.iter().map(Case::group).collect::<BTreeSet<_>>() {
        let places: Vec<_> = (0..cases.len()).filter(|place| cases[*place].group() == group).collect();
        let members: Vec<_> = places.iter().map(|place| &cases[*place]).collect();
        for (place, row) in places.into_iter().zip(measure(&members, repetitions)?) {
            rows[place] = Some(row);
        }
    }
    Ok(rows.into_iter().flatten().collect())
}

fn measure(cases: &[&Case], repetitions: usize) -> anyhow::Result<Vec<Row>> {
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
                net.push(rounded(gross - harness));
            }
        }
    }
    let mut rows = Vec::new();
    for ((case, instance), samples) in cases.iter().zip(&instances).zip(net) {
        instance.check()?;
        let Figure { median: ns, min, max } = Figure::of(samples.clone());
        rows.push(Row {
            name: case.name.to_owned(),
            method: case.method.to_owned(),
            family: case.family().to_owned(),
            flows: case.flows,
            ns,
            min,
            max,
            samples,
            insns: instance.instructions,
            stack: deepest(objects::BENCH, &case.program()).bytes,
        });
    }
    Ok(rows)
}
