//! docs/reference/ipvs-differences.md names the cases of [`DIFFERENCES`], row by row.

use std::collections::BTreeSet;
use std::fs;

use crate::differences::{DIFFERENCES, Difference};

const PAGE: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../docs/reference/ipvs-differences.md");

/// As the page has them: `case` and what of it, cases apart by a semicolon.
fn cell(difference: &Difference) -> String {
    let case = |(name, things): &(&str, &[(&str, crate::differences::Ours)])| {
        format!("`{name}` {}", things.iter().map(|(what, _)| *what).collect::<Vec<_>>().join(", "))
    };
    difference.cases.iter().map(case).collect::<Vec<_>>().join("; ")
}

#[test]
fn the_page_and_the_table_name_the_same_cases() {
    let page = fs::read_to_string(PAGE).expect("the page");
    let rows: Vec<Vec<&str>> = page
        .lines()
        // What no case shows is in another table.
        .skip_while(|line| !line.starts_with("| cases"))
        .take_while(|line| line.starts_with('|'))
        .filter_map(|line| line.strip_prefix("| `")?.strip_suffix(" |"))
        .map(|row| row.split(" | ").collect())
        .collect();
    let written: BTreeSet<String> = rows.iter().map(|row| format!("`{}", row[0])).collect();
    let listed: BTreeSet<String> = DIFFERENCES.iter().map(cell).collect();
    assert_eq!(written, listed, "first column of {PAGE} and tests/ipvs_cases/differences.rs");
    assert_eq!(rows.len(), DIFFERENCES.len(), "a row each");
    for row in rows {
        assert_eq!(row.len(), 4, "cases, IPVS, XVS, why: {row:?}");
        assert!(row.iter().all(|cell| !cell.trim().is_empty()), "{row:?}");
    }
}
