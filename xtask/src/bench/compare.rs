//! Two revisions' figures beside each other.

use std::fmt::Write as _;

use serde::{Deserialize, Serialize};

/// What a benchmark writes; only what every version of it has.
#[derive(Clone, Debug, Default, Deserialize)]
pub(super) struct Results {
    rows: Vec<Row>,
    #[serde(default)]
    openings: Vec<Opening>,
}

#[derive(Clone, Debug, Deserialize)]
struct Row {
    name: String,
    method: String,
    family: String,
    flows: u32,
    ns: f64,
}

#[derive(Clone, Debug, Deserialize)]
struct Opening {
    scheduler: String,
    reals: usize,
    ns: f64,
}

impl Results {
    /// Name and nanoseconds of everything that was measured.
    fn figures(&self) -> Vec<(String, f64)> {
        let rows = self.rows.iter();
        let rows = rows.map(|row| (format!("{} {} {} {}", row.name, row.method, row.family, row.flows), row.ns));
        let openings = self.openings.iter();
        let openings = openings.map(|it| (format!("xvs-open {} {} reals", it.scheduler, it.reals), it.ns));
        rows.chain(openings).collect()
    }
}

/// A median over the rounds, with the least and the most.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub(super) struct Figure {
    median: f64,
    min: f64,
    max: f64,
}

impl Figure {
    fn of(mut values: Vec<f64>) -> Option<Self> {
        values.sort_by(f64::total_cmp);
        let (min, max) = (*values.first()?, *values.last()?);
        let middle = values.len() / 2;
        let median =
            if values.len() % 2 == 1 { values[middle] } else { f64::midpoint(values[middle - 1], values[middle]) };
        Some(Self { median, min, max })
    }
}

/// A row of both, or of one of them.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub(super) struct Line {
    pub(super) row: String,
    old: Option<Figure>,
    new: Option<Figure>,
    /// New by old: of both medians; the least and the most of rounds.
    ratio: Option<Figure>,
}

/// Every row of the new revision, then what only the old one has. Each element of `old` and `new` is a round.
pub(super) fn lines(old: &[Results], new: &[Results]) -> Vec<Line> {
    let figures = |rounds: &[Results]| rounds.iter().map(Results::figures).collect::<Vec<_>>();
    let (old, new) = (figures(old), figures(new));
    let mut names: Vec<&String> = Vec::new();
    for (name, _) in new.iter().chain(&old).flatten() {
        if !names.contains(&name) {
            names.push(name);
        }
    }
    let of = |rounds: &[Vec<(String, f64)>], name: &str| -> Vec<f64> {
        rounds.iter().flatten().filter(|(found, _)| found == name).map(|(_, ns)| *ns).collect()
    };
    let line = |name: &String| {
        let (before, after) = (of(&old, name), of(&new, name));
        let each = before.iter().zip(&after).map(|(old, new)| new / old).collect();
        let (old, new) = (Figure::of(before), Figure::of(after));
        let ratio =
            old.zip(new).and_then(|(old, new)| Some(Figure { median: new.median / old.median, ..Figure::of(each)? }));
        Line { row: name.clone(), old, new, ratio }
    };
    names.into_iter().map(line).collect()
}

impl Line {
    /// A difference of more than three in a hundred that every round shows.
    fn verdict(&self) -> &'static str {
        match self.ratio {
            Some(ratio) if ratio.min > 1.03 => "slower",
            Some(ratio) if ratio.max < 0.97 => "faster",
            _ => "",
        }
    }
}

/// The comparison for people. `old` is how the other revision is called.
pub(super) fn table(lines: &[Line], old: &str) -> String {
    let mut text =
        format!("{:<40} {:>24} {:>24} {:>20}\n", "row", format!("{old}, ns"), "here, ns", "ratio (min..max)");
    let ns = |figure: Figure| format!("{:.1} ({:.1}..{:.1})", figure.median, figure.min, figure.max);
    for line in lines {
        let _ = match (line.old, line.new, line.ratio) {
            (Some(before), Some(after), Some(ratio)) => writeln!(
                text,
                "{:<40} {:>24} {:>24} {:>20} {}",
                line.row,
                ns(before),
                ns(after),
                format!("{:.2} ({:.2}..{:.2})", ratio.median, ratio.min, ratio.max),
                line.verdict()
            ),
            (None, Some(after), _) => writeln!(text, "{:<40} {:>24} {:>24}", line.row, "has no such row", ns(after)),
            (Some(before), None, _) => writeln!(text, "{:<40} {:>24} {:>24}", line.row, ns(before), "gone"),
            _ => Ok(()),
        };
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    fn results(rows: &[(&str, f64)]) -> Results {
        let row = |&(name, ns): &(&str, f64)| Row {
            name: name.to_owned(),
            method: "direct".to_owned(),
            family: "ipv4".to_owned(),
            flows: 1,
            ns,
        };
        Results { rows: rows.iter().map(row).collect(), openings: Vec::new() }
    }

    #[test]
    fn rounds_make_medians_and_ratios_of_neighbours() {
        let old = [results(&[("a", 10.0)]), results(&[("a", 20.0)]), results(&[("a", 12.0)])];
        let new = [results(&[("a", 11.0)]), results(&[("a", 21.0)]), results(&[("a", 15.0)])];
        let lines = lines(&old, &new);
        assert_eq!(lines[0].row, "a direct ipv4 1");
        assert_eq!(lines[0].old, Some(Figure { median: 12.0, min: 10.0, max: 20.0 }));
        assert_eq!(lines[0].ratio, Some(Figure { median: 1.25, min: 1.05, max: 1.25 }));
        assert_eq!(lines[0].verdict(), "slower");
    }

    #[test]
    fn what_one_round_contradicts_is_no_verdict() {
        let line = |ratio| Line { row: String::new(), old: None, new: None, ratio: Some(ratio) };
        assert_eq!(line(Figure { median: 1.2, min: 0.99, max: 1.3 }).verdict(), "");
        assert_eq!(line(Figure { median: 1.2, min: 1.02, max: 1.3 }).verdict(), "");
        assert_eq!(line(Figure { median: 0.9, min: 0.8, max: 0.95 }).verdict(), "faster");
    }

    #[test]
    fn rows_that_one_side_lacks_are_said_to_be_missing() {
        let lines = lines(&[results(&[("gone", 1.0)])], &[results(&[("fresh", 2.0)])]);
        assert_eq!(
            lines.iter().map(|line| &*line.row).collect::<Vec<_>>(),
            ["fresh direct ipv4 1", "gone direct ipv4 1"]
        );
        let text = table(&lines, "main");
        assert!(text.contains("has no such row") && text.contains("gone\n"), "{text}");
    }

    #[test]
    fn runs_of_older_versions_are_read() {
        let text = r#"{"rows":[{"name":"xvs-tcp","method":"direct","family":"ipv4","flows":1,"ns":14.0,"min":1,"max":2,"insns":3}],
            "openings":[{"scheduler":"rr","reals":10,"ns":114.0,"min":1,"max":2}]}"#;
        let results: Results = serde_json::from_str(text).unwrap();
        let names: Vec<_> = results.figures().into_iter().map(|(name, _)| name).collect();
        assert_eq!(names, ["xvs-tcp direct ipv4 1", "xvs-open rr 10 reals"]);
        assert!(serde_json::from_str::<Results>(r#"{"rows":[]}"#).unwrap().figures().is_empty());
    }
}
