//! Intent and facts joined: for every real whether it takes new connections, what happens to its old ones, how it is reached, and why.
//!
//! Never asks anybody anything: the same inputs give the same answer. A fact that is not known yet changes nothing that works.

use std::collections::BTreeMap;
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;

use lb_common::abi::connection::{STATES, State};
use lb_common::abi::real::{Capacity, Real, disposition, method, option};
use lb_common::abi::settings::{DEFAULT_TIMEOUTS, Settings, sloppy};
use lb_common::algo::state::reuse_states;
use lb_common::wire::transport::TCP;

use super::companion::companions;
use super::pool::pool;
use super::rewrite::rewrite;
use super::rules::Rules;
use crate::api::types::RealState;
use crate::dataplane::addresses::Address;
use crate::dataplane::clock;
use crate::dataplane::locals::LocalAddress;
use crate::dataplane::tables::Pool;
use crate::model::{DirectorSpec, Method, OnRealDown, RealSpec, ServiceKey, ServiceSpec, Spec};
use crate::signal::health::{CheckId, Health, HealthState};
use crate::signal::neighbour::{NextHop, Target};

/// Asks the tables for a real's value and capacity, whose weight is the one that its service's pool has for it.
pub type Known<'a> = &'a dyn Fn(&ServiceKey, &SocketAddr) -> Option<(Real, Capacity)>;

/// What is known of the world.
pub struct Facts<'a> {
    /// Ways to the reals; one that is missing has not been looked at yet.
    pub next_hops: &'a BTreeMap<Target, NextHop>,
    /// Results of checks; one that is missing has not begun.
    pub health: &'a BTreeMap<CheckId, Health>,
    /// What the tables say of a real that is in them.
    pub known: Known<'a>,
}

/// What should be.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Desired {
    /// Every service.
    pub services: BTreeMap<ServiceKey, DesiredService>,
    /// The director's settings.
    pub settings: Settings,
    /// What full NAT sends from.
    pub locals: Vec<LocalAddress>,
}

/// A service as it should be.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DesiredService {
    /// What it schedules by.
    pub pool: Pool,
    /// Its reals; each in a box of its own, or the map's nodes are larger than what the allocator gives quickly.
    pub reals: BTreeMap<SocketAddr, Box<DesiredReal>>,
    /// What a real's connections meet once the real is removed.
    pub removed_disposition: u8,
}

/// A real as it should be.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DesiredReal {
    /// Its value in the table, without identity.
    pub value: Real,
    /// What it is to the scheduler.
    pub state: RealState,
    /// Why it is not up.
    pub reason: Option<String>,
    /// Weight that the scheduler uses.
    pub weight: u32,
    /// Its thresholds and weights in the table.
    pub capacity: Capacity,
    /// Interface that its packets leave by.
    pub interface: Option<String>,
}

/// Why a real takes nothing yet that nobody has looked at.
pub const LOOKED_UP: &str = "its route and MAC are being looked up";

/// Joins a Spec and the facts. `current` holds what the tables' creator measured, which stays.
pub fn effective(spec: &Spec, facts: &Facts<'_>, current: &Settings) -> Desired {
    let join = Join::new(spec, facts.next_hops, facts.health, *current);
    let mut services: BTreeMap<_, _> =
        spec.services.iter().map(|service| (service.key, join.service(service, facts.known))).collect();
    services.extend(companions(spec, &services));
    let (settings, locals) = (join.settings(spec.services.iter().map(Arc::as_ref)), join.locals);
    Desired { services, settings, locals }
}

/// A Spec and the facts, to be joined service by service: all services at once of a large Spec would take more memory than all the rest.
pub struct Join<'a> {
    spec: &'a Spec,
    next_hops: &'a BTreeMap<Target, NextHop>,
    health: &'a BTreeMap<CheckId, Health>,
    current: Settings,
    rules: Rules<'a>,
    locals: Vec<LocalAddress>,
}

impl<'a> Join<'a> {
    /// `current` holds what the tables' creator measured, which stays.
    pub fn new(
        spec: &'a Spec,
        next_hops: &'a BTreeMap<Target, NextHop>,
        health: &'a BTreeMap<CheckId, Health>,
        current: Settings,
    ) -> Self {
        let locals = locals(&spec.director, next_hops);
        Self { spec, next_hops, health, current, rules: Rules::of(spec), locals }
    }

    /// A service of the Spec as it should be; `known` is what the tables say of its reals.
    pub fn service(&self, service: &ServiceSpec, known: Known<'_>) -> DesiredService {
        let reals: BTreeMap<_, _> =
            self.reals(service, known).map(|(endpoint, real)| (endpoint, Box::new(real))).collect();
        // IPVS forgets them with expire_nodest_conn, and the client is refused; the packet that begins anew is scheduled.
        let gives_away = service.on_real_down == OnRealDown::Reschedule || self.spec.director.expire_nodest_conn;
        let removed_disposition = if gives_away { disposition::RESCHEDULE } else { disposition::GONE };
        DesiredService { pool: pool(service, &reals, &self.rules, &self.current), reals, removed_disposition }
    }

    /// The reals of a service as they should be, in the Spec's order.
    pub fn reals<'s>(
        &'s self,
        service: &'s ServiceSpec,
        known: Known<'s>,
    ) -> impl Iterator<Item = (SocketAddr, DesiredReal)> + 's {
        service.reals.iter().map(move |real| {
            let endpoint = real.endpoint();
            (endpoint, desired_real(self, service, real, known(&service.key, &endpoint)))
        })
    }

    /// The services that helpers need besides their own.
    pub fn companions<K>(&self, known: impl Fn(&ServiceSpec) -> K) -> BTreeMap<ServiceKey, DesiredService>
    where
        K: Fn(&ServiceKey, &SocketAddr) -> Option<(Real, Capacity)>,
    {
        let followed = self.spec.services.iter().filter(|service| service.helper.is_some());
        let joined = |service: &Arc<ServiceSpec>| (service.key, self.service(service, &known(service)));
        companions(self.spec, &followed.map(joined).collect())
    }

    /// The director's settings, with what these services need. What others have needed before stays.
    pub fn settings<'s>(&self, mut services: impl Iterator<Item = &'s ServiceSpec>) -> Settings {
        let mut settings = settings(self.spec, &self.current);
        if settings.replies == 0 {
            settings.replies = u64::from(services.any(is_translated));
        }
        settings
    }

    /// What full NAT sends from.
    pub fn locals(&self) -> &[LocalAddress] {
        &self.locals
    }

    /// Where clients reach the services that are not found by one address and port: what the tables have room for some shapes of.
    pub fn blocks(&self) -> Vec<Address> {
        let is_block = |service: &&Arc<ServiceSpec>| service.key.port == 0;
        let services =
            self.spec.services.iter().filter(is_block).flat_map(|service| self.rules.addresses(&service.key));
        let followed = self.spec.services.iter().filter(|service| service.helper.is_some());
        let companions = followed.map(|service| Address::single(service.key.address, TCP, 0));
        services.chain(companions).collect()
    }

    /// Where clients reach a service.
    pub fn addresses(&self, service: &ServiceKey) -> Vec<Address> {
        self.rules.addresses(service)
    }
}

/// Some real's answers come back through the director.
fn is_translated(service: &ServiceSpec) -> bool {
    service.reals.iter().any(|real| service.method_of(real).is_translated())
}

/// What has to be resolved for a Spec.
pub fn targets(spec: &Spec) -> impl Iterator<Item = Target> {
    let reals = spec.services.iter().flat_map(|service| service.reals.iter().map(|real| target(service, real)));
    reals.chain(spec.director.local_addresses.iter().map(|address| local(*address)))
}

/// An address that must be this host's own.
pub(crate) fn local(address: IpAddr) -> Target {
    Target { address, on_link: false }
}

/// The local addresses of full NAT that this host has. One that nobody has looked at yet counts: nothing
/// that works is to stop. Another host's never does: its answers would not come here.
fn locals(director: &DirectorSpec, next_hops: &BTreeMap<Target, NextHop>) -> Vec<LocalAddress> {
    let ours = |address: &&IpAddr| next_hops.get(&local(**address)).is_none_or(|next_hop| *next_hop == NextHop::Local);
    let ports = director.local_ports;
    let mut locals: Vec<_> =
        director.local_addresses.iter().filter(ours).map(|address| LocalAddress { address: *address, ports }).collect();
    // As the tables have them.
    locals.sort_by_key(|local| local.address.is_ipv6());
    locals
}

pub(crate) fn target(service: &ServiceSpec, real: &RealSpec) -> Target {
    Target { address: real.address, on_link: service.method_of(real) == Method::Direct }
}

/// The name that a real's check has.
pub fn check_id(service: &ServiceSpec, real: &RealSpec) -> CheckId {
    CheckId { service: service.key.to_string(), real: real.endpoint() }
}

/// The director's own times by state, in ticks.
pub fn timeouts(director: &DirectorSpec, current: &Settings) -> [u32; STATES] {
    let mut seconds = DEFAULT_TIMEOUTS;
    // IPVS's --set changes these three: ESTABLISHED (TCP's alone with IPVS), FIN_WAIT and UDP.
    for (place, own) in
        SETTABLE.into_iter().zip([director.timeouts.tcp, director.timeouts.tcp_fin, director.timeouts.udp])
    {
        seconds[place] = own;
    }
    seconds.map(|seconds| clock::ticks(seconds, current.jiffies_per_second, current.tick_shift))
}

/// Numbers of ESTABLISHED, FIN_WAIT and UDP.
const SETTABLE: [usize; 3] = [State::Established as usize, State::FinWait as usize, State::Udp as usize];

fn settings(spec: &Spec, current: &Settings) -> Settings {
    let director = &spec.director;
    let mut timeouts = timeouts(director, current);
    // The datapath gives places away by the longest time that any service has; the daemon frees by each service's own.
    for own in spec.services.iter().filter_map(|service| service.timeouts) {
        for (place, own) in SETTABLE.into_iter().zip([own.tcp, own.tcp_fin, own.udp]) {
            let ticks = own.map_or(0, |own| clock::ticks(own, current.jiffies_per_second, current.tick_shift));
            timeouts[place] = timeouts[place].max(ticks);
        }
    }
    for seconds in spec.services.iter().filter_map(|service| service.persistence).map(|persistence| persistence.timeout)
    {
        let ticks = clock::ticks(seconds, current.jiffies_per_second, current.tick_shift);
        for state in [State::Template, State::TemplateAssured] {
            timeouts[state as usize] = timeouts[state as usize].max(ticks);
        }
    }
    let is_sloppy = |is_set: bool, bit: u32| if is_set { bit } else { 0 };
    Settings {
        sloppy: is_sloppy(director.sloppy_tcp, sloppy::TCP) | is_sloppy(director.sloppy_sctp, sloppy::SCTP),
        answer_echo: u64::from(director.answer_echo),
        reuse_states: reuse_states(director.conn_reuse_mode),
        expire_quiescent: u64::from(director.expire_quiescent_template),
        timeouts,
        ..*current
    }
}

fn desired_real(
    join: &Join<'_>,
    service: &ServiceSpec,
    real: &RealSpec,
    known: Option<(Real, Capacity)>,
) -> DesiredReal {
    let director = &join.spec.director;
    let next_hop = join.next_hops.get(&target(service, real));
    let (value, way_problem) = match next_hop {
        Some(NextHop::Resolved(_)) if !has_local(&join.locals, service, real) => {
            (None, Some("none of director.local_addresses in its family is an address of this host".to_owned()))
        }
        Some(NextHop::Resolved(egress)) => rewrite(director, service.method_of(real), real, egress),
        Some(NextHop::Local) if real.port != service.key.port => {
            let reason = "is this host's own address: a director that is its own real takes packets as they are, at the \
                          service's port";
            (None, Some(reason.to_owned()))
        }
        Some(NextHop::Local) if service.helper.is_some() => {
            let reason = "is this host's own address: a helper follows connections to other hosts";
            (None, Some(reason.to_owned()))
        }
        Some(NextHop::Local) => (Some(by_kernel()), None),
        Some(NextHop::Unresolved { reason }) => (None, Some(reason.clone())),
        // Not looked at yet: what the tables have goes on.
        None => match known {
            Some((value, _))
                if value.mtu > 0
                    && value.disposition != disposition::UNRESOLVED
                    && value.disposition != disposition::GONE =>
            {
                (Some(value), None)
            }
            _ => (None, Some(LOOKED_UP.to_owned())),
        },
    };
    let value = value.map(|value| Real { options: options(service, real, value.options), ..value });
    let (is_healthy, check_problem) = health(service, real, join.health, known);
    let policy = match service.on_real_down {
        OnRealDown::Keep => disposition::KEEP,
        OnRealDown::Drop => disposition::DROP,
        OnRealDown::Reschedule => disposition::RESCHEDULE,
    };
    let disposition = match (&value, is_healthy) {
        (None, _) if policy == disposition::RESCHEDULE => policy,
        (None, _) => disposition::UNRESOLVED,
        (Some(_), false) if check_problem.is_some() => policy,
        (Some(_), _) if real.weight == 0 => disposition::DRAIN,
        (Some(_), _) => disposition::FORWARD,
    };
    let state = if real.weight == 0 {
        RealState::Drained
    } else if value.is_none() {
        RealState::Unresolved
    } else if !is_healthy {
        RealState::Down
    } else {
        RealState::Up
    };
    let interface = match next_hop {
        Some(NextHop::Resolved(egress)) => Some(egress.interface.clone()),
        _ => None,
    };
    let reason = match state {
        RealState::Up => None,
        RealState::Drained => Some("its weight is 0".to_owned()),
        RealState::Unresolved => way_problem,
        RealState::Down => check_problem.or_else(|| Some("its first check is pending".to_owned())),
    };
    let weight = if state == RealState::Up { real.weight } else { 0 };
    let last_weight = if real.weight > 0 { real.weight } else { known.map_or(0, |(_, capacity)| capacity.last_weight) };
    let capacity = Capacity { weight, upper: real.upper_threshold, lower: real.lower_threshold, last_weight };
    DesiredReal {
        value: Real { disposition, ..identity_free(value.unwrap_or_default()) },
        state,
        reason,
        weight,
        capacity,
        interface,
    }
}

/// The options of a real's value: its packets go through the helper if its service has one, and its connections are limited.
fn options(service: &ServiceSpec, real: &RealSpec, options: u8) -> u8 {
    let helper = if service.helper.is_some() { option::HELPER } else { 0 };
    let limited = if real.upper_threshold > 0 { option::LIMITED } else { 0 };
    options & !(option::HELPER | option::LIMITED) | helper | limited
}

/// The value of a real that is the director itself: packets go to its kernel as they are, by whatever method.
fn by_kernel() -> Real {
    Real { method: method::LOCAL, disposition: disposition::FORWARD, mtu: u16::MAX, ..Real::default() }
}

/// Full NAT to the real has an address to send from.
fn has_local(locals: &[LocalAddress], service: &ServiceSpec, real: &RealSpec) -> bool {
    service.method_of(real) != Method::FullNat
        || locals.iter().any(|local| local.address.is_ipv4() == real.address.is_ipv4())
}

/// Whether a real may take connections by its check, and what the check has found wrong.
fn health(
    service: &ServiceSpec,
    real: &RealSpec,
    checks: &BTreeMap<CheckId, Health>,
    known: Option<(Real, Capacity)>,
) -> (bool, Option<String>) {
    if service.health.is_none() {
        return (true, None);
    }
    let result = checks.get(&check_id(service, real));
    match result.map(|health| health.state) {
        Some(HealthState::Up) => (true, None),
        Some(HealthState::Down) => {
            let error = result.and_then(|health| health.last_error.as_deref()).unwrap_or("no reason given");
            (false, Some(format!("its health check fails: {error}")))
        }
        // Nothing known yet: a real that had connections given to it goes on, a new one waits for its first check.
        Some(HealthState::Unknown) | None => (known.is_some_and(|(_, capacity)| capacity.weight > 0), None),
    }
}

/// A value without what tells whose it is: the tables fill that in.
pub(crate) fn identity_free(value: Real) -> Real {
    let vary_or_corrections = if value.method == method::NAT { 0 } else { value.vary_or_corrections };
    Real { address: [0; 16], service: 0, port: 0, family: 0, vary_or_corrections, ..value }
}

#[cfg(test)]
mod tests {
    use std::net::IpAddr;

    use super::*;
    use crate::model::parse::parse;
    use crate::signal::neighbour::Egress;

    fn egress() -> NextHop {
        NextHop::Resolved(Egress {
            ifindex: 7,
            interface: "eth0".to_owned(),
            source_mac: [2; 6],
            destination_mac: [4; 6],
            source: IpAddr::from([10, 0, 0, 9]),
            mtu: 1500,
        })
    }

    fn spec(text: &str) -> Spec {
        parse(text.as_bytes()).unwrap()
    }

    fn desired(
        spec: &Spec,
        next_hops: &BTreeMap<Target, NextHop>,
        health: &BTreeMap<CheckId, Health>,
    ) -> DesiredService {
        let facts = Facts { next_hops, health, known: &|_, _| None };
        let current = Settings { jiffies_per_second: 250, tick_shift: 8, ..Settings::default() };
        effective(spec, &facts, &current).services.into_values().next().unwrap()
    }

    fn all_resolved(spec: &Spec) -> BTreeMap<Target, NextHop> {
        targets(spec).map(|target| (target, egress())).collect()
    }

    const WRR: &str = "[[service]]\naddress = \"10.0.0.1:80\"\nscheduler = \"wrr\"\n[[service.real]]\naddress = \"10.0.1.1\"\nweight = 5\n[[service.real]]\naddress = \"10.0.1.2\"\nweight = 3\n[[service.real]]\naddress = \"10.0.1.3\"\nweight = 2\n";

    #[test]
    fn members_stand_as_in_ipvs_and_wrr_begins_as_there() {
        let spec = spec(WRR);
        let service = desired(&spec, &all_resolved(&spec), &BTreeMap::new());
        let weights: Vec<u32> = service.pool.members.iter().map(|(_, weight)| *weight).collect();
        assert_eq!(weights, [2, 3, 5]);
        assert_eq!(service.pool.weight_start, 1);
    }

    #[test]
    fn an_unresolved_real_gets_nothing_and_says_why() {
        let spec = spec(WRR);
        let mut next_hops = all_resolved(&spec);
        let lost = targets(&spec).next().unwrap();
        next_hops.insert(lost, NextHop::Unresolved { reason: "no answer to ARP".to_owned() });
        let service = desired(&spec, &next_hops, &BTreeMap::new());
        let real = &service.reals[&"10.0.1.1:80".parse().unwrap()];
        assert_eq!(
            (real.state, real.weight, real.value.disposition),
            (RealState::Unresolved, 0, disposition::UNRESOLVED)
        );
        assert_eq!(real.reason.as_deref(), Some("no answer to ARP"));
    }

    #[test]
    fn a_failed_real_follows_the_services_policy() {
        for (policy, expected) in
            [("keep", disposition::KEEP), ("drop", disposition::DROP), ("reschedule", disposition::RESCHEDULE)]
        {
            let text = WRR.replacen(
                "scheduler",
                &format!("on_real_down = \"{policy}\"\nhealth = {{ type = \"tcp\" }}\nscheduler"),
                1,
            );
            let spec = spec(&text);
            let service = &spec.services[0];
            let down = Health {
                state: HealthState::Down,
                since: std::time::SystemTime::UNIX_EPOCH,
                last_error: Some("refused".to_owned()),
                checks: 3,
            };
            let health = BTreeMap::from([(check_id(service, &service.reals[0]), down)]);
            let service = desired(&spec, &all_resolved(&spec), &health);
            let real = &service.reals[&"10.0.1.1:80".parse().unwrap()];
            assert_eq!((real.state, real.weight, real.value.disposition), (RealState::Down, 0, expected));
            let pending = &service.reals[&"10.0.1.2:80".parse().unwrap()];
            assert_eq!(
                (pending.state, pending.weight, pending.value.disposition),
                (RealState::Down, 0, disposition::FORWARD)
            );
        }
    }

    #[test]
    fn facts_that_are_not_known_yet_change_nothing_that_works() {
        let text = WRR.replacen("scheduler", "health = { type = \"tcp\" }\nscheduler", 1);
        let spec = spec(&text);
        let value = Real { disposition: disposition::FORWARD, ifindex: 3, mtu: 1500, ..Real::default() };
        let capacity = Capacity { weight: 5, ..Capacity::default() };
        let facts =
            Facts { next_hops: &BTreeMap::new(), health: &BTreeMap::new(), known: &|_, _| Some((value, capacity)) };
        let desired =
            effective(&spec, &facts, &Settings { jiffies_per_second: 250, tick_shift: 8, ..Settings::default() });
        for real in desired.services.values().flat_map(|service| service.reals.values()) {
            assert_eq!((real.state, real.value.ifindex), (RealState::Up, 3));
        }
    }

    #[test]
    fn a_ring_leaves_out_failed_reals_and_points_at_the_right_members() {
        let spec = spec(&WRR.replace("wrr", "mh"));
        let mut next_hops = all_resolved(&spec);
        let lost = targets(&spec).next().unwrap();
        next_hops.insert(lost, NextHop::Unresolved { reason: "gone".to_owned() });
        let service = desired(&spec, &next_hops, &BTreeMap::new());
        assert_eq!(service.pool.members[2].0.ip(), lost.address);
        assert!(service.pool.ring.iter().all(|slot| *slot < 2));
    }
}
