//! What the applied Spec needs to be told: ways to its reals, results of their checks.

use std::collections::{BTreeMap, BTreeSet};
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::watch;

use crate::model::{HealthSpec, Probe, ServiceSpec, Spec};
use crate::reconcile::effective::{check_id, target, targets};
use crate::reconcile::scope::Scope;
use crate::signal::health::{CheckConfig, CheckId, CheckKind};
use crate::signal::neighbour::{NextHop, Target, WAITING};

type Ways = watch::Receiver<Arc<BTreeSet<Target>>>;
type Checks = watch::Receiver<BTreeMap<CheckId, CheckConfig>>;

/// Tells resolver and checks.
pub(super) struct Wants {
    ways: watch::Sender<Arc<BTreeSet<Target>>>,
    checks: watch::Sender<BTreeMap<CheckId, CheckConfig>>,
    /// How many reals are reached by each way: a machine is in many services.
    users: BTreeMap<Target, u32>,
    /// Ways that the last change has brought.
    fresh: Vec<Target>,
}

impl Wants {
    pub(super) fn new() -> (Self, Ways, Checks) {
        let (ways, ways_of) = watch::channel(Arc::default());
        let (checks, checks_of) = watch::channel(BTreeMap::new());
        (Self { ways, checks, users: BTreeMap::new(), fresh: Vec::new() }, ways_of, checks_of)
    }

    /// What a change of `scope` from one Spec to another means for what is watched.
    pub(super) fn follow(&mut self, old: &Spec, new: &Spec, scope: &Scope, known: &BTreeMap<Target, NextHop>) {
        let mut is_other = false;
        if *scope == Scope::All {
            self.users.clear();
            targets(new).for_each(|target| *self.users.entry(target).or_default() += 1);
            is_other = true;
        } else {
            let of = |service: &ServiceSpec| service.reals.iter().map(|real| target(service, real)).collect::<Vec<_>>();
            for target in scope.services(new).into_iter().flat_map(|service| of(service)) {
                let users = self.users.entry(target).or_default();
                is_other |= *users == 0;
                *users += 1;
            }
            for target in scope.before(old).into_iter().flat_map(|service| of(service)) {
                let Some(users) = self.users.get_mut(&target) else { continue };
                *users -= 1;
                if *users == 0 {
                    self.users.remove(&target);
                    is_other = true;
                }
            }
        }
        self.fresh.clear();
        if is_other {
            let wanted: BTreeSet<Target> = self.users.keys().copied().collect();
            self.fresh.extend(wanted.iter().filter(|target| !known.contains_key(target)));
            self.ways.send_if_modified(|ways| {
                let is_other = **ways != wanted;
                *ways = Arc::new(wanted);
                is_other
            });
        }
        let is_checked = |services: Vec<&Arc<ServiceSpec>>| services.iter().any(|service| service.health.is_some());
        if is_checked(scope.services(new)) || is_checked(scope.before(old)) {
            self.checks.send_replace(checks(new));
        }
    }

    /// Ways that the last change has brought are still being asked for.
    pub(super) fn awaits(&self, known: &BTreeMap<Target, NextHop>) -> bool {
        self.fresh.iter().any(|target| match known.get(target) {
            None => true,
            Some(NextHop::Unresolved { reason }) => reason.starts_with(WAITING),
            Some(_) => false,
        })
    }
}

/// Targets whose ways are not the same in both.
pub(super) fn difference(one: &BTreeMap<Target, NextHop>, other: &BTreeMap<Target, NextHop>) -> BTreeSet<Target> {
    let differs = |from: &BTreeMap<Target, NextHop>, to: &BTreeMap<Target, NextHop>| -> Vec<Target> {
        from.iter().filter(|(target, way)| to.get(target) != Some(way)).map(|(target, _)| *target).collect()
    };
    differs(one, other).into_iter().chain(differs(other, one)).collect()
}

fn checks(spec: &Spec) -> BTreeMap<CheckId, CheckConfig> {
    let mut checks = BTreeMap::new();
    for (service, health) in spec.services.iter().filter_map(|service| Some((service, service.health.as_ref()?))) {
        let reals = service.reals.iter();
        checks.extend(reals.map(|real| (check_id(service, real), check_config(health, real.endpoint()))));
    }
    checks
}

fn check_config(health: &HealthSpec, endpoint: SocketAddr) -> CheckConfig {
    let kind = match &health.probe {
        Probe::Tcp => CheckKind::Tcp,
        Probe::Http { path, host, status } => {
            CheckKind::Http { path: path.clone(), host: host.clone(), status: status.clone() }
        }
    };
    CheckConfig {
        target: SocketAddr::new(endpoint.ip(), health.port.unwrap_or(endpoint.port())),
        kind,
        interval: Duration::from_millis(health.interval_ms),
        timeout: Duration::from_millis(health.timeout_ms),
        rise: health.rise,
        fall: health.fall,
    }
}
