//! `xvs doctor mtu` on real links: it finds the ways without room for a tunnel, and once its advice is followed a file goes up
//! without a single message about packets that are too long.

use std::net::SocketAddr;

use lb_lab::Plan;
use lb_lab::plan::{CLIENT, CLIENT_MTU, FAR, Family, LAN_MTU, ROUTER_NUMBER};
use lb_userspace::doctor::mtu::{Fit, MtuFinding, MtuReport};

use crate::nat;
use crate::stage::{self, Stage};
use crate::transfer::Body;
use crate::ways::{FULL_NAT, NAT, TUNNELS, Way};

const PAIRS: [(Family, Family); 4] =
    [(Family::V4, Family::V4), (Family::V4, Family::V6), (Family::V6, Family::V4), (Family::V6, Family::V6)];

/// Runs it; the service's only real, after a look at what exit code and words must be.
fn doctor(stage: &Stage) -> MtuFinding {
    let director = stage.cluster.director();
    let json = director.output(&["doctor", "mtu", "-o", "json"]).unwrap();
    let mut report: MtuReport = serde_json::from_slice(&json.stdout).unwrap();
    assert_eq!(json.status.code(), Some(i32::from(!report.fits)), "{report:?}");
    let text = director.output(&["doctor", "mtu"]).unwrap();
    assert_eq!((text.status.code(), text.stderr), (json.status.code(), Vec::new()));
    let text = String::from_utf8(text.stdout).unwrap();
    assert_eq!(report.reals.len(), 1, "{report:?}");
    let real = report.reals.remove(0);
    assert_eq!(report.fits, matches!(real.result, Fit::Fits | Fit::Clamped));
    assert!(real.advice.iter().all(|advice| text.contains(advice)), "{text}");
    real
}

fn apply(stage: &Stage, way: Way, client: Family, real: Family, director: &str) -> (SocketAddr, String) {
    let target = way.target(stage::http(client, 0).1);
    stage.apply_and_wait(&(director.to_owned() + &way.service(stage, target, "tcp", real)));
    (target, format!("{} from {} to {}", way.name, client.as_str(), real.as_str()))
}

#[test]
fn doctor_mtu_finds_tunnels_without_room() {
    stage::with("doctor", Plan::routed(1).every_link(CLIENT_MTU), |stage| {
        for way in TUNNELS {
            for (client, real) in PAIRS {
                let (_, what) = apply(stage, way, client, real, "");
                let (found, overhead) = (doctor(stage), way.overhead(real));
                assert_eq!((found.mtu, found.overhead), (Some(CLIENT_MTU), overhead as i32), "{what}");
                assert_eq!((found.largest, found.result), (Some(CLIENT_MTU - overhead), Fit::TooLong), "{what}");
                assert!(found.advice[0].ends_with(&format!("to {}", CLIENT_MTU + overhead)), "{what}: {found:?}");
                println!("{what}: {}", found.advice.join("; or "));
            }
        }
        for (number, (client, real)) in (400..).zip(PAIRS) {
            let (target, what) = apply(stage, TUNNELS[0], client, real, "");
            let found = doctor(stage);
            let advmss = found.advice[1].rsplit(' ').next().unwrap();
            announce(stage, client, Some(advmss));
            let told = stage.verdict("too-big-told");

            Body::new(stage, number).upload(stage, target, &format!("file-{number}"));

            assert_eq!(stage.verdict("too-big-told"), told, "{what}: advmss {advmss}");
            announce(stage, client, None);
        }
        assert_eq!(stage.verdict("too-big"), 0);
    });
}

/// Sets what segments the real announces on its way back to clients. The client forgets what it was told of its path: a message of
/// before would do as well.
fn announce(stage: &Stage, client: Family, advmss: Option<&str>) {
    let family = if client == Family::V4 { "-4" } else { "-6" };
    let (via, real) =
        (FAR.address(client, ROUTER_NUMBER).to_string(), stage.cluster.topology().netns("real1").unwrap());
    let mut words = vec!["ip", family, "route", "replace", "default", "via", &via];
    if let Some(advmss) = advmss {
        words.extend(["advmss", advmss]);
    }
    real.run(&words).unwrap();
    stage.cluster.topology().netns(CLIENT).unwrap().run(&["ip", family, "route", "flush", "cache"]).unwrap();
}

#[test]
fn doctor_mtu_is_content_with_wider_links() {
    stage::with("doctor-wide", Plan::routed(1), |stage| {
        for way in TUNNELS {
            for (client, real) in PAIRS {
                let (_, what) = apply(stage, way, client, real, "");
                let found = doctor(stage);
                assert_eq!((found.mtu, found.result), (Some(LAN_MTU), Fit::Fits), "{what}");
                assert_eq!(found.largest, Some(LAN_MTU - way.overhead(real)), "{what}");
            }
        }
        let output = stage.cluster.director().output(&["doctor", "mtu", "--packet", "1600"]).unwrap();
        assert_eq!(output.status.code(), Some(1));
    });
}

#[test]
fn doctor_mtu_knows_what_translation_adds() {
    stage::with("doctor-nat", Plan::two_arm(1).every_link(CLIENT_MTU), |stage| {
        let locals = nat::director(stage, FULL_NAT);
        let (toa, clamped) = (format!("{locals}toa = true\n"), format!("{locals}clamp_mss = true\n"));
        let (v4, v6) = (Family::V4, Family::V6);
        for (way, director, client, real, overhead, result) in [
            (NAT, &locals, v4, v4, 0, Fit::Fits),
            (FULL_NAT, &locals, v6, v6, 0, Fit::Fits),
            (FULL_NAT, &locals, v6, v4, -20, Fit::Fits),
            (FULL_NAT, &locals, v4, v6, 20, Fit::TooLong),
            (FULL_NAT, &clamped, v4, v6, 20, Fit::Clamped),
            (FULL_NAT, &toa, v4, v4, 8, Fit::TooLong),
            (FULL_NAT, &toa, v6, v6, 20, Fit::TooLong),
        ] {
            let (_, what) = apply(stage, way, client, real, director);
            let found = doctor(stage);
            assert_eq!((found.overhead, found.result), (overhead, result), "{what} with {director}");
            let clamp = found.advice.iter().any(|advice| advice == "set clamp_mss = true in [director]");
            assert_eq!(clamp, result == Fit::TooLong, "{what}: {found:?}");
        }
    });
}
