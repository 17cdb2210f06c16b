//! Address translation: what its tests set up, and what is peculiar to it.

use std::net::IpAddr;

use lb_lab::plan::{BACK, DIRECTOR, DIRECTOR_NUMBER, Family};

use crate::stage::Stage;
use crate::ways::Way;

/// Lets the director's kernel forward, as a gateway has to: its routing table is asked for the way to clients.
pub(crate) fn forwarding(stage: &Stage) {
    let director = stage.cluster.topology().netns(DIRECTOR).unwrap();
    director.sysctl(&[("net.ipv4.ip_forward", "1"), ("net.ipv6.conf.all.forwarding", "1")]).unwrap();
}

/// Sends what a host answers by a gateway.
pub(crate) fn default_route(stage: &Stage, host: &str, via: IpAddr) {
    let host = stage.cluster.topology().netns(host).unwrap();
    let family = if via.is_ipv4() { "-4" } else { "-6" };
    host.run(&["ip", family, "route", "replace", "default", "via", &via.to_string()]).unwrap();
}

/// The director's own section for a way: full NAT sends from its port to the reals.
pub(crate) fn director(way: Way) -> String {
    if !way.is_translated() {
        return String::new();
    }
    let addresses = Family::ALL.map(|family| format!("\"{}\"", BACK.address(family, DIRECTOR_NUMBER)));
    format!("[director]\nlocal_addresses = [{}]\n", addresses.join(", "))
}
