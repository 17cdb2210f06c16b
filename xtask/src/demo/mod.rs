//! `cargo xtask demo`: a client, a director and three real servers in namespaces; real HTTP requests; who got what.

mod phase;
mod report;
mod script;

use std::path::PathBuf;

use anyhow::{Context as _, bail};
use clap::Args;
use lb_lab::plan::Plan;
use lb_lab::{Cluster, DirectorOptions, LabName};

use crate::interrupt::Interrupt;
use crate::reap::Reaper;
use crate::{cargo, out, root, scene, setup};

/// Reals in the demo; `script` gives each a part.
const REALS: usize = 3;

#[derive(Debug, Args)]
pub(crate) struct DemoArguments {
    /// Write the results to this file as JSON
    #[arg(long, value_name = "FILE")]
    json: Option<PathBuf>,
    /// Requests in each phase
    #[arg(long, value_name = "N", default_value_t = 20_000, value_parser = clap::value_parser!(u64).range(1..=10_000_000))]
    requests: u64,
}

pub(crate) fn run(arguments: &DemoArguments) -> anyhow::Result<()> {
    setup::ensure()?;
    let xvs = cargo::xvs()?;
    // As another user: what was built belongs to that user, only the laboratory runs as root.
    root::become_root(&[("XVS_BIN", xvs.clone().into_os_string())])?;
    let interrupt = Interrupt::install()?;
    let lab = LabName::unique("demo")?;
    let reaper = Reaper::start(&lab)?;
    let mut options = DirectorOptions::standard()?;
    options.binary = xvs;

    out::line("demo: one client, one director, three real servers, each in a network namespace of its own");
    let mut cluster = Cluster::start(&lab, Plan::one_arm(REALS), &options).context("the laboratory does not start")?;
    scene::apply(&cluster, &scene::Service::ALL).context("the services do not start")?;
    let played = script::play(&mut cluster, arguments.requests, &interrupt);
    if let Err(error) = &played
        && error.downcast_ref::<crate::interrupt::Interrupted>().is_none()
    {
        out::warn(format_args!("last words of the daemon: {}", last_lines(&cluster.director().log())));
    }
    drop(cluster);
    drop(reaper);

    let results = played?;
    if let Some(path) = &arguments.json {
        let text = report::json(&results)?;
        std::fs::write(path, text).with_context(|| format!("cannot write {}", path.display()))?;
    }
    out::line("");
    out::line(report::table(&results));
    let complaints = report::complaints(&results);
    if !complaints.is_empty() {
        bail!("the demo failed: {}", complaints.join("; "));
    }
    out::line("demo: every request that had to be answered was answered");
    Ok(())
}

/// The end of a log, on one line.
fn last_lines(log: &str) -> String {
    let lines: Vec<_> = log.lines().collect();
    lines[lines.len().saturating_sub(3)..].join(" | ")
}
