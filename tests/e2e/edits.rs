//! Changes while requests run: none fails, and each does what it says from the next connection on.

use std::collections::BTreeMap;

use lb_lab::Plan;
use lb_lab::load::{Load, LoadReport, LoadSpec};
use lb_lab::plan::Family;

use crate::hold::Held;
use crate::stage::{self, wait};

/// Answers of the next `count` requests or so, by real.
fn answers(load: &Load, count: u64) -> BTreeMap<String, u64> {
    // What is under way was scheduled before.
    let settled = load.snapshot().requests + 64;
    let reached = |goal: u64| -> LoadReport {
        wait(&format!("{goal} answers"), || match load.snapshot() {
            report if report.requests >= goal => Ok(report),
            report => Err(report.requests.to_string()),
        })
    };
    let before = reached(settled);
    reached(settled + count).reals_since(&before).into_iter().filter(|(_, count)| *count > 0).collect()
}

fn share(answers: &BTreeMap<String, u64>, name: &str) -> f64 {
    answers.get(name).copied().unwrap_or(0) as f64 / answers.values().sum::<u64>() as f64
}

#[test]
fn weights_reals_and_schedulers_change_under_load() {
    stage::with("edits", Plan::one_arm(3), |stage| {
        let (key, target) = stage::http(Family::V4, 0);
        let service = |scheduler: &str, weights: &[u32]| {
            format!(
                "[[service]]\naddress = \"{target}\"\nscheduler = \"{scheduler}\"\n{}",
                stage.reals(Family::V4, weights)
            )
        };
        stage.apply_and_wait(&service("wrr", &[5, 3, 2]));
        let mut held: Vec<Held> = (0..10).map(|_| Held::open(stage, target)).collect();
        let first: Vec<String> = held.iter_mut().map(|held| held.ask().unwrap()).collect();
        let director = stage.cluster.director();
        let real = |n: usize| stage.address(&format!("real{n}"), Family::V4).to_string();
        let load = Load::start(stage.cluster.client().unwrap(), LoadSpec::new(target, None)).unwrap();

        let seen = answers(&load, 2_000);
        assert!((share(&seen, "real1") - 0.5).abs() < 0.02, "{seen:?}");
        director.xvs(&["real", "edit", &key, &real(1), "--weight", "0"]).unwrap();
        let seen = answers(&load, 2_000);
        assert!(!seen.contains_key("real1") && (share(&seen, "real2") - 0.6).abs() < 0.02, "drained: {seen:?}");
        director.xvs(&["real", "edit", &key, &real(1), "--weight", "15"]).unwrap();
        let seen = answers(&load, 2_000);
        assert!((share(&seen, "real1") - 0.75).abs() < 0.02, "weight 15 of 20: {seen:?}");
        // Drained and back: who had a connection to it kept it.
        assert_eq!(held.iter_mut().map(|held| held.ask().unwrap()).collect::<Vec<_>>(), first);

        director.xvs(&["real", "edit", &key, &real(3), "--weight", "0"]).unwrap();
        let seen = answers(&load, 1_000);
        assert!(!seen.contains_key("real3"), "{seen:?}");
        director.xvs(&["real", "remove", &key, &real(3)]).unwrap();
        director.xvs(&["real", "add", &key, &real(3), "--weight", "18"]).unwrap();
        stage.cluster.wait_states(&key, &BTreeMap::new()).unwrap();
        let seen = answers(&load, 2_000);
        assert!((share(&seen, "real3") - 0.5).abs() < 0.02, "added again with 18 of 36: {seen:?}");

        director.xvs(&["service", "edit", &key, "--scheduler", "rr"]).unwrap();
        let seen = answers(&load, 3_000);
        assert!(
            ["real1", "real2", "real3"].iter().all(|name| (share(&seen, name) - 1.0 / 3.0).abs() < 0.02),
            "rr: {seen:?}"
        );
        director.xvs(&["service", "edit", &key, "--scheduler", "mh"]).unwrap();
        assert_eq!(answers(&load, 1_000).len(), 1, "mh: one client, one real");
        stage.apply(&service("wrr", &[1, 1, 1]));
        assert_eq!(answers(&load, 1_000).len(), 3);
        assert_eq!(stage.service(&key).reals.len(), 3);

        let report = load.stop();
        assert_eq!(report.failed, 0, "{:?}", report.errors);
        println!("9 changes, {} requests, 0 failed", report.requests);
    });
}

/// A service that comes and goes leaves its neighbours alone, a hundred times over.
#[test]
fn services_come_and_go_beside_one_that_serves() {
    stage::with("beside", Plan::one_arm(2), |stage| {
        let ((key, target), (other, second)) = (stage::http(Family::V4, 0), stage::http(Family::V4, 1));
        stage.apply_and_wait(&format!(
            "[[service]]\naddress = \"{target}\"\nscheduler = \"rr\"\n{}",
            stage.reals(Family::V4, &[1, 1])
        ));
        let director = stage.cluster.director();
        let load = Load::start(stage.cluster.client().unwrap(), LoadSpec::new(target, None)).unwrap();
        let real = stage.address("real1", Family::V4).to_string();
        for round in 0..100 {
            director.xvs(&["service", "add", &other, "--scheduler", "mh"]).unwrap();
            director.xvs(&["real", "add", &other, &real]).unwrap();
            if round % 10 == 0 {
                stage.cluster.wait_states(&other, &BTreeMap::new()).unwrap();
                let report = Load::run(stage.cluster.client().unwrap(), LoadSpec::new(second, Some(20))).unwrap();
                assert_eq!(
                    (report.failed, report.reals.get("real1")),
                    (0, Some(&20)),
                    "round {round}: {:?}",
                    report.errors
                );
            }
            director.xvs(&["service", "remove", &other]).unwrap();
        }
        let seen = answers(&load, 1_000);
        assert!((share(&seen, "real1") - 0.5).abs() < 0.02, "{seen:?}");
        let report = load.stop();
        assert_eq!(report.failed, 0, "{:?}", report.errors);
        assert_eq!(stage.status().revision, 302, "two changes at first, three a round");
        assert_eq!(stage.service(&key).counters.connections, report.requests);
        // What the other service's clients get now is the director's kernel, which has no listener.
        let report = Load::run(stage.cluster.client().unwrap(), LoadSpec::new(second, Some(5))).unwrap();
        assert_eq!(report.errors.get("connect: connection refused"), Some(&5), "{:?}", report.errors);
    });
}
