//! The tables of sh, dh and mh that user space publishes, slot for slot, against those of `scripts/rings.py`, which knows nothing of XVS.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::io::{ErrorKind, Write as _};
use std::net::IpAddr;
use std::process::{Command, Stdio};

use lb_common::abi::service::RING_EMPTY;
use lb_tests::director::Director;
use lb_userspace::model::parse::parse;
use lb_userspace::reconcile::effective::{Facts, effective, targets};
use lb_userspace::reconcile::{apply, plan};
use lb_userspace::signal::neighbour::{Egress, NextHop};

/// The script.
const SCRIPT: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/scripts/rings.py");

/// A service: scheduler, slots (0: the scheduler's own), and its reals in the order that they are added, each with the weights that it
/// gets one after the other.
type Case = (&'static str, u32, &'static [(&'static str, &'static [u32])]);

const CASES: [Case; 20] = [
    ("sh", 0, &[("10.0.1.1:80", &[1]), ("10.0.1.2:80", &[2]), ("10.0.1.3:80", &[5])]),
    ("sh", 0, &[("10.0.1.1:80", &[1]), ("10.0.1.2:80", &[0])]),
    ("sh", 0, &[("10.0.1.1:80", &[3, 0]), ("10.0.1.2:80", &[3, 3]), ("10.0.1.3:80", &[100, 100])]),
    ("sh", 0, &[("10.0.1.1:80", &[100_000]), ("10.0.1.2:80", &[1])]),
    ("sh", 0, &[("[fd00::1:1]:80", &[2]), ("[fd00::1:2]:80", &[3])]),
    ("sh", 0, &[]),
    ("dh", 0, &[("10.0.1.1:80", &[1]), ("10.0.1.2:80", &[9]), ("10.0.1.3:80", &[0])]),
    ("dh", 0, &[("[fd00::1:1]:80", &[2]), ("[fd00::1:2]:80", &[3])]),
    ("mh", 0, &[("10.0.1.1:80", &[1]), ("10.0.1.2:80", &[1]), ("10.0.1.3:80", &[1])]),
    ("mh", 0, &[("10.0.1.1:80", &[5]), ("10.0.1.2:80", &[3]), ("10.0.1.3:80", &[2])]),
    ("mh", 251, &[("10.0.1.1:80", &[5]), ("10.0.1.2:80", &[3]), ("10.0.1.3:80", &[2])]),
    // Weights that are scaled down: by 2^4 and by 2^25.
    ("mh", 0, &[("10.0.1.1:80", &[1000]), ("10.0.1.2:80", &[301]), ("10.0.1.3:80", &[50])]),
    ("mh", 251, &[("10.0.1.1:80", &[2_147_483_647]), ("10.0.1.2:80", &[1])]),
    // Drained: its last weight counts. One that never had any has no slots.
    ("mh", 0, &[("10.0.1.1:80", &[3, 0]), ("10.0.1.2:80", &[1, 1]), ("10.0.1.3:80", &[0, 0])]),
    ("mh", 0, &[("10.0.1.1:80", &[3, 0, 5]), ("10.0.1.2:80", &[1, 1, 0])]),
    ("mh", 0, &[("10.0.1.1:80", &[0]), ("10.0.1.2:80", &[0])]),
    ("mh", 0, &[("[fd00::1:1]:80", &[1]), ("[fd00:9::1:2]:80", &[5]), ("[2001:db8:7::ffff:3]:80", &[2])]),
    ("mh", 251, &[("[fd00::1:1]:80", &[1]), ("[fd00:9::1:2]:80", &[5])]),
    // Address translation: the real's own port goes into its permutation.
    ("mh", 509, &[("10.0.1.1:8080", &[1]), ("10.0.1.1:8081", &[1]), ("10.0.1.2:65535", &[1])]),
    ("mh", 131_071, &[("10.0.1.1:80", &[1]), ("10.0.1.2:80", &[2])]),
];

/// The configuration of a case at one of its steps.
fn text(case: &Case, step: usize) -> String {
    let (scheduler, slots, reals) = case;
    let is_v6 = reals.first().is_some_and(|(real, _)| real.starts_with('['));
    let address = if is_v6 { "[fd00::100]:80" } else { "10.0.0.100:80" };
    let mut text = format!("[[service]]\naddress = \"{address}\"\nscheduler = \"{scheduler}\"\nmethod = \"nat\"\n");
    if *slots > 0 {
        let _ = writeln!(text, "table_slots = {slots}");
    }
    for (real, weights) in *reals {
        let _ = writeln!(text, "[[service.real]]\naddress = \"{real}\"\nweight = {}", weights[step]);
    }
    text
}

/// The table that user space has published after the last step.
fn published(case: &Case) -> Vec<u16> {
    let mut director = Director::default();
    let steps = case.2.first().map_or(1, |(_, weights)| weights.len());
    let mut key = None;
    for step in 0..steps {
        let text = text(case, step);
        let spec = parse(text.as_bytes()).unwrap_or_else(|problems| panic!("{problems:?} in\n{text}"));
        let next_hops = targets(&spec).map(|target| (target, egress())).collect();
        let tables = &mut director.tables;
        let desired = {
            let known = |key: &_, at: &_| {
                let number = *tables.services().get(key)?.reals.get(at)?;
                Some((tables.real(number)?, tables.capacity(number)))
            };
            effective(
                &spec,
                &Facts { next_hops: &next_hops, health: &BTreeMap::new(), known: &known },
                &tables.settings(),
            )
        };
        let ops = plan::plan(&desired, tables);
        apply(tables, &ops).expect("room in the tables");
        key = spec.services.first().map(|service| service.key);
    }
    // Read back as a daemon does that begins.
    director.adopted().services()[&key.expect("a service")].pool.ring.clone()
}

fn egress() -> NextHop {
    NextHop::Resolved(Egress {
        ifindex: 7,
        interface: "eth0".to_owned(),
        source_mac: [2; 6],
        destination_mac: [4; 6],
        source: IpAddr::from([10, 0, 0, 9]),
        mtu: 1500,
    })
}

/// The case in the script's words: servers stand in IPVS's order there, the one added last first; mh has their last weights.
fn words(case: &Case) -> String {
    let (scheduler, slots, reals) = case;
    let last_above_0 = |weights: &[u32]| weights.iter().rev().find(|weight| **weight > 0).copied().unwrap_or(0);
    let mut words = vec![(*scheduler).to_owned()];
    match *scheduler {
        "dh" => words.push(reals.len().to_string()),
        "mh" => words.push(if *slots == 0 { 4093 } else { *slots }.to_string()),
        _ => {}
    }
    for (real, weights) in reals.iter().rev() {
        match *scheduler {
            "sh" => words.extend(weights.last().map(ToString::to_string)),
            "mh" => {
                let (address, port) = real.rsplit_once(':').expect("a port");
                words.push(format!("{}/{port}/{}", address.trim_matches(['[', ']']), last_above_0(weights)));
            }
            _ => {}
        }
    }
    words.join(" ")
}

#[test]
fn tables_are_those_of_the_script() {
    let mut command = Command::new("python3");
    let mut script = match command.arg(SCRIPT).stdin(Stdio::piped()).stdout(Stdio::piped()).spawn() {
        Ok(script) => script,
        Err(error) if error.kind() == ErrorKind::NotFound => {
            println!("skipped: there is no python3 to run {SCRIPT} with (cargo xtask setup installs it)");
            return;
        }
        Err(error) => panic!("{SCRIPT}: {error}"),
    };
    let lines: String = CASES.iter().map(|case| words(case) + "\n").collect();
    // Closed at the end of the statement, so that the script comes to its end.
    script.stdin.take().expect("a pipe").write_all(lines.as_bytes()).expect("the script reads");
    let output = script.wait_with_output().expect("the script ends");
    assert!(output.status.success(), "{SCRIPT}: {}", output.status);
    let tables = String::from_utf8(output.stdout).expect("text");
    assert_eq!(tables.lines().count(), CASES.len(), "one line a case");
    let mut slots = 0;
    for (case, line) in CASES.iter().zip(tables.lines()) {
        let slot = |word: &str| if word == "-" { RING_EMPTY } else { word.parse().expect("an index") };
        let expected: Vec<u16> = line.split(' ').map(slot).collect();
        let got = published(case);
        assert_eq!(got.len(), expected.len(), "{case:?}");
        let differs = (0..got.len()).find(|at| got[*at] != expected[*at]);
        assert_eq!(
            differs,
            None,
            "{case:?}: {:?}, not {:?}",
            differs.map(|at| got[at]),
            differs.map(|at| expected[at])
        );
        slots += got.len();
    }
    println!("{} tables, {slots} slots, all as {SCRIPT} has them", CASES.len());
}
