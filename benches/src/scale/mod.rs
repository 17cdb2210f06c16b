//! The control plane at scale: a daemon in a network namespace of its own, brought to many services, and what that takes.
//!
//! Times are those of the command line or of a client of the API, from the request on. A change of a weight is timed until the tables
//! that the datapath reads show it. Processor time and memory are the daemon's, from /proc.

mod answers;
mod configuration;
mod process;
mod report;
mod stage;
mod steps;

use std::path::PathBuf;

use anyhow::Context as _;

/// Starts, changes, listings and idling of a daemon with many services; needs root.
#[derive(Debug, Clone, clap::Args)]
pub(crate) struct Arguments {
    /// Write the figures to this file as JSON, too
    #[arg(long)]
    json: Option<PathBuf>,
    /// Services; a tenth and a hundredth of them are measured, too
    #[arg(long, default_value_t = 10_000)]
    services: usize,
    /// Real servers of each service
    #[arg(long, default_value_t = 100)]
    reals: usize,
    /// Machines that the real servers are on: each is in many services
    #[arg(long, default_value_t = 10_000)]
    hosts: usize,
    /// Connections for the listing
    #[arg(long, default_value_t = 1_000_000)]
    connections: u32,
    /// Services that schedule by mh, measured for themselves; 1024 rings of the default size fit, half of them if all may change at once
    #[arg(long, default_value_t = 500)]
    rings: usize,
    /// Weight changes, and repetitions of what takes seconds are a tenth of it
    #[arg(long, default_value_t = 30)]
    repetitions: usize,
    /// Seconds that the daemon is watched idling
    #[arg(long, default_value_t = 20)]
    idle: u64,
    /// Only the size asked for, not a tenth and a hundredth
    #[arg(long)]
    alone: bool,
    /// Leave out the services by mh
    #[arg(long)]
    no_rings: bool,
}

/// Measures, prints, and writes what it was asked to.
pub(crate) fn run(arguments: &Arguments) -> anyhow::Result<()> {
    let sizes = if arguments.alone { vec![arguments.services] } else { sizes(arguments.services) };
    let mut all = Vec::new();
    for services in sizes {
        eprintln!("{services} services of {} reals ...", arguments.reals);
        let is_largest = services == arguments.services;
        all.push(steps::size(arguments, services, is_largest)?);
    }
    let rings = if arguments.no_rings { None } else { Some(steps::rings(arguments)?) };
    print!("{}", report::text(&all, rings.as_ref()));
    if let Some(path) = &arguments.json {
        let text = serde_json::to_string_pretty(&serde_json::json!({ "sizes": all, "rings": rings }))?;
        std::fs::write(path, text).with_context(|| format!("cannot write {}", path.display()))?;
    }
    Ok(())
}

fn sizes(largest: usize) -> Vec<usize> {
    [largest / 100, largest / 10, largest].into_iter().filter(|services| *services > 0).collect()
}
