//! What the demo came to: a table for people, JSON for programs, and whether it was a success.

use std::collections::{BTreeMap, BTreeSet};

use comfy_table::{CellAlignment, Table, presets};
use serde::Serialize;

use super::phase::PhaseResult;

#[derive(Serialize)]
struct Document<'a> {
    phases: Vec<PhaseDocument<'a>>,
}

#[derive(Serialize)]
struct PhaseDocument<'a> {
    name: &'a str,
    method: &'static str,
    family: &'static str,
    requests: u64,
    failed: u64,
    reals: &'a BTreeMap<String, u64>,
}

/// `{"phases":[{"name","method","family","requests","failed","reals":{NAME:requests}}]}`. `requests` are all, so they are
/// the sum of `failed` and of what the reals answered.
pub(super) fn json(results: &[PhaseResult]) -> serde_json::Result<String> {
    let phases = results
        .iter()
        .map(|result| PhaseDocument {
            name: &result.name,
            method: result.service.method.as_str(),
            family: result.service.family.as_str(),
            requests: result.load.requests,
            failed: result.load.failed,
            reals: &result.reals,
        })
        .collect();
    Ok(serde_json::to_string_pretty(&Document { phases })? + "\n")
}

/// One row per phase, one column per real.
pub(super) fn table(results: &[PhaseResult]) -> String {
    let reals: BTreeSet<&String> = results.iter().flat_map(|result| result.reals.keys()).collect();
    let mut table = Table::new();
    table.load_preset(presets::UTF8_BORDERS_ONLY);
    let mut header = ["phase", "method", "family", "requests", "failed"].map(str::to_owned).to_vec();
    header.extend(reals.iter().map(|real| (*real).clone()));
    table.set_header(header);
    for result in results {
        let mut row = vec![
            result.name.clone(),
            result.service.method.as_str().to_owned(),
            result.service.family.as_str().to_owned(),
            result.load.requests.to_string(),
            result.load.failed.to_string(),
        ];
        row.extend(reals.iter().map(|real| result.reals.get(*real).copied().unwrap_or(0).to_string()));
        table.add_row(row);
    }
    for column in table.column_iter_mut().skip(3) {
        column.set_cell_alignment(CellAlignment::Right);
    }
    table.to_string()
}

/// Why the demo is no success; empty when it is one.
pub(super) fn complaints(results: &[PhaseResult]) -> Vec<String> {
    let mut complaints = Vec::new();
    for result in results {
        let (failed, allowed) = (result.load.failed, result.allowed);
        if failed > allowed {
            let kinds: Vec<_> = result.load.errors.iter().map(|(kind, count)| format!("{count} x {kind}")).collect();
            complaints.push(format!("{}: {failed} requests failed, {allowed} may ({})", result.name, kinds.join(", ")));
        }
        complaints.extend(result.complaints.iter().map(|complaint| format!("{}: {complaint}", result.name)));
    }
    complaints
}

#[cfg(test)]
pub(super) mod tests {
    use lb_lab::load::LoadReport;

    use super::*;
    use crate::scene::Service;

    /// A result with these answers and failures.
    pub(crate) fn result(name: &str, reals: &[(&str, u64)], failed: u64) -> PhaseResult {
        let reals: BTreeMap<String, u64> = reals.iter().map(|(name, count)| ((*name).to_owned(), *count)).collect();
        let requests = reals.values().sum::<u64>() + failed;
        let errors = BTreeMap::from([("connect: timed out".to_owned(), failed)]);
        PhaseResult {
            name: name.to_owned(),
            service: Service::TUNNEL_V6,
            load: LoadReport { requests, failed, reals: reals.clone(), errors, ..LoadReport::default() },
            reals,
            allowed: 0,
            complaints: Vec::new(),
        }
    }

    #[test]
    fn the_json_has_exactly_the_promised_shape() {
        let text = json(&[result("tunnel-ipv6", &[("real1", 2), ("real2", 0)], 1)]).unwrap();
        let seen: serde_json::Value = serde_json::from_str(&text).unwrap();
        let wanted = serde_json::json!({"phases": [{
            "name": "tunnel-ipv6", "method": "tunnel", "family": "ipv6", "requests": 3, "failed": 1,
            "reals": {"real1": 2, "real2": 0},
        }]});
        assert_eq!(seen, wanted);
    }

    #[test]
    fn failures_are_forgiven_only_up_to_what_was_in_flight() {
        let mut taken = result("take-away", &[("real1", 90)], 10);
        taken.allowed = 10;
        assert_eq!(complaints(&[taken.clone()]), Vec::<String>::new());
        taken.allowed = 9;
        let said = complaints(&[taken, result("direct", &[("real1", 5)], 1)]);
        assert_eq!(said[0], "take-away: 10 requests failed, 9 may (10 x connect: timed out)");
        assert_eq!(said.len(), 2);
    }

    #[test]
    fn the_table_has_a_column_for_every_real_of_any_phase() {
        let text = table(&[result("a", &[("real1", 7)], 0), result("b", &[("real2", 8)], 0)]);
        let lines: Vec<_> = text.lines().map(|line| line.split_whitespace().collect::<Vec<_>>()).collect();
        assert!(lines.iter().any(|line| line.ends_with(&["real1", "real2", "│"])), "{text}");
        assert!(lines.iter().any(|line| line.ends_with(&["7", "0", "│"])), "{text}");
        assert!(lines.iter().any(|line| line.ends_with(&["0", "8", "│"])), "{text}");
    }
}
