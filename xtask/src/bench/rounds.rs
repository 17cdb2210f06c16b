//! `cargo xtask bench --compare REV`: this working copy's benchmark and another revision's, in turns.

use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use anyhow::{Context as _, bail};
use clap::Parser;

use super::compare::{self, Results};
use super::revision::Place;
use super::{BINARY, child};
use crate::interrupt::Interrupt;
use crate::out;

/// Compares this working copy with another revision
#[derive(Debug, Parser)]
#[command(name = "cargo xtask bench", no_binary_name = true)]
pub(super) struct Arguments {
    /// The other revision: anything that git takes for a commit
    #[arg(long, value_name = "REV")]
    compare: String,
    /// Only cases whose name, method, family and number of flows contain this
    #[arg(long, value_name = "PART")]
    filter: Option<String>,
    /// Times that both are run
    #[arg(long, value_name = "N", default_value_t = 3)]
    rounds: usize,
    /// Repetitions of every case in a round
    #[arg(long, value_name = "N", default_value_t = 3)]
    repetitions: usize,
    /// Write the comparison to this file as JSON, too
    #[arg(long, value_name = "FILE")]
    json: Option<PathBuf>,
}

/// What an older benchmark says of a filter that fits none of its rows.
const NO_CASE: &str = "no case has this in its name";

pub(super) fn run(arguments: &Arguments) -> anyhow::Result<()> {
    let interrupt = Interrupt::install()?;
    let place = Place::take(&lb_lab::paths::target())?;
    let other = place.build(&lb_lab::paths::workspace(), &arguments.compare, &interrupt)?;
    // A copy: a build beside the comparison would put another program into its place.
    let here = place.file(&format!("here-{BINARY}"));
    fs::copy(super::build()?, &here).context("copying the benchmark")?;
    let mut sides = [(other.name.as_str(), &other.binary, Vec::new()), ("here", &here, Vec::new())];
    let rounds = arguments.rounds.max(1);
    for round in 1..=rounds {
        // Who was first is second in the next round.
        let mut order: Vec<_> = sides.iter_mut().collect();
        if round % 2 == 0 {
            order.reverse();
        }
        for (name, binary, results) in order {
            out::line(format_args!("round {round} of {rounds}: {name}"));
            results.push(measure(binary, arguments, &place, &interrupt).with_context(|| format!("measuring {name}"))?);
        }
    }
    let [(_, _, old), (_, _, new)] = sides;
    let lines = compare::lines(&old, &new);
    if lines.is_empty() {
        bail!("neither has a row with this in its name");
    }
    out::line(format_args!(
        "{rounds} rounds of {} repetitions, {} is {}",
        arguments.repetitions, other.name, other.commit
    ));
    out::line(compare::table(&lines, &other.name).trim_end());
    if let Some(path) = &arguments.json {
        let comparison = serde_json::json!({ "revision": other.commit, "rounds": rounds, "rows": lines });
        fs::write(path, serde_json::to_string_pretty(&comparison)?)
            .with_context(|| format!("cannot write {}", path.display()))?;
    }
    Ok(())
}

/// One side's round. No rows if its benchmark has none that fits the filter.
fn measure(binary: &Path, arguments: &Arguments, place: &Place, interrupt: &Interrupt) -> anyhow::Result<Results> {
    let (json, said) = (place.file("round.json"), place.file("round.log"));
    let mut command = Command::new(binary);
    command.arg("--json").arg(&json).args(["--repetitions", &arguments.repetitions.to_string()]);
    if let Some(filter) = &arguments.filter {
        command.args(["--filter", filter]);
    }
    command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(File::create(&said)?);
    let status = child::run(&mut command, interrupt)?;
    if !status.success() {
        let said = fs::read_to_string(&said)?;
        if said.contains(NO_CASE) {
            return Ok(Results::default());
        }
        bail!("the benchmark failed ({status}): {}", said.trim_end());
    }
    serde_json::from_str(&fs::read_to_string(&json)?).context("the benchmark's JSON")
}
