//! lc and wlc with connections that are held open: before each connection the test reads the counts that `xvs real list` shows and
//! says by IPVS's formula who has to get it.
//!
//! A real's overhead is active * 256 + all its connections (`ip_vs_dest_conn_overhead`); the server that was added last is looked
//! at first, and the first of equals wins.

use std::net::SocketAddr;

use lb_lab::Plan;
use lb_lab::plan::Family;
use lb_userspace::api::types::RealView;

use crate::hold::Held;
use crate::stage::{self, Stage, wait};

fn overhead(real: &RealView) -> u64 {
    real.active * 256 + real.active + real.inactive
}

/// Least overhead.
fn by_lc(reals: &[RealView]) -> &RealView {
    reals.iter().rev().filter(|real| real.weight > 0).min_by_key(|real| overhead(real)).unwrap()
}

/// Least overhead for its weight, by cross products. min_by keeps the first of equals.
fn by_wlc(reals: &[RealView]) -> &RealView {
    let less =
        |a: &&RealView, b: &&RealView| (overhead(a) * u64::from(b.weight)).cmp(&(overhead(b) * u64::from(a.weight)));
    reals.iter().rev().filter(|real| real.weight > 0).min_by(less).unwrap()
}

/// Waits until the director has seen `active` established connections, and this many in all.
fn settled(stage: &Stage, key: &str, active: usize, all: usize) -> Vec<RealView> {
    wait(&format!("{active} active of {all} connections"), || {
        let view = stage.service(key);
        match (view.active, view.active + view.inactive) == (active as u64, all as u64) {
            true => Ok(view.reals),
            false => Err(format!("{} active, {} inactive", view.active, view.inactive)),
        }
    })
}

/// Opens a connection and compares who got it with who had to.
fn open(
    stage: &Stage,
    key: &str,
    target: SocketAddr,
    reals: &[RealView],
    rule: fn(&[RealView]) -> &RealView,
) -> (String, Held) {
    let expected = stage.name_of(rule(reals).address);
    let mut held = Held::open(stage, target);
    let counts: Vec<_> = reals.iter().map(|real| (real.weight, real.active, real.inactive)).collect();
    assert_eq!(held.ask().unwrap(), expected, "{key} with (weight, active, inactive) {counts:?}");
    (expected, held)
}

/// Opens 24 connections, closes every third and opens 12 more: counts with closing connections in them.
fn follows(scheduler: &str, family: Family, weights: &[u32], rule: fn(&[RealView]) -> &RealView) {
    stage::with(scheduler, Plan::one_arm(weights.len()), |stage| {
        let (key, target) = stage::http(family, 0);
        let reals = stage.reals(family, weights);
        stage.apply(&format!("[[service]]\naddress = \"{target}\"\nscheduler = \"{scheduler}\"\n{reals}"));
        wait("every real with a weight is up", || {
            let reals = stage.service(&key).reals;
            let ready = reals.iter().all(|real| real.weight == real.effective_weight);
            if ready { Ok(()) } else { Err(format!("{reals:?}")) }
        });
        let (mut held, mut order) = (Vec::new(), Vec::new());
        let mut all = 0;
        for _ in 0..24 {
            let (name, connection) = open(stage, &key, target, &settled(stage, &key, held.len(), all), rule);
            all += 1;
            order.push(name);
            held.push(connection);
        }
        // FIN from the client: in FIN_WAIT, inactive, for two minutes.
        let mut position = 0;
        held.retain(|_| {
            position += 1;
            position % 3 != 0
        });
        assert_eq!(held.len(), 16);
        for _ in 0..12 {
            let (name, connection) = open(stage, &key, target, &settled(stage, &key, held.len(), all), rule);
            all += 1;
            order.push(name);
            held.push(connection);
        }
        println!("{scheduler} {weights:?}: {}", order.iter().map(|name| &name[4..]).collect::<Vec<_>>().join(" "));
    });
}

#[test]
fn lc_picks_by_the_formula() {
    follows("lc", Family::V4, &[1, 1, 1], by_lc);
}

#[test]
fn wlc_picks_by_the_formula() {
    follows("wlc", Family::V4, &[5, 3, 2], by_wlc);
}

#[test]
fn wlc_over_ipv6_with_a_drained_real_picks_by_the_formula() {
    follows("wlc", Family::V6, &[1, 0, 4, 2], by_wlc);
}

/// Both: a real that holds long-lived connections gets no further ones until the others have as many.
#[test]
fn new_connections_go_where_fewer_are_held() {
    for scheduler in ["lc", "wlc"] {
        stage::with("held", Plan::one_arm(3), |stage| {
            const HELD: usize = 6;
            let (key, target) = stage::http(Family::V4, 0);
            // real1 alone takes the first ones.
            let service = format!("[[service]]\naddress = \"{target}\"\nscheduler = \"{scheduler}\"\n");
            stage.apply(&format!("{service}{}", stage.reals(Family::V4, &[1, 0, 0])));
            let real1 = stage.address("real1", Family::V4);
            stage.wait_real(&key, real1, lb_userspace::api::types::RealState::Up);
            let first: Vec<Held> = (0..HELD).map(|_| Held::open(stage, target)).collect();
            settled(stage, &key, HELD, HELD);
            stage.apply_and_wait(&format!("{service}{}", stage.reals(Family::V4, &[1, 1, 1])));

            let mut others: Vec<Held> = (0..2 * HELD).map(|_| Held::open(stage, target)).collect();
            let reals = settled(stage, &key, 3 * HELD, 3 * HELD);
            let active: Vec<u64> = reals.iter().map(|real| real.active).collect();
            assert_eq!(active, [HELD as u64; 3], "{scheduler}");
            assert!(others.iter_mut().all(|held| held.ask().unwrap() != "real1"), "{scheduler}");
            drop(first);
        });
    }
}
