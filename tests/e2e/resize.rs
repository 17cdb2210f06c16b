//! The director's tables get another size while connections are open and others begin: none is lost.

use std::collections::BTreeMap;
use std::fs;
use std::net::{SocketAddr, UdpSocket};
use std::time::Duration;

use lb_lab::Plan;
use lb_lab::load::{Load, LoadSpec};
use lb_lab::plan::{self, Family};

use crate::hold::Held;
use crate::nat;
use crate::stage::{self, Stage, wait};
use crate::udp;
use crate::ways::FULL_NAT;

/// Which real each client is connected to.
fn reals(stage: &Stage, key: &str) -> BTreeMap<SocketAddr, SocketAddr> {
    stage.connections(key).connections.into_iter().map(|entry| (entry.client, entry.real)).collect()
}

fn restart_with(stage: &mut Stage, connections: &str) {
    stage.cluster.director_mut().more_arguments(&["--connections", connections]);
    stage.cluster.director_mut().restart().unwrap();
}

/// Open connections, and which real each has answered by.
struct Open(Vec<(Held, String)>);

impl Open {
    fn to(stage: &Stage, target: SocketAddr, count: usize) -> Self {
        let open = |_| {
            let mut held = Held::open(stage, target);
            let real = held.ask().unwrap();
            (held, real)
        };
        Self((0..count).map(open).collect())
    }

    fn stay(&mut self, when: &str) {
        for (held, real) in &mut self.0 {
            assert_eq!(&held.ask().unwrap(), real, "{when}: an open connection stays with its real");
        }
    }
}

/// Places for connections, IPv4.
fn places(stage: &Stage) -> u64 {
    stage.status().connections.capacity_v4
}

/// Two services of each family; the first is under load while the daemon is started again with other sizes.
fn sizes_change_under_load(stage: &mut Stage, method: &str, director: &str) {
    let services: Vec<(String, SocketAddr)> = Family::ALL.iter().map(|family| stage::http(*family, 0)).collect();
    let texts = Family::ALL.iter().zip(&services).map(|(family, (_, target))| {
        let reals = stage.reals(*family, &[3, 2, 1]);
        format!("[[service]]\naddress = \"{target}\"\nscheduler = \"wlc\"\nmethod = \"{method}\"\n{reals}")
    });
    let text = format!("{director}{}", texts.collect::<String>());
    stage.apply_and_wait(&text);
    let mut open: Vec<Open> = services.iter().map(|(_, target)| Open::to(stage, *target, 20)).collect();
    let link = stage.status().interfaces[0].link_id;
    let first = places(stage);
    let load = Load::start(stage.cluster.client().unwrap(), LoadSpec::new(services[0].1, None)).unwrap();
    let mut seen = vec![first];
    for connections in ["300000", "65536", "2000000"] {
        let before = load.snapshot().requests;
        restart_with(stage, connections);
        let status = stage.status();
        assert_eq!((status.warnings, status.interfaces[0].link_id), (vec![], link), "{connections}");
        seen.push(places(stage));
        open.iter_mut().for_each(|open| open.stay(connections));
        wait("the load goes on", || if load.snapshot().requests > before + 500 { Ok(()) } else { Err(String::new()) });
    }
    let report = load.stop();
    assert_eq!(report.failed, 0, "{:?}", report.errors);
    assert!(seen[1] > seen[2] && seen[2] < seen[3], "{seen:?}");
    println!("{method}: {seen:?} places for IPv4, {} requests, {} failed", report.requests, report.failed);
    // What reals are thought to have is what they have: nothing is counted twice, or not at all.
    for (key, _) in &services {
        wait("loads are right", || {
            let mut listed: BTreeMap<SocketAddr, u64> = BTreeMap::new();
            reals(stage, key).into_values().for_each(|real| *listed.entry(real).or_default() += 1);
            let counted = stage.service(key).reals.into_iter().map(|real| {
                let counted = real.active + real.inactive;
                (SocketAddr::new(real.address, real.port), counted)
            });
            let counted: BTreeMap<SocketAddr, u64> = counted.filter(|(_, count)| *count > 0).collect();
            if listed == counted { Ok(()) } else { Err(format!("listed {listed:?}, counted {counted:?}")) }
        });
    }
}

#[test]
fn sizes_change_under_load_by_direct_routing() {
    stage::with("resize", Plan::one_arm(3), |stage| sizes_change_under_load(stage, "direct", ""));
}

#[test]
fn sizes_change_under_load_by_translation() {
    for method in ["nat", "fullnat"] {
        stage::with("resizenat", Plan::two_arm(3), |stage| {
            nat::forwarding(stage);
            Family::ALL.iter().for_each(|family| nat::answers_by_director(stage, *family));
            let director = nat::director(stage, FULL_NAT);
            sizes_change_under_load(stage, method, &director);
        });
    }
}

#[test]
fn tables_that_are_too_small_are_not_taken() {
    stage::with("small", Plan::one_arm(2), |stage| {
        let target = SocketAddr::new(plan::vip(Family::V4, 0), 5353);
        let key = format!("udp://{target}");
        stage.apply_and_wait(&format!(
            "[[service]]\naddress = \"{target}\"\nprotocol = \"udp\"\n{}",
            stage.reals(Family::V4, &[1, 1])
        ));
        let sockets: Vec<UdpSocket> = (0..3000).map(|_| udp::socket(stage, target)).collect();
        for socket in &sockets {
            socket.send(b"x").unwrap();
        }
        wait("all are there", || match stage.connections(&key).total {
            3000 => Ok(()),
            total => Err(total.to_string()),
        });
        let (before, size) = (reals(stage, &key), places(stage));
        restart_with(stage, "1024");
        let warnings = stage.status().warnings;
        assert!(warnings.iter().any(|warning| warning.contains("would find no room")), "{warnings:?}");
        assert_eq!((reals(stage, &key), places(stage)), (before.clone(), size));
        restart_with(stage, "8192");
        assert_eq!(stage.status().warnings, Vec::<String>::new());
        assert!(places(stage) < size);
        assert_eq!(reals(stage, &key), before);
    });
}

/// Killed at moments that nobody chose while the tables change: open connections stay, and nothing of the other tables is left.
#[test]
fn killed_while_sizes_change_open_connections_stay() {
    stage::with("resizekill", Plan::one_arm(2), |stage| {
        let (_, target) = stage::http(Family::V4, 0);
        stage.apply_and_wait(&format!("[[service]]\naddress = \"{target}\"\n{}", stage.reals(Family::V4, &[1, 1])));
        let mut open = Open::to(stage, target, 10);
        for round in 0..10 {
            let connections = if round % 2 == 0 { "100000" } else { "1000000" };
            stage.cluster.director_mut().more_arguments(&["--connections", connections]);
            stage.cluster.director_mut().begin().unwrap();
            std::thread::sleep(Duration::from_millis(100 * round));
            stage.cluster.director_mut().kill();
            open.stay(&format!("round {round}"));
        }
        restart_with(stage, "200000");
        assert_eq!(places(stage), 327_680);
        open.stay("at the end");
        let pins = fs::read_dir(stage.cluster.topology().lab().pin_directory()).unwrap();
        let names: Vec<String> = pins.map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect();
        assert!(names.iter().all(|name| !name.ends_with("-next")), "{names:?}");
    });
}
