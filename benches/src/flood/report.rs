//! The flood's result for people.

use std::fmt::Write as _;

use super::run::{Costs, Outcome, Way};
use crate::figures::Figure;

/// What an established flow's packet may cost under the flood, of what it costs in calm.
const MOST: f64 = 1.3;

pub(crate) fn text(outcome: &Outcome) -> String {
    let established = outcome.established;
    let mut text = format!(
        "SYN flood: {:.0} s, {} SYNs of {} sources, {:.0} kpps; table of {} places\n",
        outcome.seconds,
        outcome.sent,
        outcome.sources,
        outcome.sent as f64 / outcome.seconds / 1000.0,
        outcome.places
    );
    let all = outcome.lost + outcome.silent + outcome.strayed;
    let _ = writeln!(
        text,
        "established flows: {established}; lost {}, silent afterwards {}, at another real {} (target 0: {}); never fewer than {} in the table",
        outcome.lost,
        outcome.silent,
        outcome.strayed,
        met(all == 0),
        outcome.least
    );
    for costs in [&outcome.few, &outcome.many] {
        text.push_str(&cost(costs));
    }
    let Way { calm, syn, flooded, ratio } = &outcome.way;
    let _ = writeln!(
        text,
        "its whole way on one core, ns: calm {}, a SYN {}, every other packet a SYN {} = {:.2} ({:.2}..{:.2}) (target {MOST}: {})",
        spread(calm),
        spread(syn),
        spread(flooded),
        ratio.median,
        ratio.min,
        ratio.max,
        met(ratio.median <= MOST)
    );
    for attempts in &outcome.attempts {
        let _ = writeln!(
            text,
            "new clients during the flood, answering after {} ms: {} of {} connected",
            attempts.round_trip_ms, attempts.connected, attempts.tried
        );
    }
    let list = |lines: Vec<String>| lines.join(", ");
    let verdicts = outcome.verdicts.iter().map(|(name, packets)| format!("{name} {packets}")).collect();
    let states = outcome.states.iter().map(|(name, count)| format!("{name} {count}")).collect();
    let _ = writeln!(text, "packets ended as: {}", list(verdicts));
    let _ = writeln!(text, "in the table afterwards: {}", list(states));
    text
}

fn cost(costs: &Costs) -> String {
    let mut text = format!("packet of {} established flows, ns (min..max)\n", costs.flows);
    for (name, cost, than, is_judged) in [
        ("calm", &costs.calm, None, false),
        ("beside a forwarding core", &costs.beside, Some(&costs.calm), false),
        ("beside a flooding core", &costs.flooded, Some(&costs.calm), true),
        ("after the flood", &costs.after, Some(&costs.calm), false),
        ("in turns with forwarding", &costs.calm_turns, None, false),
        ("in turns with the flood", &costs.flood_turns, Some(&costs.calm_turns), true),
    ] {
        let _ = write!(text, "  {name:<26} {:>6.1} ({:.1}..{:.1})", cost.median, cost.min, cost.max);
        if let Some(than) = than {
            let ratio = ratio(cost, than);
            let _ = write!(text, " = {ratio:.2}");
            if is_judged {
                let _ = write!(text, " (target {MOST}: {})", met(ratio <= MOST));
            }
        }
        text.push('\n');
    }
    text
}

fn spread(figure: &Figure) -> String {
    format!("{:.0} ({:.0}..{:.0})", figure.median, figure.min, figure.max)
}

const fn met(is_met: bool) -> &'static str {
    if is_met { "met" } else { "missed" }
}

fn ratio(ours: &Figure, theirs: &Figure) -> f64 {
    ours.median / theirs.median
}

#[cfg(test)]
mod tests {
    use super::super::run::Attempts;
    use super::*;

    #[test]
    fn targets_are_judged() {
        let figure = |value| Figure::of(vec![value]);
        let costs = |flooded| Costs {
            flows: 1024,
            calm: figure(20.0),
            beside: figure(21.0),
            flooded: figure(flooded),
            after: figure(20.0),
            calm_turns: figure(20.0),
            flood_turns: figure(25.0),
        };
        let outcome = |lost, flooded| Outcome {
            seconds: 60.0,
            sources: 10_000_000,
            places: 1 << 21,
            sent: 60_000_000,
            established: 100_000,
            lost,
            silent: 0,
            strayed: 0,
            least: 100_000,
            few: costs(20.0),
            many: costs(flooded),
            way: Way { calm: figure(400.0), syn: figure(500.0), flooded: figure(440.0), ratio: figure(1.1) },
            attempts: vec![Attempts { round_trip_ms: 100, tried: 500, connected: 499 }],
            verdicts: [("direct-redirect", 5)].into(),
            states: [("SynRecv".to_owned(), 7)].into(),
        };
        let good = text(&outcome(0, 26.0));
        assert!(good.contains("(target 0: met)") && !good.contains("missed"), "{good}");
        assert!(good.contains("1000 kpps") && good.contains("499 of 500") && good.contains("= 1.25"), "{good}");
        let bad = text(&outcome(1, 27.0));
        assert_eq!(bad.matches("missed").count(), 2, "{bad}");
    }
}
