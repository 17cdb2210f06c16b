//! What the design is judged by: every target in one place, and each row's ratio to what it is compared with. Nothing asserts them:
//! clocks do not belong in tests.

use super::case::MILLION;
use super::measure::Row;
use crate::figures::{Figure, rounded};

/// Name, method and family of rows.
type Of = (&'static str, &'static str, &'static str);

/// A comparison, with a limit or without, for each number of flows.
struct Comparison {
    what: &'static str,
    ours: Of,
    /// What it is compared with and how that is called; None: nanoseconds count.
    than: Option<(Of, &'static str)>,
    limits: &'static [(u32, Option<f64>)],
}

/// One figure of a comparison.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Judged {
    pub(crate) what: &'static str,
    pub(crate) than: Option<&'static str>,
    pub(crate) flows: u32,
    pub(crate) ours: f64,
    pub(crate) other: Option<f64>,
    /// Ratio of both medians, or nanoseconds; the least and the most are of repetitions that followed each other.
    pub(crate) value: Figure,
    pub(crate) limit: Option<f64>,
}

const K8: u32 = 8192;
const M8: u32 = 8 * MILLION;
const V4: &str = "ipv4";
const V6: &str = "ipv6";
const DIRECT: Of = ("xvs-tcp", "direct", V4);
const IPIP: Of = ("xvs-tcp", "ipip", V4);

/// The targets, then what is worth knowing and has none.
const COMPARISONS: [Comparison; 20] = [
    Comparison {
        what: "direct routing, IPv4",
        ours: DIRECT,
        than: Some((("baseline-usual", "direct", V4), "the usual design")),
        limits: &[(1, Some(0.20)), (K8, Some(0.25)), (MILLION, Some(0.45)), (M8, Some(0.45))],
    },
    Comparison {
        what: "IP in IP, IPv4",
        ours: IPIP,
        than: Some((("baseline-usual", "ipip", V4), "the usual design with IP in IP")),
        limits: &[(1, Some(0.40)), (K8, Some(0.40)), (MILLION, Some(0.50)), (M8, Some(0.50))],
    },
    Comparison {
        what: "direct routing, IPv6",
        ours: ("xvs-tcp", "direct", V6),
        than: Some((("baseline-usual", "direct", V6), "the usual design for IPv6")),
        limits: &[(1, Some(0.30)), (K8, Some(0.35)), (MILLION, Some(0.55)), (M8, Some(0.55))],
    },
    Comparison {
        what: "direct routing, IPv4",
        ours: DIRECT,
        than: Some((("baseline-floor", "-", V4), "the memory floor")),
        limits: &[(MILLION, Some(1.3)), (M8, Some(1.3))],
    },
    Comparison {
        what: "packet for no service, IPv4",
        ours: ("xvs-no-service", "-", V4),
        than: None,
        limits: &[(1, Some(6.0)), (K8, Some(6.0))],
    },
    Comparison {
        what: "packet for no service, IPv6",
        ours: ("xvs-no-service", "-", V6),
        than: None,
        limits: &[(1, Some(6.0))],
    },
    Comparison {
        what: "SYN of a new flow, mh",
        ours: ("xvs-new-mh", "direct", V4),
        than: Some((("baseline-lru-insert", "-", V4), "an insertion into the kernel's LRU_HASH")),
        limits: &[(MILLION, Some(0.35))],
    },
    Comparison {
        what: "GUE, IPv4",
        ours: ("xvs-tcp", "gue", V4),
        than: Some((IPIP, "IP in IP")),
        limits: &[(1, Some(1.2)), (K8, Some(1.2)), (MILLION, Some(1.2))],
    },
    Comparison {
        what: "NAT to the real, IPv4",
        ours: ("xvs-tcp", "nat", V4),
        than: Some((DIRECT, "direct routing")),
        limits: &[(1, Some(1.6)), (K8, Some(1.6)), (MILLION, Some(1.6))],
    },
    Comparison {
        what: "NAT to the real, IPv4, no packet the first of its second",
        ours: ("xvs-tcp-steady", "nat", V4),
        than: Some((("xvs-tcp-steady", "direct", V4), "direct routing")),
        limits: &[(MILLION, None)],
    },
    beside("NAT, answers, IPv4", ("xvs-tcp-answer", "nat", V4), (DIRECT, "direct routing")),
    beside("full NAT to the real, IPv4", ("xvs-tcp", "fullnat", V4), (DIRECT, "direct routing")),
    beside("full NAT, answers, IPv4", ("xvs-tcp-answer", "fullnat", V4), (DIRECT, "direct routing")),
    beside("NAT to the real, IPv6", ("xvs-tcp", "nat", V6), (("xvs-tcp", "direct", V6), "direct routing")),
    beside("full NAT to the real, IPv6", ("xvs-tcp", "fullnat", V6), (("xvs-tcp", "direct", V6), "direct routing")),
    beside("GUE with checksum, IPv4", ("xvs-tcp", "gue-checksum", V4), (IPIP, "IP in IP")),
    beside("GRE, IPv4", ("xvs-tcp", "gre", V4), (IPIP, "IP in IP")),
    beside("IPv6 in IPv6", ("xvs-tcp", "ip6ip6", V6), (("xvs-tcp", "direct", V6), "direct routing")),
    beside("UDP, direct routing, IPv4", ("xvs-udp", "direct", V4), (DIRECT, "TCP")),
    Comparison {
        what: "SYN flood, mh, full tables",
        ours: ("xvs-flood", "direct", V4),
        than: Some((("baseline-lru-flood", "-", V4), "an insertion into a full LRU_HASH")),
        limits: &[(MILLION, None)],
    },
];

/// A comparison that nothing is asked of.
const fn beside(what: &'static str, ours: Of, than: (Of, &'static str)) -> Comparison {
    Comparison { what, ours, than: Some(than), limits: &[(1, None), (K8, None), (MILLION, None)] }
}

/// Every comparison whose rows are there (`--filter` leaves some out).
pub(crate) fn judge(rows: &[Row]) -> Vec<Judged> {
    let find = |(name, method, family): Of, flows| {
        rows.iter().find(|row| (&*row.name, &*row.method, &*row.family, row.flows) == (name, method, family, flows))
    };
    let mut all = Vec::new();
    for comparison in &COMPARISONS {
        for &(flows, limit) in comparison.limits {
            let Some(ours) = find(comparison.ours, flows) else { continue };
            let (than, value, other) = match comparison.than {
                None => (None, Figure { median: ours.ns, min: ours.min, max: ours.max }, None),
                Some((of, than)) => {
                    let Some(other) = find(of, flows) else { continue };
                    (Some(than), ratio(ours, other), Some(other.ns))
                }
            };
            all.push(Judged { what: comparison.what, than, flows, ours: ours.ns, other, value, limit });
        }
    }
    all
}

/// The ratio of both medians, and the least and the most of repetitions that followed each other.
fn ratio(ours: &Row, other: &Row) -> Figure {
    let each = ours.samples.iter().zip(&other.samples).map(|(ours, other)| rounded(ours / other)).collect();
    Figure { median: rounded(ours.ns / other.ns), ..Figure::of(each) }
}

impl Judged {
    /// None: nothing is asked.
    pub(crate) fn is_met(&self) -> Option<bool> {
        self.limit.map(|limit| self.value.median <= limit)
    }

    /// In words.
    pub(crate) fn verdict(&self) -> &'static str {
        match self.is_met() {
            Some(true) => "met",
            Some(false) => "missed",
            None => "",
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::case::{Case, all};
    use super::*;

    fn row((name, method, family): Of, flows: u32, samples: &[f64]) -> Row {
        let Figure { median: ns, min, max } = Figure::of(samples.to_vec());
        let (name, method, family) = (name.to_owned(), method.to_owned(), family.to_owned());
        Row { name, method, family, flows, ns, min, max, samples: samples.to_vec(), insns: 1, stack: 32 }
    }

    #[test]
    fn a_ratio_is_of_medians_and_its_spread_of_repetitions_in_turn() {
        let rows = [row(DIRECT, 1, &[10.0, 12.0, 30.0]), row(("baseline-usual", "direct", V4), 1, &[50.0, 60.0, 60.0])];
        let judged = judge(&rows);
        assert_eq!(judged.len(), 1);
        assert_eq!(judged[0].value, Figure { median: 0.2, min: 0.2, max: 0.5 });
        assert_eq!((judged[0].limit, judged[0].verdict()), (Some(0.2), "met"));
    }

    #[test]
    fn above_the_limit_is_missed_and_without_limit_nothing() {
        let rows = [
            row(DIRECT, MILLION, &[131.0]),
            row(("baseline-floor", "-", V4), MILLION, &[100.0]),
            row(("xvs-no-service", "-", V4), 1, &[6.0]),
            row(("xvs-tcp", "gre", V4), K8, &[20.0]),
            row(IPIP, K8, &[10.0]),
        ];
        let verdicts: Vec<_> = judge(&rows).iter().map(|judged| (judged.what, judged.verdict())).collect();
        let expected = [("direct routing, IPv4", "missed"), ("packet for no service, IPv4", "met"), ("GRE, IPv4", "")];
        assert_eq!(verdicts, expected);
    }

    #[test]
    fn every_comparison_names_rows_that_are_measured_in_turns() {
        let cases = all();
        let group = |(name, method, family): Of, flows| {
            let is =
                |case: &&Case| (case.name, case.method, case.family(), case.flows) == (name, method, family, flows);
            let case = cases.iter().find(is).unwrap_or_else(|| panic!("{name} {method} {family} {flows}"));
            case.group()
        };
        for comparison in &COMPARISONS {
            for &(flows, _) in comparison.limits {
                let ours = group(comparison.ours, flows);
                let other = comparison.than.map_or(ours, |(of, _)| group(of, flows));
                assert_eq!(ours, other, "{}", comparison.what);
            }
        }
    }
}
