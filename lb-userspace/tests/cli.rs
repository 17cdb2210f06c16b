//! The real `xvs` binary against a server on a real socket, with an engine in memory behind it.

mod support;

use std::{
    fs,
    io::{Read, Write},
    os::unix::net::UnixListener,
    process::Stdio,
};

use lb_userspace::model::{Method, Probe, Scheduler, SchedulerFlag};
use support::{Daemon, command, private_directory, ran, xvs};

const TWO: &str = "[[service]]\naddress = \"10.0.0.1:80\"\nscheduler = \"wrr\"\n[[service.real]]\naddress = \"10.0.1.1\"\n\
                   weight = 5\n[[service]]\naddress = \"[fd00::1]:53\"\nprotocol = \"udp\"\n";

#[test]
fn services_are_added_changed_listed_and_removed() {
    let daemon = Daemon::start();
    assert_eq!(
        daemon.xvs(&["service", "add", "10.0.0.1:80", "-s", "sh", "--flag", "sh-port", "--flag", "sh-fallback"]).good(),
        "ACTION  TARGET                     DETAIL\n\
         add     service tcp://10.0.0.1:80  0 reals, scheduler sh\n\
         1 change, now revision 1\n"
    );
    daemon.xvs(&["service", "add", "udp://[fd00::1]:53", "-m", "tunnel", "--on-real-down", "drop"]).good();
    let expected = "\
SERVICE             SCHEDULER  FLAGS                METHOD  ON DOWN  HELPER  REALS  ACTIVE  INACTIVE  CONNECTIONS  PACKETS  BYTES  REPLIES  REPLY BYTES
tcp://10.0.0.1:80   sh         sh-port,sh-fallback  direct  keep     -           0       1         2            3       40   5000       38        70000
udp://[fd00::1]:53  wlc        -                    tunnel  drop     -           0       1         2            3       40   5000       38        70000
";
    assert_eq!(daemon.xvs(&["service", "list"]).good(), expected);
    let listed = daemon.xvs(&["service", "ls", "10.0.0.1:80", "-o", "json"]).good();
    assert_eq!(serde_json::from_str::<serde_json::Value>(&listed).unwrap()[0]["service"], "tcp://10.0.0.1:80");

    daemon.xvs(&["service", "edit", "10.0.0.1:80", "--scheduler", "mh", "--flag", "mh-port", "-m", "tunnel"]).good();
    let service = daemon.engine.current().1.services[0].clone();
    assert_eq!(
        (service.scheduler, service.scheduler_flags.clone(), service.method),
        (Scheduler::Mh, vec![SchedulerFlag::MhPort], Method::Tunnel)
    );
    daemon.xvs(&["service", "edit", "10.0.0.1:80", "--no-flags"]).good();
    assert_eq!(daemon.engine.current().1.services[0].scheduler_flags, []);
    daemon.xvs(&["service", "remove", "10.0.0.1:80"]).good();
    assert_eq!(daemon.engine.current().1.services.len(), 1);
}

#[test]
fn health_checks_are_given_patched_and_taken_away() {
    let daemon = Daemon::start();
    let health = || daemon.engine.current().1.services[0].health.clone();
    let add = ["service", "add", "10.0.0.1:80", "--check", "http", "--check-path", "/health", "--check-status", "204"];
    daemon.xvs(&add).good();
    daemon.xvs(&["service", "edit", "10.0.0.1:80", "--check-interval", "5s", "--check-host", "www"]).good();
    let check = health().unwrap();
    assert_eq!((check.interval_ms, check.timeout_ms), (5000, 1000));
    let probe = Probe::Http { path: "/health".to_owned(), host: Some("www".to_owned()), status: vec![204..=204] };
    assert_eq!(check.probe, probe);
    daemon.xvs(&["service", "edit", "10.0.0.1:80", "--check", "tcp", "--check-port", "8080"]).good();
    assert_eq!(health().map(|check| (check.probe, check.port)), Some((Probe::Tcp, Some(8080))));
    daemon.xvs(&["service", "edit", "10.0.0.1:80", "--check-path", "/"]).bad(2, "belong to --check http");
    daemon.xvs(&["service", "edit", "10.0.0.1:80", "--no-check"]).good();
    assert_eq!(health(), None);
    daemon.xvs(&["service", "edit", "10.0.0.1:80", "--check-rise", "1"]).bad(1, "has no health check; add one with");
    daemon.xvs(&["service", "edit", "10.0.0.2:80", "--check-rise", "1"]).bad(1, "tcp://10.0.0.2:80 does not exist");
    daemon.xvs(&["service", "edit", "10.0.0.1:80", "--no-check", "--check", "tcp"]).bad(2, "cannot be used with");
    daemon.xvs(&["service", "add", "10.0.0.3:80", "--check-rise", "1"]).bad(2, "needs --check tcp or --check http");
}

#[test]
fn reals_are_added_changed_listed_and_removed() {
    let daemon = Daemon::start();
    daemon.xvs(&["service", "add", "10.0.0.1:80"]).good();
    daemon.xvs(&["real", "add", "10.0.0.1:80", "10.0.1.1", "--weight", "5"]).good();
    daemon.xvs(&["real", "add", "10.0.0.1:80", "fd00::11", "--method", "tunnel"]).good();
    let expected = "\
SERVICE            REAL           METHOD  WEIGHT  EFFECTIVE  STATE       ACTIVE  INACTIVE  CONNECTIONS  INTERFACE  MAC                REASON
tcp://10.0.0.1:80  10.0.1.1:80    direct       5          0  unresolved       1         2            3  eth0       02:00:00:00:00:01  no answer to ARP
tcp://10.0.0.1:80  [fd00::11]:80  tunnel       1          0  unresolved       1         2            3  eth0       -                  no answer to ARP
";
    assert_eq!(daemon.xvs(&["real", "list", "10.0.0.1:80"]).good(), expected);
    daemon.xvs(&["real", "edit", "10.0.0.1:80", "10.0.1.1:80", "-w", "0"]).good();
    assert_eq!(daemon.engine.current().1.services[0].reals[0].weight, 0);
    daemon.xvs(&["real", "remove", "10.0.0.1:80", "10.0.1.1"]).good();
    assert_eq!(daemon.engine.current().1.services[0].reals.len(), 1);

    daemon.xvs(&["real", "edit", "10.0.0.1:80", "fd00::11"]).bad(2, "nothing to change in real [fd00::11]:80");
    daemon.xvs(&["real", "add", "10.0.0.1:80", "fd00::11"]).bad(1, "exists already; change it with `xvs real edit`");
    daemon.xvs(&["real", "add", "10.0.0.9:80", "10.0.1.1"]).bad(1, "service tcp://10.0.0.9:80 does not exist");
    daemon.xvs(&["real", "remove", "10.0.0.1:80", "10.0.1.9"]).bad(1, "real 10.0.1.9:80 of service tcp://10.0.0.1:80");
    daemon.xvs(&["real", "list", "10.0.0.9:80"]).bad(1, "does not exist");
    daemon.xvs(&["real", "add", "10.0.0.1:80", "10.0.1.2:81"]).bad(2, "port 81 is not the service's port 80");
    daemon.xvs(&["real", "add", "10.0.0.1:80", "fd00::12"]).bad(2, "use method tunnel, gue, gre or fullnat");
    daemon
        .xvs(&["real", "add", "10.0.0.1:80", "10.0.1.2", "-w", "2147483648"])
        .bad(2, "2147483648 is not in 0..=2147483647");
}

#[test]
fn a_file_is_planned_applied_and_exported() {
    let daemon = Daemon::start();
    let file = daemon.file("two.toml", TWO);
    assert_eq!(
        daemon.xvs(&["plan", &file]).good(),
        "ACTION  TARGET                      DETAIL\n\
         add     service tcp://10.0.0.1:80   1 reals, scheduler wrr\n\
         add     service udp://[fd00::1]:53  0 reals, scheduler wlc\n\
         warning: this is only a plan\n2 changes to revision 0\n"
    );
    assert_eq!(daemon.engine.current().0, 0, "a plan changes nothing");
    assert!(daemon.xvs(&["apply", &file]).good().ends_with("2 changes, now revision 1\n"));
    assert_eq!(daemon.xvs(&["apply", &file, "--if-revision", "1"]).good(), "nothing changed, revision 1\n");
    daemon.xvs(&["apply", &file, "--if-revision", "7"]).bad(1, "revision 7 was expected but revision 1 is applied");

    let exported = daemon.xvs(&["export"]).good();
    assert!(exported.starts_with("[[service]]\naddress = \"10.0.0.1:80\"\n"), "{exported}");
    let again = daemon.file("again.toml", &exported);
    assert_eq!(daemon.xvs(&["apply", &again]).good(), "nothing changed, revision 1\n");
    let json = daemon.xvs(&["export", "-o", "json"]).good();
    assert_eq!(serde_json::from_str::<serde_json::Value>(&json).unwrap()["revision"], 1);

    daemon.engine.break_next("the maps are full; give --connections less");
    let other = daemon.file("other.toml", "");
    daemon.xvs(&["apply", &other]).bad(1, "the maps are full; give --connections less");
    assert_eq!(daemon.engine.current().1.services.len(), 2);
}

#[test]
fn standard_input_is_a_file_too() {
    let daemon = Daemon::start();
    let mut child = command(&daemon.socket());
    let mut child =
        child.args(["apply", "-"]).stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    child.stdin.take().unwrap().write_all(b"[[service]]\naddress = \"nonsense\"\n").unwrap();
    let ran = ran(child.wait_with_output().unwrap());
    assert_eq!(ran.code, 2);
    assert!(ran.err.starts_with("(standard input):2:11: service[0].address: \"nonsense\" is not"), "{ran:?}");
}

#[test]
fn wrong_files_are_told_alike_by_check_plan_and_apply() {
    let daemon = Daemon::start();
    let file = daemon
        .file("wrong.toml", "[[service]]\naddress = \"10.0.0.1:80\"\nschedular = \"rr\"\nflags = [\"sh-port\"]\n");
    let expected = format!(
        "{file}:3:1: service[0].schedular: unknown key; did you mean scheduler?\n\
         {file}:4:10: service[0].flags[0]: flag sh-port is for scheduler sh, this service has wlc\n"
    );
    for verb in ["check", "plan", "apply"] {
        let ran = daemon.xvs(&[verb, &file]);
        assert_eq!((ran.code, ran.out.as_str(), ran.err.as_str()), (2, "", expected.as_str()), "{verb}");
    }
    let ran = daemon.xvs(&["check", &file, "-o", "json"]);
    let view: serde_json::Value = serde_json::from_str(&ran.out).unwrap();
    assert_eq!((ran.code, ran.err.as_str(), view["problems"][1]["line"].as_u64()), (2, "", Some(4)));
    assert_eq!(daemon.engine.current().0, 0);

    for (name, bytes, part) in [
        ("binary.toml", b"\xff".to_vec(), "binary.toml:1:1: not TOML: this byte is not UTF-8"),
        ("large.toml", vec![b'\n'; 129 << 20], "large.toml: the configuration has 134217729 bytes; at most 134217728"),
    ] {
        let file = daemon.file(name, bytes);
        for verb in ["check", "plan", "apply"] {
            let ran = daemon.xvs(&[verb, &file]);
            assert!(ran.code == 2 && ran.err.lines().count() == 1 && ran.err.contains(part), "{verb}: {ran:?}");
        }
    }
    for verb in ["check", "plan", "apply"] {
        daemon.xvs(&[verb, "/nonexistent.toml"]).bad(2, "cannot read /nonexistent.toml: No such file");
        daemon.xvs(&[verb, "/"]).bad(2, "cannot read /: Is a directory");
    }
}

#[test]
fn a_file_of_full_size_passes_the_body_limit() {
    let daemon = Daemon::start();
    let mut text = TWO.to_owned();
    // Line ends double in JSON: the worst text that operators write.
    text.push_str(&"\n".repeat((16 << 20) - TWO.len()));
    let file = daemon.file("full.toml", text);
    assert!(daemon.xvs(&["apply", &file]).good().ends_with("now revision 1\n"));
}

#[test]
fn check_needs_no_daemon() {
    let directory = private_directory();
    let file = directory.path().join("two.toml");
    fs::write(&file, TWO).unwrap();
    let ran = xvs(&directory.path().join("none.sock"), &["check", file.to_str().unwrap()]);
    assert_eq!(ran.good(), format!("{}: good, 2 services with 1 real\n", file.display()));
}

#[test]
fn status_stats_and_connections_are_shown() {
    let daemon = Daemon::start();
    daemon.xvs(&["apply", &daemon.file("two.toml", TWO)]).good();
    let pid = std::process::id();
    assert_eq!(
        daemon.xvs(&["status"]).good(),
        format!(
            "daemon       xvs 9.9.9, pid {pid}, up 5m 6s\nrevision     1\n\
             interface    eth0 (index 2), native, program 318, link 7\nservices     2\n\
             reals        1: 1 up, 0 down, 0 unresolved, 0 drained\nconnections  IPv4 5 of 1024\n\
             \x20            IPv6 0 of 512\nwarning      eth0 has no route\n"
        )
    );
    assert_eq!(
        daemon.xvs(&["stats"]).good(),
        "VERDICT    ACTION    PACKETS  DESCRIPTION\nforwarded  redirect       40  to a real server\n\n\
         SERVICE             REAL         CONNECTIONS  PACKETS  BYTES  REPLIES  REPLY BYTES\n\
         tcp://10.0.0.1:80   -                      3       40   5000       38        70000\n\
         tcp://10.0.0.1:80   10.0.1.1:80            3       40   5000       38        70000\n\
         udp://[fd00::1]:53  -                      3       40   5000       38        70000\n\n\
         early fragments: 0 waiting, 0 sent on, 0 given up\n"
    );
    let args =
        ["conn", "list", "--service", "10.0.0.1:80", "--client", "192.0.2.7", "--state", "ESTABLISHED", "--limit", "1"];
    assert_eq!(
        daemon.xvs(&args).good(),
        "PROTOCOL  CLIENT          VIRTUAL      REAL         STATE        IDLE  EXPIRES\n\
         tcp       192.0.2.7:1024  10.0.0.1:80  10.0.1.1:80  established    4s     896s\n\
         1 of 5000 shown; ask for more with --limit\n"
    );
    let none = daemon.xvs(&["conn", "list", "--service", "udp://[fd00::1]:53", "--real", "::2", "-o", "json"]).good();
    assert_eq!(serde_json::from_str::<serde_json::Value>(&none).unwrap()["total"], 0);
    daemon.xvs(&["conn", "list", "--state", "open"]).bad(1, "no connection state is named \"open\"");
    daemon.xvs(&["conn", "list", "--limit", "0"]).bad(2, "limit 0 is out of range");
    for json in [&["status"][..], &["stats"], &["service", "list"], &["real", "list"], &["conn", "list"]] {
        let text = daemon.xvs(&[json, &["-o", "json"]].concat()).good();
        serde_json::from_str::<serde_json::Value>(&text).unwrap();
    }
}

#[test]
fn the_doctor_tells_what_does_not_fit_and_what_to_set() {
    let daemon = Daemon::start();
    let doctor = |args: &[&str]| daemon.xvs(&[&["doctor", "mtu"], args].concat());
    assert!(doctor(&[]).good().starts_with("SERVICE "), "nothing to find without a service");
    daemon.xvs(&["apply", &daemon.file("two.toml", TWO)]).good();
    assert_eq!(
        doctor(&[]).good(),
        "SERVICE            REAL         METHOD  INTERFACE   MTU  OVERHEAD  LARGEST  RESULT\n\
         tcp://10.0.0.1:80  10.0.1.1:80  direct  eth0       1500         0     1500  fits\n"
    );
    for real in ["10.0.1.2", "10.0.1.3", "10.0.1.4", "10.0.1.5"] {
        daemon.xvs(&["real", "add", "10.0.0.1:80", real, "-m", "tunnel"]).good();
    }
    let ran = doctor(&[]);
    assert_eq!((ran.code, ran.err.as_str()), (1, ""), "{ran:?}");
    let expected = "\
        tcp://10.0.0.1:80  10.0.1.5:80  tunnel  eth0       1500        20     1480  too-long\n\n\
        tcp://10.0.0.1:80 to 10.0.1.2:80, 10.0.1.3:80, 10.0.1.4:80 and 1 more: raise the MTU of eth0, and of all links \
        from there to the real, to 1520; or on the real, for the routes to clients: ip route change default ... advmss 1440\n\n\
        Until then a client whose packet is too long is told by ICMP what fits, and that packet is lost. Nobody is told of IPv4 \
        packets\nwithout \"don't fragment\".\n";
    assert!(ran.out.ends_with(expected), "{}", ran.out);
    let ran = doctor(&["-o", "json"]);
    let report: serde_json::Value = serde_json::from_str(&ran.out).unwrap();
    assert_eq!((ran.code, ran.err.as_str(), &report["fits"]), (1, "", &serde_json::Value::Bool(false)));
    let real = &report["reals"][1];
    assert_eq!((real["result"].as_str(), real["largest"].as_u64()), (Some("too-long"), Some(1480)));

    doctor(&["--packet", "1480"]).good();
    doctor(&["udp://[fd00::1]:53"]).good();
    doctor(&["10.0.0.9:80"]).bad(1, "service tcp://10.0.0.9:80 does not exist");
    doctor(&["--packet", "575"]).bad(2, "575 is not in 576..=65535");
    daemon.xvs(&["real", "add", "udp://[fd00::1]:53", "10.0.1.99", "-m", "tunnel"]).good();
    let ran = doctor(&["udp://[fd00::1]:53"]);
    assert_eq!(ran.code, 1);
    assert!(
        ran.out.ends_with("unknown\n\nThe way to some real servers is not known: `xvs real list` says why.\n"),
        "{ran:?}"
    );
}

#[test]
fn wrong_usage_is_one_line_and_code_2() {
    let daemon = Daemon::start();
    for (args, part) in [
        (&["lst"][..], "unrecognized subcommand 'lst'"),
        (&["service", "add"], "required arguments were not provided: <SERVICE>"),
        (&["service", "add", "fd00::1:80"], "stands in brackets here"),
        (&["service", "add", "10.0.0.1:80", "-s", "nqq"], "unknown scheduler \"nqq\"; one of rr, wrr"),
        (&["service", "add", "10.0.0.1:80", "-m", "masq"], "forwarding method masq is not in this version"),
        (&["service", "add", "10.0.0.1:80", "--flag", "x"], "unknown scheduler flag \"x\"; one of sh-port"),
        (&["service", "add", "10.0.0.1:80", "--flag", "sh-port"], "flag sh-port is for scheduler sh"),
        (&["service", "add", "10.0.0.1:80", "--check", "tcp", "--check-path", "/"], "belong to --check http"),
        (&["service", "add", "10.0.0.1", "--check", "tcp"], "the check must name one"),
        (&["service", "add", "224.0.0.1:80"], "is a multicast address"),
        (&["service", "edit", "10.0.0.1:80", "--check-interval", "5"], "not a duration, such as 500ms"),
        (&["status", "-o", "yaml"], "invalid value 'yaml'"),
    ] {
        daemon.xvs(args).bad(2, part);
    }
    daemon.xvs(&["service", "remove", "10.0.0.1:80"]).bad(1, "service tcp://10.0.0.1:80 does not exist");
    daemon.xvs(&["service"]).bad(2, "requires a subcommand but one was not provided [subcommands: add, edit");
}

#[test]
fn a_daemon_out_of_reach_is_code_3_and_says_why() {
    let directory = private_directory();
    let missing = directory.path().join("none.sock");
    xvs(&missing, &["status"]).bad(3, "there is no such socket; start `xvs daemon`");
    let stale = directory.path().join("stale.sock");
    drop(UnixListener::bind(&stale).unwrap());
    xvs(&stale, &["status"]).bad(3, "nobody listens there any more");
    // It answers, but not in this language.
    let mute = directory.path().join("mute.sock");
    let listener = UnixListener::bind(&mute).unwrap();
    let thread = std::thread::spawn(move || drop(listener.accept()));
    xvs(&mute, &["status"]).bad(3, "the daemon closed the connection");
    thread.join().unwrap();
    let strange = directory.path().join("strange.sock");
    let listener = UnixListener::bind(&strange).unwrap();
    let thread = std::thread::spawn(move || {
        let (mut stream, _) = listener.accept().unwrap();
        let _ = stream.read(&mut [0; 4096]).unwrap();
        stream.write_all(b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nhi").unwrap();
    });
    xvs(&strange, &["status"]).bad(1, "is not one of xvs");
    thread.join().unwrap();
}

#[test]
fn a_reader_that_goes_away_is_success() {
    let daemon = Daemon::start();
    for args in [&["conn", "list", "--limit", "5000"][..], &["--help"], &["completions", "bash"]] {
        let mut child = command(&daemon.socket());
        let mut child = child.args(args).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
        drop(child.stdout.take());
        let ran = ran(child.wait_with_output().unwrap());
        assert_eq!((ran.code, ran.err.as_str()), (0, ""), "{args:?}");
    }
}

#[test]
fn help_has_examples_for_every_verb() {
    let directory = private_directory();
    let socket = directory.path().join("none.sock");
    for verb in [
        "service add",
        "service edit",
        "service remove",
        "service list",
        "real add",
        "real edit",
        "real remove",
        "real list",
        "mark add",
        "mark remove",
        "mark list",
        "director edit",
        "director show",
        "apply",
        "plan",
        "check",
        "export",
        "status",
        "conn list",
        "stats",
        "man",
        "completions",
    ] {
        let args: Vec<&str> = verb.split(' ').chain(["--help"]).collect();
        let help = xvs(&socket, &args).good();
        assert!(help.contains(&format!("  xvs {verb}")), "{verb}: {help}");
    }
    assert_eq!(xvs(&socket, &["--version"]).good(), format!("xvs {}\n", env!("CARGO_PKG_VERSION")));
}

#[test]
fn manual_pages_and_completions_come_from_the_same_shapes() {
    let directory = private_directory();
    let socket = directory.path().join("none.sock");
    let pages = directory.path().join("man/man1");
    assert_eq!(xvs(&socket, &["man", pages.to_str().unwrap()]).good(), "");
    for page in ["xvs.1", "xvs-service-add.1", "xvs-real-edit.1", "xvs-conn-list.1"] {
        assert!(pages.join(page).exists(), "{page}");
    }
    let page = fs::read_to_string(pages.join("xvs-service-add.1")).unwrap();
    assert!(page.contains("on\\-real\\-down"), "{page}");
    for shell in ["bash", "zsh", "fish"] {
        assert!(xvs(&socket, &["completions", shell]).good().contains("on-real-down"), "{shell}");
    }
    xvs(&socket, &["man", "/dev/null/x"]).bad(1, "cannot write to /dev/null/x");
}
