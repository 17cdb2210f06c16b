//! The result for people.

use std::fmt::Write as _;

use super::run::{Common, Line};
use crate::figures::Figure;

/// All rows.
pub(crate) fn table(lines: &[Line]) -> String {
    let mut text = format!(
        "{:<6} {:>8} {:<14} {:>22} {:>22} {:>20}\n",
        "flows", "", "in common", "one core, ns", "both cores, ns", "times as much"
    );
    for line in lines {
        let name = match line.common {
            Common::OwnTables => "nothing",
            Common::OtherService => "tables",
            Common::OtherFlows => "service, reals",
            Common::SameFlows => "flows",
        };
        let _ = writeln!(
            text,
            "{:<6} {:>8} {name:<14} {:>22} {:>22} {:>20}",
            if line.is_new { "new" } else { "known" },
            line.flows,
            spread(&line.alone, 1),
            spread(&line.both, 1),
            spread(&line.ratio, 2)
        );
    }
    text
}

fn spread(figure: &Figure, digits: usize) -> String {
    format!("{:.digits$} ({:.digits$}..{:.digits$})", figure.median, figure.min, figure.max)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_says_what_is_shared() {
        let figure = |value| Figure::of(vec![value]);
        let (alone, both, ratio) = (figure(10.0), figure(15.0), figure(1.5));
        let line = |is_new, common| Line { is_new, flows: 8192, common, alone, both, ratio };
        let text = table(&[line(false, Common::OwnTables), line(true, Common::SameFlows)]);
        assert!(text.contains("known      8192 nothing"), "{text}");
        assert!(text.contains("new        8192 flows ") && text.contains("1.50 (1.50..1.50)"), "{text}");
    }
}
