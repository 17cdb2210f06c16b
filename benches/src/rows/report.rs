//! The result for people at a terminal: rows, then what the design is judged by.

use std::fmt::Write as _;

use super::measure::Row;
use super::opening::Opening;
use super::results::Program;
use super::targets::Judged;

/// All rows.
pub(crate) fn table(rows: &[Row]) -> String {
    if rows.is_empty() {
        return String::new();
    }
    let mut text = format!(
        "{:<20} {:<12} {:<6} {:>8} {:>8} {:>17} {:>6} {:>5}\n",
        "case", "method", "family", "flows", "ns", "min..max", "insns", "stack"
    );
    for row in rows {
        let range = format!("{:.1}..{:.1}", row.min, row.max);
        let _ = writeln!(
            text,
            "{:<20} {:<12} {:<6} {:>8} {:>8.1} {range:>17} {:>6} {:>5}",
            row.name, row.method, row.family, row.flows, row.ns, row.insns, row.stack
        );
    }
    text
}

/// The openings: a line for each scheduler, a column for each number of reals.
pub(crate) fn openings(openings: &[Opening]) -> String {
    let Some(first) = openings.first() else { return String::new() };
    let columns = openings.iter().take_while(|opening| opening.scheduler == first.scheduler).count();
    let mut text = String::from("new connection, ns (min..max)\nscheduler");
    for opening in &openings[..columns] {
        let _ = write!(text, " {:>26}", format!("{} reals", opening.reals));
    }
    for line in openings.chunks(columns) {
        let _ = write!(text, "\n{:<9}", line[0].scheduler);
        for opening in line {
            let range = format!("{:.1} ({:.1}..{:.1})", opening.ns, opening.min, opening.max);
            let _ = write!(text, " {range:>26}");
        }
    }
    text.push('\n');
    text
}

/// Each target with what was seen.
pub(crate) fn judged(all: &[Judged]) -> String {
    let mut text = String::new();
    for judged in all {
        let (value, min, max) = (judged.value.median, judged.value.min, judged.value.max);
        let _ = write!(text, "{}, {} flows: ", judged.what, judged.flows);
        let _ = match (judged.other, judged.than) {
            (Some(other), Some(than)) => {
                let ours = judged.ours;
                write!(text, "{ours:.1} / {other:.1} ns = {value:.3} ({min:.3}..{max:.3}) of {than}")
            }
            _ => write!(text, "{value:.1} ns ({min:.1}..{max:.1})"),
        };
        let _ = match judged.limit {
            Some(limit) => writeln!(text, " (target {limit}: {})", judged.verdict()),
            None => writeln!(text),
        };
    }
    let missed = all.iter().filter(|judged| judged.is_met() == Some(false)).count();
    let asked = all.iter().filter(|judged| judged.limit.is_some()).count();
    if asked > 0 {
        let _ = writeln!(text, "{} of {asked} targets met, {missed} missed", asked - missed);
    }
    text
}

/// Programs that are shipped.
pub(crate) fn programs(programs: &[Program]) -> String {
    let mut text =
        format!("{:<12} {:>9} {:>10} {:>8} {:>6}\n", "program", "verified", "translated", "machine", "stack");
    for program in programs {
        let Program { name, verified, translated, machine, stack } = program;
        let _ = writeln!(text, "{name:<12} {verified:>9} {translated:>10} {machine:>8} {stack:>6}");
    }
    text
}
