//! Address translation: what its tests set up, and what is peculiar to it.

use std::net::IpAddr;
use std::time::Instant;

use lb_lab::Plan;
use lb_lab::plan::{BACK, DIRECTOR, DIRECTOR_NUMBER, Family, LAN, Network, ROUTER};

use crate::hold::Held;
use crate::stage::{self, Stage};
use crate::ways::{NAT, Way};

/// Lets the director's kernel forward, as a gateway has to: its routing table is asked for the way to clients.
pub(crate) fn forwarding(stage: &Stage) {
    let director = stage.cluster.topology().netns(DIRECTOR).unwrap();
    director.sysctl(&[("net.ipv4.ip_forward", "1"), ("net.ipv6.conf.all.forwarding", "1")]).unwrap();
}

/// The network by which the director reaches the reals.
fn network(stage: &Stage) -> Network {
    if stage.cluster.topology().plan().networks.contains(&BACK) { BACK } else { LAN }
}

/// Who is asked for the way from the reals to the client: each real, or the router that they are behind.
fn gates(stage: &Stage) -> Vec<String> {
    let is_routed = stage.cluster.topology().plan().name == "routed";
    if is_routed { vec![ROUTER.to_owned()] } else { stage.cluster.real_names() }
}

/// Makes the director the way from the reals to the client, as NAT needs it.
pub(crate) fn answers_by_director(stage: &Stage, family: Family) {
    let via = network(stage).address(family, DIRECTOR_NUMBER).to_string();
    let client = stage.address("client", family).to_string();
    for gate in gates(stage) {
        let gate = stage.cluster.topology().netns(&gate).unwrap();
        gate.run(&["ip", "route", "replace", &client, "via", &via]).unwrap();
    }
}

/// Takes back [`answers_by_director`].
pub(crate) fn answers_past_director(stage: &Stage, family: Family) {
    let client = stage.address("client", family).to_string();
    let version = if family == Family::V4 { "-4" } else { "-6" };
    for gate in gates(stage) {
        let gate = stage.cluster.topology().netns(&gate).unwrap();
        gate.run(&["ip", version, "route", "del", &client]).unwrap();
    }
}

/// The director's own section for a way: full NAT sends from its address towards the reals.
pub(crate) fn director(stage: &Stage, way: Way) -> String {
    if !way.is_translated() {
        return String::new();
    }
    let addresses: Vec<IpAddr> =
        Family::ALL.iter().map(|family| network(stage).address(*family, DIRECTOR_NUMBER)).collect();
    format!("[director]\nlocal_addresses = [\"{}\", \"{}\"]\n", addresses[0], addresses[1])
}

/// A client's connection goes on when its MAC is another one: the daemon hears of it and tells the program, which otherwise would look for the
/// way back in one second of 256.
#[test]
fn a_client_with_another_mac_is_found_again() {
    const NEW: &str = "02:58:56:77:03:11";
    for family in Family::ALL {
        stage::with("nat-mac", Plan::one_arm(1), |stage| {
            forwarding(stage);
            answers_by_director(stage, family);
            let client = stage.address("client", family).to_string();
            let topology = stage.cluster.topology();
            let set = |mac: &str| {
                let replace = ["ip", "neigh", "replace", &client, "lladdr", mac, "dev", "eth0", "nud", "permanent"];
                topology.netns(DIRECTOR).unwrap().run(&replace).unwrap();
            };
            let eth0 = |words: &[&str]| stage.cluster.client().unwrap().run(words).unwrap();
            // Known before the first packet comes: where the kernel knows no way, it is looked for in one second of four.
            let link = eth0(&["ip", "-o", "link", "show", "eth0"]);
            set(link.split_whitespace().skip_while(|word| *word != "link/ether").nth(1).unwrap());
            let target = NAT.target(stage::http(family, 0).1);
            stage.apply_and_wait(&(director(stage, NAT) + &NAT.service(stage, target, "tcp", family)));
            let mut held: Vec<Held> = (0..8).map(|_| Held::open(stage, target)).collect();
            for held in &mut held {
                held.ask().unwrap();
            }
            eth0(&["ip", "link", "set", "eth0", "address", NEW]);
            set(NEW);
            let begin = Instant::now();
            for held in &mut held {
                assert_eq!(held.ask().unwrap(), "real1");
            }
            println!("{}: 8 connections answered {} ms after the change", family.as_str(), begin.elapsed().as_millis());
        });
    }
}
