//! Is this Spec one that a director can serve?
//!
//! Pure, and the only judge: TOML, JSON and edits all end here and get the same sentences. Finds everything
//! that is wrong at once. Never repairs anything: what is applied is what was written.

use std::{
    collections::{BTreeMap, BTreeSet},
    net::IpAddr,
    ops::RangeInclusive,
};

use lb_common::abi::reply::MAX_LOCALS;

use super::{
    address::{family, unusable},
    duration,
    health::{HealthSpec, Probe},
    key::ServiceKey,
    problem::Problem,
    spec::{DirectorSpec, RealSpec, ServiceSpec, Spec},
    word::{Helper, Method, Protocol},
};

/// Services in a Spec. One costs a slot of every per-service table.
pub const MAX_SERVICES: usize = 10_000;
/// Reals in a service: what a scheduler looks through for one new connection.
pub const MAX_REALS: usize = 1024;
/// Weight of a real, and its thresholds: what ipvsadm 1.31 takes.
pub const WEIGHT: RangeInclusive<u32> = 0..=2_147_483_647;
/// Idle timeouts in seconds: up to 31 days, the limit of LVS (`IP_VS_CONN_TIMEOUT` in ipvsadm).
pub const TIMEOUT_SECONDS: RangeInclusive<u32> = 1..=2_678_400;
/// Slots of an `mh` table: the primes that IPVS can be built with, of which 4093 is the usual one.
pub const TABLE_SLOTS: [u32; 10] = [251, 509, 1021, 2039, 4093, 8191, 16_381, 32_749, 65_521, 131_071];
/// `conn_reuse_mode`: two bits.
pub const CONN_REUSE_MODE: RangeInclusive<u32> = 0..=3;
/// Marks: IPVS has no mark 0.
pub const MARK: RangeInclusive<u32> = 1..=u32::MAX;
/// Rules of marks.
pub const MAX_MARK_RULES: usize = 4096;
/// Time between two checks of a real, in milliseconds.
pub const CHECK_INTERVAL_MS: RangeInclusive<u64> = 100..=3_600_000;
/// Time a check may take, in milliseconds.
pub const CHECK_TIMEOUT_MS: RangeInclusive<u64> = 10..=3_600_000;
/// `rise` and `fall`.
pub const CHECK_COUNT: RangeInclusive<u32> = 1..=100;
/// Bytes of a health check's path.
const MAX_PATH: usize = 1024;
/// Bytes of a `Host` header: 253 for the name (RFC 1035), 6 for the port.
const MAX_HOST: usize = 259;
/// Bytes of an interface name: the kernel's `IFNAMSIZ` less the final zero.
const MAX_INTERFACE: usize = 15;

/// Something wrong, before it is known where it stands in a text.
#[derive(Debug)]
pub(super) struct Finding {
    pub(super) key: String,
    pub(super) message: String,
    /// For duplicates: the key of the first one.
    pub(super) first: Option<String>,
}

/// Everything that is wrong with a Spec; empty when it can be served. The problems have no line.
pub fn validate(spec: &Spec) -> Vec<Problem> {
    findings(spec, &BTreeSet::new()).into_iter().map(|found| Problem::unplaced(found.key, found.message)).collect()
}

/// As [`validate`], for a Spec of which the values under the keys `broken` could not be read: they hold
/// defaults, so nothing is said about them nor about what depends on them.
pub(super) fn findings(spec: &Spec, broken: &BTreeSet<String>) -> Vec<Finding> {
    let Spec { director, marks: _, services } = spec;
    let unread = broken.iter().any(|key| key.starts_with("director.local_addresses"));
    let has_local = |is_v4| unread || director.local_addresses.iter().any(|local| local.is_ipv4() == is_v4);
    let locals = [true, false].into_iter().filter(|is_v4| has_local(*is_v4)).collect();
    let any_port = services.iter().filter(|service| service.key.protocol == Protocol::Tcp && service.key.port == 0);
    let any_port = any_port.map(|service| service.key.address).collect();
    let mut check = Check { broken, locals, any_port, found: Vec::new() };
    check.director(director);
    check.local_addresses(spec);
    if services.len() > MAX_SERVICES {
        check.say("service", format!("{} services are too many; at most {MAX_SERVICES}", services.len()));
        return check.found;
    }
    let mut known = BTreeMap::<_, String>::new();
    for (index, service) in services.iter().enumerate() {
        let path = format!("service[{index}]");
        if check.read(&path, &["address", "protocol"]) {
            if let Some(first) = known.get(&service.key) {
                check.duplicate(&format!("{path}.address"), &format!("service {}", service.key), first);
            } else {
                known.insert(service.key, path.clone());
            }
        }
        check.service(&path, service);
    }
    check.found
}

/// One pass over a Spec.
struct Check<'a> {
    broken: &'a BTreeSet<String>,
    /// Families that full NAT has local addresses of: true is IPv4.
    locals: BTreeSet<bool>,
    /// Addresses with a TCP service of any port.
    any_port: BTreeSet<IpAddr>,
    found: Vec<Finding>,
}

impl Check<'_> {
    fn say(&mut self, key: impl Into<String>, message: impl Into<String>) {
        self.found.push(Finding { key: key.into(), message: message.into(), first: None });
    }

    fn duplicate(&mut self, key: &str, what: &str, first: &str) {
        let message = format!("{what} is there already, as {first}");
        self.found.push(Finding { key: key.to_owned(), message, first: Some(first.to_owned()) });
    }

    /// Could all of these be read?
    fn read(&self, path: &str, keys: &[&str]) -> bool {
        self.broken.is_empty() || !keys.iter().any(|key| self.broken.contains(&format!("{path}.{key}")))
    }

    /// Checks a number whose key could be read.
    fn range<T: PartialOrd + std::fmt::Display>(&mut self, path: &str, key: &str, value: T, range: &RangeInclusive<T>) {
        if self.read(path, &[key]) && !range.contains(&value) {
            self.say(format!("{path}.{key}"), out_of_range(value, range));
        }
    }

    fn director(&mut self, director: &DirectorSpec) {
        let DirectorSpec {
            interfaces,
            timeouts,
            sloppy_tcp: _,
            sloppy_sctp: _,
            expire_nodest_conn: _,
            expire_quiescent_template: _,
            conn_reuse_mode: _,
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
    fn local_addresses(&mut self, spec: &Spec) {
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

    fn service(&mut self, path: &str, service: &ServiceSpec) {
        let ServiceSpec { key, scheduler, scheduler_flags, helper, health, reals, .. } = service;
        if self.read(path, &["address"])
            && let Some(reason) = unusable(key.address)
        {
            self.say(format!("{path}.address"), format!("{} is {reason}: no service can have it", key.address));
        }
        let mut seen = BTreeMap::<_, String>::new();
        for (index, flag) in scheduler_flags.iter().enumerate() {
            let at = format!("{path}.flags[{index}]");
            if self.broken.contains(&at) {
                continue;
            }
            if let Some(first) = seen.get(flag) {
                self.duplicate(&at, &format!("flag {flag}"), first);
            } else if let Some(other) = flag.scheduler().filter(|other| other != scheduler)
                && self.read(path, &["scheduler"])
            {
                self.say(&at, format!("flag {flag} is for scheduler {other}, this service has {scheduler}"));
            }
            seen.entry(flag).or_insert(at);
        }
        if let Some(helper) = helper.filter(|_| self.read(path, &["address", "protocol"])) {
            self.helper(path, service, helper);
        }
        if let Some(health) = health {
            let protocol = self.read(path, &["protocol"]).then_some(key.protocol);
            let port = self.read(path, &["address"]).then_some(key.port);
            self.health(&format!("{path}.health"), health, protocol, port);
        }
        if reals.len() > MAX_REALS {
            self.say(
                format!("{path}.real"),
                format!("{} reals are too many; at most {MAX_REALS} a service", reals.len()),
            );
            return;
        }
        let mut known = BTreeMap::<_, String>::new();
        for (index, real) in reals.iter().enumerate() {
            let at = format!("{path}.real[{index}]");
            if self.read(&at, &["address"]) {
                if let Some(first) = known.get(&(real.address, real.port)) {
                    self.duplicate(&format!("{at}.address"), &format!("real {}", real.endpoint()), first);
                } else {
                    known.insert((real.address, real.port), at.clone());
                }
                self.real_address(&at, service, real, path);
            }
            self.range(&at, "weight", real.weight, &WEIGHT);
        }
    }

    /// A helper's data connections are those of a service that the director makes for itself, of any port of the same address.
    fn helper(&mut self, path: &str, service: &ServiceSpec, helper: Helper) {
        let key = format!("{path}.helper");
        if service.key.protocol != Protocol::Tcp {
            self.say(&key, format!("{helper} is spoken over tcp, this service is {}", service.key.protocol));
        } else if service.key.port == 0 {
            self.say(&key, format!("{helper} has control connections on a port of their own, such as 21; name it"));
        } else if self.any_port.contains(&service.key.address) {
            let any = ServiceKey { port: 0, ..service.key };
            self.say(&key, format!("{any} takes the data connections of {helper}: one of the two has to go"));
        }
        let other = service.reals.iter().enumerate().find(|(index, real)| {
            let at = format!("{path}.real[{index}]");
            let is_read = self.read(&at, &["address", "method"]) && self.read(path, &["method"]);
            is_read && service.method_of(real) != Method::Nat
        });
        if let Some((_, real)) = other {
            let message = format!(
                "{helper} needs method nat, real {} has {}: behind other methods reals answer past the director, or never \
                 to the client's address",
                real.endpoint(),
                service.method_of(real)
            );
            self.say(&key, message);
        }
    }

    fn real_address(&mut self, at: &str, service: &ServiceSpec, real: &RealSpec, path: &str) {
        let key = format!("{at}.address");
        if let Some(reason) = unusable(real.address) {
            self.say(&key, format!("{} is {reason}: no real server can have it", real.address));
            return;
        }
        if !self.read(path, &["address"]) {
            return;
        }
        let method = service.method_of(real);
        let method_read = self.read(at, &["method"]) && (real.method.is_some() || self.read(path, &["method"]));
        if method_read && real.port != service.key.port && !method.is_translated() {
            let message = format!(
                "port {} is not the service's port {}: {method} forwarding does not rewrite ports; leave it out, or use \
                 method nat or fullnat",
                real.port, service.key.port
            );
            self.say(&key, message);
        }
        if method_read && method.is_translated() && (real.port == 0) != (service.key.port == 0) {
            let message = match real.port {
                0 => "port 0 is for services of any port, whose packets keep their port".to_owned(),
                port => format!("port {port}: the service has any port, and its packets keep theirs; leave it out"),
            };
            self.say(&key, message);
        }
        if method_read && real.tunnel_port.is_some() && method != Method::Gue {
            self.say(format!("{at}.tunnel_port"), format!("{method} forwarding has no UDP header; use method gue"));
        }
        if real.tunnel_port == Some(0) {
            self.say(format!("{at}.tunnel_port"), out_of_range(0, &(1..=65_535)));
        }
        if method_read && real.tunnel_checksum.is_some() && !matches!(method, Method::Gue | Method::Gre) {
            let message = format!("{method} forwarding has no checksum to choose; use method gue or gre");
            self.say(format!("{at}.tunnel_checksum"), message);
        }
        if real.address == service.key.address {
            self.say(&key, format!("{} is the service's own address: its packets would come back", real.address));
            return;
        }
        let (ours, theirs) = (family(service.key.address), family(real.address));
        if method_read && method == Method::Direct && ours != theirs {
            let message = format!(
                "{} is {theirs} but service {} is {ours}: direct forwarding keeps the packet as it is; \
                 use method tunnel, gue, gre or fullnat",
                real.address, service.key
            );
            self.say(&key, message);
        }
        if method_read && method == Method::Nat && ours != theirs {
            let message = format!(
                "{} is {theirs} but service {} is {ours}: nat keeps the client's address, which has no place in the \
                 other family; use method fullnat",
                real.address, service.key
            );
            self.say(&key, message);
        }
        if method_read && method == Method::FullNat && !self.locals.contains(&real.address.is_ipv4()) {
            let message = format!(
                "fullnat to {} sends from an {theirs} address of the director: name one in director.local_addresses",
                real.address
            );
            self.say(&key, message);
        }
    }

    /// `protocol` and `service_port` are the service's, as far as they could be read.
    fn health(&mut self, path: &str, health: &HealthSpec, protocol: Option<Protocol>, service_port: Option<u16>) {
        let HealthSpec { port, interval_ms, timeout_ms, rise, fall, probe } = health;
        match port {
            Some(0) => self.say(format!("{path}.port"), out_of_range(0, &(1..=65_535))),
            None if self.read(path, &["port"]) => {
                if service_port == Some(0) {
                    self.say(format!("{path}.port"), "missing: the service has any port, so the check must name one");
                } else if protocol == Some(Protocol::Sctp) {
                    let message = "missing: checks ask by TCP, which an SCTP port does not answer; name a TCP port";
                    self.say(format!("{path}.port"), message);
                }
            }
            _ => {}
        }
        let interval = self.duration(path, "interval", *interval_ms, &CHECK_INTERVAL_MS);
        let timeout = self.duration(path, "timeout", *timeout_ms, &CHECK_TIMEOUT_MS);
        if interval && timeout && timeout_ms > interval_ms {
            let (timeout, interval) = (duration::text(*timeout_ms), duration::text(*interval_ms));
            let message = format!("{timeout} is longer than interval {interval}: checks would run into each other");
            self.say(format!("{path}.timeout"), message);
        }
        self.range(path, "rise", *rise, &CHECK_COUNT);
        self.range(path, "fall", *fall, &CHECK_COUNT);
        if let Probe::Http { path: request, host, status } = probe {
            // Both go into a request as they are: a space or a line end would make it another request.
            let clean = |text: &str| text.bytes().all(|byte| byte.is_ascii_graphic());
            if !request.starts_with('/') || !clean(request) || request.len() > MAX_PATH {
                let message =
                    format!("{request:?} is not a path (starts with /, printable ASCII, up to {MAX_PATH} bytes)");
                self.say(format!("{path}.path"), message);
            }
            if let Some(host) = host.as_ref().filter(|host| host.is_empty() || !clean(host) || host.len() > MAX_HOST) {
                self.say(format!("{path}.host"), format!("{host:?} is not a host name"));
            }
            if status.is_empty() && self.read(path, &["status"]) {
                self.say(format!("{path}.status"), "empty: no answer would count as success");
            }
            for (index, range) in status.iter().enumerate() {
                let at = format!("{path}.status[{index}]");
                if range.is_empty() || *range.start() < 100 || *range.end() > 599 {
                    self.say(at, format!("{}-{} is not a range within 100-599", range.start(), range.end()));
                }
            }
        }
    }

    /// Checks a duration; true when it was readable and in its range.
    fn duration(&mut self, path: &str, key: &str, ms: u64, range: &RangeInclusive<u64>) -> bool {
        if !self.read(path, &[key]) {
            return false;
        }
        let fits = range.contains(&ms);
        if !fits {
            let (low, high) = (duration::text(*range.start()), duration::text(*range.end()));
            self.say(format!("{path}.{key}"), format!("{} is out of range; from {low} to {high}", duration::text(ms)));
        }
        fits
    }
}

/// The sentence for a number outside its range.
pub(super) fn out_of_range<V: std::fmt::Display, T: std::fmt::Display>(value: V, range: &RangeInclusive<T>) -> String {
    format!("{value} is out of range; from {} to {}", range.start(), range.end())
}

/// As the kernel's `dev_valid_name`; control characters are refused too, for they would reach terminals.
fn interface_name(name: &str) -> bool {
    (1..=MAX_INTERFACE).contains(&name.len())
        && name != "."
        && name != ".."
        && !name.contains(|c: char| c == '/' || c == ':' || c.is_whitespace() || c.is_control())
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::model::arbitrary;

    fn messages(json: &str) -> Vec<String> {
        let spec = serde_json::from_str(json).unwrap();
        validate(&spec).iter().map(ToString::to_string).collect()
    }

    #[test]
    fn a_spec_from_json_gets_the_same_sentences_as_one_from_toml() {
        let json = r#"{"services": [{"service": "10.0.0.1:80", "scheduler_flags": ["sh-port"], "reals": [
            {"address": "10.0.1.1", "port": 80, "weight": 70000}, {"address": "fd00::1", "port": 80},
            {"address": "10.0.1.1", "port": 80}, {"address": "10.0.1.2", "port": 8080}]}]}"#;
        assert_eq!(
            messages(json),
            [
                "service[0].flags[0]: flag sh-port is for scheduler sh, this service has wlc",
                "service[0].real[0].weight: 70000 is out of range; from 0 to 65535",
                "service[0].real[1].address: fd00::1 is IPv6 but service tcp://10.0.0.1:80 is IPv4: direct \
                 forwarding keeps the packet as it is; use method tunnel, gue, gre or fullnat",
                "service[0].real[2].address: real 10.0.1.1:80 is there already, as service[0].real[0]",
                "service[0].real[3].address: port 8080 is not the service's port 80: direct forwarding does not \
                 rewrite ports; leave it out, or use method nat or fullnat",
            ]
        );
    }

    #[test]
    fn a_helper_is_for_nat_on_a_tcp_port_of_its_own() {
        let json = r#"{"services": [
            {"service": "10.0.0.1:21", "helper": "ftp", "method": "nat", "reals": [{"address": "10.0.1.1", "port": 2121}]},
            {"service": "10.0.0.2:21", "helper": "ftp", "method": "nat", "reals": [
                {"address": "10.0.1.1", "port": 21}, {"address": "10.0.1.2", "port": 21, "method": "direct"}]},
            {"service": "10.0.0.2", "method": "nat"},
            {"service": "udp://10.0.0.1:21", "helper": "ftp", "method": "nat"},
            {"service": "10.0.0.3", "helper": "ftp", "method": "nat"}]}"#;
        assert_eq!(
            messages(json),
            [
                "service[1].helper: tcp://10.0.0.2:0 takes the data connections of ftp: one of the two has to go",
                "service[1].helper: ftp needs method nat, real 10.0.1.2:21 has direct: behind other methods reals answer \
                 past the director, or never to the client's address",
                "service[3].helper: ftp is spoken over tcp, this service is udp",
                "service[4].helper: ftp has control connections on a port of their own, such as 21; name it",
            ]
        );
    }

    #[test]
    fn too_much_is_said_once() {
        let real = r#"{"address": "10.0.1.1", "port": 80}"#;
        let json = format!(
            r#"{{"services": [{{"service": "10.0.0.1:80", "reals": [{}]}}]}}"#,
            vec![real; MAX_REALS + 1].join(",")
        );
        assert_eq!(messages(&json), ["service[0].real: 1025 reals are too many; at most 1024 a service"]);
    }

    proptest! {
        #[test]
        fn what_the_generator_calls_valid_is_valid(spec in arbitrary::spec()) {
            prop_assert_eq!(validate(&spec), vec![]);
        }
    }
}
