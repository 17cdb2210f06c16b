//! What of a case is not as it was recorded.

use crate::listing::{self, Going, different, totals};
use crate::play::{Outcome, Seen};
use crate::recorded::{Answer, Case, Step};

/// One thing that is not as it was recorded.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Finding {
    /// `setup 3`, `step 5` (counted from 1), `sequence`, or the name of a listing.
    pub(crate) what: String,
    /// The lines that differ.
    pub(crate) lines: String,
}

/// A recorded answer or listing, and ours.
pub(crate) struct Pair<'a> {
    /// What [`Finding::what`] names.
    pub(crate) what: String,
    /// The command's arguments.
    pub(crate) arguments: String,
    /// Recorded.
    pub(crate) recorded: Answer,
    /// Ours; `None` when nothing is known to ask for.
    pub(crate) ours: Option<&'a Answer>,
    /// Connections about to go, where that matters.
    pub(crate) going: &'a Going,
}

/// Everything of a case that was said by a command.
pub(crate) fn pairs<'a>(case: &Case, seen: &'a Seen) -> Vec<Pair<'a>> {
    static NONE: Going = Going::new();
    let mut pairs = Vec::new();
    for (n, ((line, recorded), ours)) in case.setup.iter().zip(&case.setup_results).zip(&seen.setup).enumerate() {
        let arguments = line.strip_prefix("ipvsadm").unwrap_or(line).to_owned();
        pairs.push(Pair {
            what: format!("setup {}", n + 1),
            arguments,
            recorded: recorded.clone(),
            ours: Some(ours),
            going: &NONE,
        });
    }
    for (n, (step, outcome)) in case.steps.iter().zip(&seen.steps).enumerate() {
        let (arguments, recorded) = match step {
            Step::Ipvsadm { args, result } => (args.clone(), result),
            Step::IpvsadmRestore { result, .. } => ("-R".to_owned(), result),
            _ => continue,
        };
        let Outcome::Answer(ours) = outcome else { continue };
        pairs.push(Pair {
            what: format!("step {}", n + 1),
            arguments,
            recorded: recorded.clone(),
            ours: Some(ours),
            going: &NONE,
        });
    }
    for (name, recorded) in &case.outputs {
        let recorded = Answer { rc: 0, stdout: recorded.clone(), stderr: String::new() };
        let arguments = listing::arguments(name, &recorded.stdout).unwrap_or_default();
        let ours = seen.outputs.get(name).and_then(Option::as_ref);
        pairs.push(Pair { what: name.clone(), arguments, recorded, ours, going: &seen.going });
    }
    pairs
}

/// How a case went.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Way {
    /// As recorded.
    Recorded,
    /// As recorded on another kernel: its listings were not kept.
    OtherKernel,
    /// The scheduler draws lots.
    Lots,
}

/// All that differs of a case.
pub(crate) fn findings(case: &Case, seen: &Seen) -> Vec<Finding> {
    let (way, mut found) = sequence(case, seen);
    for pair in pairs(case, seen) {
        found.extend(compare(&pair, way));
    }
    found
}

/// Compares an answer or a listing.
pub(crate) fn compare(pair: &Pair<'_>, way: Way) -> Option<Finding> {
    let finding = |lines: String| Some(Finding { what: pair.what.clone(), lines });
    let Some(ours) = pair.ours else { return finding("nothing is known that would print this\n".to_owned()) };
    let of_counts = ["-L", "-l"].iter().any(|start| pair.arguments.trim_start().starts_with(start))
        && !["--timeout", "--daemon"].iter().any(|option| pair.arguments.contains(option));
    if (pair.recorded.rc, &pair.recorded.stderr) != (ours.rc, &ours.stderr) {
        let said = |answer: &Answer| format!("exit {}\n{}{}", answer.rc, answer.stderr, answer.stdout);
        return finding(listing::text(&said(&pair.recorded), &said(ours))?);
    }
    if way == Way::Recorded || !of_counts {
        return finding(different(&pair.arguments, &pair.recorded.stdout, &ours.stdout, pair.going)?);
    }
    // Who got how much was another's lot, or another kernel's.
    let has_counts = pair.arguments.contains("--stats") || pair.arguments.contains("--rate");
    if way == Way::OtherKernel || has_counts || pair.arguments.contains('c') {
        return None;
    }
    finding(listing::text(&totals(&pair.recorded.stdout), &totals(&ours.stdout))?)
}

fn sequence(case: &Case, seen: &Seen) -> (Way, Vec<Finding>) {
    let words = || {
        case.steps.iter().zip(&seen.steps).enumerate().filter_map(|(n, (step, outcome))| {
            let Outcome::Word(ours) = outcome else { return None };
            Some((n, step, ours))
        })
    };
    let chosen = |ours: &str| ours.split(' ').next().unwrap_or_default().to_owned();
    let ours: Vec<String> = words()
        .filter(|(_, step, _)| matches!(step, Step::Conn { .. } | Step::Udp { .. }))
        .map(|(_, _, ours)| chosen(ours))
        .collect();
    let way = match () {
        () if !case.deterministic => Way::Lots,
        () if ours != case.sequence && case.differing_sequences.values().any(|other| *other == ours) => {
            Way::OtherKernel
        }
        () => Way::Recorded,
    };
    let is_other = way == Way::Recorded && ours != case.sequence;
    let mut found = Vec::new();
    if is_other {
        let lines = format!("-{}\n+{}\n", case.sequence.join(" "), ours.join(" "));
        found.push(Finding { what: "sequence".to_owned(), lines });
    }
    for (n, step, ours) in words() {
        let (result, is_choice) = match step {
            Step::Conn { result, .. } | Step::Udp { result, .. } => (result, true),
            Step::Close { result, .. } | Step::Rst { result, .. } | Step::Send { result, .. } => (result, false),
            _ => continue,
        };
        // Of a choice only whether there was an answer, where it is another on purpose, by lot, or said above.
        let same = match is_choice && (way != Way::Recorded || is_other) {
            true => result.contains(' ') == ours.contains(' ') || is_other,
            false => result == ours,
        };
        if !same {
            found.push(Finding { what: format!("step {}", n + 1), lines: format!("-{result}\n+{ours}\n") });
        }
    }
    (way, found)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn case(deterministic: bool) -> Case {
        let step = |result: &str| {
            format!(
                r#"{{"op": "conn", "src": "10.0.1.2", "sport": 1, "dst": "10.0.1.100", "dport": 80, "result": "{result}"}}"#
            )
        };
        let text = format!(
            r#"{{"id": "x", "deterministic": {deterministic}, "topology": {{"mode": "nat", "real_servers": 2, "vips": []}},
            "sysctl": [], "nft": [], "setup": ["ipvsadm -A"], "setup_results": [{{"rc": 2, "stdout": "", "stderr": "no\n"}}],
            "steps": [{}, {}, {{"op": "send", "h": "a", "result": "OK"}}], "sequence": ["r1", "r2"],
            "outputs": {{"Ln": "TCP x\n  -> a 1 0 2\n", "Sn": "-A\n"}}, "stats_taken_after_s": null,
            "differing_sequences": {{"old": ["r2", "r2"]}}}}"#,
            step("r1 10.0.2.11:80"),
            step("r2 10.0.2.12:80")
        );
        serde_json::from_str(&text).expect("a case")
    }

    fn answer(rc: i32, stdout: &str, stderr: &str) -> Answer {
        Answer { rc, stdout: stdout.to_owned(), stderr: stderr.to_owned() }
    }

    fn seen(words: [&str; 3], listing: &str) -> Seen {
        let listings = [("Ln", answer(0, listing, "")), ("Sn", answer(0, "-A\n", ""))];
        Seen {
            setup: vec![answer(2, "", "no\n")],
            steps: words.iter().map(|word| Outcome::Word((*word).to_owned())).collect(),
            going: Going::new(),
            outputs: listings.into_iter().map(|(name, answer)| (name.to_owned(), Some(answer))).collect(),
        }
    }

    fn whats(case: &Case, seen: &Seen) -> Vec<String> {
        findings(case, seen).into_iter().map(|finding| finding.what).collect()
    }

    const LISTING: &str = "TCP x\n  -> a 1 0 2\n";

    #[test]
    fn the_same_is_the_same() {
        assert_eq!(findings(&case(true), &seen(["r1 10.0.2.11:80", "r2 10.0.2.12:80", "OK"], LISTING)), []);
    }

    #[test]
    fn each_thing_is_named() {
        let case = case(true);
        assert_eq!(whats(&case, &seen(["r1 10.0.2.11:80", "r2 10.0.2.12:81", "OK"], LISTING)), ["step 2"]);
        assert_eq!(whats(&case, &seen(["r1 10.0.2.11:80", "r2 10.0.2.12:80", "RESET"], LISTING)), ["step 3"]);
        assert_eq!(whats(&case, &seen(["r2 x", "r1 x", "OK"], LISTING)), ["sequence"]);
        assert_eq!(whats(&case, &seen(["r1 10.0.2.11:80", "r2 10.0.2.12:80", "OK"], "TCP x\n")), ["Ln"]);
        let mut other = seen(["r1 10.0.2.11:80", "r2 10.0.2.12:80", "OK"], LISTING);
        other.setup[0].rc = 0;
        other.outputs.insert("Sn".to_owned(), None);
        assert_eq!(whats(&case, &other), ["setup 1", "Sn"]);
    }

    #[test]
    fn either_kernel_is_right() {
        assert_eq!(findings(&case(true), &seen(["r2 x", "r2 x", "OK"], "other counts")), []);
    }

    #[test]
    fn of_lots_the_totals_count() {
        let case = case(false);
        assert_eq!(findings(&case, &seen(["r2 x", "r2 x", "OK"], LISTING)), []);
        assert_eq!(whats(&case, &seen(["r2 x", "REFUSED", "OK"], LISTING)), ["step 2"]);
        assert_eq!(whats(&case, &seen(["r2 x", "r2 x", "OK"], "TCP x\n  -> a 1 0 3\n")), ["Ln"]);
    }
}
