//! `cargo xtask bench cores`: what two cores cost each other. README.md has the method.

mod report;
mod run;
mod tables;

use std::path::PathBuf;

use anyhow::Context as _;

use crate::machine::Machine;

/// Options of `cores`.
#[derive(clap::Args)]
pub(crate) struct Arguments {
    /// Write the rows to this file as JSON, too.
    #[arg(long)]
    json: Option<PathBuf>,
    /// Rounds of all rows.
    #[arg(long, default_value_t = 9, value_parser = clap::value_parser!(u32).range(1..=1000))]
    rounds: u32,
}

pub(crate) fn run(arguments: &Arguments) -> anyhow::Result<()> {
    let lines = run::run(arguments.rounds)?;
    print!("{}", report::table(&lines));
    if let Some(path) = &arguments.json {
        let text = serde_json::to_string_pretty(&serde_json::json!({ "machine": Machine::here()?, "rows": lines }))?;
        std::fs::write(path, text).with_context(|| format!("cannot write {}", path.display()))?;
    }
    Ok(())
}
