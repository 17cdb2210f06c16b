//! Rows: what one packet costs in the program, case by case, beside baselines.

mod case;
mod clients;
mod document;
mod instance;
mod measure;
mod opening;
mod plot;
mod report;
mod results;
mod targets;
mod usual;

use std::path::{Path, PathBuf};

use clap::Args;

use crate::machine::{self, Machine};
use results::Results;

#[derive(Args)]
pub(crate) struct Arguments {
    /// Write the run to this file as JSON, too
    #[arg(long, value_name = "FILE")]
    json: Option<PathBuf>,
    /// Only cases whose name, method, family and number of flows contain this, as in "xvs-tcp direct ipv4 8192"
    #[arg(long, value_name = "PART")]
    filter: Option<String>,
    /// Repetitions of every case
    #[arg(long, value_name = "N", default_value_t = 9)]
    repetitions: usize,
    /// Run another revision's benchmark beside this one's, in turns, and print ratios; with --filter, --json, --repetitions and --rounds
    // Here for the help alone: `cargo xtask bench` builds the other revision and runs both.
    #[arg(long, value_name = "REV")]
    compare: Option<String>,
    /// Write tables and plots into docs/performance.md and docs/performance/, too
    #[arg(long, conflicts_with = "filter")]
    write: bool,
}

/// Tables and plots of an earlier run.
#[derive(Args)]
pub(crate) struct WriteArguments {
    /// What `--json` wrote
    #[arg(value_name = "FILE")]
    json: PathBuf,
}

pub(crate) fn run(arguments: &Arguments) -> anyhow::Result<()> {
    anyhow::ensure!(
        arguments.compare.is_none(),
        "`cargo xtask bench --compare` builds what is to be compared: call that"
    );
    let is_wanted = |title: &str| arguments.filter.as_ref().is_none_or(|part| title.contains(part));
    let cases: Vec<_> = case::all().into_iter().filter(|case| is_wanted(&case.title())).collect();
    let is_opening = is_wanted(&opening::case().title());
    anyhow::ensure!(
        is_opening || !cases.is_empty(),
        "no case has this in its name; `--filter v4` or `--filter baseline`, for one"
    );
    let repetitions = arguments.repetitions.max(1);
    let measured = clients::network()?.enter(|| {
        machine::stay_on_last_cpu()?;
        let rows = measure::run(&cases, repetitions)?;
        anyhow::Ok((rows, if is_opening { opening::run(repetitions)? } else { Vec::new() }))
    });
    let (rows, openings) = measured??;
    let results = Results { machine: Machine::here()?, repetitions, rows, openings, programs: results::programs() };
    print!("{}{}", report::table(&results.rows), report::openings(&results.openings));
    print!("{}{}", report::programs(&results.programs), report::judged(&targets::judge(&results.rows)));
    if let Some(path) = &arguments.json {
        results.write(path)?;
    }
    if arguments.write {
        document::write(&docs(), &results)?;
    }
    Ok(())
}

pub(crate) fn write(arguments: &WriteArguments) -> anyhow::Result<()> {
    document::write(&docs(), &Results::read(&arguments.json)?)
}

/// The documentation of the working copy that this was built from.
fn docs() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../docs")
}
