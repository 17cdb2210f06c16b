//! The topologies with plain kernel networking, without any XDP: who reaches whom, who answers for the VIP, what is left
//! afterwards. Needs root; without it each test says so and passes.

use std::time::Duration;

use lb_lab::load::{Load, LoadSpec};
use lb_lab::plan::{self, Family, Plan};
use lb_lab::residue::{Residue, Scope};
use lb_lab::{LabName, Real, Topology};

/// Builds, hands over, drops, and looks for residue.
fn with_lab(plan: Plan, work: impl FnOnce(&Topology)) {
    if !nix::unistd::geteuid().is_root() {
        eprintln!("skipped: network namespaces need root");
        return;
    }
    let lab = LabName::unique("plain").unwrap();
    let topology = Topology::build(&lab, plan).unwrap();
    work(&topology);
    drop(topology);
    assert_eq!(Residue::find(&Scope::Lab(lab)).lines(), Vec::<String>::new());
}

fn everybody_reaches_everybody(topology: &Topology) {
    let hosts: Vec<String> = topology.plan().hosts.iter().map(|host| host.name.clone()).collect();
    for from in &hosts {
        for to in hosts.iter().filter(|to| *to != from) {
            for family in Family::ALL {
                let address = topology.address(to, family).unwrap().to_string();
                let ping = topology.netns(from).unwrap().run(&["ping", "-c1", "-W2", "-q", &address]);
                assert!(ping.is_ok(), "{from} -> {to} {address}: {ping:?}");
            }
        }
    }
}

/// What `xvs realserver join` does for the kernel's part: the VIP on lo, no ARP answers for it.
fn hold_vip(topology: &Topology, real: &str, family: Family) {
    let namespace = topology.netns(real).unwrap();
    namespace.sysctl(&[("net.ipv4.conf.all.arp_ignore", "1"), ("net.ipv4.conf.all.arp_announce", "2")]).unwrap();
    let address = format!("{}/{}", plan::vip(family, 0), if family == Family::V4 { 32 } else { 128 });
    namespace.run(&["ip", "address", "add", &address, "dev", "lo"]).unwrap();
}

#[test]
fn one_arm_everybody_reaches_everybody() {
    with_lab(Plan::one_arm(3), everybody_reaches_everybody);
}

#[test]
fn two_arm_everybody_reaches_everybody() {
    with_lab(Plan::two_arm(2), everybody_reaches_everybody);
}

#[test]
fn routed_everybody_reaches_everybody() {
    with_lab(Plan::routed(2), everybody_reaches_everybody);
}

#[test]
fn only_the_director_answers_for_the_vip() {
    with_lab(Plan::one_arm(2), |topology| {
        let client = topology.netns(plan::CLIENT).unwrap();
        let director = topology.netns(plan::DIRECTOR).unwrap();
        for family in Family::ALL {
            for real in topology.plan().reals() {
                hold_vip(topology, &real, family);
            }
            let vip = plan::vip(family, 0).to_string();
            client.run(&["ping", "-c1", "-W2", &vip]).unwrap();
            let neighbour = client.run(&["ip", "neigh", "show", &vip]).unwrap();
            let mac = topology.plan().host(plan::DIRECTOR).unwrap().ports[0].mac();
            assert!(neighbour.contains(&mac), "{neighbour}");
        }
        // With the director gone nobody else may answer.
        director.run(&["ip", "link", "set", "eth0", "down"]).unwrap();
        client.run(&["ip", "neigh", "flush", "dev", "eth0"]).unwrap();
        for family in Family::ALL {
            let vip = plan::vip(family, 0).to_string();
            assert!(client.run(&["ping", "-c1", "-W1", &vip]).is_err(), "{vip} is answered by a real");
        }
    });
}

#[test]
fn a_vip_is_never_the_source_of_the_director() {
    with_lab(Plan::two_arm(1), |topology| {
        for family in Family::ALL {
            for host in ["client", "real1"] {
                let address = topology.address(host, family).unwrap().to_string();
                let route = topology.netns(plan::DIRECTOR).unwrap().run(&["ip", "route", "get", &address]).unwrap();
                let port = if host == "client" { plan::LAN } else { plan::BACK };
                assert!(route.contains(&format!("src {} ", port.address(family, 1))), "{route}");
            }
        }
    });
}

#[test]
fn a_real_answers_with_its_name_and_counts() {
    with_lab(Plan::one_arm(2), |topology| {
        let mut real = Real::start(topology, "real2").unwrap();
        let client = topology.netns(plan::CLIENT).unwrap();
        for family in Family::ALL {
            let target = (topology.address("real2", family).unwrap(), 80).into();
            let report = Load::run(client, LoadSpec::new(target, Some(50))).unwrap();
            assert_eq!((report.requests, report.failed, report.reals["real2"]), (50, 0, 50), "{:?}", report.errors);
        }
        assert_eq!(real.served().unwrap(), 100);
        let address = topology.address("real2", Family::V4).unwrap();
        let url = format!("http://{address}/health");
        assert_eq!(client.run(&["curl", "-s", &url]).unwrap(), "ok\n");
        assert_eq!(real.served().unwrap(), 100);
        real.add_file("big", 3 << 20).unwrap();
        let url = format!("http://{address}/files/big");
        let size = client.run(&["curl", "-s", "-o", "/dev/null", "-w", "%{size_download}", &url]).unwrap();
        assert_eq!(size, (3 << 20).to_string());

        real.stop().unwrap();
        let target = (address, 80).into();
        let report = Load::run(client, LoadSpec::new(target, Some(5))).unwrap();
        assert_eq!((report.requests, report.failed), (5, 5));
        assert!(report.errors.contains_key("connect: connection refused"), "{:?}", report.errors);
        real.resume(topology).unwrap();
        real.kill();
        assert!(!client.connects(address, 80, Duration::from_secs(1)).unwrap());
        real.resume(topology).unwrap();
        assert!(client.connects(address, 80, Duration::from_secs(1)).unwrap());
    });
}

#[test]
fn wrk_runs_in_the_client() {
    with_lab(Plan::one_arm(1), |topology| {
        let _real = Real::start(topology, "real1").unwrap();
        let target = (topology.address("real1", Family::V6).unwrap(), 80).into();
        let report = lb_lab::wrk::run(topology.netns(plan::CLIENT).unwrap(), target, "/", 4, 1).unwrap();
        assert!(report.requests > 100 && report.failed == 0, "{report:?}");
    });
}

#[test]
fn a_load_without_a_bound_ends_when_told() {
    with_lab(Plan::one_arm(1), |topology| {
        let _real = Real::start(topology, "real1").unwrap();
        let target = (topology.address("real1", Family::V4).unwrap(), 80).into();
        let load = Load::start(topology.netns(plan::CLIENT).unwrap(), LoadSpec::new(target, None)).unwrap();
        lb_lab::run::wait_for("some answers", Duration::from_secs(10), || {
            if load.snapshot().requests >= 100 { Ok(()) } else { Err("too few".into()) }
        })
        .unwrap();
        let report = load.stop();
        assert!(report.requests >= 100 && report.failed == 0, "{:?}", report.errors);
    });
}

#[test]
fn a_panic_leaves_nothing() {
    if !nix::unistd::geteuid().is_root() {
        eprintln!("skipped: network namespaces need root");
        return;
    }
    let lab = LabName::unique("panic").unwrap();
    let unwound = std::panic::catch_unwind(|| {
        let topology = Topology::build(&lab, Plan::one_arm(1)).unwrap();
        let _real = Real::start(&topology, "real1").unwrap();
        panic!("on purpose");
    });
    assert!(unwound.is_err());
    assert_eq!(Residue::find(&Scope::Lab(lab)).lines(), Vec::<String>::new());
}

#[test]
fn residue_of_a_killed_laboratory_is_found_and_removed() {
    if !nix::unistd::geteuid().is_root() {
        eprintln!("skipped: network namespaces need root");
        return;
    }
    let lab = LabName::unique("residue").unwrap();
    let scope = Scope::Lab(lab.clone());
    let mut topology = Topology::build(&lab, Plan::one_arm(1)).unwrap();
    let mut real = Real::start(&topology, "real1").unwrap();
    real.keep();
    topology.keep();
    drop((real, topology));
    let residue = Residue::find(&scope);
    let lines = residue.lines().join("\n");
    for part in ["process ", "nginx: master", "network namespace xvs-lab-residue-", "directory /tmp/xvs-lab-residue-"] {
        assert!(lines.contains(part), "{part} is not in:\n{lines}");
    }
    residue.remove().unwrap();
    assert_eq!(Residue::find(&scope).lines(), Vec::<String>::new());
}
