//! `cargo xtask bench`: what XVS costs beside baselines, in one run; or beside another revision's program.

mod child;
mod compare;
mod laboratory;
mod revision;
mod rounds;

use std::ffi::OsString;
use std::path::PathBuf;

use anyhow::{Context as _, bail};
use clap::{Args, Parser as _};

use crate::{cargo, root, setup};

/// Everything goes to the benchmark, which has its own `--help`; `--compare` alone is not its business.
#[derive(Debug, Args)]
#[command(disable_help_flag = true)]
pub(crate) struct BenchArguments {
    /// Options of the benchmark: --json FILE, --filter TEXT, --compare REV, --help
    #[arg(trailing_var_arg = true, allow_hyphen_values = true, value_name = "OPTION")]
    options: Vec<OsString>,
}

pub(crate) fn run(arguments: &BenchArguments) -> anyhow::Result<()> {
    setup::ensure()?;
    if !root::is_root() {
        bail!("the benchmark runs eBPF programs: call it as root");
    }
    if is_comparison(&arguments.options) {
        return rounds::run(&rounds::Arguments::parse_from(&arguments.options));
    }
    let mut command = std::process::Command::new(build()?);
    let _reaper = laboratory::prepare(&arguments.options, &mut command)?;
    let status = command.args(&arguments.options).status().context("cannot run the benchmark")?;
    if !status.success() {
        bail!("the benchmark failed ({status}); its messages are above");
    }
    Ok(())
}

/// This working copy's benchmark.
fn build() -> anyhow::Result<PathBuf> {
    let arguments = ["build", "--release", "--quiet", "-p", "lb-benches"];
    let status = cargo::command(&arguments).status().context("cannot run cargo")?;
    if !status.success() {
        bail!("`cargo {}` failed ({status}); its messages are above", arguments.join(" "));
    }
    Ok(lb_lab::paths::target().join("release").join(BINARY))
}

/// Name of the benchmark's program.
const BINARY: &str = "lb-benches";

fn is_comparison(options: &[OsString]) -> bool {
    options.iter().filter_map(|option| option.to_str()).any(|option| {
        let name = option.split_once('=').map_or(option, |(name, _)| name);
        name == "--compare"
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_comparison_is_told_by_its_option_wherever_it_stands() {
        let is = |options: &[&str]| is_comparison(&options.iter().map(OsString::from).collect::<Vec<_>>());
        assert!(is(&["--filter", "x", "--compare", "main"]) && is(&["--compare=main"]));
        assert!(!is(&["--filter", "x"]) && !is(&["--compared"]) && !is(&[]));
    }
}
