//! The machine that is measured on.

use std::fs;
use std::process::Command;

use anyhow::Context as _;
use lb_lab::run;
use nix::sched::{CpuSet, sched_getaffinity, sched_setaffinity};
use nix::unistd::{Pid, gettid};
use serde::{Deserialize, Serialize};

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

/// What a reader has to know of the machine.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Machine {
    pub(crate) cpu: String,
    pub(crate) cores: usize,
    /// Size of a core's second-level cache, as the kernel writes it.
    pub(crate) l2: String,
    pub(crate) l3: String,
    pub(crate) memory_gb: u64,
    pub(crate) kernel: String,
    /// Day of the run.
    pub(crate) date: String,
    /// What was measured, as `git describe` has it.
    pub(crate) revision: String,
}

impl Machine {
    /// This one, today.
    pub(crate) fn here() -> anyhow::Result<Self> {
        let read = |path: &str| fs::read_to_string(path).with_context(|| path.to_owned());
        let about_cpu = read("/proc/cpuinfo")?;
        let of = |key| field(&about_cpu, key).unwrap_or("?");
        let about_memory = read("/proc/meminfo")?;
        let kib: u64 = field(&about_memory, "MemTotal")
            .and_then(|size| size.strip_suffix(" kB"))
            .and_then(|size| size.parse().ok())
            .unwrap_or(0);
        Ok(Self {
            cpu: format!("{} (family {}, model {})", of("model name"), of("cpu family"), of("model")),
            // Not those that this process may use: it stays on one.
            cores: about_cpu.lines().filter(|line| line.starts_with("processor")).count(),
            l2: cache(2),
            l3: cache(3),
            memory_gb: (kib + (1 << 19)) >> 20,
            kernel: read("/proc/sys/kernel/osrelease")?.trim().to_owned(),
            date: said("date", &["-u", "+%Y-%m-%d"]),
            revision: said("git", &["-C", env!("CARGO_MANIFEST_DIR"), "describe", "--always", "--dirty"]),
        })
    }
}

/// The value behind a key's first colon.
fn field<'a>(text: &'a str, key: &str) -> Option<&'a str> {
    let mut pairs = text.lines().filter_map(|line| line.split_once(':'));
    pairs.find(|(found, _)| found.trim() == key).map(|(_, value)| value.trim())
}

/// Size of a cache of the first CPU.
fn cache(level: u32) -> String {
    let path = |index: &u32, file: &str| format!("/sys/devices/system/cpu/cpu0/cache/index{index}/{file}");
    (0..8u32)
        .find(|index| fs::read_to_string(path(index, "level")).is_ok_and(|found| found.trim() == level.to_string()))
        .and_then(|index| fs::read_to_string(path(&index, "size")).ok())
        .map_or_else(|| "?".to_owned(), |size| size.trim().to_owned())
}

/// First line of what a program says.
fn said(program: &str, arguments: &[&str]) -> String {
    let output = Command::new(program).args(arguments).output().ok().filter(|output| output.status.success());
    let text = output.map(|output| String::from_utf8_lossy(&output.stdout).trim().to_owned());
    text.filter(|text| !text.is_empty()).unwrap_or_else(|| "?".to_owned())
}

#[cfg(test)]
mod tests {
    use super::field;

    #[test]
    fn a_field_is_found_by_its_whole_name() {
        let text = "model\t\t: 17\nmodel name\t: AMD: EPYC\n";
        assert_eq!(field(text, "model name"), Some("AMD: EPYC"));
        assert_eq!(field(text, "model"), Some("17"));
        assert_eq!(field(text, "mod"), None);
    }
}
