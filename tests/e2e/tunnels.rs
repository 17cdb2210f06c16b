//! Reals behind a router: IPIP, 6in4, 4in6 and 6in6 carry there what direct routing cannot.

use std::collections::{BTreeMap, BTreeSet};
use std::net::{IpAddr, SocketAddr};

use lb_lab::load::{Load, LoadSpec};
use lb_lab::plan::{Family, ROUTER};
use lb_lab::{Plan, run};
use lb_userspace::api::types::RealState;

use crate::capture::Capture;
use crate::hold::Held;
use crate::stage::{self, Stage, wait};

/// Inner and outer family, and the name of the combination.
const KINDS: [(Family, Family, &str); 4] = [
    (Family::V4, Family::V4, "IPIP"),
    (Family::V6, Family::V4, "6in4"),
    (Family::V4, Family::V6, "4in6"),
    (Family::V6, Family::V6, "6in6"),
];

fn apply(stage: &Stage, director: &str, inner: Family, outer: Family) -> (String, SocketAddr) {
    let (key, target) = stage::http(inner, 0);
    let reals = stage.reals(outer, &[1, 1]);
    stage.apply_and_wait(&format!(
        "{director}[[service]]\naddress = \"{target}\"\nscheduler = \"rr\"\nmethod = \"tunnel\"\n{reals}"
    ));
    (key, target)
}

#[test]
fn all_four_tunnels_carry_requests_behind_a_router() {
    stage::with("tunnels", Plan::routed(2), |stage| {
        for (inner, outer, name) in KINDS {
            let (key, target) = apply(stage, "", inner, outer);
            let (before, given) = (stage.verdict("tunnel"), stage.scheduled(&key));
            let packets = stage.service(&key).counters.packets;
            let report = Load::run(stage.cluster.client().unwrap(), LoadSpec::new(target, Some(1_000))).unwrap();
            assert_eq!((report.requests, report.failed), (1_000, 0), "{name}: {:?}", report.errors);
            assert!(report.reals.values().all(|count| count.abs_diff(500) <= 4), "{:?}", report.reals);
            assert_eq!(stage::since(&stage.scheduled(&key), &given), report.reals);
            assert_eq!(stage.verdict("tunnel") - before, stage.service(&key).counters.packets - packets, "{name}");
            assert_eq!(stage.verdict("too-big"), 0);
            println!("{name}: 1000 requests, 0 failed, {:?}", report.reals);
        }
        assert_eq!(stage.verdict("direct"), 0);
    });
}

/// An upload of full-size packets: 1500 bytes from the client, 20 or 40 more in the tunnel, without fragments.
#[test]
fn full_size_packets_fit_the_tunnel() {
    stage::with("upload", Plan::routed(2), |stage| {
        for (inner, outer, name) in KINDS {
            let (key, target) = apply(stage, "", inner, outer);
            let file = stage.cluster.topology().directory().join("upload");
            std::fs::write(&file, vec![b'x'; 900_000]).unwrap();
            let bytes = stage.service(&key).counters.bytes;
            let data = format!("@{}", file.display());
            let url = format!("http://{target}/");
            let words = [
                "curl",
                "-sg",
                "--max-time",
                "20",
                "-o",
                "/dev/null",
                "-w",
                "%{http_code} %{size_upload}",
                "--data-binary",
                &data,
                &url,
            ];
            assert_eq!(stage.cluster.client().unwrap().run(&words).unwrap(), "200 900000", "{name}");
            // nginx answers before it has read all of it; the rest is still on its way when curl has ended.
            wait(&format!("900000 bytes by {name}"), || match stage.service(&key).counters.bytes - bytes {
                seen if seen > 900_000 => Ok(()),
                seen => Err(format!("{seen}")),
            });
        }
        for refused in ["too-big", "too-big-told", "fragment-early", "fragment-no-ports", "fragment-overlap"] {
            assert_eq!(stage.verdict(refused), 0, "{refused}");
        }
    });
}

#[test]
fn direct_routing_to_a_real_behind_a_router_is_refused_with_the_reason() {
    stage::with("behind", Plan::routed(2), |stage| {
        for family in Family::ALL {
            let (key, target) = stage::http(family, 0);
            let reals = stage.reals(family, &[1, 1]);
            stage.apply(&format!("[[service]]\naddress = \"{target}\"\n{reals}"));
            let gateway = lb_lab::plan::LAN.address(family, lb_lab::plan::ROUTER_NUMBER);
            for name in ["real1", "real2"] {
                let reason = stage.wait_real(&key, stage.address(name, family), RealState::Unresolved);
                let words = format!("behind gateway {gateway}");
                wait("the reason", || {
                    let view = stage
                        .service(&key)
                        .reals
                        .into_iter()
                        .find(|real| real.address == stage.address(name, family))
                        .unwrap();
                    match view.reason {
                        Some(reason) if reason.contains(&words) => Ok(()),
                        reason => Err(format!("{reason:?}")),
                    }
                });
                drop(reason);
            }
            let status = stage.status();
            assert!(
                status.warnings.iter().filter(|line| line.contains("behind gateway")).count() == 2,
                "{:?}",
                status.warnings
            );
            println!("{}", status.warnings[0]);
            let report = Load::run(stage.cluster.client().unwrap(), LoadSpec::new(target, Some(5))).unwrap();
            assert_eq!(report.failed, 5, "refused, not sent astray");
            // A tunnel to the same reals serves.
            let (_, target) = apply(stage, "", family, family);
            assert_eq!(Load::run(stage.cluster.client().unwrap(), LoadSpec::new(target, Some(20))).unwrap().failed, 0);
        }
    });
}

/// What comes out of the router on the reals' side.
fn capture(stage: &Stage, outer: Family) -> Capture {
    Capture::lines_at(stage, ROUTER, "eth1", if outer == Family::V4 { "ip" } else { "ip6" })
}

/// Outer source by inner source port, of all packets to a VIP.
fn sources(lines: &[String], target: SocketAddr) -> BTreeMap<u16, BTreeSet<IpAddr>> {
    let mut seen: BTreeMap<u16, BTreeSet<IpAddr>> = BTreeMap::new();
    let to = format!(" > {}.{}:", target.ip(), target.port());
    for line in lines {
        let Some((head, _)) = line.split_once(&to) else { continue };
        // `IP 198.18.1.2 > 10.79.0.11: IP 10.77.0.2.40000 > 10.77.0.100.80: ...`, IP6 and flow labels alike.
        let words: Vec<&str> = head.split_whitespace().collect();
        let outer = words.iter().find_map(|word| word.parse::<IpAddr>().ok());
        let port = words.last().and_then(|word| word.rsplit('.').next()?.parse().ok());
        let (Some(outer), Some(port)) = (outer, port) else { panic!("{line}") };
        seen.entry(port).or_default().insert(outer);
    }
    seen
}

#[test]
fn outer_sources_vary_with_the_flow_and_only_with_it() {
    const FLOWS: usize = 100;
    stage::with("outer", Plan::routed(2), |stage| {
        for (inner, outer, name) in KINDS {
            let (_, target) = apply(stage, "", inner, outer);
            let capture = capture(stage, outer);
            let mut held: Vec<Held> = (0..FLOWS).map(|_| Held::open(stage, target)).collect();
            // Several packets on each.
            held.iter_mut().for_each(|held| drop(held.ask().unwrap()));
            let ports: BTreeSet<u16> = held.iter().map(|held| held.client().port()).collect();
            let seen = wait("all flows are captured", || {
                let seen = sources(&capture.lines(), target);
                if ports.iter().all(|port| seen.contains_key(port)) {
                    Ok(seen)
                } else {
                    Err(format!("{} flows", seen.len()))
                }
            });
            assert!(seen.values().all(|sources| sources.len() == 1), "{name}: a flow has one source: {seen:?}");
            let sources: BTreeSet<IpAddr> = seen.into_values().flatten().collect();
            assert!(sources.len() >= 10, "{name}: {sources:?}");
            println!(
                "{name}: {FLOWS} flows, {} outer sources, such as {}",
                sources.len(),
                sources.iter().next().unwrap()
            );
        }
    });
}

#[test]
fn a_configured_outer_source_that_does_not_vary_is_the_only_one() {
    stage::with("fixed", Plan::routed(2), |stage| {
        for (outer, source) in [(Family::V4, "10.77.0.77"), (Family::V6, "fd77::77")] {
            let version = if outer == Family::V4 { "v4" } else { "v6" };
            let director = format!("[director]\ntunnel_source_{version} = \"{source}\"\ntunnel_source_vary = false\n");
            let (_, target) = apply(stage, &director, Family::V4, outer);
            let capture = capture(stage, outer);
            let report = Load::run(stage.cluster.client().unwrap(), LoadSpec::new(target, Some(50))).unwrap();
            assert_eq!(report.failed, 0, "{:?}", report.errors);
            let seen = run::wait_for("captured flows", stage::LIMIT, || {
                let seen = sources(&capture.lines(), target);
                if seen.len() >= 50 { Ok(seen) } else { Err(format!("{}", seen.len())) }
            });
            let seen: BTreeSet<IpAddr> = seen.unwrap().into_values().flatten().collect();
            assert_eq!(seen, BTreeSet::from([source.parse().unwrap()]));
        }
    });
}
