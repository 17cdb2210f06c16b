//! Where we do on purpose what IPVS does not. docs/reference/ipvs-differences.md has the same list in words, and a test holds the two
//! together. A case that is listed here and does not differ in just these things fails.

use crate::compare::{Finding, Pair, Way, compare, pairs};
use crate::listing::services_sorted;
use crate::play::Seen;
use crate::recorded::{Answer, Case};

/// One decision, and the recorded cases that show it.
pub(crate) struct Difference {
    /// Cases, and what of each is different.
    pub(crate) cases: &'static [(&'static str, &'static [(&'static str, Ours)])],
    /// What follows "because".
    pub(crate) reason: &'static str,
}

/// What we do there: the rest of the listing has to be as recorded all the same.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Ours {
    /// We refuse, with this exit code and these words.
    Refuses(i32, &'static str),
    /// Lines with this are not there.
    Without(&'static str),
    /// A line is another; the recorded and ours.
    Line(&'static str, &'static str),
    /// Services stand in another order.
    Order,
}

use Ours::{Line, Order, Refuses, Without};

const NO_ENGINE: Ours = Refuses(255, "Scheduler or persistence engine not found\n");
const SIP: Ours = Without("pe sip");
const NO_OFFLOAD: Ours = Refuses(255, "XVS has no remote checksum offload (--tun-remcsum); nothing was changed\n");
const NO_TEMPLATE: Ours = Line(
    "  -> 10.0.2.12:80                 0         1           0          2         \n",
    "  -> 10.0.2.12:80                 0         0           0          2         \n",
);
const REAL_4: Ours = Without("10.0.2.14:80");

/// All of them.
pub(crate) const DIFFERENCES: &[Difference] = &[
    Difference {
        cases: &[(
            "adm_flags_listing",
            &[
                ("setup 6", NO_ENGINE),
                ("setup 7", NO_ENGINE),
                ("Ln", SIP),
                ("Ln_nosort", SIP),
                ("Ln_persistent_conn", SIP),
                ("Ln_thresholds", SIP),
                ("Sn", SIP),
            ],
        )],
        reason: "persistence by the SIP call is not in this version",
    },
    Difference {
        cases: &[(
            "adm_tun_types",
            &[
                ("setup 5", NO_OFFLOAD),
                ("Ln", REAL_4),
                ("Ln_nosort", REAL_4),
                ("Ln_persistent_conn", REAL_4),
                ("Ln_thresholds", REAL_4),
                ("Ln_tun", REAL_4),
                ("Sn", REAL_4),
            ],
        )],
        reason: "tunnels with remote checksum offload are not in this version",
    },
    Difference {
        cases: &[("adm_flags_listing", &[("Ln_nosort", Order)]), ("adm_list_order", &[("Ln_nosort", Order)])],
        reason: "unsorted, services stand in the order in which they were added; IPVS has that of its hash table",
    },
    Difference {
        cases: &[("pers_quiesce_expire", &[("Lnc", Without(":65535")), ("Ln_persistent_conn", NO_TEMPLATE)])],
        reason: "a persistence template that is not valid any more is forgotten at once; IPVS lists it until its time is over",
    },
];

/// What a case is listed with: each thing, and every change of it.
fn listed(id: &str) -> Vec<(&'static str, Ours, &'static str)> {
    let of =
        DIFFERENCES.iter().flat_map(|difference| difference.cases.iter().map(move |case| (case, difference.reason)));
    of.filter(|((name, _), _)| *name == id)
        .flat_map(|((_, things), reason)| things.iter().map(move |(what, ours)| (*what, *ours, reason)))
        .collect()
}

/// Names of the cases that are listed.
pub(crate) fn listed_cases() -> Vec<&'static str> {
    let mut names: Vec<&str> =
        DIFFERENCES.iter().flat_map(|difference| difference.cases.iter().map(|(name, _)| *name)).collect();
    names.sort_unstable();
    names.dedup();
    names
}

/// Takes out of the findings what is listed and just as it is listed; what is listed and not found is put in. The second are the reasons.
pub(crate) fn without_listed(case: &Case, seen: &Seen, mut found: Vec<Finding>) -> (Vec<Finding>, Vec<&'static str>) {
    let list = listed(&case.id);
    let mut reasons: Vec<&str> = Vec::new();
    for pair in pairs(case, seen) {
        let changes: Vec<_> = list.iter().filter(|(what, _, _)| *what == pair.what).collect();
        if changes.is_empty() {
            continue;
        }
        for (_, _, reason) in &changes {
            if !reasons.contains(reason) {
                reasons.push(reason);
            }
        }
        let position = found.iter().position(|finding| finding.what == pair.what);
        let Some(position) = position else {
            let lines = "listed as different, and it is the same\n".to_owned();
            found.push(Finding { what: pair.what, lines });
            continue;
        };
        let changes: Vec<Ours> = changes.into_iter().map(|(_, ours, _)| *ours).collect();
        match as_listed(&pair, &changes) {
            None => drop(found.remove(position)),
            Some(finding) => found[position] = finding,
        }
    }
    for (what, _, _) in list.iter().filter(|(what, _, _)| pairs(case, seen).iter().all(|pair| pair.what != *what)) {
        found.push(Finding { what: (*what).to_owned(), lines: "listed, and not recorded\n".to_owned() });
    }
    (found, reasons)
}

/// Compares ours with the recorded, changed as listed.
fn as_listed(pair: &Pair<'_>, changes: &[Ours]) -> Option<Finding> {
    let mut recorded = pair.recorded.clone();
    let mut ours = pair.ours?.clone();
    for change in changes {
        match change {
            Refuses(rc, stderr) => {
                recorded = Answer { rc: *rc, stdout: String::new(), stderr: (*stderr).to_owned() };
            }
            Without(text) => {
                let kept = recorded.stdout.lines().filter(|line| !line.contains(text));
                recorded.stdout = kept.map(|line| format!("{line}\n")).collect();
            }
            Line(theirs, ours) => recorded.stdout = recorded.stdout.replace(theirs, ours),
            Order => {
                recorded.stdout = services_sorted(&recorded.stdout);
                ours.stdout = services_sorted(&ours.stdout);
            }
        }
    }
    let (what, arguments) = (pair.what.clone(), pair.arguments.clone());
    compare(&Pair { what, arguments, recorded, ours: Some(&ours), going: pair.going }, Way::Recorded)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::listing::Going;

    fn pair<'a>(recorded: &str, ours: &'a Answer) -> Pair<'a> {
        let recorded = Answer { rc: 0, stdout: recorded.to_owned(), stderr: String::new() };
        static NONE: Going = Going::new();
        Pair { what: "Ln".to_owned(), arguments: "-Ln".to_owned(), recorded, ours: Some(ours), going: &NONE }
    }

    fn said(rc: i32, stdout: &str, stderr: &str) -> Answer {
        Answer { rc, stdout: stdout.to_owned(), stderr: stderr.to_owned() }
    }

    #[test]
    fn the_rest_of_a_listing_has_to_be_the_same() {
        let recorded = "TCP  a rr\nTCP  b rr pe sip\nTCP  c rr\n";
        assert_eq!(as_listed(&pair(recorded, &said(0, "TCP  a rr\nTCP  c rr\n", "")), &[SIP]), None);
        assert!(as_listed(&pair(recorded, &said(0, "TCP  a rr\nTCP  c lc\n", "")), &[SIP]).is_some());
        assert!(as_listed(&pair(recorded, &said(0, "TCP  c rr\nTCP  a rr\n", "")), &[SIP]).is_some());
        assert_eq!(as_listed(&pair(recorded, &said(0, "TCP  c rr\nTCP  a rr\n", "")), &[SIP, Order]), None);
    }

    #[test]
    fn a_line_is_another() {
        let change = Line("  -> a 1\n", "  -> a 0\n");
        assert_eq!(as_listed(&pair("x\n  -> a 1\n", &said(0, "x\n  -> a 0\n", "")), &[change]), None);
        assert!(as_listed(&pair("x\n  -> a 1\n", &said(0, "x\n  -> a 2\n", "")), &[change]).is_some());
    }

    #[test]
    fn a_refusal_has_the_listed_words() {
        let words = "Scheduler or persistence engine not found\n";
        assert_eq!(as_listed(&pair("", &said(255, "", words)), &[NO_ENGINE]), None);
        assert!(as_listed(&pair("", &said(2, "", words)), &[NO_ENGINE]).is_some());
        assert!(as_listed(&pair("", &said(255, "", "no\n")), &[NO_ENGINE]).is_some());
    }
}
