//! What LVS users know, through the real `xvs` binary: marks, persistence, thresholds, times, the director's settings.

mod support;

use lb_userspace::model::SchedulerFlag;
use support::Daemon;

#[test]
fn marks_are_added_listed_and_removed_in_one_change() {
    let daemon = Daemon::start();
    let rules = ["tcp", "10.0.0.1:80", "tcp", "10.0.0.0/24:8000-8100", "udp", "[fd00::/64]:53"];
    daemon.xvs(&[&["mark", "add", "1"], &rules[..]].concat()).good();
    assert_eq!(daemon.engine.current().0, 1, "one revision for all of them");
    daemon.xvs(&["mark", "add", "7", "sctp", "10.0.0.9"]).good();
    daemon.xvs(&["service", "add", "mark://1", "--persistent"]).good();
    daemon.xvs(&["real", "add", "mark://1", "10.0.1.1"]).good();
    let expected = "\
MARK  PROTOCOL  ADDRESS                SERVICE
   1  tcp       10.0.0.1:80            mark://1
   1  tcp       10.0.0.0/24:8000-8100  mark://1
   1  udp       [fd00::/64]:53         -
   7  sctp      10.0.0.9               -
";
    assert_eq!(daemon.xvs(&["mark", "list"]).good(), expected);
    let listed = daemon.xvs(&["mark", "ls", "7", "-o", "json"]).good();
    let listed: serde_json::Value = serde_json::from_str(&listed).unwrap();
    assert_eq!(listed, serde_json::json!([{"mark": 7, "protocol": "sctp", "address": "10.0.0.9"}]));
    let again = daemon.file("again.toml", daemon.xvs(&["export"]).good());
    assert_eq!(daemon.xvs(&["apply", &again]).good(), "nothing changed, revision 4\n");

    daemon
        .xvs(&["mark", "remove", "1", "tcp", "10.0.0.1:80", "tcp", "10.0.0.1:81"])
        .bad(1, "tcp 10.0.0.1:81 of mark 1 does not");
    assert_eq!(daemon.engine.current().1.marks.len(), 4, "all or none");
    daemon.xvs(&["mark", "remove", "1", "tcp", "10.0.0.1:80"]).good();
    assert_eq!(daemon.engine.current().1.marks.len(), 3);
    daemon.xvs(&["mark", "add", "2", "sctp", "10.0.0.9"]).bad(1, "rule sctp 10.0.0.9 of mark 7 exists already");
    daemon.xvs(&["mark", "add", "2", "tcp"]).bad(2, "2 values required");
    daemon.xvs(&["mark", "add", "2", "tcp", "10.0.0.1:80", "udp"]).bad(2, "\"udp\" has no partner");
    daemon.xvs(&["mark", "add", "0", "tcp", "10.0.0.1:80"]).bad(2, "0 is not in 1..=4294967295");
    daemon.xvs(&["mark", "add", "2", "icmp", "10.0.0.1"]).bad(2, "unknown protocol \"icmp\"");
    daemon.xvs(&["mark", "add", "2", "mark", "10.0.0.1"]).bad(2, "a rule is for packets of tcp, udp or sctp");
    daemon.xvs(&["mark", "add", "2", "tcp", "10.0.0.1/24"]).bad(2, "write 10.0.0.0/24 or 10.0.0.1");
    daemon.xvs(&["service", "add", "10.0.0.0/24:80"]).bad(2, "xvs mark add 1 tcp 10.0.0.0/24:80");
    daemon.xvs(&["service", "add", "tcp://10.0.0.1:80-90"]).bad(2, "xvs mark add 1 tcp 10.0.0.1:80-90");
}

#[test]
fn persistence_times_and_slots_are_changed_in_parts() {
    let daemon = Daemon::start();
    let edit = |args: &[&str]| daemon.xvs(&[&["service", "edit", "10.0.0.1:80"], args].concat());
    let service = || daemon.engine.current().1.services[0].clone();
    let persistence = || service().persistence.map(|known| (known.timeout, known.netmask.map(|mask| mask.to_string())));
    let add = ["service", "add", "10.0.0.1:80", "-s", "mh", "--table-slots", "251", "--persistent", "60"];
    daemon.xvs(&[&add[..], &["--netmask", "255.255.255.0", "--timeout-tcp", "5", "--flag", "flag-1"]].concat()).good();
    assert_eq!(
        (service().table_slots, service().scheduler_flags.clone()),
        (Some(251), vec![SchedulerFlag::MhFallback])
    );
    edit(&["--persistent"]).good();
    assert_eq!(persistence(), Some((360, Some("255.255.255.0".to_owned()))), "the netmask stays");
    edit(&["--netmask", "255.255.0.0", "--timeout-udp", "7"]).good();
    assert_eq!(persistence(), Some((360, Some("255.255.0.0".to_owned()))), "the time stays");
    let times = service().timeouts.unwrap();
    assert_eq!((times.tcp, times.tcp_fin, times.udp), (Some(5), None, Some(7)));
    edit(&["--no-persistent", "--no-timeouts", "--no-table-slots"]).good();
    assert_eq!((persistence(), service().timeouts, service().table_slots), (None, None, None));

    edit(&["--netmask", "255.255.0.0"]).bad(1, "has no persistence; add it with --persistent");
    edit(&["--persistent", "0"]).bad(2, "persistence.timeout: 0 is out of range; from 1 to 2678400");
    edit(&["--persistent", "--netmask", "/64"]).bad(2, "/64 is not a netmask of IPv4");
    edit(&["--persistent", "--no-persistent"]).bad(2, "cannot be used with");
    edit(&["--one-packet"]).bad(2, "is for udp and for marks, this service is tcp");
    edit(&["--table-slots", "4096"]).bad(2, "4096 is not one of the primes");
    daemon.xvs(&["service", "add", "10.0.0.2:80", "--netmask", "255.0.0.0"]).bad(2, "it needs --persistent");
    daemon.xvs(&["service", "edit", "10.0.0.2:80", "--persistent"]).bad(1, "tcp://10.0.0.2:80 does not exist");

    let key = "udp://10.0.0.1:53";
    daemon.xvs(&["service", "add", key, "--one-packet", "--flag", "udp-active"]).good();
    assert!(daemon.engine.current().1.services[1].one_packet);
    daemon.xvs(&["service", "edit", key, "--no-one-packet"]).good();
    assert!(!daemon.engine.current().1.services[1].one_packet);
    daemon.xvs(&["real", "add", key, "10.0.1.1", "--upper-threshold", "8", "--lower-threshold", "2"]).good();
    daemon.xvs(&["real", "edit", key, "10.0.1.1", "--lower-threshold", "9"]).bad(2, "9 is above the upper threshold 8");
    daemon.xvs(&["real", "edit", key, "10.0.1.1", "--upper-threshold", "9"]).good();
    let real = daemon.engine.current().1.services[1].reals[0].clone();
    assert_eq!((real.upper_threshold, real.lower_threshold), (9, 2));
}

#[test]
fn the_directors_settings_change_while_it_runs() {
    let daemon = Daemon::start();
    daemon
        .xvs(&["director", "edit", "--timeout-tcp", "3600", "--conn-reuse-mode", "1", "--sloppy-sctp", "true"])
        .good();
    daemon.xvs(&["director", "edit", "--timeout-udp", "60"]).good();
    let shown = daemon.xvs(&["director", "show"]).good();
    for line in [
        "timeouts.tcp               3600\n",
        "timeouts.udp               60\n",
        "conn_reuse_mode            1\n",
        "sloppy_sctp                true\n",
        "expire_nodest_conn         false\n",
        "interfaces                 -\n",
    ] {
        assert!(shown.contains(line), "{shown}");
    }
    let json: serde_json::Value =
        serde_json::from_str(&daemon.xvs(&["director", "show", "-o", "json"]).good()).unwrap();
    assert_eq!((&json["conn_reuse_mode"], &json["timeouts"]["tcp_fin"]), (&1.into(), &120.into()));
    daemon.xvs(&["director", "edit"]).bad(2, "nothing to change in the director");
    daemon.xvs(&["director", "edit", "--conn-reuse-mode", "4"]).bad(2, "4 is not in 0..=3");
    daemon.xvs(&["director", "edit", "--timeout-tcp", "0"]).bad(2, "director.timeouts.tcp: 0 is out of range");
}
