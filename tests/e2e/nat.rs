//! Address translation: what its tests set up, and what is peculiar to it.

use std::net::IpAddr;

use lb_lab::plan::{BACK, DIRECTOR, DIRECTOR_NUMBER, Family, LAN, Network, ROUTER};

use crate::stage::Stage;
use crate::ways::Way;

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
