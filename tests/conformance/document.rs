//! docs/reference/peer-differences.md names the cases of [`DIFFERENCES`], row by row.

use std::collections::BTreeSet;
use std::fs;

use crate::differences::{DIFFERENCES, Difference};

const PAGE: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../docs/reference/peer-differences.md");

/// As the page has them: `suite` and its numbers, suites apart by a semicolon.
fn cell(difference: &Difference) -> String {
    let suite = |(name, numbers): &(&str, &[u32])| {
        format!("`{name}` {}", numbers.iter().map(u32::to_string).collect::<Vec<_>>().join(", "))
    };
    difference.cases.iter().map(suite).collect::<Vec<_>>().join("; ")
}

#[test]
fn the_page_and_the_table_name_the_same_cases() {
    let page = fs::read_to_string(PAGE).expect("the page");
    let rows: Vec<Vec<&str>> = page
        .lines()
        .filter_map(|line| line.strip_prefix("| `")?.strip_suffix(" |"))
        .map(|row| row.split(" | ").collect())
        .collect();
    let written: BTreeSet<String> = rows.iter().map(|row| format!("`{}", row[0])).collect();
    let listed: BTreeSet<String> = DIFFERENCES.iter().map(cell).collect();
    assert_eq!(written, listed, "first column of {PAGE} and tests/conformance/differences.rs");
    assert_eq!(rows.len(), DIFFERENCES.len(), "a row each");
    for row in rows {
        assert_eq!(row.len(), 4, "cases, the peer, XVS, why: {row:?}");
        assert!(row.iter().all(|cell| !cell.trim().is_empty()), "{row:?}");
    }
}
