//! Root: network namespaces, BPF and package installation need it, building does not.

use std::ffi::OsString;
use std::os::unix::process::CommandExt as _;
use std::path::PathBuf;
use std::process::Command;

use anyhow::{Context as _, bail};

/// Variables that have to survive sudo, or cargo would not find its toolchain and its target directory.
const KEPT: [&str; 7] = ["HOME", "CARGO_HOME", "RUSTUP_HOME", "CARGO_TARGET_DIR", "XVS_BIN", "TMPDIR", "TERM"];
/// Where root's programs are; Debian leaves it out of other users' PATH.
const SBIN: &str = "/usr/sbin:/sbin";

/// Whether this process is root.
pub(crate) fn is_root() -> bool {
    nix::unistd::geteuid().is_root()
}

/// Fails with one sentence when this process is not root and could not become it.
pub(crate) fn require() -> anyhow::Result<()> {
    if !is_root() && find_program("sudo").is_none() {
        bail!("this needs root (network namespaces, BPF, packages) and there is no sudo: run it as root");
    }
    Ok(())
}

/// The words to put before a command so that it runs as root: none for root itself.
pub(crate) fn prefix() -> Vec<OsString> {
    if is_root() {
        return Vec::new();
    }
    let mut words: Vec<OsString> = vec!["sudo".into(), "env".into()];
    let path = std::env::var("PATH").unwrap_or_default();
    words.push(format!("PATH={path}:{SBIN}").into());
    for name in KEPT {
        if let Some(value) = std::env::var_os(name) {
            let mut word = OsString::from(format!("{name}="));
            word.push(value);
            words.push(word);
        }
    }
    words
}

/// A command that runs as root.
pub(crate) fn command(program: &str) -> Command {
    let mut words = prefix();
    words.push(program.into());
    let mut command = Command::new(&words[0]);
    command.args(&words[1..]);
    command
}

/// Returns at once for root; else replaces this process by itself under sudo, with `extra` variables set.
pub(crate) fn become_root(extra: &[(&str, OsString)]) -> anyhow::Result<()> {
    if is_root() {
        return Ok(());
    }
    require()?;
    let own = std::env::current_exe().context("cannot find the running xtask")?;
    let mut words = prefix();
    for (name, value) in extra {
        let mut word = OsString::from(format!("{name}="));
        word.push(value);
        words.push(word);
    }
    words.push(own.into());
    words.extend(std::env::args_os().skip(1));
    let error = Command::new(&words[0]).args(&words[1..]).exec();
    Err(error).context("cannot run sudo")
}

/// A program on PATH or in root's directories.
pub(crate) fn find_program(name: &str) -> Option<PathBuf> {
    let path = std::env::var("PATH").unwrap_or_default();
    std::env::split_paths(&format!("{path}:{SBIN}")).map(|dir| dir.join(name)).find(|path| path.is_file())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn programs_are_found_by_name() {
        assert!(find_program("sh").is_some());
        assert!(find_program("no-such-program").is_none());
    }

    #[test]
    fn root_needs_no_words_before_a_command() {
        assert_eq!(prefix().is_empty(), is_root());
    }
}
