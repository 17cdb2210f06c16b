//! The machine that is measured on.

use std::process::Command;

use lb_lab::run;
use nix::sched::{CpuSet, sched_getaffinity, sched_setaffinity};
use nix::unistd::{Pid, gettid};

/// The CPUs that this process may use.
pub(crate) fn cpus() -> anyhow::Result<Vec<usize>> {
    let allowed = sched_getaffinity(Pid::from_raw(0))?;
    Ok((0..CpuSet::count()).filter(|cpu| allowed.is_set(*cpu).unwrap_or(false)).collect())
}

/// Keeps the calling thread on a CPU.
pub(crate) fn stay_on(cpu: usize) -> anyhow::Result<()> {
    let mut set = CpuSet::new();
    set.set(cpu)?;
    Ok(sched_setaffinity(Pid::from_raw(0), &set)?)
}

/// Lets the calling thread go before whatever else wants its CPU, so that other programs disturb it less. False where that is not allowed.
pub(crate) fn go_first() -> bool {
    let thread = gettid().to_string();
    // `chrt` is in util-linux, as `nsenter` is; the call itself is nothing that safe code can make.
    run::succeed(Command::new("chrt").args(["--fifo", "--pid", "1", &thread])).is_ok()
}

/// The last CPU: the first ones take more of the machine's interrupts.
pub(crate) fn stay_on_last_cpu() -> anyhow::Result<()> {
    stay_on(cpus()?.last().copied().unwrap_or(0))
}
