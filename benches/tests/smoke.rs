//! The benchmark's traffic arrives where it should, and a flood takes no established flow. Short, and nothing about speed: clocks do not
//! belong in tests.

use std::path::PathBuf;
use std::process::Command;

use lb_lab::residue::{Residue, Scope};
use lb_lab::{LabName, run};
use serde_json::Value;

/// Runs a benchmark in a laboratory of its own; its JSON.
fn bench(topic: &str, arguments: &[&str]) -> Value {
    let lab = LabName::unique(topic).unwrap();
    let file = PathBuf::from(env!("CARGO_TARGET_TMPDIR")).join(format!("{lab}.json"));
    let mut command = Command::new(env!("CARGO_BIN_EXE_lb-benches"));
    command.args(arguments).arg("--json").arg(&file).env("XVS_BENCH_LAB", lab.as_str());
    let said = run::succeed(&mut command);
    let left = Residue::find(&Scope::Lab(lab)).lines();
    println!("{}", said.unwrap_or_else(|error| panic!("{error}")));
    assert_eq!(left, Vec::<String>::new(), "left behind");
    let text = std::fs::read_to_string(&file).unwrap();
    std::fs::remove_file(file).unwrap();
    serde_json::from_str(&text).unwrap()
}

/// The rows themselves refuse to be told when packets reach other reals than they should, or fewer than nine of ten arrive.
#[test]
fn packets_of_every_director_arrive() {
    let outcome = bench("wire-smoke", &["wire", "--rounds", "1", "--seconds", "0.05", "--filter", "8192"]);
    let rows = outcome["rows"].as_array().unwrap();
    let reals: Vec<_> =
        rows.iter().map(|row| (row["name"].as_str().unwrap(), row["reals"].as_u64().unwrap())).collect();
    let expected = [("bare-xdp", 1), ("xvs-direct", 16), ("xvs-ipip", 16), ("kernel-forward", 1), ("nft-dnat", 16)];
    assert_eq!(reals, expected);
    for row in rows {
        assert!(row["one"]["median"].as_f64().unwrap() > 0.0 && row["p50"]["median"].as_f64().unwrap() > 0.0, "{row}");
    }
}

/// A table of 131 072 places, which the flood fills.
#[test]
fn a_flood_takes_no_established_flow() {
    let words = ["flood", "--seconds", "1", "--rounds", "1", "--established", "5000", "--connections", "65536"];
    let outcome = bench("flood-smoke", &words);
    let of = |key: &str| outcome[key].as_u64().unwrap_or_else(|| panic!("{key} in {outcome}"));
    assert_eq!((of("established"), of("least")), (5000, 5000));
    assert_eq!((of("lost"), of("silent"), of("strayed")), (0, 0, 0), "{outcome}");
    assert!(of("sent") > of("places"), "the flood was larger than the table: {outcome}");
    let half_open = outcome["states"]["SynRecv"].as_u64().unwrap();
    assert!(half_open > of("places") / 2, "the table was full: {outcome}");
}
