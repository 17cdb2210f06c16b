//! Rows: what one packet costs in the program, case by case, beside baselines.

mod case;
mod instance;
mod measure;
mod opening;
mod report;

use std::path::PathBuf;

use anyhow::Context as _;
use clap::Args;

use crate::machine;

#[derive(Args)]
pub(crate) struct Arguments {
    /// Write the rows to this file as JSON, too
    #[arg(long)]
    json: Option<PathBuf>,
    /// Only cases whose name contains this
    #[arg(long)]
    filter: Option<String>,
    /// Repetitions of every case
    #[arg(long, default_value_t = 9)]
    repetitions: usize,
}

pub(crate) fn run(arguments: &Arguments) -> anyhow::Result<()> {
    let cases: Vec<_> = case::all()
        .into_iter()
        .filter(|case| arguments.filter.as_ref().is_none_or(|part| case.title().contains(part)))
        .collect();
    let is_opening = arguments.filter.as_ref().is_none_or(|part| opening::case().title().contains(part));
    anyhow::ensure!(
        is_opening || !cases.is_empty(),
        "no case has this in its name; `--filter v4` or `--filter baseline`, for one"
    );
    machine::stay_on_last_cpu()?;
    let repetitions = arguments.repetitions.max(1);
    let rows = if cases.is_empty() { Vec::new() } else { measure::run(&cases, repetitions)? };
    let openings = if is_opening { opening::run(repetitions)? } else { Vec::new() };
    print!("{}{}", report::table(&rows), report::ratios(&rows));
    print!("{}", report::openings(&openings));
    if let Some(path) = &arguments.json {
        let text = serde_json::to_string_pretty(&serde_json::json!({ "rows": rows, "openings": openings }))?;
        std::fs::write(path, text).with_context(|| format!("cannot write {}", path.display()))?;
    }
    Ok(())
}
