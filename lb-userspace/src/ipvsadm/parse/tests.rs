//! What goes through and what is said of the rest, each as ipvsadm 1.31 itself answered.

use super::super::{
    command::{Change, Checksum, Forwarding, Server, Service, Tunnel},
    names::FewNames,
};
use super::*;

fn parsed(line: &str) -> Result<Command, Failure> {
    parse("ipvsadm", line.split(' ').map(str::to_owned).collect(), &FewNames)
}

#[track_caller]
fn said(code: u8, text: &str, lines: &[&str]) {
    for line in lines {
        let failure = parsed(line).expect_err(line);
        assert_eq!((failure.text.as_str(), failure.code), (text, code), "{line}");
    }
}

#[track_caller]
fn service(line: &str) -> Service {
    match parsed(line) {
        Ok(Command::Change(Change::AddService(service) | Change::EditService(service))) => service,
        other => panic!("{line}: {other:?}"),
    }
}

#[track_caller]
fn server(line: &str) -> Server {
    match parsed(line) {
        Ok(Command::Change(Change::AddServer(server) | Change::EditServer(server))) => server,
        other => panic!("{line}: {other:?}"),
    }
}

#[track_caller]
fn list(line: &str) -> List {
    match parsed(line) {
        Ok(Command::List(list)) => list,
        other => panic!("{line}: {other:?}"),
    }
}

#[test]
fn a_service_has_ipvsadms_defaults() {
    let plain = service("-A -t 1.2.3.4:80");
    assert_eq!((plain.key.to_string().as_str(), plain.scheduler.as_str()), ("tcp://1.2.3.4:80", "wlc"));
    assert_eq!((plain.persistence, plain.netmask, plain.one_packet), (None, None, false));
    assert_eq!(plain.flags, []);
    assert_eq!(service("-A -t 1.2.3.4:80 -p").persistence, Some(360), "the manual page says 300");
    assert_eq!(service("-A -t 1.2.3.4:80 -p 2678400").persistence, Some(2_678_400));
    assert_eq!(service("-A -t 1.2.3.4 -p 5").key.port, 0);
    assert_eq!(service("-A --sctp-service 1.2.3.4:80").key.to_string(), "sctp://1.2.3.4:80");
    assert_eq!(service("-E -f 4294967295 -o").key.to_string(), "mark://4294967295");
    assert_eq!(service("-A -f 1 -6 -6").key.to_string(), "mark6://1");
    assert_eq!(service("-A -op3 -u 1.2.3.4:domain").persistence, Some(3));
}

#[test]
fn a_netmask_is_read_for_the_family_that_is_known_by_then() {
    let mask = |line: &str| service(line).netmask.map(|mask| mask.to_string());
    assert_eq!(mask("-A -t 1.2.3.4:80 -p -M 255.255.255.0").as_deref(), Some("255.255.255.0"));
    assert_eq!(mask("-A -M 255.255.255.0 -t 1.2.3.4:80 -p").as_deref(), Some("255.255.255.0"));
    assert_eq!(mask("-A -t 1.2.3.4:80 -p -M 24").as_deref(), Some("0.0.0.24"), "inet_aton's way");
    assert_eq!(mask("-A -t 1.2.3.4:80 -p -M 255.255.255.255"), None, "the default");
    assert_eq!(mask("-A -t [::1]:80 -p -M 64").as_deref(), Some("/64"));
    assert_eq!(mask("-A -M 64 -t [::1]:80 -p"), None, "too early, and forgotten");
    assert_eq!(mask("-A -M 64 -f 1 -6 -p"), None);
    assert_eq!(mask("-A -f 1 -6 -p -M 128"), None);
    said(2, "illegal virtual server persistent mask specified", &["-A -t 1.2.3.4:80 -p -M nonsense"]);
    said(
        2,
        "illegal ipv6 netmask specified",
        &["-A -t [::1]:80 -p -M 0", "-A -t [::1]:80 -p -M 129", "-A -f 1 -6 -p -M 255.255.255.0"],
    );
}

#[test]
fn a_server_has_the_services_port_unless_it_is_translated_or_of_a_mark() {
    let real = |line: &str| server(line).real.to_string();
    assert_eq!(real("-a -t 1.2.3.4:80 -r 5.6.7.8"), "5.6.7.8:80");
    assert_eq!(real("-a -t 1.2.3.4:80 -r 5.6.7.8:81"), "5.6.7.8:80");
    assert_eq!(real("-e -t 1.2.3.4:80 -r 5.6.7.8:81 -i"), "5.6.7.8:80");
    assert_eq!(real("-a -t 1.2.3.4:80 -r 5.6.7.8:81 -m"), "5.6.7.8:81");
    assert_eq!(real("-a -t 1.2.3.4:80 -r 5.6.7.8:http -m"), "5.6.7.8:80");
    assert_eq!(real("-a -f 1 -r 5.6.7.8:81 -g"), "5.6.7.8:81");
    assert_eq!(real("-a -f 1 -r 5.6.7.8:http -m"), "5.6.7.8:80");
    assert_eq!(real("-a -f 1 -r 5.6.7.8"), "5.6.7.8:0");
    assert_eq!(real("-a -f 1 -6 -r [::5]:0 -i"), "[::5]:0");
    let Ok(Command::Change(Change::DeleteServer { real, .. })) = parsed("-d -t 1.2.3.4:80 -r 5.6.7.8:81") else {
        panic!("not a removal")
    };
    assert_eq!(real.port(), 81, "the port that was given is looked for");
}

#[test]
fn a_servers_numbers_are_those_of_an_int() {
    let weight = |word: &str| server(&format!("-a -t 1.2.3.4:80 -r 5.6.7.8 -w {word}")).weight;
    assert_eq!(["0", "65536", "2147483647", "010", "+5"].map(weight), [0, 65_536, 2_147_483_647, 10, 5]);
    assert_eq!(server("-a -t 1.2.3.4:80 -r 5.6.7.8").weight, 1);
    let both = server("-a -t 1.2.3.4:80 -r 5.6.7.8 -x 2147483647 -y 6");
    assert_eq!((both.upper, both.lower), (2_147_483_647, 6));
    for (option, what) in [("-w", "weight"), ("-x", "u_threshold"), ("-y", "l_threshold")] {
        for value in ["-1", "2147483648", "x", "5x", "0x10"] {
            said(2, &format!("illegal {what} specified"), &[&format!("-a -t 1.2.3.4:80 -r 5.6.7.8 {option} {value}")]);
        }
    }
}

#[test]
fn tunnels_have_types_with_options_of_their_own() {
    let way = |options: &str| server(&format!("-a -t 1.2.3.4:80 -r 5.6.7.8 {options}")).forwarding;
    assert_eq!(way("-g"), Forwarding::Gatewaying);
    assert_eq!(way("-m"), Forwarding::Masquerading);
    assert_eq!(way("-i"), Forwarding::Tunnel(Tunnel::Ipip));
    assert_eq!(way("-i --tun-type gue --tun-port 6080"), Forwarding::Tunnel(Tunnel::Gue(6080, Checksum::Without)));
    assert_eq!(
        way("-i --tun-type gue --tun-port 6080 --tun-remcsum"),
        Forwarding::Tunnel(Tunnel::Gue(6080, Checksum::Remote))
    );
    assert_eq!(way("--tun-csum --tun-type gre --ipip"), Forwarding::Tunnel(Tunnel::Gre(Checksum::With)));
    for (options, text) in [
        ("--tun-type ipip", "Tunnel options conflict with forward method"),
        ("-m --tun-type gue --tun-port 6080", "Tunnel options conflict with forward method"),
        ("--tun-csum --tun-nocsum", "Tunnel options conflict with forward method"),
        ("-i --tun-type nonsense", "illegal tunnel type specified"),
        ("-i --tun-type gue", "You need to supply the 'tun-port' option for the 'gue' tunnel type"),
        ("-i --tun-type gue --tun-port 0", "illegal tunnel port specified"),
        ("-i --tun-type gue --tun-port 65536", "illegal tunnel port specified"),
        ("-i --tun-port 6080", "Illegal 'tun-port' option with the 'ipip' tunnel type"),
        ("-i --tun-type ipip --tun-nocsum", "Illegal 'tun-nocsum' option with the 'ipip' tunnel type"),
        ("-i --tun-type gre --tun-port 5", "Illegal 'tun-port' option with the 'gre' tunnel type"),
        ("-i --tun-type gre --tun-remcsum", "Illegal 'tun-remcsum' option with the 'gre' tunnel type"),
        (
            "-i --tun-type gue --tun-port 5 --tun-nocsum --tun-csum",
            "The option 'tun-csum' conflicts with the 'tun-nocsum' option in the 'gue' tunnel type",
        ),
        (
            "-i --tun-type gue --tun-port 5 --tun-remcsum --tun-csum",
            "The option 'tun-remcsum' conflicts with the 'tun-csum' option in the 'gue' tunnel type",
        ),
        ("-i --tun-type gue --tun-type gre", "multiple 'tun-type' options specified"),
    ] {
        said(2, text, &[&format!("-a -t 1.2.3.4:80 -r 5.6.7.8 {options}")]);
    }
}

#[test]
fn other_families_only_through_a_tunnel() {
    assert!(parsed("-a -t 1.2.3.4:80 -r [::5]:80 -i").is_ok());
    said(
        2,
        "Different address family is allowed only for tunneling servers",
        &[
            "-a -t 1.2.3.4:80 -r [::5]:80",
            "-a -t 1.2.3.4:80 -r [::5]:80 -m",
            "-a -t 1.2.3.4:80 -r [::5]:80 --tun-type gue",
            "-a -f 1 -6 -r 5.6.7.8",
            "-a -f 1 -r ::5",
            "-e -t 1.2.3.4:80 -r ::5",
        ],
    );
}

#[test]
fn addresses_that_are_none() {
    said(
        2,
        "illegal virtual server address[:port] specified",
        &[
            "-A -t nonsense:80",
            "-A -t 1.2.3.4:99999",
            "-A -t 1.2.3.4: -p",
            "-A -t 80",
            "-A -t [::1]",
            "-A --tcp-service=",
            "-L -u 1.2.3.4:http",
        ],
    );
    said(
        2,
        "illegal real server address[:port] specified",
        &[
            "-a -t 1.2.3.4:80 -r nonsense",
            "-a -t 1.2.3.4:80 -r 5.6.7.8:99999",
            "-a -f 1 -6 -r [::5]",
            // Before the service's protocol is known a port has no name.
            "-a -r 5.6.7.8:http -t 1.2.3.4:80",
            "-a -f 3 -r 5.6.7.8:tftp -m",
        ],
    );
    for mark in ["0", "-1", "x", "4294967296", "0x10", "1x"] {
        said(2, &format!("invalid fwmark value `{mark}' specified"), &[&format!("-A -f {mark}")]);
    }
    said(2, "-6 used before -f\n", &["-A -6 -f 1", "-A -t 1.2.3.4:80 -6", "-L -6", "-A -t [::1]:80 -6"]);
}

#[test]
fn services_that_ipvs_does_not_have() {
    said(
        2,
        "Zero port specified for non-persistent service",
        &[
            "-A -t 1.2.3.4",
            "-A -t 1.2.3.4:0",
            "-E -t 1.2.3.4",
            "-A -t 1.2.3.4 -o",
            "-A -t ::1",
            "-A --sctp-service 1.2.3.4",
            "-A -t [1.2.3.4]:80",
        ],
    );
    said(
        2,
        "One-Packet Scheduling is only for UDP virtual services",
        &["-A -t 1.2.3.4:80 -o", "-A --sctp-service 1.2.3.4:80 -o", "-A -t 1.2.3.4:80 -s rr -p -o"],
    );
    for value in ["0", "x", "2678401", "5x"] {
        said(2, &format!("invalid timeout value `{value}' specified"), &[&format!("-A -t 1.2.3.4:80 -p {value}")]);
    }
    said(2, "invalid timeout value `' specified", &["-A -t 1.2.3.4:80 --persistent= -s rr"]);
    said(
        2,
        "incompatible scheduler flag `sh-port'",
        &["-A -t 1.2.3.4:80 -s rr -b sh-port", "-A -t 1.2.3.4 -b sh-port", "-A -s rr -b sh-port"],
    );
    said(2, "invalid scheduler flag `nonsense'", &["-A -t 1.2.3.4:80 -s sh -b nonsense", "-A -w 5 -b nonsense"]);
}

#[test]
fn what_a_command_needs_and_what_it_does_not_take() {
    for (command, name) in
        [("-A", "add-service"), ("-E", "edit-service"), ("-D", "delete-service"), ("-a", "add-server")]
    {
        said(
            2,
            &format!("You need to supply the 'service-address' option for the '{name}' command"),
            &[command, &format!("{command} -r 5.6.7.8 -w 5")],
        );
    }
    for (command, name) in [("-a", "add-server"), ("-e", "edit-server"), ("-d", "delete-server")] {
        said(
            2,
            &format!("You need to supply the 'real-server' option for the '{name}' command"),
            &[&format!("{command} -t 1.2.3.4:80")],
        );
    }
    for (line, option, command) in [
        ("-A -t 1.2.3.4 -w 5", "weight", "add-service"),
        ("-A -t 1.2.3.4:80 -r 5.6.7.8", "real-server", "add-service"),
        ("-D -t 1.2.3.4:80 -s rr", "scheduler", "delete-service"),
        ("-a -t 1.2.3.4:80 -r 5.6.7.8 -p", "persistent", "add-server"),
        ("-d -t 1.2.3.4:80 -r 5.6.7.8 -g", "forwarding-method", "delete-server"),
        ("-C -n", "numeric", "flush"),
        ("-R -n", "numeric", "restore"),
        ("-S -t 1.2.3.4:80", "service-address", "save"),
        ("-Z --exact", "exact", "zero"),
        ("--set 1 2 3 -n", "numeric", "set"),
        ("-L -o", "ops", "list"),
        ("-L --mcast-port 5", "mcast-port", "list"),
        ("--start-daemon master -n", "numeric", "start-daemon"),
        ("--stop-daemon master --mcast-interface eth0", "mcast-interface", "stop-daemon"),
    ] {
        said(2, &format!("Illegal '{option}' option with the '{command}' command"), &[line]);
    }
}

#[test]
fn every_option_may_be_given_once() {
    for (line, option) in [
        ("-A -t 1.2.3.4:80 -u 1.2.3.4:53", "service-address"),
        ("-A -f 1 -f 2", "service-address"),
        ("-A -t 1.2.3.4:80 -s rr -s lc", "scheduler"),
        ("-A -t 1.2.3.4:80 -p 5 -p 6", "persistent"),
        ("-A -t 1.2.3.4:80 -p -M 255.255.255.0 -M 255.255.255.0", "netmask"),
        ("-A -u 1.2.3.4:80 -o -o", "ops"),
        ("-A -u 1.2.3.4:80 --pe sip --pe sip", "pe"),
        ("-A -t 1.2.3.4:80 -s sh -b sh-port -b sh-fallback", "sched-flags"),
        ("-a -t 1.2.3.4:80 -r 5.6.7.8 -r 5.6.7.9", "real-server"),
        ("-a -t 1.2.3.4:80 -r 5.6.7.8 -g -i", "forwarding-method"),
        ("-a -t 1.2.3.4:80 -r 5.6.7.8 -gg", "forwarding-method"),
        ("-a -t 1.2.3.4:80 -r 5.6.7.8 -w 1 -w 2", "weight"),
        ("-a -t 1.2.3.4:80 -r 5.6.7.8 -x 1 -x 1", "u-threshold"),
        ("-a -t 1.2.3.4:80 -r 5.6.7.8 -y 1 -y 1", "l-threshold"),
        ("-Lnn", "numeric"),
        ("-Lcc", "connection"),
        ("-L --stats --stats", "stats"),
        ("-L --exact -X", "exact"),
        ("--start-daemon master --syncid 1 --syncid 1", "syncid"),
    ] {
        said(2, &format!("multiple '{option}' options specified"), &[line]);
    }
    assert!(parsed("-L --sort --sort").is_ok(), "it does nothing");
}

#[test]
fn listings() {
    assert_eq!(parse("ipvsadm", Vec::new(), &FewNames), parsed("-L"));
    let what = |line: &str| list(line).what;
    assert_eq!(what("-l"), Listing::Services(Columns::Plain));
    assert_eq!(what("-L --stats --rate --thresholds"), Listing::Services(Columns::Stats));
    assert_eq!(what("-L --tun-info --rate --persistent-conn"), Listing::Services(Columns::Rate));
    assert_eq!(what("-L --persistent-conn --thresholds"), Listing::Services(Columns::Thresholds));
    assert_eq!(what("-L --tun-info --persistent-conn"), Listing::Services(Columns::PersistentConn));
    assert_eq!(what("-Lnc --persistent-conn"), Listing::Connections { engines: true });
    assert_eq!(what("-L --timeout -n --exact --nosort"), Listing::Timeouts);
    assert_eq!(what("-L --daemon"), Listing::Daemon);
    assert_eq!(list("-L -f 3 -6").service.map(|key| key.to_string()).as_deref(), Some("mark6://3"));
    assert!(list("-Ln --nosort").nosort && list("-Ln").numeric && list("-LX").exact);
    said(
        2,
        "options conflicts in the list command",
        &[
            "-L -c --stats",
            "-L --rate -c",
            "-Lc --thresholds",
            "-L --timeout --stats",
            "-L --daemon --rate",
            "-L --timeout --persistent-conn",
        ],
    );
    for (line, last, first) in [
        ("-L -c --timeout", "timeout", "connection"),
        ("-L --daemon --timeout", "daemon", "timeout"),
        ("-L -c -t 1.2.3.4:80", "service-address", "connection"),
        ("-L -t 1.2.3.4:80 --daemon", "daemon", "service-address"),
        ("-L -c --stats --timeout", "timeout", "connection"),
    ] {
        said(2, &format!("The option '{last}' conflicts with the '{first}' option in the 'list' command"), &[line]);
    }
}

#[test]
fn timeouts_come_in_threes() {
    assert_eq!(parsed("--set 1 0 2678400"), Ok(Command::Change(Change::SetTimeouts([1, 0, 2_678_400]))));
    said(2, "--set option requires 3 timeout values", &["--set", "--set 1", "--set 1 2", "--set 1 2 -n", "--set x 2"]);
    said(2, "invalid timeout value `100000000' specified", &["--set 100000000 1 1", "--set 1 1 100000000"]);
    said(2, "invalid timeout value `-1' specified", &["--set -- -1 1 1"]);
    said(2, "unexpected argument 4", &["--set 1 2 3 4"]);
}

#[test]
fn words_that_popt_does_not_know_or_that_stand_in_the_wrong_place() {
    let help = "Try `ipvsadm -h' or 'ipvsadm --help' for more information.";
    said(255, help, &["-Q", "extra", "-t 1.2.3.4:80", "-n", "-nL", "--list=5", "--", "-", "--start-daemon"]);
    said(255, "-Q: unknown option", &["-L -Q"]);
    said(255, "--bogus: unknown option", &["-L --bogus"]);
    said(255, "-w: missing argument", &["-a -t 1.2.3.4:80 -r 5.6.7.8 -w"]);
    said(2, "unexpected argument extra", &["-L extra", "-L -- extra", "extra -L", "-A extra", "-A -b nonsense extra"]);
    said(2, "invalid option `-D'", &["-A -D -t 1.2.3.4:80"]);
    said(2, "invalid option `-Ll'", &["-Ll"]);
    said(2, "invalid option `master'", &["-L --start-daemon master"]);
    assert!(!parsed("-L -Q").unwrap_err().is_final && parsed("-Q").unwrap_err().is_final);
    assert_eq!((parsed("-h extra"), parsed("--version -Q")), (Ok(Command::Help), Ok(Command::Version)));
}

#[test]
fn the_synchronization_daemons_options_are_read_though_there_is_none() {
    assert_eq!(parsed("--start-daemon=master --syncid 255 --mcast-group 224.0.0.5"), Ok(Command::StartDaemon));
    assert_eq!(parsed("--start-daemon backup --mcast-group ff02::1"), Ok(Command::StartDaemon));
    assert_eq!(parsed("--stop-daemon backup --syncid 3"), Ok(Command::StopDaemon));
    for (line, text) in [
        ("--start-daemon bogus", "illegal start-daemon parameter specified"),
        ("--stop-daemon bogus", "illegal start_daemon specified"),
        ("--start-daemon master --syncid 256", "illegal syncid specified"),
        ("--start-daemon master --mcast-port 0", "illegal mcast-port specified"),
        ("--start-daemon master --mcast-ttl 256", "illegal mcast-ttl specified"),
        ("--start-daemon master --sync-maxlen 70000", "illegal sync-maxlen specified"),
        ("--start-daemon master --mcast-group 1.2.3.4", "invalid IPv4 mcast-group `1.2.3.4'"),
        ("--start-daemon master --mcast-group bogus", "invalid IPv4 mcast-group `bogus'"),
        ("--start-daemon master --mcast-group 239.255", "invalid IPv4 mcast-group `239.255'"),
        ("--start-daemon master --mcast-group ::1", "invalid IPv6 mcast-group `::1'"),
        ("--start-daemon master --mcast-group a:b", "invalid IPv6 mcast-group `a:b'"),
    ] {
        said(2, text, &[line]);
    }
}
