//! Health checks on real servers that die, lie and come back, and what becomes of the connections that a real has when its check
//! fails: `keep`, `drop`, `reschedule`.

use std::io::ErrorKind;
use std::net::{Ipv4Addr, SocketAddr};
use std::time::Duration;

use lb_lab::Plan;
use lb_lab::load::{Load, LoadSpec};
use lb_lab::plan::Family;
use lb_userspace::api::types::RealState;

use crate::echo::{Script, Server};
use crate::hold::Held;
use crate::stage::{self, Stage, since, wait};

/// Where the checks of these tests go when not to nginx.
const CHECK_PORT: u16 = 8080;
/// Long enough to be sure that no answer comes.
const SILENCE: Duration = Duration::from_secs(1);

fn requests(stage: &Stage, target: SocketAddr, count: u64) -> std::collections::BTreeMap<String, u64> {
    let report = Load::run(stage.cluster.client().unwrap(), LoadSpec::new(target, Some(count))).unwrap();
    assert_eq!((report.requests, report.failed), (count, 0), "{:?}", report.errors);
    report.reals
}

/// real2 answered a third of 300 requests, give or take what each CPU's own round robin is off by.
fn third(answered: &std::collections::BTreeMap<String, u64>) {
    assert!(answered["real2"].abs_diff(100) <= 4, "{answered:?}");
}

fn any(port: u16) -> SocketAddr {
    (Ipv4Addr::UNSPECIFIED, port).into()
}

#[test]
fn a_dead_nginx_is_taken_out_and_a_new_one_taken_in() {
    stage::with("nginx", Plan::one_arm(3), |stage| {
        let (key, target) = stage::http(Family::V4, 0);
        stage.apply_and_wait(&format!(
            "[[service]]\naddress = \"{target}\"\nscheduler = \"rr\"\n\
             [service.health]\ntype = \"http\"\npath = \"/health\"\ninterval = \"200ms\"\ntimeout = \"200ms\"\n{}",
            stage.reals(Family::V4, &[1, 1, 1])
        ));
        third(&requests(stage, target, 300));
        let real2 = stage.address("real2", Family::V4);
        stage.cluster.real_mut("real2").unwrap().0.kill();
        let reason = stage.wait_real(&key, real2, RealState::Down);
        assert!(reason.contains("refused"), "{reason}");
        let status = stage.status();
        assert_eq!((status.reals.up, status.reals.down), (2, 1));
        assert!(
            status.warnings.iter().any(|line| line.contains("10.77.0.12:80") && line.contains(&reason)),
            "{:?}",
            status.warnings
        );
        println!("{}", status.warnings[0]);

        let given = stage.scheduled(&key);
        let answered = requests(stage, target, 200);
        assert!(!answered.contains_key("real2") && answered["real1"].abs_diff(100) <= 4, "{answered:?}");
        assert_eq!(since(&stage.scheduled(&key), &given)["real2"], 0);

        let (real, topology) = stage.cluster.real_mut("real2").unwrap();
        real.resume(topology).unwrap();
        stage.wait_real(&key, real2, RealState::Up);
        third(&requests(stage, target, 300));
    });
}

/// The statuses come by script, so each look at the state can be held against the number of checks that were answered.
#[test]
fn rise_and_fall_count_checks_in_a_row() {
    stage::with("fall", Plan::one_arm(1), |stage| {
        let script = Script::of(204);
        let server = Server::http(stage, "real1", any(CHECK_PORT), &script);
        let (key, target) = stage::http(Family::V4, 0);
        stage.apply_and_wait(&format!(
            "[[service]]\naddress = \"{target}\"\n[service.health]\ntype = \"http\"\nport = {CHECK_PORT}\nstatus = \"204\"\n\
             interval = \"200ms\"\ntimeout = \"200ms\"\nrise = 3\nfall = 4\n{}",
            stage.reals(Family::V4, &[1])
        ));
        let state = || stage.service(&key).reals[0].state;

        // Three failures, a success, three failures: never four in a row.
        let begin = server.answered();
        script.then(&[503, 503, 503, 204, 503, 200, 503], 204);
        wait("ten checks", || {
            assert_eq!(state(), RealState::Up, "after {} checks", server.answered() - begin);
            if server.answered() - begin >= 10 { Ok(()) } else { Err("too few".to_owned()) }
        });

        let begin = server.answered();
        script.then(&[], 503);
        let reason = stage.wait_real(&key, stage.address("real1", Family::V4), RealState::Down);
        assert!(reason.contains("503") && reason.contains("204"), "{reason}");
        println!("{reason}");
        assert!(server.answered() - begin >= 4, "down after {} failures", server.answered() - begin);

        // Two successes, a failure, three successes.
        let begin = server.answered();
        script.then(&[204, 204, 500], 204);
        wait("up", || if state() == RealState::Up { Ok(()) } else { Err("not yet".to_owned()) });
        assert!(server.answered() - begin >= 6, "up after {} checks", server.answered() - begin);
    });
}

/// A real whose check fails while nginx goes on serving, an open connection to it, and another real.
fn with_failing_real(policy: &str, work: impl FnOnce(&mut Stage, &str, SocketAddr, Held)) {
    stage::with(policy, Plan::one_arm(2), |stage| {
        let (key, target) = stage::http(Family::V4, 0);
        let check = Server::tcp(stage, "real1", any(CHECK_PORT));
        let _other = Server::tcp(stage, "real2", any(CHECK_PORT));
        stage.apply_and_wait(&format!(
            "[[service]]\naddress = \"{target}\"\nscheduler = \"rr\"\non_real_down = \"{policy}\"\n[service.health]\ntype = \"tcp\"\n\
             port = {CHECK_PORT}\ninterval = \"200ms\"\ntimeout = \"200ms\"\n{}",
            stage.reals(Family::V4, &[1, 1])
        ));
        let mut held = wait("a connection to real1", || {
            let mut held = Held::open(stage, target);
            match held.ask().unwrap().as_str() {
                "real1" => Ok(held),
                other => Err(other.to_owned()),
            }
        });
        assert_eq!(held.ask().unwrap(), "real1");
        drop(check);
        let reason = stage.wait_real(&key, stage.address("real1", Family::V4), RealState::Down);
        assert!(reason.contains("health check fails"), "{reason}");
        // Whatever the policy, no new connection goes there.
        assert_eq!(requests(stage, target, 100)["real2"], 100);
        work(stage, &key, target, held);
    });
}

#[test]
fn keep_serves_open_connections_of_a_failed_real() {
    with_failing_real("keep", |stage, _, _, mut held| {
        assert_eq!(held.ask().unwrap(), "real1");
        assert_eq!(stage.verdict("real-down"), 0);
        // Still established on both sides.
        assert_eq!(held.ask().unwrap(), "real1");
    });
}

#[test]
fn drop_silences_open_connections_until_the_real_is_back() {
    with_failing_real("drop", |stage, key, _, mut held| {
        let error = held.ask_within(SILENCE).unwrap_err();
        assert!(matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::TimedOut), "{error}");
        assert!(stage.verdict("real-down") > 0);
        let _check = Server::tcp(stage, "real1", any(CHECK_PORT));
        stage.wait_real(key, stage.address("real1", Family::V4), RealState::Up);
        // The request was sent while nobody took it; TCP sends it again.
        assert_eq!(held.answer().unwrap(), "real1");
        assert_eq!(held.ask().unwrap(), "real1");
    });
}

#[test]
fn reschedule_ends_open_connections_of_a_failed_real() {
    with_failing_real("reschedule", |stage, key, target, mut held| {
        let (client, misses) = (held.client(), stage.verdict("no-connection"));
        // Scheduled anew: a packet in the midst of a connection begins none, the kernel resets it, and the client starts over.
        let error = held.ask().unwrap_err();
        assert_eq!(error.kind(), ErrorKind::ConnectionReset, "{error}");
        assert!(stage.verdict("no-connection") > misses);
        assert!(stage.connections(key).connections.iter().all(|entry| entry.client != client));
        assert_eq!(Held::open(stage, target).ask().unwrap(), "real2");
    });
}

/// The counts that lc and wlc go by must not keep what was rescheduled.
#[test]
fn rescheduled_connections_leave_the_counts() {
    with_failing_real("reschedule", |stage, key, _, mut held| {
        let _ = held.ask();
        wait("no active connection on real1", || {
            let reals = stage.service(key).reals;
            if reals[0].active == 0 { Ok(()) } else { Err(format!("{} active", reals[0].active)) }
        });
    });
}

#[test]
fn the_last_real_gone_clients_are_refused_and_served_again() {
    stage::with("last", Plan::one_arm(1), |stage| {
        let (key, target) = stage::http(Family::V6, 0);
        stage.apply_and_wait(&format!(
            "[[service]]\naddress = \"{target}\"\n[service.health]\ntype = \"tcp\"\ninterval = \"200ms\"\ntimeout = \"200ms\"\n{}",
            stage.reals(Family::V6, &[1])
        ));
        stage.cluster.real_mut("real1").unwrap().0.stop().unwrap();
        stage.wait_real(&key, stage.address("real1", Family::V6), RealState::Down);
        let client = stage.cluster.client().unwrap();
        let report = Load::run(client, LoadSpec::new(target, Some(10))).unwrap();
        assert_eq!(report.errors.get("connect: connection refused"), Some(&10), "{:?}", report.errors);
        assert!(stage.verdict("no-real") >= 10);
        let (real, topology) = stage.cluster.real_mut("real1").unwrap();
        real.resume(topology).unwrap();
        stage.wait_real(&key, stage.address("real1", Family::V6), RealState::Up);
        assert_eq!(requests(stage, target, 20)["real1"], 20);
    });
}
