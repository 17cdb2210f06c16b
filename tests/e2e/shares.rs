//! Round robin over ten thousand requests, each a connection of its own: the client's count, the director's and the reals' own
//! logs have to agree, and the shares have to be exact.
//!
//! Each CPU goes round by a cursor of its own, so each may be in the midst of a round when the count is taken.

use std::collections::BTreeMap;

use lb_lab::load::{Load, LoadSpec};
use lb_lab::plan::Family;
use lb_lab::{Plan, wrk};

use crate::stage::{self, Stage, since, wait};

const REQUESTS: u64 = 10_000;

fn cpus() -> u64 {
    std::thread::available_parallelism().unwrap().get() as u64
}

/// Runs the requests and returns how many connections each real was given.
fn ten_thousand(stage: &mut Stage, family: Family, scheduler: &str, weights: &[u32]) -> BTreeMap<String, u64> {
    let (key, target) = stage::http(family, 0);
    let reals = stage.reals(family, weights);
    stage.apply_and_wait(&format!("[[service]]\naddress = \"{target}\"\nscheduler = \"{scheduler}\"\n{reals}"));
    let (logs, given) = (stage.served(), stage.scheduled(&key));

    let report = Load::run(stage.cluster.client().unwrap(), LoadSpec::new(target, Some(REQUESTS))).unwrap();
    assert_eq!((report.requests, report.failed), (REQUESTS, 0), "{:?}", report.errors);

    let given = since(&stage.scheduled(&key), &given);
    assert_eq!(given, report.reals, "the director's count is the client's");
    wait("the reals' logs are written", || {
        let logs = since(&stage.served(), &logs);
        if logs == given { Ok(()) } else { Err(format!("{logs:?} instead of {given:?}")) }
    });
    println!("{scheduler} {weights:?} over {}: {given:?}", family.as_str());
    given
}

#[test]
fn wrr_5_3_2_gives_each_real_its_share() {
    stage::with("wrr", Plan::one_arm(3), |stage| {
        for family in Family::ALL {
            let given = ten_thousand(stage, family, "wrr", &[5, 3, 2]);
            for (name, exact) in [("real1", 5_000), ("real2", 3_000), ("real3", 2_000)] {
                // A part of a round of ten is off by two at most: real1 comes three times in a row.
                assert!(given[name].abs_diff(exact) <= 2 * cpus(), "{name}: {} instead of {exact}", given[name]);
            }
        }
    });
}

#[test]
fn rr_gives_all_reals_the_same_whatever_their_weight() {
    stage::with("rr", Plan::one_arm(4), |stage| {
        let given = ten_thousand(stage, Family::V4, "rr", &[1, 7, 1, 3]);
        assert!(given.values().all(|count| count.abs_diff(REQUESTS / 4) <= cpus()), "{given:?}");
    });
}

#[test]
fn wrr_keeps_its_shares_under_wrk() {
    stage::with("wrk", Plan::one_arm(3), |stage| {
        const CONNECTIONS: u64 = 16;
        let (key, target) = stage::http(Family::V4, 0);
        let reals = stage.reals(Family::V4, &[5, 3, 2]);
        stage.apply_and_wait(&format!("[[service]]\naddress = \"{target}\"\nscheduler = \"wrr\"\n{reals}"));
        let mut requests = 0;
        // As many seconds as it takes.
        for _ in 0..20 {
            let client = stage.cluster.client().unwrap();
            let report = wrk::run_closing(client, target, "/", CONNECTIONS as usize, 2).unwrap();
            assert_eq!(report.failed, 0, "{report:?}");
            requests += report.requests;
            if requests >= REQUESTS {
                break;
            }
        }
        assert!(requests >= REQUESTS, "{requests} requests in 40 s");
        let given = stage.scheduled(&key);
        let all: u64 = given.values().sum();
        for (name, share) in [("real1", 0.5), ("real2", 0.3), ("real3", 0.2)] {
            let seen = given[name] as f64 / all as f64;
            assert!((seen - share).abs() <= 0.01, "{name}: {seen} of {all}");
        }
        let logs = stage.served();
        println!("wrk: {requests} requests, director {given:?}, logs {logs:?}");
        // wrk ends with requests under way: connections that no log has, 20 runs at most.
        for (name, given) in &given {
            assert!(
                logs[name] <= *given && given - logs[name] <= 20 * CONNECTIONS,
                "{name}: {given} given, {} served",
                logs[name]
            );
        }
    });
}
