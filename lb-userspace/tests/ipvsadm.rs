//! The binary called as `ipvsadm`, against a daemon in memory: what scripts see, and what they leave behind.

mod support;

use std::{
    io::Write,
    os::unix::fs::symlink,
    path::PathBuf,
    process::{Command, Stdio},
};

use lb_userspace::model::{Method, Netmask, Persistence, Scheduler};
use support::{Daemon, Ran, private_directory, ran};

/// A daemon, and the binary under its other name.
struct Adm {
    daemon: Daemon,
    program: PathBuf,
}

impl Adm {
    fn start() -> Self {
        let daemon = Daemon::start();
        let program = daemon.directory.path().join("ipvsadm");
        symlink(env!("CARGO_BIN_EXE_xvs"), &program).unwrap();
        Self { daemon, program }
    }

    /// Runs a command line, with words as a shell would make them.
    fn run(&self, line: &str) -> Ran {
        let words = line.split(' ').filter(|word| !word.is_empty());
        let mut command = Command::new(&self.program);
        ran(command.env("XVS_SOCKET", self.daemon.socket()).stdin(Stdio::null()).args(words).output().unwrap())
    }

    #[track_caller]
    fn good(&self, lines: &[&str]) {
        for line in lines {
            assert_eq!(self.run(line).good(), "", "{line}");
        }
    }

    /// A refusal: code and line; nothing is changed.
    #[track_caller]
    fn bad(&self, line: &str, code: i32, text: &str) {
        let before = self.daemon.engine.current();
        let ran = self.run(line);
        let program = self.program.display().to_string();
        assert_eq!((ran.code, ran.err.replace(&program, "ipvsadm")), (code, format!("{text}\n")), "{line}");
        assert_eq!(ran.out, "", "{line}");
        assert_eq!(self.daemon.engine.current(), before, "{line}");
    }

    fn restore(&self, lines: &str) -> Ran {
        let mut command = Command::new(&self.program);
        command.env("XVS_SOCKET", self.daemon.socket()).arg("-R");
        command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
        let mut child = command.spawn().unwrap();
        child.stdin.take().unwrap().write_all(lines.as_bytes()).unwrap();
        ran(child.wait_with_output().unwrap())
    }
}

const HEAD: &str = "IP Virtual Server version 1.2.1 (size=4096)\nProt LocalAddress:Port Scheduler Flags\n  \
                    -> RemoteAddress:Port           Forward Weight ActiveConn InActConn\n";

#[test]
fn services_are_made_changed_shown_and_removed() {
    let adm = Adm::start();
    assert_eq!(adm.run("-L -n").good(), HEAD);
    adm.good(&[
        "-A -t 10.0.0.1:80 -s wrr -p 120 -M 255.255.255.0",
        "-a -t 10.0.0.1:80 -r 10.0.1.3 -g -w 5",
        "-a -t 10.0.0.1:80 -r 10.0.1.2:8080 -m -x 9 -y 2",
        "-A -f 7 -s sh -b sh-port,sh-fallback",
        "-a -f 7 -r 10.0.1.2 -i -w 0",
        "-A -u 10.0.0.1:53 -o",
    ]);
    let rows = "TCP  10.0.0.1:80 wrr persistent 120 mask 255.255.255.0\n  \
                -> 10.0.1.2:8080                Masq    1      1          2         \n  \
                -> 10.0.1.3:80                  Route   5      1          2         \n";
    let others = "UDP  10.0.0.1:53 wlc ops\nFWM  7 sh (sh-fallback,sh-port)\n  \
                  -> 10.0.1.2:0                   Tunnel  0      1          2         \n";
    assert_eq!(adm.run("-Ln").good(), format!("{HEAD}{rows}{others}"));
    let head = HEAD.split_once('\n').unwrap().1;
    assert_eq!(adm.run("-Ln -t 10.0.0.1:80").good(), format!("{head}{rows}"), "no line of the version");
    let (_, spec) = adm.daemon.engine.current();
    let (service, real) = (&spec.services[0], &spec.services[0].reals[1]);
    let mask = Some(Netmask::V4([255, 255, 255, 0].into()));
    assert_eq!(service.persistence, Some(Persistence { timeout: 120, netmask: mask }));
    assert_eq!((real.port, real.method), (8080, Some(Method::Nat)));
    assert_eq!((real.upper_threshold, real.lower_threshold), (9, 2));

    adm.good(&["-E -t 10.0.0.1:80", "-e -t 10.0.0.1:80 -r 10.0.1.2:8080 -m -w 7", "-d -t 10.0.0.1:80 -r 10.0.1.3"]);
    let (_, spec) = adm.daemon.engine.current();
    assert_eq!((spec.services[0].scheduler, spec.services[0].persistence), (Scheduler::Wlc, None));
    assert_eq!((spec.services[0].reals[0].weight, spec.services[0].reals[0].upper_threshold), (7, 0));
    adm.good(&["-D -f 7", "-Z", "-Z -t 10.0.0.1:80", "--set 0 0 0", "--set 7200 0 60", "-C"]);
    assert_eq!(adm.run("-L -n").good(), HEAD);
    assert_eq!(adm.run("-L --timeout").good(), "Timeout (tcp tcpfin udp): 7200 120 60\n");
    assert_eq!(adm.run("-L --daemon").good(), "");
}

/// The lines that fail in the recorded cases of IPVS, and more of their kind, each with its own words and exit code.
#[test]
fn refusals_have_ipvsadms_words_and_codes() {
    let adm = Adm::start();
    adm.good(&["-A -t 10.0.0.1:80 -s rr", "-a -t 10.0.0.1:80 -r 10.0.1.1 -m"]);
    for (line, code, text) in [
        ("-A -t 10.0.0.1:80 -s rr", 255, "Service already exists"),
        ("-A -t 10.0.0.1:81 -s nosuch", 255, "Scheduler or persistence engine not found"),
        ("-A -u 10.0.0.1:5060 -p 60 --pe sip -o", 255, "Scheduler or persistence engine not found"),
        ("-a -t 10.0.0.1:80 -r 10.0.1.1 -m", 255, "Destination already exists"),
        ("-d -t 10.0.0.1:80 -r 10.0.1.2", 255, "No such destination"),
        ("-e -t 10.0.0.1:80 -r 10.0.1.2 -m", 255, "No such destination"),
        ("-D -t 10.0.0.1:9", 255, "No such service"),
        ("-E -t 10.0.0.1:9 -s rr", 255, "No such service"),
        ("-Z -t 10.0.0.1:9", 255, "No such service"),
        ("-a -t 10.0.0.1:9 -r 10.0.1.1 -m", 255, "Service not defined"),
        ("-a -t 10.0.0.1:80 -r 10.0.1.2 -y 1", 255, "Numerical result out of range"),
        ("-L -t 10.0.0.1:9", 1, "No such service"),
        ("-A -s rr", 2, "You need to supply the 'service-address' option for the 'add-service' command"),
        ("-A -t nonsense:80", 2, "illegal virtual server address[:port] specified"),
        ("-A -t 10.0.0.1", 2, "Zero port specified for non-persistent service"),
        ("-a -t 10.0.0.1:80 -r 10.0.1.3 -w -1", 2, "illegal weight specified"),
        ("-a -t 10.0.0.1:80 -r 10.0.1.4 -g -i", 2, "multiple 'forwarding-method' options specified"),
        ("-A -t 10.0.0.1:80 -u 10.0.0.1:53", 2, "multiple 'service-address' options specified"),
        ("-A -f 0", 2, "invalid fwmark value `0' specified"),
        ("-A -t 10.0.0.1:85 -s rr -p 0", 2, "invalid timeout value `0' specified"),
        ("-A -t 10.0.0.1:87 -s rr -b sh-port", 2, "incompatible scheduler flag `sh-port'"),
        ("-A -t 10.0.0.1:89 -o -s rr", 2, "One-Packet Scheduling is only for UDP virtual services"),
        ("-a -t 10.0.0.1:80 -r fd00::1", 2, "Different address family is allowed only for tunneling servers"),
        ("--set 1 2", 2, "--set option requires 3 timeout values"),
        ("-Q", 255, "Try `ipvsadm -h' or 'ipvsadm --help' for more information."),
        ("-L -Q", 255, "-Q: unknown option"),
        ("--stop-daemon master", 255, "No daemon is running"),
    ] {
        adm.bad(line, code, text);
    }
    // IPVS has no words for these: it takes them.
    for (line, part) in [
        ("--start-daemon master --mcast-interface eth0", "--start-daemon"),
        ("-a -t 10.0.0.1:80 -r 10.0.1.2 -i --tun-type gue --tun-port 6080 --tun-remcsum", "--tun-remcsum"),
        ("-A -t 127.0.0.1:80", "loopback"),
    ] {
        let before = adm.daemon.engine.current();
        let ran = adm.run(line);
        assert_eq!((ran.code, ran.err.lines().count()), (255, 1), "{line}: {ran:?}");
        assert!(ran.err.contains(part), "{line}: {ran:?}");
        assert_eq!(adm.daemon.engine.current(), before, "{line}");
    }
    // What surprises and is right.
    adm.good(&["-a -t 10.0.0.1:80 -r 10.0.1.3 -w 65536", "-A -t 10.0.0.1:86 -s rr -M 255.255.255.0"]);
}

#[test]
fn what_is_saved_is_restored() {
    let adm = Adm::start();
    let lines = "-A -t 10.0.0.1:80 -s wrr -p 120\n\
                 -a -t 10.0.0.1:80 -r 10.0.1.1:80 -m -w 5\n\
                 -a -t 10.0.0.1:80 -r 10.0.1.2:80 -g -w 3\n\
                 -A -t 10.0.0.1:443 -s sh -b sh-port\n\
                 -a -t 10.0.0.1:443 -r 10.0.1.1:443 -i -w 1 --tun-type ipip\n\
                 -a -t 10.0.0.1:443 -r 10.0.1.2:443 -i -w 1 --tun-type gue --tun-port 6080 --tun-nocsum\n\
                 -A -u 10.0.0.1:53 -s rr -o\n\
                 -A -t [fd00::1]:80 -s mh -p 60 -M 64 -b mh-fallback,mh-port\n\
                 -a -t [fd00::1]:80 -r [fd00:1::1]:80 -i -w 2147483647 --tun-type gre --tun-csum\n\
                 -A -f 3 -s lc\n\
                 -A -f 3 -6 -s nq\n";
    // Marks: by number, then family.
    assert_eq!(adm.restore(lines).good(), "");
    assert_eq!(adm.daemon.engine.current().0, 1, "a restore is one transaction");
    assert_eq!(adm.run("-S -n").good(), lines);
    let listed = adm.run("-Ln").good();
    adm.good(&["-C"]);
    assert_eq!(adm.restore(&lines.replace("\n-", "\nipvsadm -")).good(), "", "lines may begin with the program");
    assert_eq!((adm.run("-Sn").good(), adm.run("-Ln").good()), (lines.to_owned(), listed));
}

#[test]
fn a_restore_goes_on_after_what_the_kernel_refuses_and_ends_where_options_are_wrong() {
    let adm = Adm::start();
    let services = || adm.daemon.engine.current().1.services.len();
    let refused = "-A -t 10.0.0.1:80\n\n-A -t 10.0.0.1:80\n   \n-A -t 10.0.0.1:81 -Q\n-A -t 10.0.0.1:82\n";
    let ran = adm.restore(refused);
    assert_eq!(
        (ran.code, ran.err.as_str()),
        (0, "Service already exists\n-Q: unknown option\n"),
        "the last line's code"
    );
    assert_eq!(services(), 2);
    let ran = adm.restore("-A -t 10.0.0.1:83\n-D -t 10.0.0.1:99\n");
    assert_eq!((ran.code, ran.err.as_str()), (255, "No such service\n"));
    assert_eq!(services(), 3);
    let ran = adm.restore("-A -t 10.0.0.1:84\n-A -t 10.0.0.1\n-A -t 10.0.0.1:85\n");
    assert_eq!((ran.code, ran.err.as_str()), (2, "Zero port specified for non-persistent service\n"));
    assert_eq!(services(), 4, "what came before is done");
    // Only the daemon sees that a service cannot have this address; the lines beside it are made.
    let ran = adm.restore("-A -t 10.0.0.1:86\n-A -t 127.0.0.1:80\n-A -t 10.0.0.1:87\n");
    assert_eq!((ran.code, ran.err.lines().count()), (0, 1), "{ran:?}");
    assert_eq!(services(), 6);
    for (lines, code) in [("# a comment\n-C\n", 255), ("-R\n-C\n", 255), ("-v\n-C\n", 0), ("-L -t 10.0.0.9:1\n-C\n", 1)]
    {
        assert_eq!(adm.restore(lines).code, code, "{lines}");
        assert_eq!(services(), 6, "{lines} ends there");
    }
    // A listing in the middle shows what the lines before it made.
    let ran = adm.restore("-A -t 10.0.0.1:88 -s dh\n-Ln -t 10.0.0.1:88\n-C\n");
    assert!(ran.good().ends_with("TCP  10.0.0.1:88 dh\n"));
    assert_eq!(services(), 0);
}

#[test]
fn counters_and_rates_are_those_of_the_daemon() {
    let adm = Adm::start();
    adm.good(&["-A -t 10.0.0.1:80", "-a -t 10.0.0.1:80 -r 10.0.1.1 -m", "-a -t 10.0.0.1:80 -r 10.0.1.254 -g"]);
    let rows = |line: &str| adm.run(line).good().lines().skip(3).map(str::to_owned).collect::<Vec<_>>();
    assert_eq!(
        rows("-Ln --stats"),
        [
            "TCP  10.0.0.1:80                         3       40       38     5000    70000",
            "  -> 10.0.1.1:80                         3       40       38     5000    70000",
            "  -> 10.0.1.254:80                       3       40       38     5000    70000",
        ]
    );
    assert_eq!(rows("-Ln --rate")[0], "TCP  10.0.0.1:80                         1       20       19     2500    35000");
    let local = "  -> 10.0.1.254:80                Local   1      1          2         ";
    assert_eq!(rows("-Ln")[2], local);
    assert!(rows("-Ln --persistent-conn")[1].starts_with("  -> 10.0.1.1:80                  1         4           "));
}

#[test]
fn every_connection_is_listed() {
    let adm = Adm::start();
    let text = adm.run("-L -n -c").good();
    assert_eq!(text.lines().count(), 5002, "two lines of head; the API shows 1000 when it is not asked for more");
    assert_eq!(text.lines().nth(2), Some("TCP 14:56  established 192.0.2.7:1024     10.0.0.1:80        10.0.1.1:80"));
    assert_eq!(text.lines().last(), Some("TCP 14:56  established 192.0.2.7:6023     10.0.0.1:80        10.0.1.1:80"));
}

#[test]
fn a_reader_that_has_seen_enough_is_no_failure() {
    let adm = Adm::start();
    let mut command = Command::new(&adm.program);
    command.env("XVS_SOCKET", adm.daemon.socket()).args(["-L", "-n", "-c"]).stdin(Stdio::null());
    let mut child = command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    drop(child.stdout.take());
    let ended = ran(child.wait_with_output().unwrap());
    assert_eq!((ended.code, ended.err.as_str()), (0, ""));
}

#[test]
fn names_are_shown_unless_numbers_are_asked_for() {
    let adm = Adm::start();
    adm.good(&["-A -t 10.0.0.1:http", "-A -u 10.0.0.1:domain", "-A -t 10.0.0.1:65000"]);
    let numeric: Vec<String> = adm.run("-Sn").good().lines().map(str::to_owned).collect();
    assert_eq!(numeric, ["-A -t 10.0.0.1:80 -s wlc", "-A -t 10.0.0.1:65000 -s wlc", "-A -u 10.0.0.1:53 -s wlc"]);
    let named = adm.run("-S").good();
    assert!(named.contains(":http -s") && named.contains(":domain -s") && named.contains(":65000 -s"), "{named}");
    // No words at all: the listing with names.
    assert_eq!(adm.run("").good(), adm.run("-L").good());
}

#[test]
fn it_is_found_by_its_name_and_as_a_verb() {
    let adm = Adm::start();
    let socket = adm.daemon.socket().display().to_string();
    let nowhere = private_directory();
    let other = nowhere.path().join("none");
    let by_verb = |words: &[&str]| support::xvs(&other, &[&["--socket", &socket, "ipvsadm"], words].concat());
    by_verb(&["-A", "-t", "10.0.0.1:80", "-s", "rr", "-p"]).good();
    by_verb(&["-A", "-u", "10.0.0.1:53", "-o"]).good();
    assert_eq!(by_verb(&["-Sn"]).good(), "-A -t 10.0.0.1:80 -s rr -p 360\n-A -u 10.0.0.1:53 -s wlc -o\n");
    assert_eq!(by_verb(&[]).good(), adm.run("-L").good());
    let again = by_verb(&["-A", "-t", "10.0.0.1:80"]);
    assert_eq!((again.code, again.err.as_str()), (255, "Service already exists\n"));
    for words in [["-h"], ["--help"]] {
        assert!(by_verb(&words).good().starts_with("ipvsadm v1.31 2019/12/24 (compiled with popt and IPVS v1.2.1)\n"));
    }
    assert_eq!(adm.run("-v").good(), "ipvsadm v1.31 2019/12/24 (compiled with popt and IPVS v1.2.1)\n");

    // Nobody there.
    let mut command = Command::new(&adm.program);
    let alone = ran(command.env("XVS_SOCKET", &other).args(["-L", "-n"]).output().unwrap());
    assert_eq!((alone.code, alone.out.as_str()), (2, ""));
    assert!(alone.err.starts_with("Can't initialize ipvs: daemon not reachable at "), "{alone:?}");
}

/// Eight processes change one service at once. Each command is whole: nothing is lost and nothing is half.
#[test]
fn concurrent_commands_are_all_applied() {
    let adm = Adm::start();
    adm.good(&["-A -t 10.0.0.1:80"]);
    std::thread::scope(|scope| {
        for client in 0..8 {
            let adm = &adm;
            scope.spawn(move || {
                for real in 1..=6 {
                    adm.good(&[&format!("-a -t 10.0.0.1:80 -r 10.1.{client}.{real} -w {real}")]);
                }
            });
        }
    });
    let (revision, spec) = adm.daemon.engine.current();
    assert_eq!((revision, spec.services[0].reals.len()), (49, 48));
    assert!(spec.services[0].reals.iter().all(|real| real.method == Some(Method::Direct)));
}
