//! The machine that is measured on.

use nix::sched::{CpuSet, sched_setaffinity};
use nix::unistd::Pid;

/// The last CPU: the first ones take more of the machine's interrupts.
pub(crate) fn stay_on_last_cpu() -> anyhow::Result<()> {
    let allowed = nix::sched::sched_getaffinity(Pid::from_raw(0))?;
    let last = (0..CpuSet::count()).rev().find(|cpu| allowed.is_set(*cpu).unwrap_or(false));
    let mut set = CpuSet::new();
    set.set(last.unwrap_or(0))?;
    Ok(sched_setaffinity(Pid::from_raw(0), &set)?)
}
