//! `cargo xtask bench`: the packet rows' cost beside baselines built from kernel maps, in one run.

use std::ffi::OsString;

use anyhow::{Context as _, bail};
use clap::Args;

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
    let status = command.args(&arguments.options).status().context("cannot run cargo")?;
    if !status.success() {
        bail!("the benchmark failed ({status}); its messages are above");
    }
    Ok(())
}
