//! One line of a table of cases: what it is, the frame, the verdict. The rest is checked by [`Director::send`] for every frame.

use lb_common::abi::verdict::Verdict;

use crate::director::{Director, Sent};

/// A case.
pub struct Row {
    /// What it shows.
    pub name: &'static str,
    /// The frame that comes in.
    pub frame: Vec<u8>,
    /// Where its life must end.
    pub verdict: Verdict,
}

/// A case.
pub fn row(name: &'static str, frame: Vec<u8>, verdict: Verdict) -> Row {
    Row { name, frame, verdict }
}

/// Sends every row's frame through one director, in order, and returns what came of them. All rows that differ are named at the end.
pub fn run(director: &mut Director, rows: &[Row]) -> Vec<Sent> {
    let mut wrong = Vec::new();
    let sent: Vec<Sent> = rows
        .iter()
        .map(|row| {
            println!("row: {}", row.name);
            let sent = director.send(&row.frame);
            if sent.verdict != row.verdict {
                wrong.push(format!("{}: {:?}, expected {:?}", row.name, sent.verdict, row.verdict));
            }
            sent
        })
        .collect();
    println!("{} rows", rows.len());
    assert!(wrong.is_empty(), "rows that differ:\n{}", wrong.join("\n"));
    sent
}
