//! Debian's ldirectord drives the director by `ipvsadm`, under HTTP load: its service appears, reals leave and come back, a fallback
//! server stands in for them. Its whole log stays in the build directory as `ldirectord-quiet.log` and `ldirectord-gone.log`.

use std::net::{IpAddr, SocketAddr};

use lb_lab::Plan;
use lb_lab::load::{Load, LoadReport, LoadSpec};
use lb_lab::plan::Family;
use lb_userspace::api::types::RealState;

use crate::ldirectord_process::Ldirectord;
use crate::stage::{self, Stage};

/// Requests at a time.
const WORKERS: usize = 4;
/// Requests that show who answers.
const MANY: u64 = 200;

/// A service with two reals and a third as fallback.
fn service(stage: &Stage, target: SocketAddr, quiescent: &str) -> String {
    let address = |name| stage.address(name, Family::V4);
    let lines = [
        format!("virtual={target}"),
        format!("real={}:80 gate 1", address("real1")),
        format!("real={}:80 gate 1", address("real2")),
        format!("fallback={}:80 gate", address("real3")),
        "service=http".to_owned(),
        "checktype=negotiate".to_owned(),
        "request=\"health\"".to_owned(),
        "receive=\"ok\"".to_owned(),
        "scheduler=rr".to_owned(),
        "protocol=tcp".to_owned(),
        format!("quiescent={quiescent}"),
    ];
    lines.join("\n        ") + "\n"
}

/// Many further requests: only these answer, and none fails.
fn only(stage: &Stage, target: SocketAddr, names: &[&str], what: &str) {
    // Until a new real's hardware address is known, it is not chosen.
    let key = format!("tcp://{target}");
    for name in names {
        stage.wait_real(&key, stage.address(name, Family::V4), RealState::Up);
    }
    let report = Load::run(stage.cluster.client().unwrap(), LoadSpec::new(target, Some(MANY))).unwrap();
    assert_eq!((report.requests, report.failed), (MANY, 0), "{what}: {:?}", report.errors);
    assert_eq!(report.reals.keys().collect::<Vec<_>>(), names, "{what}");
    println!("{what}: {MANY} requests, none failed, answered by {}", names.join(", "));
}

/// Prints what has failed since; no more may than are allowed.
fn failed_since(load: &Load, before: &LoadReport, allowed: u64, what: &str) {
    let now = load.snapshot();
    let failed = now.failed - before.failed;
    println!("{what}: {failed} failed of {}", now.requests - before.requests);
    assert!(failed <= allowed, "{what}: {:?}", now.errors);
}

fn scenario(name: &str, is_quiescent: bool) {
    // Names of laboratories are short.
    stage::with(name.trim_start_matches("ldirectord-"), Plan::one_arm(3), |stage| {
        let (_, target) = stage::http(Family::V4, 0);
        let [real1, real2, real3]: [IpAddr; 3] =
            ["real1", "real2", "real3"].map(|name| stage.address(name, Family::V4));
        let quiescent = if is_quiescent { "yes" } else { "no" };
        let mut ldirectord = Ldirectord::start(stage, name, &service(stage, target, quiescent));
        println!("log: {}", ldirectord.log().display());
        // Those that are not up have weight 0, or are not there.
        let list = |up: &[IpAddr], fallback: bool| -> Vec<(IpAddr, u32)> {
            let reals = [real1, real2].into_iter().map(|real| (real, u32::from(up.contains(&real))));
            let reals = reals.filter(|(_, weight)| is_quiescent || *weight > 0);
            reals.chain(fallback.then_some((real3, 1))).collect()
        };
        ldirectord.wait_weights(stage, target, &list(&[real1, real2], false));
        let spec = LoadSpec { workers: WORKERS, ..LoadSpec::new(target, None) };
        let load = Load::start(stage.cluster.client().unwrap(), spec).unwrap();
        only(stage, target, &["real1", "real2"], "both");

        // A real that leaves while it serves: quiesced, it finishes what it has; removed, it may lose that.
        let before = load.snapshot();
        ldirectord.maintain(real1, true);
        ldirectord.wait_weights(stage, target, &list(&[real2], false));
        failed_since(&load, &before, if is_quiescent { 0 } else { WORKERS as u64 }, "real1 in maintenance");
        only(stage, target, &["real2"], "real1 in maintenance");
        let before = load.snapshot();
        ldirectord.maintain(real1, false);
        ldirectord.wait_weights(stage, target, &list(&[real1, real2], false));
        failed_since(&load, &before, 0, "real1 is back");
        only(stage, target, &["real1", "real2"], "real1 is back");

        // A real that dies: what is sent to it fails until ldirectord has looked.
        let before = load.snapshot();
        stage.cluster.real_mut("real2").unwrap().0.kill();
        ldirectord.wait_weights(stage, target, &list(&[real1], false));
        failed_since(&load, &before, u64::MAX, "real2 dies, not noticed yet");
        only(stage, target, &["real1"], "real2 is dead");
        let before = load.snapshot();
        stage.cluster.real_mut("real1").unwrap().0.kill();
        ldirectord.wait_weights(stage, target, &list(&[], true));
        failed_since(&load, &before, u64::MAX, "real1 dies, not noticed yet");
        only(stage, target, &["real3"], "both are dead");

        // And recovery, in which nothing fails.
        let before = load.snapshot();
        let (real, topology) = stage.cluster.real_mut("real1").unwrap();
        real.resume(topology).unwrap();
        ldirectord.wait_weights(stage, target, &list(&[real1], false));
        // The fallback is removed, whatever quiescent says.
        failed_since(&load, &before, WORKERS as u64, "real1 is up again");
        only(stage, target, &["real1"], "real1 is up again");
        let before = load.snapshot();
        let (real, topology) = stage.cluster.real_mut("real2").unwrap();
        real.resume(topology).unwrap();
        ldirectord.wait_weights(stage, target, &list(&[real1, real2], false));
        failed_since(&load, &before, 0, "real2 is up again");
        only(stage, target, &["real1", "real2"], "real2 is up again");

        let report = load.stop();
        println!("in all: {} requests, {} failed: {:?}", report.requests, report.failed, report.errors);
        let log = ldirectord.stop();
        let of_ipvsadm = log.lines().filter(|line| line.starts_with("Running system(/sbin/ipvsadm "));
        let commands: Vec<&str> = of_ipvsadm.collect();
        println!("{}", commands.join("\n"));
        let leaves = format!(" -t {target} -r {real2}:80");
        let leaves = if is_quiescent { format!("-e{leaves} -g -w 0") } else { format!("-d{leaves}") };
        let dead = commands.iter().any(|line| line.contains(&leaves));
        assert!(dead, "no {leaves}");
        let failures: Vec<&str> = log.lines().filter(|line| line.contains(") failed:")).collect();
        assert!(failures.is_empty(), "{failures:?}");
        let services = stage.cluster.director().json(&["service", "list"]).unwrap();
        assert_eq!(services, serde_json::json!([]), "it takes its service away when it ends");
    });
}

#[test]
fn ldirectord_quiesces_reals() {
    scenario("ldirectord-quiet", true);
}

#[test]
fn ldirectord_removes_reals() {
    scenario("ldirectord-gone", false);
}
