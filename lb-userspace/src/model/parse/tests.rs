//! Wrong files as rows: the text, and for each problem its line, its key and a part of what is said.

use std::fmt::Write as _;

use proptest::prelude::*;

use super::{lvs_rows::LVS_ROWS, *};

/// (what the row is about, text, [(line, key, part of the message)])
pub(super) type Row = (&'static str, &'static str, &'static [(usize, &'static str, &'static str)]);

const ROWS: &[Row] = &[
    ("not TOML", "[director\n", &[(1, "", "not TOML: ")]),
    ("a key twice", "[director]\nsloppy_tcp = true\nsloppy_tcp = true\n", &[(3, "", "not TOML: duplicate key")]),
    (
        "unknown keys, with the nearest one",
        "[director]\ninterfaces = [\"eth0\"]\nslopy-tcp = true\n[directr]\n[[service]]\naddress = \"10.0.0.1:80\"\nsticky = 5\n",
        &[
            (3, "director.slopy-tcp", "did you mean sloppy_tcp?"),
            (4, "directr", "did you mean director?"),
            (7, "service[0].sticky", "known here: protocol, address, mark, family, scheduler, flags"),
        ],
    ),
    (
        "wrong types",
        "service = 5\n[director]\ninterfaces = \"eth0\"\nsloppy_tcp = 1\n[director.timeouts]\ntcp = \"900\"\nudp = 1.5\n",
        &[
            (1, "service", "expected a list of tables, found an integer"),
            (3, "director.interfaces", "expected a list of strings, found a string"),
            (4, "director.sloppy_tcp", "expected true or false, found an integer"),
            (6, "director.timeouts.tcp", "expected a whole number, found a string"),
            (7, "director.timeouts.udp", "expected a whole number, found a float"),
        ],
    ),
    (
        "one table where a list is meant",
        "[service]\naddress = \"10.0.0.1:80\"\n",
        &[(1, "service", "write [[service]]")],
    ),
    (
        "the same inside a service",
        "[[service]]\naddress = \"10.0.0.1:80\"\n[service.real]\naddress = \"10.0.1.1\"\n",
        &[(3, "service[0].real", "write [[service.real]]")],
    ),
    (
        "ranges",
        "[director.timeouts]\ntcp = 0\ntcp_fin = -1\nudp = 2678401\n[[service]]\naddress = \"10.0.0.1:80\"\n\
         [[service.real]]\naddress = \"10.0.1.1\"\nweight = 2147483648\n[[service.real]]\naddress = \"10.0.1.2\"\nweight = 99999999999\n",
        &[
            (2, "director.timeouts.tcp", "0 is out of range; from 1 to 2678400"),
            (3, "director.timeouts.tcp_fin", "-1 is out of range; from 1 to 2678400"),
            (4, "director.timeouts.udp", "2678401 is out of range; from 1 to 2678400"),
            (9, "service[0].real[0].weight", "2147483648 is out of range; from 0 to 2147483647"),
            (12, "service[0].real[1].weight", "99999999999 is out of range; from 0 to 2147483647"),
        ],
    ),
    (
        "words",
        "[[service]]\naddress = \"10.0.0.1:80\"\nprotocol = \"icmp\"\nscheduler = \"nqq\"\nmethod = \"masq\"\n\
         on_real_down = \"close\"\nflags = [\"sh-port\", \"sh-ports\", 1]\n",
        &[
            (3, "service[0].protocol", "unknown protocol \"icmp\"; one of tcp, udp, sctp, mark"),
            (
                4,
                "service[0].scheduler",
                "unknown scheduler \"nqq\"; one of rr, wrr, lc, wlc, sh, mh, dh, sed, nq, fo, ovf",
            ),
            (
                5,
                "service[0].method",
                "forwarding method masq is not in this version; one of direct, tunnel, gue, gre, nat",
            ),
            (6, "service[0].on_real_down", "unknown on_real_down policy \"close\"; one of keep, drop, reschedule"),
            (7, "service[0].flags[1]", "unknown scheduler flag \"sh-ports\""),
            (7, "service[0].flags[2]", "expected a string, found an integer"),
        ],
    ),
    (
        "addresses",
        "[director]\ntunnel_source_v4 = \"fd00::1\"\ntunnel_source_v6 = \"::\"\n[[service]]\naddress = \"fd00::1:80\"\n\
         [[service]]\naddress = \"224.0.0.1:80\"\n[[service]]\naddress = \"www\"\n[[service]]\n\
         [[service]]\naddress = \"10.0.0.9:80\"\n[[service.real]]\naddress = \"127.0.0.1\"\n[[service.real]]\nweight = 1\n",
        &[
            (2, "director.tunnel_source_v4", "is not an IPv4 address"),
            (3, "director.tunnel_source_v6", ":: is the unspecified address: no tunnel can start there"),
            (5, "service[0].address", "stands in brackets here: [fd00::1:80] or [fd00::1:80]:80"),
            (7, "service[1].address", "224.0.0.1 is a multicast address: no service can have it"),
            (9, "service[2].address", "\"www\" is not an address such as 10.0.0.1:80"),
            (10, "service[3].address", "missing; write for example address = \"10.0.0.1:80\""),
            (14, "service[4].real[0].address", "127.0.0.1 is a loopback address: no real server can have it"),
            (15, "service[4].real[1].address", "missing"),
        ],
    ),
    (
        "duplicates name the line of the first",
        "[director]\ninterfaces = [\"eth0\", \"eth1\", \"eth0\"]\n[[service]]\naddress = \"10.0.0.1:80\"\nscheduler = \"sh\"\n\
         flags = [\"sh-port\", \"sh-port\"]\n[[service.real]]\naddress = \"10.0.1.1\"\n[[service.real]]\naddress = \"10.0.1.1:80\"\n\
         [[service]]\naddress = \"10.0.0.1:80\"\nprotocol = \"udp\"\n[[service]]\naddress = \"10.0.0.1:80\"\n",
        &[
            (2, "director.interfaces[2]", "interface eth0 is there already, as director.interfaces[0] (line 2)"),
            (6, "service[0].flags[1]", "flag sh-port is there already, as service[0].flags[0] (line 6)"),
            (10, "service[0].real[1].address", "real 10.0.1.1:80 is there already, as service[0].real[0] (line 7)"),
            (15, "service[2].address", "service tcp://10.0.0.1:80 is there already, as service[0] (line 3)"),
        ],
    ),
    (
        "families, ports and loops",
        "[[service]]\naddress = \"10.0.0.1:80\"\n[[service.real]]\naddress = \"fd00::1\"\n[[service.real]]\naddress = \"fd00::2\"\n\
         method = \"tunnel\"\n[[service.real]]\naddress = \"10.0.1.1:8080\"\n[[service.real]]\naddress = \"10.0.0.1\"\n",
        &[
            (4, "service[0].real[0].address", "fd00::1 is IPv6 but service tcp://10.0.0.1:80 is IPv4"),
            (
                9,
                "service[0].real[2].address",
                "port 8080 is not the service's port 80: direct forwarding does not rewrite",
            ),
            (11, "service[0].real[3].address", "10.0.0.1 is the service's own address"),
        ],
    ),
    (
        "flags of another scheduler",
        "[[service]]\naddress = \"10.0.0.1:80\"\nflags = [\"mh-port\"]\n",
        &[(3, "service[0].flags[0]", "flag mh-port is for scheduler mh, this service has wlc")],
    ),
    (
        "health",
        "[[service]]\naddress = \"10.0.0.1\"\n[service.health]\ntype = \"tcp\"\npath = \"/\"\ninterval = \"5\"\ntimeout = \"1ms\"\n\
         rise = 0\nfall = 101\n[[service]]\naddress = \"10.0.0.2:80\"\n[service.health]\ntype = \"http\"\nport = 0\ninterval = \"1s\"\n\
         timeout = \"2s\"\npath = \"health\"\nhost = \"a b\"\nstatus = [\"200-299\", \"abc\"]\n\
         [[service]]\naddress = \"10.0.0.3:80\"\n[service.health]\nstatus = []\n",
        &[
            (3, "service[0].health.port", "missing: the service has any port"),
            (5, "service[0].health.path", "unknown key"),
            (6, "service[0].health.interval", "\"5\" is not a duration, such as 500ms, 2s or 1m"),
            (7, "service[0].health.timeout", "1ms is out of range; from 10ms to 1h"),
            (8, "service[0].health.rise", "0 is out of range; from 1 to 100"),
            (9, "service[0].health.fall", "101 is out of range; from 1 to 100"),
            (14, "service[1].health.port", "0 is out of range; from 1 to 65535"),
            (16, "service[1].health.timeout", "2s is longer than interval 1s"),
            (17, "service[1].health.path", "\"health\" is not a path"),
            (18, "service[1].health.host", "\"a b\" is not a host name"),
            (19, "service[1].health.status[1]", "\"abc\" is not an HTTP status"),
            (22, "service[2].health.type", "missing; write for example type = \"tcp\" (or \"http\")"),
            (23, "service[2].health.status", "empty: no answer would count as success"),
        ],
    ),
    (
        "an SCTP service asked at its own port",
        "[[service]]\naddress = \"10.0.0.1:3868\"\nprotocol = \"sctp\"\n[service.health]\ntype = \"tcp\"\n\
         [[service]]\naddress = \"10.0.0.1:3869\"\nprotocol = \"sctp\"\n[service.health]\ntype = \"http\"\nport = 8080\n\
         [[service]]\naddress = \"10.0.0.1:3870\"\nprotocol = \"stcp\"\n[service.health]\ntype = \"tcp\"\n",
        &[
            (
                4,
                "service[0].health.port",
                "missing: checks ask by TCP, which an SCTP port does not answer; name a TCP port",
            ),
            (14, "service[2].protocol", "unknown protocol \"stcp\"; one of tcp, udp, sctp, mark"),
        ],
    ),
    (
        "interface names",
        "[director]\ninterfaces = [\"\", \"a/b\", \"averyveryverylongname\", \"\\u001b[31m\"]\n",
        &[
            (2, "director.interfaces[0]", "\"\" is not an interface name"),
            (2, "director.interfaces[1]", "is not an interface name"),
            (2, "director.interfaces[2]", "is not an interface name"),
            (2, "director.interfaces[3]", "\"\\u{1b}[31m\" is not an interface name"),
        ],
    ),
    (
        "what depends on an unread value is left alone",
        "[[service]]\naddress = \"nonsense\"\nscheduler = \"shh\"\nflags = [\"sh-port\"]\n[[service.real]]\naddress = \"fd00::1\"\n",
        &[(2, "service[0].address", "is not an address"), (3, "service[0].scheduler", "unknown scheduler \"shh\"")],
    ),
    ("a hostile key stays in one line", "\"a\\nb\" = 1\n", &[(1, "a\\nb", "unknown key")]),
];

#[test]
fn wrong_files_tell_everything_at_once() {
    for (about, text, expected) in ROWS.iter().chain(LVS_ROWS) {
        let problems = parse(text.as_bytes()).expect_err(about);
        let mut got = String::new();
        for problem in &problems {
            let _ = writeln!(got, "  {problem}");
        }
        assert_eq!(problems.len(), expected.len(), "{about}:\n{got}");
        for (problem, (line, key, part)) in problems.iter().zip(*expected) {
            assert_eq!((problem.line, problem.key.as_str()), (*line, *key), "{about}:\n{got}");
            assert!(problem.message.contains(part), "{about}: {part:?} in\n{got}");
            assert!(problem.column > 0 && !problem.message.contains('\n'), "{about}:\n{got}");
        }
    }
}

#[test]
fn the_column_counts_characters_and_points_at_the_value() {
    let problems = parse("[director]\ninterfaces = [\"é/é\", \"/\"]\n".as_bytes()).unwrap_err();
    assert_eq!(problems.iter().map(|problem| problem.column).collect::<Vec<_>>(), [15, 22]);
}

#[test]
fn an_empty_file_is_an_empty_spec() {
    assert_eq!(parse(b""), Ok(Spec::default()));
    assert_eq!(parse(b"[director]\n"), Ok(Spec::default()));
}

#[test]
fn inline_tables_and_single_statuses_are_taken() {
    let text = "service = [{ address = \"10.0.0.1:80\", real = [{ address = \"10.0.1.1\" }], health = { type = \"http\", status = \"204\" } }]";
    let spec = parse(text.as_bytes()).unwrap();
    assert_eq!(spec.services[0].reals[0].port, 80);
    assert!(
        matches!(&spec.services[0].health.as_ref().unwrap().probe, super::super::Probe::Http { status, .. } if *status == [204..=204])
    );
    let problems = parse(text.replace("10.0.1.1", "::").as_bytes()).unwrap_err();
    assert_eq!((problems[0].line, problems[0].column), (1, 59));
}

// === hostile input: one clear error, never a panic ===

#[test]
fn a_file_too_large_is_refused_before_it_is_read() {
    let problems = parse(&vec![b'#'; MAX_BYTES + 1]).unwrap_err();
    assert_eq!(problems.len(), 1);
    assert!(problems[0].message.contains("134217729 bytes; at most 134217728"), "{}", problems[0]);
}

#[test]
fn bytes_that_are_not_utf8_are_named_by_place() {
    let problems = parse(b"[director]\n# \xff\n").unwrap_err();
    assert_eq!((problems[0].line, problems[0].column, problems.len()), (2, 3, 1));
    assert!(problems[0].message.contains("not UTF-8"), "{}", problems[0]);
}

#[test]
fn nesting_of_every_kind_is_refused_and_not_followed() {
    let deep = 200_000;
    for text in [
        format!("a = {}", "[".repeat(deep)),
        format!("a = {}{}", "[".repeat(deep), "]".repeat(deep)),
        format!("a = {}", "{a=".repeat(deep)),
        format!("{}a = 1", "a.".repeat(deep)),
        format!("[{}a]", "a.".repeat(deep)),
        format!("[[{}a]]", "a.".repeat(deep)),
    ] {
        let problems = parse(text.as_bytes()).unwrap_err();
        assert_eq!(problems.len(), 1, "{:?}", problems.iter().take(3).collect::<Vec<_>>());
    }
}

#[test]
fn many_problems_are_cut() {
    let text: String = (0..5000).fold(String::new(), |mut text, index| {
        let _ = writeln!(text, "k{index} = 1");
        text
    });
    let problems = parse(text.as_bytes()).unwrap_err();
    assert_eq!(problems.len(), MAX_PROBLEMS + 1);
    assert_eq!(problems[MAX_PROBLEMS].message, "4000 more problems follow");
}

/// A valid text, to be damaged.
const VALID: &str = "[director]\ninterfaces = [\"eth0\"]\n[director.timeouts]\ntcp = 900\n[[service]]\n\
    address = \"10.0.0.1:80\"\nflags = []\n[service.health]\ntype = \"http\"\ninterval = \"2s\"\nstatus = [\"200-299\"]\n\
    [[service.real]]\naddress = \"10.0.1.1\"\nweight = 5\n";

proptest! {
    #[test]
    fn random_bytes_never_panic(bytes in proptest::collection::vec(any::<u8>(), 0..400)) {
        let _ = parse(&bytes);
    }

    #[test]
    fn random_toml_like_text_never_panics(text in "([a-z]{1,3}|service|real|health|address|[\\[\\]{}=.,\"'#\n -]|[0-9]{1,3}|é){0,80}") {
        if let Err(problems) = parse(text.as_bytes()) {
            let lines = text.split('\n').count();
            prop_assert!(problems.iter().all(|problem| (1..=lines).contains(&problem.line)), "{:?}", problems);
        }
    }

    #[test]
    fn damaged_files_never_panic(at in 0..VALID.len(), replacement in "[\\[\\]{}=.\"\n0-9a-zé-]{0,3}") {
        let mut text = VALID.to_owned();
        text.replace_range(at..=at, &replacement);
        let _ = parse(text.as_bytes());
    }
}
