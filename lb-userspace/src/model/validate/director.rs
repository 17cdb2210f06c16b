//! The director's own settings: interfaces, timeouts, addresses.

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;

use lb_common::abi::reply::MAX_LOCALS;

use super::{CONN_REUSE_MODE, Check, TIMEOUT_SECONDS};
use crate::model::address::unusable;
use crate::model::spec::{DirectorSpec, Spec};

/// Bytes of an interface name: the kernel's `IFNAMSIZ` less the final zero.
const MAX_INTERFACE: usize = 15;

impl Check<'_> {
    pub(super) fn director(&mut self, director: &DirectorSpec) {
        let DirectorSpec {
            interfaces,
            timeouts,
            sloppy_tcp: _,
            sloppy_sctp: _,
            expire_nodest_conn: _,
            expire_quiescent_template: _,
            conn_reuse_mode,
            answer_echo: _,
            tunnel_source_v4,
            tunnel_source_v6,
            tunnel_source_vary: _,
            local_addresses: _,
            local_ports: _,
            toa: _,
            clamp_mss: _,
        } = director;
        let mut known = BTreeMap::<_, String>::new();
        for (index, name) in interfaces.iter().enumerate() {
            let key = format!("director.interfaces[{index}]");
            if self.broken.contains(&key) {
                continue;
            }
            if !interface_name(name) {
                self.say(
                    key,
                    format!("{name:?} is not an interface name (1 to {MAX_INTERFACE} bytes, no / and no space)"),
                );
            } else if let Some(first) = known.get(name) {
                self.duplicate(&key, &format!("interface {name}"), first);
            } else {
                known.insert(name, key);
            }
        }
        for (key, seconds) in [("tcp", timeouts.tcp), ("tcp_fin", timeouts.tcp_fin), ("udp", timeouts.udp)] {
            self.range("director.timeouts", key, seconds, &TIMEOUT_SECONDS);
        }
        self.range("director", "conn_reuse_mode", *conn_reuse_mode, &CONN_REUSE_MODE);
        let sources = [
            ("director.tunnel_source_v4", tunnel_source_v4.map(IpAddr::V4)),
            ("director.tunnel_source_v6", tunnel_source_v6.map(IpAddr::V6)),
        ];
        for (key, source) in sources {
            if let Some((source, reason)) = source.and_then(|source| Some((source, unusable(source)?))) {
                self.say(key, format!("{source} is {reason}: no tunnel can start there"));
            }
        }
    }

    /// The addresses that full NAT sends from. Answers to them are told from packets to a service by the address.
    pub(super) fn local_addresses(&mut self, spec: &Spec) {
        let locals = &spec.director.local_addresses;
        for is_v4 in [true, false] {
            let count = locals.iter().filter(|address| address.is_ipv4() == is_v4).count();
            if count > MAX_LOCALS as usize {
                let message = format!("{count} addresses of a family are too many; at most {MAX_LOCALS}");
                self.say("director.local_addresses", message);
                return;
            }
        }
        let services: BTreeSet<IpAddr> = spec.services.iter().map(|service| service.key.address).collect();
        let mut known = BTreeMap::<_, String>::new();
        for (index, address) in locals.iter().enumerate() {
            let key = format!("director.local_addresses[{index}]");
            if self.broken.contains(&key) {
                continue;
            }
            if let Some(reason) = unusable(*address) {
                self.say(&key, format!("{address} is {reason}: nothing can be sent from there"));
            } else if let Some(first) = known.get(address) {
                self.duplicate(&key, &format!("address {address}"), first);
            } else if services.contains(address) {
                self.say(
                    &key,
                    format!("{address} is the address of a service: answers to it would be taken for requests"),
                );
            }
            known.entry(*address).or_insert(key);
        }
    }
}

/// As the kernel's `dev_valid_name`; control characters are refused too, for they would reach terminals.
fn interface_name(name: &str) -> bool {
    (1..=MAX_INTERFACE).contains(&name.len())
        && name != "."
        && name != ".."
        && !name.contains(|c: char| c == '/' || c == ':' || c.is_whitespace() || c.is_control())
}
