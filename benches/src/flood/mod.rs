//! `cargo xtask bench flood`: what a SYN flood does to established connections. README.md has the method.

mod report;
mod run;
mod table;

use std::path::PathBuf;

use anyhow::Context as _;

use crate::machine::Machine;
use crate::traffic::frame::MOST_SPOOFED;
use crate::traffic::shape::WATCHED;

/// Options of `flood`.
#[derive(clap::Args)]
pub(crate) struct Arguments {
    /// Write the result to this file as JSON, too.
    #[arg(long)]
    json: Option<PathBuf>,
    /// Seconds of the flood.
    #[arg(long, default_value_t = 60, value_parser = clap::value_parser!(u32).range(1..=3600))]
    seconds: u32,
    /// Spoofed clients.
    #[arg(long, default_value_t = 10_000_000, value_parser = clap::value_parser!(u32).range(1000..=i64::from(MOST_SPOOFED)))]
    sources: u32,
    /// Established flows.
    #[arg(long, default_value_t = 100_000, value_parser = clap::value_parser!(u32).range(16..=i64::from(WATCHED / 2)))]
    established: u32,
    /// Places of the connection table, as `xvs daemon --connections`; the daemon's own number unless told.
    #[arg(long)]
    connections: Option<u32>,
    /// How often each cost is measured.
    #[arg(long, default_value_t = 21, value_parser = clap::value_parser!(u32).range(1..=1000))]
    rounds: u32,
}

pub(crate) fn run(arguments: &Arguments) -> anyhow::Result<()> {
    let outcome = run::run(arguments)?;
    print!("{}", report::text(&outcome));
    if let Some(path) = &arguments.json {
        let mut value = serde_json::to_value(&outcome)?;
        value["machine"] = serde_json::to_value(Machine::here()?)?;
        let text = serde_json::to_string_pretty(&value)?;
        std::fs::write(path, text).with_context(|| format!("cannot write {}", path.display()))?;
    }
    Ok(())
}
