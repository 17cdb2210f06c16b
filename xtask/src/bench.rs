//! `cargo xtask bench`: the packet rows' cost beside baselines built from kernel maps, in one run.

use std::ffi::OsString;

use anyhow::{Context as _, bail};
use clap::Args;
use lb_lab::LabName;

use crate::reap::Reaper;
use crate::{cargo, root, setup};

/// Everything goes to the benchmark, which has its own `--help`.
#[derive(Debug, Args)]
pub(crate) struct BenchArguments {
    /// Options of the benchmark: --json FILE, --filter TEXT, --help
    #[arg(trailing_var_arg = true, allow_hyphen_values = true, value_name = "OPTION")]
    options: Vec<OsString>,
}

pub(crate) fn run(arguments: &BenchArguments) -> anyhow::Result<()> {
    setup::ensure()?;
    if !root::is_root() {
        bail!("the benchmark runs eBPF programs: call it as root");
    }
    let mut command = cargo::command(&["run", "--release", "--quiet", "-p", "lb-benches", "--"]);
    let mut reaper = None;
    if has_laboratory(&arguments.options) {
        let lab = LabName::unique("bench")?;
        // Removes what is left of the laboratory, however the benchmark ends.
        reaper = Some(Reaper::start(&lab)?);
        command.env("XVS_BIN", cargo::xvs()?).env("XVS_BENCH_LAB", lab.as_str());
    }
    let status = command.args(&arguments.options).status().context("cannot run cargo")?;
    drop(reaper);
    if !status.success() {
        bail!("the benchmark failed ({status}); its messages are above");
    }
    Ok(())
}

/// These build networks, and run the daemon.
fn has_laboratory(options: &[OsString]) -> bool {
    options.first().is_some_and(|what| what == "wire" || what == "flood")
}

#[cfg(test)]
mod tests {
    use super::has_laboratory;

    #[test]
    fn only_what_builds_a_network_is_cleaned_up_after() {
        let of = |words: &[&str]| has_laboratory(&words.iter().map(Into::into).collect::<Vec<_>>());
        assert!(of(&["wire", "--rounds", "3"]) && of(&["flood"]));
        assert!(!of(&["--filter", "wire"]) && !of(&[]) && !of(&["cores"]));
    }
}
