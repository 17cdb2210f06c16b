//! Processes of a laboratory: found by the namespace they live in or by their command line, and ended by pid.
//! Never by a broad name: other programs on the machine may be called nginx too.

use std::fs;
use std::os::unix::fs::MetadataExt;
use std::path::Path;
use std::time::Duration;

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

use crate::{name, run};

/// Programs a laboratory starts; only these are taken for residue by their command line.
const PROGRAMS: [&str; 5] = ["xvs", "nginx", "wrk", "tcpdump", "vsftpd"];
/// How long a killed process may take to be gone.
const GONE: Duration = Duration::from_secs(5);

/// Pids of all processes whose network namespace is the one at `path`.
pub fn in_namespace(path: &Path) -> Vec<i32> {
    let Ok(wanted) = fs::metadata(path) else { return Vec::new() };
    pids()
        .into_iter()
        .filter(|pid| {
            fs::metadata(format!("/proc/{pid}/ns/net"))
                .is_ok_and(|seen| seen.ino() == wanted.ino() && seen.dev() == wanted.dev())
        })
        .collect()
}

/// Kills everything in a namespace and waits until it is gone. This process is never among them: its main thread
/// stays where it started.
pub fn kill_in_namespace(path: &Path) {
    kill_and_wait(&in_namespace(path), || in_namespace(path));
}

/// Pids of the processes in a process group, those that have ended and were not waited for left out.
pub fn in_group(group: i32) -> Vec<i32> {
    pids()
        .into_iter()
        .filter(|pid| {
            let Ok(stat) = fs::read_to_string(format!("/proc/{pid}/stat")) else { return false };
            group_of(&stat) == Some(group)
        })
        .collect()
}

/// Process group out of a /proc/PID/stat, `None` for a zombie. The second word is the name in parentheses and may hold
/// anything, parentheses too.
fn group_of(stat: &str) -> Option<i32> {
    let (_, rest) = stat.rsplit_once(')')?;
    let mut words = rest.split_whitespace();
    let (state, _parent, group) = (words.next()?, words.next()?, words.next()?);
    if state == "Z" { None } else { group.parse().ok() }
}

/// Pids of laboratory programs whose command line carries `needle` (a path of the laboratory).
pub fn by_command_line(needle: &str) -> Vec<i32> {
    pids()
        .into_iter()
        .filter(|pid| {
            let Ok(bytes) = fs::read(format!("/proc/{pid}/cmdline")) else { return false };
            is_lab_program(&String::from_utf8_lossy(&bytes), needle)
        })
        .collect()
}

/// Kills the given pids and waits until `left` finds none.
pub fn kill_and_wait(pids: &[i32], left: impl Fn() -> Vec<i32>) {
    for pid in pids {
        // It may have ended by itself in between.
        let _ = kill(Pid::from_raw(*pid), Signal::SIGKILL);
    }
    if !pids.is_empty() {
        let _ = run::wait_for("end of processes", GONE, || match left() {
            pids if pids.is_empty() => Ok(()),
            pids => Err(format!("{pids:?}")),
        });
    }
}

/// What a process calls itself, for a message.
pub fn describe(pid: i32) -> String {
    let line = fs::read(format!("/proc/{pid}/cmdline")).unwrap_or_default();
    let line = String::from_utf8_lossy(&line).replace('\0', " ");
    format!("{pid} {}", line.trim())
}

/// Whether a /proc/PID/cmdline (words end in NUL) is one of our programs about a laboratory.
fn is_lab_program(cmdline: &str, needle: &str) -> bool {
    debug_assert!(needle.contains(name::PREFIX));
    // nginx rewrites its title to `nginx: master process nginx -p DIR`.
    let first = cmdline.split(['\0', ' ']).next().unwrap_or("").trim_end_matches(':');
    let program = Path::new(first).file_name().and_then(|name| name.to_str()).unwrap_or("");
    let names_it = cmdline
        .match_indices(needle)
        // `xvs-lab-demo` must not claim `xvs-lab-demo-2`.
        .any(|(at, _)| !cmdline[at + needle.len()..].starts_with(|c: char| c.is_ascii_alphanumeric() || c == '-'));
    PROGRAMS.contains(&program) && (names_it || (needle == name::PREFIX && cmdline.contains(needle)))
}

fn pids() -> Vec<i32> {
    let Ok(entries) = fs::read_dir("/proc") else { return Vec::new() };
    entries.filter_map(|entry| entry.ok()?.file_name().to_str()?.parse().ok()).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_our_programs_about_our_paths_count() {
        let nginx = "nginx: master process nginx -p /tmp/xvs-lab-demo/real1 -c nginx.conf\0";
        let daemon = "/w/target/release/xvs\0daemon\0--pin-dir\0/sys/fs/bpf/xvs-lab-demo\0";
        assert!(is_lab_program(nginx, "xvs-lab-demo"));
        assert!(is_lab_program(daemon, "xvs-lab-demo"));
        assert!(is_lab_program(daemon, name::PREFIX));
        assert!(!is_lab_program("vi\0/tmp/xvs-lab-demo/nginx.conf\0", "xvs-lab-demo"));
        assert!(!is_lab_program("nginx: master process /usr/sbin/nginx\0", "xvs-lab-demo"));
    }

    #[test]
    fn one_laboratory_does_not_claim_the_processes_of_another() {
        let other = "/w/xvs\0daemon\0--pin-dir\0/sys/fs/bpf/xvs-lab-demo-2\0";
        assert!(!is_lab_program(other, "xvs-lab-demo"));
        assert!(is_lab_program(other, "xvs-lab-demo-2"));
    }

    #[test]
    fn a_group_is_read_past_any_name() {
        assert_eq!(group_of("7 (ng) inx) S 1 42 42 0 -1"), Some(42));
        assert_eq!(group_of("7 (nginx) Z 1 42 42 0 -1"), None);
        assert_eq!(group_of("7"), None);
        let (me, group) = (i32::try_from(std::process::id()).unwrap(), nix::unistd::getpgrp().as_raw());
        assert!(in_group(group).contains(&me));
    }

    #[test]
    fn this_process_is_in_its_own_namespace() {
        let me = i32::try_from(std::process::id()).unwrap();
        assert!(in_namespace(Path::new("/proc/self/ns/net")).contains(&me));
    }
}
