//! The network that some benchmarks build: it has a name that is known here, so that it is removed however they end.

use std::ffi::OsString;
use std::process::Command;

use lb_lab::LabName;

use crate::cargo;
use crate::reap::Reaper;

/// Prepares a benchmark that builds a network and runs the daemon; what cleans up behind it has to live as long as it runs.
pub(super) fn prepare(options: &[OsString], command: &mut Command) -> anyhow::Result<Option<Reaper>> {
    if !is_wanted(options) {
        return Ok(None);
    }
    let lab = LabName::unique("bench")?;
    let reaper = Reaper::start(&lab)?;
    command.env("XVS_BIN", cargo::xvs()?).env("XVS_BENCH_LAB", lab.as_str());
    Ok(Some(reaper))
}

fn is_wanted(options: &[OsString]) -> bool {
    options.first().is_some_and(|what| what == "wire" || what == "flood")
}

#[cfg(test)]
mod tests {
    use super::is_wanted;

    #[test]
    fn only_what_builds_a_network_is_cleaned_up_after() {
        let of = |words: &[&str]| is_wanted(&words.iter().map(Into::into).collect::<Vec<_>>());
        assert!(of(&["wire", "--rounds", "3"]) && of(&["flood"]));
        assert!(!of(&["--filter", "wire"]) && !of(&[]) && !of(&["cores"]));
    }
}
