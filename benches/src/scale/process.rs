//! The daemon's processor time and memory, from /proc.

use std::time::{Duration, Instant};

use anyhow::Context as _;
use nix::time::{clock_getcpuclockid, clock_gettime};
use nix::unistd::Pid;
use serde::{Deserialize, Serialize};

/// MiB of memory.
#[derive(Clone, Copy, Debug, Default, Serialize, Deserialize)]
pub(crate) struct Memory {
    /// All that is resident, mapped tables included.
    pub(crate) resident: f64,
    /// The most that has ever been resident.
    pub(crate) most: f64,
    /// Heap and stacks: the daemon's own.
    pub(crate) own: f64,
    /// Mapped files and tables.
    pub(crate) mapped: f64,
}

/// Memory of a process now.
pub(crate) fn memory(pid: u32) -> anyhow::Result<Memory> {
    let status = std::fs::read_to_string(format!("/proc/{pid}/status")).context("the daemon's status")?;
    let field = |name: &str| {
        let line = status.lines().find_map(|line| line.strip_prefix(name)).unwrap_or(": 0 kB");
        let number = line.trim_start_matches(':').trim().trim_end_matches(" kB").parse::<f64>().unwrap_or(0.0);
        number / 1024.0
    };
    Ok(Memory {
        resident: field("VmRSS"),
        most: field("VmHWM"),
        own: field("RssAnon"),
        mapped: field("RssFile") + field("RssShmem"),
    })
}

/// Time that a process has had a CPU, all its threads.
fn busy(pid: u32) -> anyhow::Result<Duration> {
    let clock = clock_getcpuclockid(Pid::from_raw(i32::try_from(pid)?))?;
    Ok(clock_gettime(clock)?.into())
}

/// Percent of one core that a process takes while nobody asks anything of it.
pub(crate) fn idle(pid: u32, seconds: u64) -> anyhow::Result<f64> {
    let (before, start) = (busy(pid)?, Instant::now());
    std::thread::sleep(Duration::from_secs(seconds));
    Ok((busy(pid)? - before).as_secs_f64() / start.elapsed().as_secs_f64() * 100.0)
}
