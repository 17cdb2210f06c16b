//! Is this Spec one that a director can serve?
//!
//! Pure, and the only judge: TOML, JSON and edits all end here and get the same sentences. Finds everything
//! that is wrong at once. Never repairs anything: what is applied is what was written.

mod director;
mod health;
mod mark;
mod real;
mod service;

use std::{
    collections::{BTreeMap, BTreeSet},
    fmt::{self, Display},
    net::IpAddr,
    ops::RangeInclusive,
    sync::Arc,
};

use super::{
    key::ServiceKey,
    problem::Problem,
    spec::{ServiceSpec, Spec},
    word::Protocol,
};

/// Services in a Spec. One costs a slot of every per-service table.
pub const MAX_SERVICES: usize = 10_000;
/// Reals in a service: what a scheduler looks through for one new connection.
pub const MAX_REALS: usize = 1024;
/// Weight of a real: what ipvsadm 1.31 takes.
pub const WEIGHT: RangeInclusive<u32> = 0..=2_147_483_647;
/// Thresholds of a real, in connections: what ipvsadm 1.31 takes.
pub const THRESHOLD: RangeInclusive<u32> = 0..=2_147_483_647;
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
    problems(findings(spec, &BTreeSet::new()))
}

/// As [`validate`], for a Spec that came out of one that can be served: what the two share is not looked at again, unless something that
/// it depends on differs.
pub fn validate_change(spec: &Spec, known: &Spec) -> Vec<Problem> {
    if known.director != spec.director || known.marks != spec.marks {
        return validate(spec);
    }
    let pairs = || spec.services.iter().zip(&known.services);
    let has_same_keys = spec.services.len() == known.services.len()
        && pairs().all(|(one, other)| Arc::ptr_eq(one, other) || one.key == other.key);
    let broken = BTreeSet::new();
    if has_same_keys {
        let mut check = Check::new(spec, &broken);
        for (index, (service, _)) in pairs().enumerate().filter(|(_, (one, other))| !Arc::ptr_eq(one, other)) {
            check.service(&format!("service[{index}]"), service);
        }
        return problems(check.found);
    }
    let mut check = Check::new(spec, &broken);
    // A service of any port takes the ports that another one's helper needs.
    if check.any_port == any_port(known) {
        check.shared = known.services.iter().map(Arc::as_ptr).collect();
    }
    check.all(spec);
    problems(check.found)
}

fn problems(found: Vec<Finding>) -> Vec<Problem> {
    found.into_iter().map(|found| Problem::unplaced(found.key, found.message)).collect()
}

/// As [`validate`], for a Spec of which the values under the keys `broken` could not be read: they hold
/// defaults, so nothing is said about them nor about what depends on them.
pub(super) fn findings(spec: &Spec, broken: &BTreeSet<String>) -> Vec<Finding> {
    let mut check = Check::new(spec, broken);
    check.all(spec);
    check.found
}

/// Addresses of which all TCP ports are somebody's, and whose.
fn any_port(spec: &Spec) -> BTreeMap<IpAddr, String> {
    let services = spec.services.iter().map(|service| service.key);
    let services = services.filter(|key| key.protocol == Protocol::Tcp && key.port == 0);
    let rules = spec.marks.iter().filter(|rule| rule.protocol == Protocol::Tcp && rule.is_single());
    let rules = rules.filter(|rule| rule.ports.is_none());
    let rules = rules.map(|rule| (rule.address, format!("rule {rule} of mark {}", rule.mark)));
    services.map(|key| (key.address, key.to_string())).chain(rules).collect()
}

/// One pass over a Spec.
struct Check<'a> {
    broken: &'a BTreeSet<String>,
    /// Families that full NAT has local addresses of: true is IPv4.
    locals: BTreeSet<bool>,
    /// See [`any_port`].
    any_port: BTreeMap<IpAddr, String>,
    /// Services that have been found good.
    shared: BTreeSet<*const ServiceSpec>,
    found: Vec<Finding>,
}

/// The place of a real in a Spec, written only where there is something to say.
#[derive(Clone, Copy)]
struct At<'a> {
    service: &'a str,
    index: usize,
}

impl Display for At<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}.real[{}]", self.service, self.index)
    }
}

impl<'a> Check<'a> {
    fn new(spec: &Spec, broken: &'a BTreeSet<String>) -> Self {
        let unread = broken.iter().any(|key| key.starts_with("director.local_addresses"));
        let locals = &spec.director.local_addresses;
        let has_local = |is_v4| unread || locals.iter().any(|local| local.is_ipv4() == is_v4);
        let locals = [true, false].into_iter().filter(|is_v4| has_local(*is_v4)).collect();
        Self { broken, locals, any_port: any_port(spec), shared: BTreeSet::new(), found: Vec::new() }
    }

    fn all(&mut self, spec: &Spec) {
        let Spec { director, marks, services } = spec;
        self.director(director);
        self.local_addresses(spec);
        if services.len() > MAX_SERVICES {
            self.say("service", format!("{} services are too many; at most {MAX_SERVICES}", services.len()));
            return;
        }
        let mut known = BTreeMap::<ServiceKey, String>::new();
        for (index, service) in services.iter().enumerate() {
            let path = format!("service[{index}]");
            if !self.shared.contains(&Arc::as_ptr(service)) {
                self.service(&path, service);
            }
            if self.key_read(&path) {
                if let Some(first) = known.get(&service.key) {
                    let key = format!("{path}.{}", if service.key.mark().is_some() { "mark" } else { "address" });
                    self.duplicate(&key, &format!("service {}", service.key), first);
                } else {
                    known.insert(service.key, path);
                }
            }
        }
        self.marks(marks, director, &known);
    }

    fn say(&mut self, key: impl Into<String>, message: impl Into<String>) {
        self.found.push(Finding { key: key.into(), message: message.into(), first: None });
    }

    fn duplicate(&mut self, key: &str, what: &str, first: &str) {
        let message = format!("{what} is there already, as {first}");
        self.found.push(Finding { key: key.to_owned(), message, first: Some(first.to_owned()) });
    }

    /// Could all of these be read?
    fn read(&self, path: impl Display, keys: &[&str]) -> bool {
        self.broken.is_empty() || !keys.iter().any(|key| self.broken.contains(&format!("{path}.{key}")))
    }

    /// Could what a service is be read: its protocol and address, or its mark?
    fn key_read(&self, path: &str) -> bool {
        self.read(path, &["protocol", "address", "mark", "family"])
    }

    /// Checks a number whose key could be read.
    fn range<T: PartialOrd + Display>(&mut self, path: impl Display, key: &str, value: T, range: &RangeInclusive<T>) {
        if !range.contains(&value) && self.read(&path, &[key]) {
            self.say(format!("{path}.{key}"), out_of_range(value, range));
        }
    }
}

/// The sentence for a number outside its range.
pub(super) fn out_of_range<V: Display, T: Display>(value: V, range: &RangeInclusive<T>) -> String {
    format!("{value} is out of range; from {} to {}", range.start(), range.end())
}

#[cfg(test)]
mod tests;
