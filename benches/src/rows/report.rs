//! The result for people: a table, then the ratios that the design is judged by.

use std::fmt::Write as _;

use super::measure::Row;
use super::opening::Opening;

/// All rows.
pub(crate) fn table(rows: &[Row]) -> String {
    if rows.is_empty() {
        return String::new();
    }
    let mut text = format!(
        "{:<20} {:<8} {:<6} {:>8} {:>8} {:>17} {:>6}\n",
        "case", "method", "family", "flows", "ns", "min..max", "insns"
    );
    for row in rows {
        let range = format!("{:.1}..{:.1}", row.min, row.max);
        let _ = writeln!(
            text,
            "{:<20} {:<8} {:<6} {:>8} {:>8.1} {range:>17} {:>6}",
            row.name, row.method, row.family, row.flows, row.ns, row.insns
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

/// The targets. Missing rows (`--filter`) leave out their lines.
pub(crate) fn ratios(rows: &[Row]) -> String {
    let find = |name: &str, family: &str, method: &str, flows: u32| {
        rows.iter()
            .find(|row| (row.name, row.family, row.method, row.flows) == (name, family, method, flows))
            .map(|row| row.ns)
    };
    let mut text = String::new();
    for (flows, target) in [(1, Some(0.35)), (8192, None), (1 << 20, Some(0.5))] {
        let (Some(ours), Some(usual)) =
            (find("xvs-tcp", "ipv4", "direct", flows), find("baseline-usual", "ipv4", "direct", flows))
        else {
            continue;
        };
        let ratio = ours / usual;
        let _ = write!(
            text,
            "direct routing, IPv4 TCP, {flows} flows: {ours:.1} / {usual:.1} ns = {ratio:.2} of baseline-usual"
        );
        text.push_str(&verdict(ratio, target));
    }
    for (what, ours, than, target) in [
        ("NAT", ("xvs-tcp", "nat"), "direct", Some(2.0)),
        ("NAT, answers", ("xvs-tcp-answer", "nat"), "direct", None),
        ("full NAT", ("xvs-tcp", "fullnat"), "direct", None),
        ("full NAT, answers", ("xvs-tcp-answer", "fullnat"), "direct", None),
        ("GUE", ("xvs-tcp", "gue"), "ipip", Some(1.3)),
    ] {
        for family in ["ipv4", "ipv6"] {
            for (flows, steady) in [(1, ""), (8192, ""), (1 << 20, ""), (1 << 20, "-steady")] {
                let name = if steady.is_empty() { ours.0.to_owned() } else { ours.0.replace("-tcp-", "-") + steady };
                let base = format!("xvs-tcp{steady}");
                let (Some(ns), Some(base)) = (find(&name, family, ours.1, flows), find(&base, family, than, flows))
                else {
                    continue;
                };
                let ratio = ns / base;
                let _ = write!(
                    text,
                    "{what}, {family} TCP, {flows} flows{steady}: {ns:.1} / {base:.1} ns = {ratio:.2} of {than}"
                );
                text.push_str(&verdict(ratio, target));
            }
        }
    }
    if let Some(ns) = find("xvs-no-service", "ipv4", "-", 1) {
        let _ = write!(text, "packet for no service: {ns:.1} ns");
        text.push_str(&verdict(ns, Some(10.0)));
    }
    text
}

fn verdict(value: f64, target: Option<f64>) -> String {
    match target {
        Some(target) if value <= target => format!(" (target {target}: met)\n"),
        Some(target) => format!(" (target {target}: missed)\n"),
        None => "\n".to_owned(),
    }
}
