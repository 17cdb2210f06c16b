//! Many clients that change the same things at the same time: what was answered with success has happened, whole, and nothing else has.

use std::collections::BTreeMap;
use std::net::IpAddr;
use std::path::PathBuf;
use std::process::{Command, Output};
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;

use lb_lab::Plan;
use lb_lab::paths;
use lb_lab::plan::{self, Family};
use lb_userspace::api::types::ServiceView;

use crate::stage;

/// Commands of each client.
const COMMANDS: u32 = 250;
const CLIENTS: u32 = 4;
const REALS: [&str; 4] = ["10.77.0.11", "10.77.0.12", "10.77.0.13", "10.77.0.14"];

/// What runs the commands: the drop-in and `xvs` itself.
struct Shell {
    binary: PathBuf,
    socket: PathBuf,
}

impl Shell {
    fn run(&self, arguments: &[&str]) -> Output {
        Command::new(&self.binary).env("XVS_SOCKET", &self.socket).args(arguments).output().unwrap()
    }

    fn ipvsadm(&self, line: &str) -> bool {
        let output = self.run(&[&["ipvsadm"], &*line.split(' ').collect::<Vec<_>>()].concat());
        let (code, error) = (output.status.code(), String::from_utf8_lossy(&output.stderr).into_owned());
        assert!(matches!(code, Some(0 | 255)), "{line}: {code:?} {error}");
        assert_eq!(code == Some(0), error.is_empty(), "{line}: {error}");
        code == Some(0)
    }
}

/// What a client has had success with: servers added less removed, and how many changes in all.
#[derive(Default)]
struct Done {
    balance: BTreeMap<&'static str, i64>,
    changes: u64,
}

/// Adds, edits and removes servers. A weight that nobody else gives says who wrote last; it is always the upper threshold, too.
fn edit(shell: &Shell, vip: IpAddr, client: u32) -> Done {
    let mut done = Done::default();
    let mut random = client.wrapping_mul(0x9e37_79b9) | 1;
    for round in 0..COMMANDS {
        random ^= random << 13;
        random ^= random >> 17;
        random ^= random << 5;
        let real = REALS[(random >> 8) as usize % REALS.len()];
        let number = 1 + client * COMMANDS + round;
        let (line, change) = match random % 3 {
            0 => (format!("-a -t {vip}:80 -r {real} -g -w {number} -x {number}"), 1),
            1 => (format!("-d -t {vip}:80 -r {real}"), -1),
            _ => (format!("-e -t {vip}:80 -r {real} -g -w {number} -x {number}"), 0),
        };
        if shell.ipvsadm(&line) {
            *done.balance.entry(real).or_default() += change;
            done.changes += 1;
        }
    }
    done
}

/// Gives a mark four rules and takes them again, each time as one change.
fn mark(shell: &Shell, vip: IpAddr) -> Done {
    let rules: Vec<String> = (1..=4).map(|port| format!("{vip}:900{port}")).collect();
    let pairs: Vec<&str> = rules.iter().flat_map(|rule| ["tcp", rule]).collect();
    let mut changes = 0;
    for _ in 0..COMMANDS / 2 {
        for verb in ["add", "remove"] {
            let output = shell.run(&[&["mark", verb, "7"], &*pairs].concat());
            assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
            changes += 1;
        }
    }
    Done { balance: BTreeMap::new(), changes }
}

/// Looks all the time: a server's two numbers are one client's, and a mark has all of its rules or none. Returns how often it looked.
fn watch(shell: &Shell, is_over: &AtomicBool) -> u32 {
    let mut looks = 0;
    while !is_over.load(Ordering::SeqCst) {
        let json = |arguments: &[&str]| shell.run(&[arguments, &["-o", "json"]].concat()).stdout;
        let services: Vec<ServiceView> = serde_json::from_slice(&json(&["real", "list"])).unwrap();
        for real in services.iter().flat_map(|service| &service.reals) {
            assert_eq!(real.weight, real.upper_threshold, "one edit, both numbers");
        }
        let rules: Vec<serde_json::Value> = serde_json::from_slice(&json(&["mark", "list"])).unwrap();
        assert!([0, 4].contains(&rules.len()), "{rules:?}");
        looks += 1;
    }
    looks
}

#[test]
fn hundreds_of_edits_at_once_are_done_or_refused_and_never_half() {
    stage::with("concurrent", Plan::one_arm(1), |stage| {
        let vip = plan::vip(Family::V4, 0);
        let shell = Shell { binary: paths::xvs().unwrap(), socket: stage.cluster.director().socket().to_owned() };
        assert!(shell.ipvsadm(&format!("-A -t {vip}:80 -s wlc")));
        let before = stage.status().revision;
        let is_over = AtomicBool::new(false);
        let (done, looks) = thread::scope(|scope| {
            let watcher = scope.spawn(|| watch(&shell, &is_over));
            let editors: Vec<_> = (0..CLIENTS)
                .map(|client| {
                    scope.spawn({
                        let shell = &shell;
                        move || edit(shell, vip, client)
                    })
                })
                .collect();
            let marker = scope.spawn(|| mark(&shell, vip));
            let mut done: Vec<Done> = editors.into_iter().map(|editor| editor.join().unwrap()).collect();
            done.push(marker.join().unwrap());
            is_over.store(true, Ordering::SeqCst);
            (done, watcher.join().unwrap())
        });
        let changes: u64 = done.iter().map(|done| done.changes).sum();
        assert_eq!(stage.status().revision - before, changes, "each success is one revision");
        let listed = String::from_utf8(shell.run(&["ipvsadm", "-Sn"]).stdout).unwrap();
        for real in REALS {
            let balance: i64 = done.iter().filter_map(|done| done.balance.get(real)).sum();
            let is_listed = listed.contains(&format!("-r {real}:80 "));
            assert_eq!(balance, i64::from(is_listed), "{real}: added less removed, of what succeeded;\n{listed}");
        }
        assert!(changes > 300 && looks > 5, "{changes} changes, {looks} looks");
        println!(
            "{} commands of {} clients at once: {changes} changes, looked at {looks} times",
            COMMANDS * (CLIENTS + 1),
            CLIENTS + 1
        );
    });
}
