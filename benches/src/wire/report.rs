//! The result for people, and the targets.

use std::fmt::Write as _;

use super::measure::Line;
use crate::figures::Figure;

/// All rows.
pub(crate) fn table(lines: &[Line]) -> String {
    let mut text = format!(
        "{:<15} {:>8} {:>22} {:>22} {:>9} {:>7} {:>20} {:>20} {:>22}\n",
        "row", "flows", "one core, kpps", "all cores, kpps", "lost/1e6", "at kpps", "p50, ns", "p99, ns", "p99.9, ns"
    );
    for line in lines {
        let _ = writeln!(
            text,
            "{:<15} {:>8} {:>22} {:>22} {:>9} {:>7.0} {:>20} {:>20} {:>22}",
            line.name,
            line.flows,
            spread(&line.one, 1000.0),
            spread(&line.all, 1000.0),
            line.lost,
            line.paced.median / 1000.0,
            spread(&line.p50, 1.0),
            spread(&line.p99, 1.0),
            spread(&line.p999, 1.0),
        );
    }
    text
}

fn spread(figure: &Figure, unit: f64) -> String {
    format!("{:.0} ({:.0}..{:.0})", figure.median / unit, figure.min / unit, figure.max / unit)
}

/// What direct routing has to reach, of whom.
const TARGETS: [(&str, f64); 2] = [("bare-xdp", 0.95), ("kernel-forward", 1.6)];

/// The targets: medians of the rounds' ratios, by one core.
pub(crate) fn targets(lines: &[Line]) -> String {
    let mut text = String::new();
    for ours in lines.iter().filter(|line| line.name.starts_with("xvs-")) {
        for theirs in lines.iter().filter(|line| !line.name.starts_with("xvs-") && is_beside(line, ours)) {
            let (one, all) = (ratio(ours, theirs, 0), ratio(ours, theirs, 1));
            let target = TARGETS.iter().find(|(name, _)| ours.name == "xvs-direct" && *name == theirs.name);
            let verdict = target.map_or(String::new(), |(_, least)| verdict(one.median, *least));
            let _ = writeln!(
                text,
                "{}, {} flows: {} of {}{verdict}; all cores {}",
                ours.name,
                ours.flows,
                told(&one),
                theirs.name,
                told(&all)
            );
        }
    }
    text
}

/// Of the rates of each round, which were measured one after the other; by one core (0) or all (1).
fn ratio(ours: &Line, theirs: &Line, cores: usize) -> Figure {
    Figure::of(ours.rounds.iter().zip(&theirs.rounds).map(|(ours, theirs)| ours[cores] / theirs[cores]).collect())
}

fn told(ratio: &Figure) -> String {
    format!("{:.3} ({:.3}..{:.3})", ratio.median, ratio.min, ratio.max)
}

/// A row that is told beside ours: the forwarders do not care for flows, nftables does.
fn is_beside(theirs: &Line, ours: &Line) -> bool {
    theirs.name != "nft-dnat" || theirs.flows == ours.flows.min(8192)
}

/// Whether a ratio is as large as wanted.
pub(crate) fn verdict(ratio: f64, least: f64) -> String {
    format!(" (target {least}: {})", if ratio >= least { "met" } else { "missed" })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn line(name: &'static str, flows: u32, rate: f64) -> Line {
        let figure = |value| Figure::of(vec![value]);
        Line {
            name,
            flows,
            one: figure(rate),
            all: figure(rate * 2.0),
            rounds: vec![[rate, rate * 2.0]; 3],
            lost: 0,
            reals: 1,
            paced: figure(rate / 2.0),
            p50: figure(100.0),
            p99: figure(200.0),
            p999: figure(300.0),
        }
    }

    #[test]
    fn direct_routing_alone_has_targets() {
        let lines = [
            line("bare-xdp", 8192, 2e6),
            line("xvs-direct", 1, 1.9e6),
            line("xvs-ipip", 8192, 1.5e6),
            line("kernel-forward", 8192, 1.2e6),
            line("nft-dnat", 1, 0.5e6),
            line("nft-dnat", 8192, 0.4e6),
        ];
        let text = targets(&lines);
        for expected in [
            "xvs-direct, 1 flows: 0.950 (0.950..0.950) of bare-xdp (target 0.95: met); all cores 0.950 (0.950..0.950)\n",
            "xvs-direct, 1 flows: 1.583 (1.583..1.583) of kernel-forward (target 1.6: missed); all",
            "xvs-direct, 1 flows: 3.800 (3.800..3.800) of nft-dnat; all",
            "xvs-ipip, 8192 flows: 0.750 (0.750..0.750) of bare-xdp; all",
            "xvs-ipip, 8192 flows: 3.750 (3.750..3.750) of nft-dnat; all",
        ] {
            assert!(text.contains(expected), "{expected} in {text}");
        }
        assert_eq!(text.lines().count(), 6);
        assert!(table(&lines).contains("2000 (2000..2000)"));
    }
}
