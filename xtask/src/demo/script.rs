//! What happens in the demo, in order, and what each phase has to show.

use std::collections::BTreeMap;
use std::time::Duration;

use lb_lab::plan::Family;
use lb_lab::{Cluster, LabError};

use super::phase::{Phase, PhaseResult};
use crate::interrupt::Interrupt;
use crate::out;
use crate::scene::Service;

/// Weights of the weighted phases, by real.
const WEIGHTS: [(&str, u32); 3] = [("real1", 5), ("real2", 3), ("real3", 2)];
/// The real that is taken away and brought back.
const TAKEN: &str = "real2";
/// The real whose nginx is stopped.
const STOPPED: &str = "real3";
/// Below this many requests a phase says nothing about shares: each CPU has its own turn.
const FEW: u64 = 100;
/// How far a share may be from its weight.
const TOLERANCE: f64 = 0.05;

/// Plays all phases.
pub(super) fn play(cluster: &mut Cluster, requests: u64, interrupt: &Interrupt) -> anyhow::Result<Vec<PhaseResult>> {
    let mut results = Vec::new();
    let steady = [
        ("direct-ipv4", Service::DIRECT_V4),
        ("direct-ipv6", Service::DIRECT_V6),
        ("tunnel-ipv4", Service::TUNNEL_V4),
        ("tunnel-ipv6", Service::TUNNEL_V6),
        ("tunnel-ipv4-in-ipv6", Service::TUNNEL_V4_IN_V6),
        ("tunnel-ipv6-in-ipv4", Service::TUNNEL_V6_IN_V4),
    ];
    for (name, service) in steady {
        let mut result = Phase::start(cluster, interrupt, name, service, requests)?.finish()?;
        let even: Vec<_> = cluster.real_names().into_iter().map(|real| (real, 1)).collect();
        result.expect_shares(&even.iter().map(|(real, weight)| (real.as_str(), *weight)).collect::<Vec<_>>());
        results.push(result);
    }
    results.push(weighted(cluster, requests, interrupt)?);
    results.push(take_away(cluster, requests, interrupt)?);
    results.push(bring_back(cluster, requests, interrupt)?);
    results.extend(health(cluster, requests, interrupt)?);
    Ok(results)
}

/// The director's command line, shown and run.
fn xvs(cluster: &Cluster, arguments: &[&str]) -> Result<(), LabError> {
    out::line(format_args!("$ xvs {}", arguments.join(" ")));
    cluster.director().xvs(arguments).map(drop)
}

fn weighted(cluster: &Cluster, requests: u64, interrupt: &Interrupt) -> anyhow::Result<PhaseResult> {
    let service = Service::DIRECT_V4;
    xvs(cluster, &["service", "edit", &service.key(), "--scheduler", "wrr"])?;
    for (real, weight) in WEIGHTS {
        let address = cluster.address(real, Family::V4)?.to_string();
        xvs(cluster, &["real", "edit", &service.key(), &address, "--weight", &weight.to_string()])?;
    }
    let mut result = Phase::start(cluster, interrupt, "weighted-5-3-2", service, requests)?.finish()?;
    result.expect_shares(&WEIGHTS);
    Ok(result)
}

/// Removes a real under load, a third of the way through.
fn take_away(cluster: &Cluster, requests: u64, interrupt: &Interrupt) -> anyhow::Result<PhaseResult> {
    let service = Service::DIRECT_V4;
    let address = cluster.address(TAKEN, Family::V4)?.to_string();
    let mut phase = Phase::start(cluster, interrupt, "take-away", service, requests)?;
    phase.until(|load| load.snapshot().requests >= requests / 3)?;
    let before = phase.load().in_flight();
    xvs(cluster, &["real", "remove", &service.key(), &address])?;
    let after = phase.load().in_flight();
    let then = phase.load().snapshot();
    let mut result = phase.finish()?;
    // The removal took effect between the two looks.
    result.allowed = before.max(after);
    let late = result.load.reals_since(&then).get(TAKEN).copied().unwrap_or(0);
    if late > result.allowed {
        result.complain(format!("{TAKEN} answered {late} requests after it was removed"));
    }
    Ok(result)
}

/// Adds the real again under load.
fn bring_back(cluster: &Cluster, requests: u64, interrupt: &Interrupt) -> anyhow::Result<PhaseResult> {
    let service = Service::DIRECT_V4;
    let address = cluster.address(TAKEN, Family::V4)?.to_string();
    let weight = WEIGHTS.iter().find(|(real, _)| *real == TAKEN).map_or(1, |(_, weight)| *weight).to_string();
    let mut phase = Phase::start(cluster, interrupt, "bring-back", service, requests)?;
    phase.until(|load| load.snapshot().requests >= requests / 3)?;
    xvs(cluster, &["real", "add", &service.key(), &address, "--weight", &weight])?;
    cluster.wait_states(&service.key(), &BTreeMap::new())?;
    let then = phase.load().snapshot();
    let mut result = phase.finish()?;
    // A short load may be over before the real is up.
    if result.load.requests - then.requests >= FEW && result.load.reals_since(&then).get(TAKEN).is_none_or(|n| *n == 0)
    {
        result.complain(format!("{TAKEN} got nothing after it was added"));
    }
    Ok(result)
}

/// Stops a real's nginx, waits until the director has noticed, and starts it again.
fn health(cluster: &mut Cluster, requests: u64, interrupt: &Interrupt) -> anyhow::Result<[PhaseResult; 2]> {
    let service = Service::DIRECT_V4;
    let check = ["--check", "http", "--check-path", "/health", "--check-interval", "200ms", "--check-timeout", "200ms"];
    let thresholds = ["--check-rise", "2", "--check-fall", "2"];
    xvs(cluster, &[&["service", "edit", &service.key()], &check[..], &thresholds[..]].concat())?;
    cluster.wait_states(&service.key(), &BTreeMap::new())?;

    out::line(format_args!("$ # nginx of {STOPPED} stops"));
    cluster.real_mut(STOPPED)?.0.stop()?;
    let address = cluster.address(STOPPED, Family::V4)?;
    cluster.wait_states(&service.key(), &BTreeMap::from([(address, "down")]))?;
    out::line(format_args!("$ # the director has seen it: {STOPPED} is down"));
    interrupt.check()?;
    // The state is published before the scheduler's table only by this much.
    std::thread::sleep(Duration::from_millis(50));
    let mut down = Phase::start(cluster, interrupt, "health-down", service, requests)?.finish()?;
    if down.reals[STOPPED] != 0 {
        let count = down.reals[STOPPED];
        down.complain(format!("{STOPPED} was down and answered {count} requests"));
    }

    out::line(format_args!("$ # nginx of {STOPPED} starts"));
    let (real, topology) = cluster.real_mut(STOPPED)?;
    real.resume(topology)?;
    cluster.wait_states(&service.key(), &BTreeMap::new())?;
    out::line(format_args!("$ # the director has seen it: {STOPPED} is up"));
    let mut up = Phase::start(cluster, interrupt, "health-up", service, requests)?.finish()?;
    up.expect_shares(&WEIGHTS);
    Ok([down, up])
}

impl PhaseResult {
    /// Complains when a real's share of the answers is not its share of the weights.
    fn expect_shares(&mut self, weights: &[(&str, u32)]) {
        let good: u64 = self.reals.values().sum();
        if good < FEW {
            return;
        }
        let all: u32 = weights.iter().map(|(_, weight)| weight).sum();
        for (real, weight) in weights {
            let wanted = f64::from(*weight) / f64::from(all);
            let seen = self.reals.get(*real).copied().unwrap_or(0) as f64 / good as f64;
            if (seen - wanted).abs() > TOLERANCE {
                self.complain(format!("{real} answered {:.0} % instead of {:.0} %", seen * 100.0, wanted * 100.0));
            }
        }
    }

    fn complain(&mut self, what: String) {
        self.complaints.push(what);
    }
}

#[cfg(test)]
mod tests {
    use super::super::report::tests::result;
    use super::*;

    #[test]
    fn shares_are_held_against_weights() {
        let mut good = result("weighted", &[("real1", 500), ("real2", 310), ("real3", 190)], 0);
        good.expect_shares(&WEIGHTS);
        assert_eq!(good.complaints, Vec::<String>::new());
        let mut bad = result("weighted", &[("real1", 334), ("real2", 333), ("real3", 333)], 0);
        bad.expect_shares(&WEIGHTS);
        assert_eq!(bad.complaints.len(), 2, "{:?}", bad.complaints);
        assert_eq!(bad.complaints[0], "real1 answered 33 % instead of 50 %");
    }

    #[test]
    fn few_requests_say_nothing_about_shares() {
        let mut few = result("direct", &[("real1", 10), ("real2", 0), ("real3", 0)], 0);
        few.expect_shares(&WEIGHTS);
        assert!(few.complaints.is_empty());
    }
}
