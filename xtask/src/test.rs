//! `cargo xtask test`: everything a change has to pass, in the order of what fails fastest. All steps run, so that one call
//! shows everything that is wrong.

use std::collections::BTreeSet;
use std::ffi::OsString;
use std::process::Command;
use std::time::Instant;

use anyhow::{Context as _, bail};
use lb_lab::residue::{self, Residue, Scope};

use crate::kernel::{self, Series};
use crate::{cargo, out, root, setup};

#[derive(Debug, clap::Args)]
pub(crate) struct TestArguments {
    /// Run only the verifier test and the packet rows, under this kernel in a QEMU guest (repeatable). The kernel is downloaded
    /// from Debian once and kept in target/kernels; emulation takes a few minutes
    #[arg(long, value_name = "VERSION")]
    kernel: Vec<Series>,
}

/// Steps that are one call of cargo.
const STEPS: [(&str, &[&str]); 5] = [
    ("format", &["fmt", "--all", "--check"]),
    ("host tests", &["test", "-p", "lb-common", "-p", "lb-userspace", "-p", "lb-lab", "-p", "xtask"]),
    ("release build", &["build", "--release", "-p", "lb-userspace"]),
    // One at a time: they measure traffic on few cores, and failures must not depend on neighbours.
    ("integration tests", &["test", "-p", "lb-tests", "-p", "lb-benches", "--", "--test-threads=1"]),
    // A million choices: optimized, and with what was compared on the screen.
    ("twin", &["test", "--release", "-p", "lb-tests", "--test", "twin", "--", "--test-threads=1", "--nocapture"]),
];

/// What clippy looks at: the workspace, and the crate that only the pinned nightly compiles, for its own target.
const LINTS: [(&str, &[&str]); 2] = [
    ("lints", &["--workspace", "--exclude", "lb-ebpf", "--all-targets"]),
    ("eBPF lints", &["-p", "lb-ebpf", "--release", "--target", "bpfel-unknown-none", "-Z", "build-std=core"]),
];

pub(crate) fn run(arguments: &TestArguments) -> anyhow::Result<()> {
    if arguments.kernel.is_empty() { here() } else { kernel::run(&arguments.kernel) }
}

/// Every test, under this machine's kernel.
fn here() -> anyhow::Result<()> {
    setup::ensure()?;
    let start = Instant::now();
    let before = Left::look();
    let mut failed = Vec::new();
    for (name, arguments) in STEPS {
        out::line(format_args!("== {name}: cargo {}", arguments.join(" ")));
        if !step(&mut cargo::command(arguments))? {
            failed.push(name);
        }
    }
    for (name, arguments) in LINTS {
        out::line(format_args!("== {name}: cargo clippy {} with {}", arguments.join(" "), setup::toolchain_name()));
        if !step(&mut clippy(arguments))? {
            failed.push(name);
        }
    }
    out::line("== residue: namespaces, processes, pins, links and directories left behind");
    let left = Left::look().since(&before);
    for line in &left {
        out::line(format_args!("left behind: {line}"));
    }
    if !left.is_empty() {
        failed.push("residue");
    }
    let (all, seconds) = (STEPS.len() + LINTS.len() + 1, start.elapsed().as_secs());
    out::line(format_args!("== {} of {all} steps passed in {seconds} s", all - failed.len()));
    if !failed.is_empty() {
        bail!("failed: {}", failed.join(", "));
    }
    Ok(())
}

/// Clippy of the pinned nightly: another one's lints would fail a tree that nobody has changed.
fn clippy(arguments: &[&str]) -> Command {
    let mut command = Command::new("rustup");
    command
        .args(["run", setup::toolchain_name(), "cargo", "clippy", "--quiet", "--target-dir", "target/lints"])
        .args(arguments)
        .args(["--", "-D", "warnings"])
        .current_dir(lb_lab::paths::workspace());
    // What `cargo xtask` has set for itself would win over `rustup run`.
    for inherited in ["RUSTUP_TOOLCHAIN", "CARGO", "RUSTC", "RUSTFLAGS"] {
        command.env_remove(inherited);
    }
    command
}

/// Runs one step; whether it passed.
fn step(command: &mut Command) -> anyhow::Result<bool> {
    if !root::is_root() {
        // Cargo builds as this user and only the tests run as root.
        command.env(runner_variable(std::env::consts::ARCH), runner(&root::prefix()));
    }
    Ok(command.status().context("cannot run cargo")?.success())
}

/// Name of cargo's variable for the program that runs tests on this machine.
fn runner_variable(arch: &str) -> String {
    format!("CARGO_TARGET_{}_UNKNOWN_LINUX_GNU_RUNNER", arch.to_uppercase())
}

/// The words before a test's command line, as cargo splits them.
fn runner(words: &[OsString]) -> String {
    words.iter().map(|word| word.to_string_lossy()).collect::<Vec<_>>().join(" ")
}

/// What is on the machine that a test could have left.
struct Left {
    lines: BTreeSet<String>,
    links: Option<BTreeSet<u64>>,
}

impl Left {
    fn look() -> Self {
        Self { lines: Residue::find(&Scope::All).lines().into_iter().collect(), links: residue::xdp_links() }
    }

    /// What is new since `before`: a laboratory that somebody else keeps running is not the tests' fault.
    fn since(&self, before: &Self) -> Vec<String> {
        let mut new: Vec<String> = self.lines.difference(&before.lines).cloned().collect();
        if let (Some(now), Some(then)) = (&self.links, &before.links) {
            new.extend(now.difference(then).map(|id| format!("XDP link {id} (bpftool link show id {id})")));
        }
        new
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_runner_is_named_as_cargo_wants_it() {
        assert_eq!(runner_variable("x86_64"), "CARGO_TARGET_X86_64_UNKNOWN_LINUX_GNU_RUNNER");
        assert_eq!(runner(&["sudo".into(), "env".into(), "A=b".into()]), "sudo env A=b");
    }

    #[test]
    fn only_what_is_new_counts_as_left_behind() {
        let of = |lines: &[&str], links: Option<&[u64]>| Left {
            lines: lines.iter().map(|line| (*line).to_owned()).collect(),
            links: links.map(|links| links.iter().copied().collect()),
        };
        let before = of(&["pin a"], Some(&[1]));
        assert_eq!(of(&["pin a", "pin b"], Some(&[1, 7])).since(&before).len(), 2);
        assert_eq!(of(&[], Some(&[])).since(&before), Vec::<String>::new());
        assert_eq!(of(&["pin a"], None).since(&before), Vec::<String>::new());
    }
}
