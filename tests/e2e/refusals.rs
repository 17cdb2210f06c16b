//! What goes wrong is said in clear words with the right exit code, and what runs is not touched: 1 failed or refused by what is
//! applied, 2 wrong input, 3 no daemon.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use lb_lab::load::{Load, LoadSpec};
use lb_lab::plan::{DIRECTOR, Family};
use lb_lab::{Plan, residue, run};
use lb_userspace::api::types::StatusView;

use crate::stage::{self, Stage, wait};

/// Everything that is wrong with this file: line, key and a part of what has to be said.
const WRONG: &str = "\
[director]
interfaces = [\"eth0\"]
slopy_tcp = true
[director.timeouts]
udp = 0
[[service]]
address = \"10.77.0.100:80\"
scheduler = \"wlrr\"
colour = \"red\"
[[service.real]]
address = \"10.77.0.11\"
weight = 2147483648
[[service.real]]
address = \"10.77.0.11\"
[[service.real]]
address = \"fd77::12\"
[[service.real]]
address = \"10.77.0.300\"
[[service]]
address = \"10.77.0.100:80\"
[[service]]
address = \"10.77.0.101:99999\"
[[service]]
address = \"127.0.0.1:80\"
method = \"masq\"
";
const PROBLEMS: [(usize, &str, &str); 12] = [
    (3, "director.slopy_tcp", "unknown key; did you mean sloppy_tcp?"),
    (5, "director.timeouts.udp", "0 is out of range"),
    (8, "service[0].scheduler", "unknown scheduler \"wlrr\"; one of rr, wrr"),
    (9, "service[0].colour", "unknown key"),
    (12, "service[0].real[0].weight", "2147483648 is out of range; from 0 to 2147483647"),
    (14, "service[0].real[1].address", "real 10.77.0.11:80 is there already, as service[0].real[0] (line 10)"),
    (16, "service[0].real[2].address", "fd77::12 is IPv6 but service tcp://10.77.0.100:80 is IPv4"),
    (18, "service[0].real[3].address", "10.77.0.300"),
    (20, "service[1].address", "service tcp://10.77.0.100:80 is there already, as service[0] (line 6)"),
    (22, "service[2].address", "99999"),
    (24, "service[3].address", "127.0.0.1 is a loopback address"),
    (25, "service[3].method", "forwarding method masq is not in this version"),
];

fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

/// The one line that a failed command has on stderr.
fn one_line(output: &Output, code: i32) -> String {
    let said = text(&output.stderr);
    assert_eq!(output.status.code(), Some(code), "{said}");
    assert!(said.starts_with("xvs: ") && said.lines().count() == 1, "{said}");
    assert_eq!(text(&output.stdout), "");
    said.trim().to_owned()
}

/// The same of a daemon, whose log goes to stderr too.
fn last_line(output: &Output, code: i32) -> String {
    let said = text(&output.stderr);
    assert_eq!(output.status.code(), Some(code), "{said}");
    let mine: Vec<&str> = said.lines().filter(|line| line.starts_with("xvs: ")).collect();
    assert!(mine.len() == 1 && said.lines().last() == Some(mine[0]), "{said}");
    mine[0].to_owned()
}

/// What must be the same before and after.
fn state(stage: &Stage) -> (u64, u32, u32, u32, String) {
    let status: StatusView = stage.status();
    let link = &status.interfaces[0];
    (status.revision, status.pid, link.program_id, link.link_id, stage.cluster.director().xvs(&["export"]).unwrap())
}

/// Runs work under load, which must not lose a request, and shows that the director is as it was.
fn untouched(topic: &str, work: impl FnOnce(&Stage)) {
    stage::with(topic, Plan::one_arm(2), |stage| {
        let (key, target) = stage::http(Family::V4, 0);
        stage.apply_and_wait(&format!(
            "[[service]]\naddress = \"{target}\"\nscheduler = \"wrr\"\n{}",
            stage.reals(Family::V4, &[2, 1])
        ));
        let before = state(stage);
        let load = Load::start(stage.cluster.client().unwrap(), LoadSpec::new(target, None)).unwrap();
        wait("a first answer", || if load.snapshot().requests > 0 { Ok(()) } else { Err(String::new()) });
        work(stage);
        let seen = load.snapshot().requests;
        wait("more answers", || if load.snapshot().requests >= seen + 100 { Ok(()) } else { Err(String::new()) });
        assert_eq!(state(stage), before);
        let report = load.stop();
        assert_eq!(report.failed, 0, "{:?}", report.errors);
        stage.cluster.wait_states(&key, &BTreeMap::new()).unwrap();
        println!("{topic}: {} requests meanwhile, 0 failed", report.requests);
    });
}

fn write(stage: &Stage, name: &str, text: &str) -> String {
    let path = stage.cluster.topology().directory().join(name);
    std::fs::write(&path, text).unwrap();
    path.display().to_string()
}

#[test]
fn a_wrong_file_is_refused_with_every_error_at_once() {
    untouched("wrong", |stage| {
        let file = write(stage, "wrong.toml", WRONG);
        for verb in ["check", "plan", "apply"] {
            let output = stage.cluster.director().output(&[verb, &file]).unwrap();
            assert_eq!((output.status.code(), text(&output.stdout).as_str()), (Some(2), ""), "{verb}");
            let said = text(&output.stderr);
            let lines: Vec<&str> = said.lines().collect();
            assert_eq!(lines.len(), PROBLEMS.len(), "{verb}: {said}");
            for (line, (number, key, message)) in lines.iter().zip(PROBLEMS) {
                assert!(line.starts_with(&format!("{file}:{number}:")), "{verb}: {line} is not at line {number}");
                assert!(line.contains(&format!(": {key}: ")) && line.contains(message), "{verb}: {line}");
            }
        }
    });
}

#[test]
fn commands_that_cannot_be_done_change_nothing() {
    untouched("commands", |stage| {
        let key = "tcp://10.77.0.100:80";
        let good = write(stage, "good.toml", "[[service]]\naddress = \"10.77.0.103:80\"\n");
        let unknown = write(stage, "nic.toml", "[director]\ninterfaces = [\"nosuch0\"]\n");
        let rows: &[(&[&str], i32, &str)] = &[
            (&["service", "add", key], 1, "service tcp://10.77.0.100:80"),
            (&["service", "remove", "tcp://10.77.0.103:80"], 1, "tcp://10.77.0.103:80"),
            (&["real", "add", key, "10.77.0.11"], 1, "10.77.0.11:80"),
            (&["real", "edit", key, "10.77.0.99", "--weight", "3"], 1, "10.77.0.99:80"),
            (&["real", "remove", key, "10.77.0.99"], 1, "10.77.0.99:80"),
            (&["real", "add", key, "fd77::12"], 2, "fd77::12 is IPv6"),
            (&["real", "add", key, "10.77.0.12:81"], 2, "81"),
            (&["service", "edit", key, "--flag", "sh-port"], 2, "sh-port"),
            (&["apply", &good, "--if-revision", "77"], 1, "77"),
            (&["apply", "/no/such/file"], 2, "/no/such/file"),
            (&["apply", &unknown], 1, "interface nosuch0 does not exist"),
            (&["conn", "list", "--service", "tcp://10.77.0.103:80"], 1, "tcp://10.77.0.103:80"),
            (&["conn", "list", "--state", "sleeping"], 1, "sleeping"),
        ];
        for (arguments, code, part) in rows {
            let line = one_line(&stage.cluster.director().output(arguments).unwrap(), *code);
            assert!(line.contains(part), "{arguments:?}: {line}");
            println!("{arguments:?}: {line}");
        }
        // What clap refuses has its own words.
        for arguments in
            [&["real", "edit", key, "10.77.0.11", "--weight", "2147483648"][..], &["service", "add", "www:80"]]
        {
            assert_eq!(stage.cluster.director().output(arguments).unwrap().status.code(), Some(2), "{arguments:?}");
        }
    });
}

/// `xvs daemon` in the director's namespace, which is to end by itself.
struct Daemon {
    words: Vec<String>,
    pins: PathBuf,
    socket: PathBuf,
    state: PathBuf,
    interface: &'static str,
    config: String,
}

impl Daemon {
    /// One beside the stage's own: other pins, socket and state.
    fn beside(stage: &Stage) -> Self {
        let directory = stage.cluster.topology().directory().join("beside");
        std::fs::create_dir_all(&directory).unwrap();
        let pins = stage.cluster.director().pin_directory();
        let pins = pins.join("beside");
        Self {
            words: Vec::new(),
            pins,
            socket: directory.join("xvs.sock"),
            state: directory.join("state"),
            interface: "eth0",
            config: write(stage, "beside.toml", ""),
        }
    }

    /// With the pins, the socket and the state of the stage's own.
    fn instead(stage: &Stage) -> Self {
        let director = stage.cluster.director();
        Self {
            pins: director.pin_directory().to_owned(),
            socket: director.socket().to_owned(),
            state: stage.cluster.topology().directory().join(DIRECTOR).join("state"),
            ..Self::beside(stage)
        }
    }

    fn run(&self, stage: &Stage) -> Output {
        let topology = stage.cluster.topology();
        // A daemon that starts in spite of all is ended, and its exit code then tells.
        let mut command: Command = topology.netns(DIRECTOR).unwrap().command("timeout");
        command.arg("20").args(&self.words).arg(lb_lab::paths::xvs().unwrap()).arg("daemon");
        command.arg("--pin-dir").arg(&self.pins).arg("--socket").arg(&self.socket).arg("--state-dir").arg(&self.state);
        command.args(["--interface", self.interface, "--config", &self.config]);
        run::output(&mut command).unwrap()
    }
}

fn pinned(directory: &Path) -> Vec<String> {
    let Ok(entries) = std::fs::read_dir(directory) else { return Vec::new() };
    let mut names: Vec<String> = entries.map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect();
    names.sort();
    names
}

#[test]
fn a_second_daemon_is_refused() {
    untouched("second", |stage| {
        let line = last_line(&Daemon::instead(stage).run(stage), 1);
        let pid = stage.status().pid;
        assert!(line.contains(&format!("daemon already running (pid {pid})")), "{line}");
        // So is taking everything away under a running one.
        let director = stage.cluster.director();
        let pins = director.pin_directory().display().to_string();
        let line = one_line(&director.output(&["detach", "--pin-dir", &pins]).unwrap(), 1);
        assert!(line.contains(&format!("daemon already running (pid {pid})")), "{line}");
    });
}

#[test]
fn a_daemon_that_cannot_start_attaches_nothing() {
    untouched("start", |stage| {
        // Another daemon has the interface.
        let beside = Daemon::beside(stage);
        let line = last_line(&beside.run(stage), 1);
        assert!(line.contains("interface eth0 has another XDP program already"), "{line}");
        println!("{line}");
        assert_eq!(pinned(&beside.pins.join("links")), Vec::<String>::new());

        let missing = Daemon { interface: "nosuch0", ..Daemon::beside(stage) };
        let line = last_line(&missing.run(stage), 1);
        assert!(line.contains("interface nosuch0 does not exist"), "{line}");
        println!("{line}");

        let wrong = Daemon { config: write(stage, "wrong.toml", WRONG), ..Daemon::beside(stage) };
        let output = wrong.run(stage);
        assert_eq!((output.status.code(), text(&output.stderr).lines().count()), (Some(2), PROBLEMS.len()));

        let absent = Daemon { config: "/no/such.toml".to_owned(), ..Daemon::beside(stage) };
        let line = last_line(&absent.run(stage), 1);
        assert!(line.contains("/no/such.toml"), "{line}");

        // Without any capability the kernel gives no maps.
        let powerless = ["setpriv", "--bounding-set", "-all", "--inh-caps", "-all"].map(str::to_owned).to_vec();
        let line = last_line(&Daemon { words: powerless, ..Daemon::beside(stage) }.run(stage), 1);
        assert!(line.contains("not permitted") && line.contains("CAP_BPF"), "{line}");
        println!("{line}");
    });
}

#[test]
fn without_a_daemon_the_socket_is_named() {
    stage::with("nobody", Plan::one_arm(1), |stage| {
        stage.cluster.director_mut().kill();
        let director = stage.cluster.director();
        for arguments in [&["status"][..], &["service", "list"], &["stats"], &["export"], &["conn", "list"]] {
            let line = one_line(&director.output(arguments).unwrap(), 3);
            assert!(line.contains(&director.socket().display().to_string()), "{line}");
        }
        println!("{}", one_line(&director.output(&["status"]).unwrap(), 3));
    });
}

/// Without CAP_PERFMON the kernel's verifier is stricter with the same program: a true refusal, which no test hook is needed for.
#[test]
fn a_program_that_the_verifier_refuses_leaves_the_running_one() {
    stage::with("verifier", Plan::one_arm(2), |stage| {
        let (key, target) = stage::http(Family::V4, 0);
        stage.apply_and_wait(&format!("[[service]]\naddress = \"{target}\"\n{}", stage.reals(Family::V4, &[1, 1])));
        let before = stage.status();
        let load = Load::start(stage.cluster.client().unwrap(), LoadSpec::new(target, None)).unwrap();
        stage.cluster.director_mut().kill();
        let mut stricter = Daemon::instead(stage);
        stricter.words = ["setpriv", "--bounding-set", "-sys_admin,-perfmon"].map(str::to_owned).to_vec();
        let line = last_line(&stricter.run(stage), 1);
        println!("{line}");
        let log = stricter.state.join("verifier.log");
        assert!(line.contains("verifier refused program xvs") && line.contains(&log.display().to_string()), "{line}");
        let words = std::fs::read_to_string(&log).unwrap();
        assert!(words.lines().count() > 3, "{words}");
        let seen = load.snapshot().requests;
        wait("more answers", || if load.snapshot().requests >= seen + 200 { Ok(()) } else { Err(String::new()) });
        stage.cluster.director_mut().restart().unwrap();
        let after = stage.status();
        assert_eq!((after.revision, after.interfaces[0].link_id), (before.revision, before.interfaces[0].link_id));
        stage.cluster.wait_states(&key, &BTreeMap::new()).unwrap();
        let report = load.stop();
        assert_eq!(report.failed, 0, "{:?}", report.errors);
    });
}

/// A pinned map of another shape, as another version or another program would leave: refused before anything is loaded.
#[test]
fn a_pinned_map_of_another_shape_is_refused() {
    stage::with("shape", Plan::one_arm(2), |stage| {
        let (key, target) = stage::http(Family::V4, 0);
        stage.apply_and_wait(&format!("[[service]]\naddress = \"{target}\"\n{}", stage.reals(Family::V4, &[1, 1])));
        let before = stage.status();
        let load = Load::start(stage.cluster.client().unwrap(), LoadSpec::new(target, None)).unwrap();
        stage.cluster.director_mut().kill();
        let pins = stage.cluster.director().pin_directory().to_owned();
        let maps = pins.join(pinned(&pins).into_iter().find(|name| name.starts_with('v')).unwrap());
        let (loads, aside) = (maps.join("LOADS"), pins.join("aside"));
        std::fs::rename(&loads, &aside).unwrap();
        let daemon = Daemon::instead(stage);
        let refused = |wanted: &[&str]| {
            let held = pinned(&maps);
            let line = last_line(&daemon.run(stage), 1);
            assert!(wanted.iter().all(|part| line.contains(part)), "{line}");
            assert_eq!(pinned(&maps), held, "nothing pinned, nothing removed");
            println!("{line}");
        };
        refused(&["LOADS", "is missing beside others"]);
        for (kind, value, entries, words) in [
            ("hash", "8", "1", "type 1, this version has 2"),
            ("array", "16", "1", "size 16, this version has 524288"),
            ("array", "524288", "7", "entries 7, this version has 1"),
        ] {
            let path = loads.display().to_string();
            let make =
                ["map", "create", &path, "type", kind, "key", "4", "value", value, "entries", entries, "name", "other"];
            run::succeed(Command::new("bpftool").args(make)).unwrap();
            refused(&["LOADS", words, "remove the pins"]);
            std::fs::remove_file(&loads).unwrap();
        }
        std::fs::rename(&aside, &loads).unwrap();
        stage.cluster.director_mut().restart().unwrap();
        let after = stage.status();
        assert_eq!((after.revision, after.interfaces[0].link_id), (before.revision, before.interfaces[0].link_id));
        stage.cluster.wait_states(&key, &BTreeMap::new()).unwrap();
        let report = load.stop();
        assert_eq!(report.failed, 0, "{:?}", report.errors);
        println!("{} requests meanwhile, 0 failed", report.requests);
    });
}

/// Killed at moments of its very first start that nobody chose; what it leaves half made must not keep the next one from starting.
#[test]
fn killed_while_it_starts_the_first_time_the_next_daemon_starts() {
    stage::with("first", Plan::one_arm(1), |stage| {
        let pins = stage.cluster.director().pin_directory().to_owned();
        stage.cluster.director_mut().stop().unwrap();
        let mut complaints = Vec::new();
        for step in 0..24 {
            residue::remove_tree(&pins).unwrap();
            let mut daemon = Daemon::instead(stage);
            let after = format!("{:.3}", 0.005 + 0.01 * f64::from(step));
            daemon.words = ["timeout", "-s", "KILL", &after].map(str::to_owned).to_vec();
            let _ = daemon.run(stage);
            let left = pins.join(pinned(&pins).into_iter().find(|name| name.starts_with('v')).unwrap_or_default());
            let left = pinned(&left).len();
            if let Err(error) = stage.cluster.director_mut().restart() {
                complaints.push(format!("killed after {after} s with {left} maps: {error}"));
            }
            stage.cluster.director_mut().stop().unwrap();
        }
        assert_eq!(complaints, Vec::<String>::new());
    });
}

/// The same by hand: some maps are there and some are not, and nothing is attached.
#[test]
fn half_made_tables_that_nobody_uses_are_made_anew() {
    stage::with("half", Plan::one_arm(1), |stage| {
        let (key, target) = stage::http(Family::V4, 0);
        stage.apply_and_wait(&format!("[[service]]\naddress = \"{target}\"\n{}", stage.reals(Family::V4, &[1])));
        let pins = stage.cluster.director().pin_directory().to_owned();
        for gone in [&["CONNECTIONS_V4", "LOADS"][..], &["SETTINGS"]] {
            stage.cluster.director_mut().stop().unwrap();
            let maps = pins.join(pinned(&pins).into_iter().find(|name| name.starts_with('v')).unwrap());
            gone.iter().for_each(|name| std::fs::remove_file(maps.join(name)).unwrap());
            for link in pinned(&pins.join("links")) {
                std::fs::remove_file(pins.join("links").join(link)).unwrap();
            }
            stage.cluster.director_mut().restart().unwrap();
            stage.cluster.wait_states(&key, &BTreeMap::new()).unwrap();
            let report = Load::run(stage.cluster.client().unwrap(), LoadSpec::new(target, Some(20))).unwrap();
            assert_eq!(report.failed, 0, "{:?}", report.errors);
        }
    });
}

/// What the daemon says it needs is all it needs: three capabilities, on director, reals and switch.
#[test]
fn three_capabilities_are_enough() {
    use std::os::unix::fs::PermissionsExt as _;
    let script = std::env::temp_dir().join(format!("xvs-e2e-capabilities-{}", std::process::id()));
    let xvs = lb_lab::paths::xvs().unwrap();
    let words = "exec setpriv --bounding-set=-all,+bpf,+perfmon,+net_admin --inh-caps=-all";
    std::fs::write(&script, format!("#!/bin/sh\n{words} {} \"$@\"\n", xvs.display())).unwrap();
    std::fs::set_permissions(&script, std::fs::Permissions::from_mode(0o755)).unwrap();
    let ran = std::panic::catch_unwind(|| {
        stage::with_options(
            "caps",
            Plan::one_arm(2),
            |options| options.binary.clone_from(&script),
            |stage| {
                let pid = stage.cluster.director().pid().unwrap();
                let status = std::fs::read_to_string(format!("/proc/{pid}/status")).unwrap();
                // CAP_NET_ADMIN 12, CAP_PERFMON 38, CAP_BPF 39.
                assert!(status.contains(&format!("CapEff:\t{:016x}", 1u64 << 12 | 1 << 38 | 1 << 39)), "{status}");
                for (vip, method) in [(0, "direct"), (1, "tunnel")] {
                    let (_, target) = stage::http(Family::V4, vip);
                    let reals = stage.reals(Family::V4, &[1, 1]);
                    stage.apply_and_wait(&format!(
                        "[[service]]\naddress = \"{target}\"\nmethod = \"{method}\"\n{reals}"
                    ));
                    let report = Load::run(stage.cluster.client().unwrap(), LoadSpec::new(target, Some(100))).unwrap();
                    assert_eq!(report.failed, 0, "{method}: {:?}", report.errors);
                }
                stage.cluster.director_mut().kill();
                stage.cluster.director_mut().restart().unwrap();
            },
        );
    });
    std::fs::remove_file(&script).unwrap();
    if let Err(panic) = ran {
        std::panic::resume_unwind(panic);
    }
}
