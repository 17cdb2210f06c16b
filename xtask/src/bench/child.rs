//! Programs that run for minutes and end when this one is asked to.

use std::os::unix::process::CommandExt as _;
use std::process::{Command, ExitStatus};
use std::time::Duration;

use anyhow::Context as _;
use nix::sys::signal::{Signal, killpg};
use nix::unistd::Pid;

use crate::interrupt::Interrupt;

/// How often is looked whether the program has ended, or this one is to end.
const LOOK: Duration = Duration::from_millis(50);

/// Runs a program to its end. Asked to end, it and all that it started are ended first.
pub(super) fn run(command: &mut Command, interrupt: &Interrupt) -> anyhow::Result<ExitStatus> {
    let name = command.get_program().to_string_lossy().into_owned();
    interrupt.check()?;
    // A group of its own: Ctrl-C reaches us alone, and we hand it on.
    let mut child = command.process_group(0).spawn().with_context(|| format!("cannot run {name}"))?;
    loop {
        if let Some(status) = child.try_wait().with_context(|| format!("waiting for {name}"))? {
            return Ok(status);
        }
        if let Err(interrupted) = interrupt.check() {
            // It may have ended by itself just now: then there is no group any more.
            let _ = killpg(Pid::from_raw(child.id().cast_signed()), Signal::SIGTERM);
            child.wait().with_context(|| format!("waiting for {name}"))?;
            return Err(interrupted.into());
        }
        std::thread::sleep(LOOK);
    }
}
