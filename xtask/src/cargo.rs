//! Calls of cargo for this workspace.

use std::path::PathBuf;
use std::process::Command;

use anyhow::{Context as _, bail};

/// A cargo command in the workspace's root.
pub(crate) fn command(arguments: &[&str]) -> Command {
    // Set by cargo itself for `cargo xtask`; plain `cargo` when the binary is called directly.
    let cargo = std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into());
    let mut command = Command::new(cargo);
    command.args(arguments).current_dir(lb_lab::paths::workspace());
    command
}

/// The `xvs` to try: the one `XVS_BIN` names, else a release build, which is made now.
pub(crate) fn xvs() -> anyhow::Result<PathBuf> {
    if std::env::var_os("XVS_BIN").is_none() {
        build()?;
    }
    Ok(lb_lab::paths::xvs()?)
}

/// Builds the release binary; cargo shows its own progress on stderr.
fn build() -> anyhow::Result<()> {
    let arguments = ["build", "--release", "-p", "lb-userspace"];
    let status = command(&arguments).status().context("cannot run cargo")?;
    if !status.success() {
        bail!("`cargo {}` failed ({status}); its messages are above", arguments.join(" "));
    }
    Ok(())
}
