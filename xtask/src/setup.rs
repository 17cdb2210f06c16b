//! `cargo xtask setup`: what building and testing need beyond stable Rust. Says in one line each what it installs; a second
//! run finds everything and changes nothing.

use std::process::{Command, Output, Stdio};

use anyhow::{Context as _, bail};

use crate::{out, root};

/// The nightly that builds the eBPF programs; lb-userspace's build script reads the same file.
const TOOLCHAIN: &str = include_str!("../../lb-ebpf/toolchain");
/// 0.11 and later want a system LLVM of the very version of rustc's.
const BPF_LINKER: &str = "0.10.4";
/// Oldest kernel whose verifier and helpers are checked.
const KERNEL: (u32, u32) = (6, 1);

/// A program and the Debian package it comes from.
const PROGRAMS: [(&str, &str); 14] = [
    ("bpftool", "bpftool"),
    ("curl", "curl"),
    ("ethtool", "ethtool"),
    ("ip", "iproute2"),
    ("ldirectord", "ldirectord"),
    ("lftp", "lftp"),
    ("nft", "nftables"),
    ("nginx", "nginx-light"),
    ("nsenter", "util-linux"),
    ("ping", "iputils-ping"),
    ("python3", "python3"),
    ("tcpdump", "tcpdump"),
    ("vsftpd", "vsftpd"),
    ("wrk", "wrk"),
];

/// Installs packages without starting their services: the laboratory runs its own, and ones on ports 80 and 21 of the host are
/// nobody's wish. `$0` is unused, `$@` are the packages.
const INSTALL: &str = r#"
set -e
if [ ! -e /usr/sbin/policy-rc.d ]; then
    trap 'rm -f /usr/sbin/policy-rc.d' EXIT
    printf '#!/bin/sh\nexit 101\n' > /usr/sbin/policy-rc.d
    chmod 755 /usr/sbin/policy-rc.d
fi
export DEBIAN_FRONTEND=noninteractive
apt-get -q update
apt-get -q install -y --no-install-recommends "$@"
for package in "$@"; do
    # ldirectord brings ipvsadm, which has a service of its own: it restores rules at boot.
    case $package in
        nginx*) services=nginx ;;
        ldirectord) services="ldirectord ipvsadm" ;;
        *) services=$package ;;
    esac
    case $package in nginx* | vsftpd | ldirectord)
        if [ -d /run/systemd/system ]; then systemctl --quiet disable $services || true; fi
    esac
done
"#;

pub(crate) fn run() -> anyhow::Result<()> {
    ensure()?;
    out::line("setup: everything is there");
    Ok(())
}

/// Checks the machine and installs what is missing; silent when nothing is.
pub(crate) fn ensure() -> anyhow::Result<()> {
    root::require()?;
    kernel()?;
    toolchain()?;
    linker()?;
    packages(&PROGRAMS)
}

/// The pinned nightly's name.
pub(crate) fn toolchain_name() -> &'static str {
    TOOLCHAIN.trim()
}

fn kernel() -> anyhow::Result<()> {
    let release = std::fs::read_to_string("/proc/sys/kernel/osrelease")
        .context("cannot read the kernel's version from /proc: XVS needs Linux")?;
    let (major, minor) = KERNEL;
    match parse_kernel(&release) {
        Some(seen) if seen >= KERNEL => Ok(()),
        _ => bail!("kernel {} is too old or unknown: XVS needs {major}.{minor} or newer", release.trim()),
    }
}

/// Major and minor of a release such as `6.1.0-18-amd64`.
fn parse_kernel(release: &str) -> Option<(u32, u32)> {
    let mut parts = release.trim().split(['.', '-', '+']);
    Some((parts.next()?.parse().ok()?, parts.next()?.parse().ok()?))
}

fn toolchain() -> anyhow::Result<()> {
    let name = toolchain_name();
    if root::find_program("rustup").is_none() {
        bail!("rustup is missing: install it from https://rustup.rs, the eBPF programs need {name}");
    }
    if !has_toolchain(&rustup(&["toolchain", "list"])?, name) {
        out::line(format_args!("setup: installing Rust {name} (minimal)"));
        install("rustup", &["toolchain", "install", name, "--profile", "minimal", "--no-self-update"], RUST_SERVER)?;
    }
    let components = rustup(&["component", "list", "--toolchain", name, "--installed"])?;
    // rust-src because core is built for the BPF target, clippy for the lints of the eBPF crate, which stable does not compile.
    for component in ["rust-src", "clippy"] {
        if !components.lines().any(|line| line.trim().starts_with(component)) {
            out::line(format_args!("setup: installing {component} for {name}"));
            install("rustup", &["component", "add", component, "--toolchain", name], RUST_SERVER)?;
        }
    }
    Ok(())
}

const RUST_SERVER: &str = "is static.rust-lang.org reachable?";

fn rustup(arguments: &[&str]) -> anyhow::Result<String> {
    let output = Command::new("rustup").args(arguments).output().context("cannot run rustup")?;
    if !output.status.success() {
        bail!("`rustup {}` failed: {}", arguments.join(" "), cause(&output));
    }
    Ok(String::from_utf8_lossy(&output.stdout).into_owned())
}

/// Whether `rustup toolchain list` names a toolchain: lines are `NAME-HOST` with remarks in parentheses.
fn has_toolchain(list: &str, name: &str) -> bool {
    list.lines().any(|line| line.strip_prefix(name).is_some_and(|rest| rest.is_empty() || rest.starts_with(['-', ' '])))
}

fn linker() -> anyhow::Result<()> {
    let seen = Command::new("bpf-linker").arg("--version").stderr(Stdio::null()).output();
    if seen.is_ok_and(|output| is_linker(&String::from_utf8_lossy(&output.stdout))) {
        return Ok(());
    }
    out::line(format_args!("setup: installing bpf-linker {BPF_LINKER} (a minute or two)"));
    let cargo = std::env::var("CARGO").unwrap_or_else(|_| "cargo".into());
    install(
        &cargo,
        &["install", "bpf-linker", "--version", BPF_LINKER, "--locked", "--force"],
        "is crates.io reachable?",
    )?;
    // It goes to cargo's own bin directory, which rustup has put on PATH.
    if root::find_program("bpf-linker").is_none() {
        bail!("bpf-linker was installed but is not on PATH: add cargo's bin directory (usually ~/.cargo/bin) to PATH");
    }
    Ok(())
}

/// Whether `bpf-linker --version` is the one pinned.
fn is_linker(version: &str) -> bool {
    version.split_whitespace().nth(1) == Some(BPF_LINKER)
}

/// Installs the packages of those programs that are missing; one chore may need more than building and testing do.
pub(crate) fn packages(programs: &[(&str, &str)]) -> anyhow::Result<()> {
    let mut missing: Vec<&str> = programs
        .iter()
        .filter(|(program, _)| root::find_program(program).is_none())
        .map(|(_, package)| *package)
        .collect();
    missing.dedup();
    if missing.is_empty() {
        return Ok(());
    }
    let names = missing.join(" ");
    if root::find_program("apt-get").is_none() {
        bail!("these programs' packages are missing and there is no apt-get to install them: {names}");
    }
    out::line(format_args!("setup: installing Debian packages {names}"));
    let output = root::command("sh")
        .args(["-c", INSTALL, "setup"])
        .args(&missing)
        .stdin(Stdio::inherit())
        .output()
        .context("cannot run sh")?;
    if !output.status.success() {
        bail!("Debian packages {names} could not be installed: {} (is the package mirror reachable?)", cause(&output));
    }
    Ok(())
}

/// Runs an installer quietly; its last line and a hint make the error.
fn install(program: &str, arguments: &[&str], hint: &str) -> anyhow::Result<()> {
    let output = Command::new(program).args(arguments).output().with_context(|| format!("cannot run {program}"))?;
    if !output.status.success() {
        bail!("`{program} {}` failed: {} ({hint})", arguments.join(" "), cause(&output));
    }
    Ok(())
}

/// What a failed program gave as the reason: its last line that begins like an error, or else its last line.
pub(crate) fn cause(output: &Output) -> String {
    let said = if output.stderr.is_empty() { &output.stdout } else { &output.stderr };
    reason(&String::from_utf8_lossy(said))
}

fn reason(said: &str) -> String {
    let lines = || said.lines().map(str::trim).filter(|line| !line.is_empty());
    let is_error = |line: &&str| line.starts_with("error:") || line.starts_with("E: ");
    lines().rfind(is_error).or_else(|| lines().next_back()).unwrap_or("no message").to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn kernels_are_compared_by_number_not_by_text() {
        assert_eq!(parse_kernel("6.1.0-18-amd64\n"), Some((6, 1)));
        assert_eq!(parse_kernel("6.18.44-fc-v669"), Some((6, 18)));
        assert_eq!(parse_kernel("7.2-rc1"), Some((7, 2)));
        assert_eq!(parse_kernel("strange"), None);
        assert!(parse_kernel("5.10.0") < Some(KERNEL) && parse_kernel("6.12.1") > Some(KERNEL));
    }

    #[test]
    fn a_toolchain_is_found_by_its_whole_name() {
        let list = "stable-x86_64-unknown-linux-gnu (active, default)\nnightly-2026-05-20-x86_64-unknown-linux-gnu\n";
        assert!(has_toolchain(list, "nightly-2026-05-20"));
        assert!(!has_toolchain(list, "nightly-2026-05-2"));
        assert!(!has_toolchain(list, "nightly-2026-05-21"));
    }

    #[test]
    fn another_linker_version_is_not_good_enough() {
        assert!(is_linker("bpf-linker 0.10.4\n"));
        assert!(!is_linker("bpf-linker 0.11.0\n"));
        assert!(!is_linker(""));
    }

    #[test]
    fn the_reason_is_the_error_line() {
        assert_eq!(reason("info: x\nerror: could not download\n  22: <unknown>\n"), "error: could not download");
        assert_eq!(reason("Err:1 http://deb\nE: Unable to locate package wrk\n\n"), "E: Unable to locate package wrk");
        assert_eq!(reason("it broke\n\n"), "it broke");
        assert_eq!(reason(""), "no message");
    }

    #[test]
    fn the_toolchain_file_is_one_dated_nightly() {
        assert!(toolchain_name().starts_with("nightly-20"), "{TOOLCHAIN}");
        assert_eq!(TOOLCHAIN.lines().count(), 1);
    }
}
