//! What has to be done so that the tables are as they should be: a list, in an order in which every step leaves a working director.
//!
//! Reals are written before the pool that names them, and taken away after the pool that does not.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::net::{IpAddr, SocketAddr};

use lb_common::abi::limits::RING_LINE;
use lb_common::abi::real::{Capacity, Real, disposition};
use lb_common::abi::settings::Settings;

use super::effective::{Desired, DesiredService, identity_free};
use crate::dataplane::locals::LocalAddress;
use crate::dataplane::settling::Room;
use crate::dataplane::tables::{Pool, ServiceRow, Tables};
use crate::model::{Protocol, ServiceKey};

/// One step.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Op {
    /// Writes the director's settings.
    SetSettings(Settings),
    /// Writes the addresses that full NAT sends from.
    SetLocals(Vec<LocalAddress>),
    /// Gives a service a number.
    AddService(ServiceKey),
    /// Writes a real.
    SetReal {
        /// Its service.
        service: ServiceKey,
        /// Which one.
        endpoint: SocketAddr,
        /// Its value, without identity.
        real: Real,
        /// Its weights and thresholds.
        capacity: Capacity,
    },
    /// Publishes what a service schedules by.
    SetPool {
        /// The service.
        service: ServiceKey,
        /// Its pool.
        pool: Pool,
    },
    /// Takes a real away.
    RemoveReal {
        /// Its service.
        service: ServiceKey,
        /// Which one.
        endpoint: SocketAddr,
        /// What its connections meet from now on.
        disposition: u8,
    },
    /// Takes a service away.
    RemoveService(ServiceKey),
}

/// For the log: what is done to what.
impl fmt::Display for Op {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::SetSettings(_) => write!(f, "set the director's settings"),
            Self::SetLocals(locals) => write!(f, "set {} local addresses", locals.len()),
            Self::AddService(key) => write!(f, "add service {key}"),
            Self::SetReal { service, endpoint, real, .. } => {
                write!(f, "set real {endpoint} of {service}: disposition {}", real.disposition)
            }
            Self::SetPool { service, pool } => {
                let weights: Vec<String> =
                    pool.members.iter().map(|(endpoint, weight)| format!("{endpoint}={weight}")).collect();
                write!(f, "set the pool of {service}: {}", weights.join(" "))
            }
            Self::RemoveReal { service, endpoint, .. } => write!(f, "remove real {endpoint} of {service}"),
            Self::RemoveService(key) => write!(f, "remove service {key}"),
        }
    }
}

/// The tables as a plan sees them.
pub trait Observed {
    /// Every service that has a number.
    fn services(&self) -> &BTreeMap<ServiceKey, ServiceRow>;
    /// The value of a real's number.
    fn real(&self, number: u32) -> Option<Real>;
    /// Weights and thresholds of a real's number.
    fn capacity(&self, number: u32) -> Capacity;
    /// The settings.
    fn settings(&self) -> Settings;
    /// What full NAT sends from.
    fn locals(&self) -> Vec<LocalAddress>;
}

impl Observed for Tables {
    fn services(&self) -> &BTreeMap<ServiceKey, ServiceRow> {
        self.services()
    }
    fn real(&self, number: u32) -> Option<Real> {
        self.real(number)
    }
    fn capacity(&self, number: u32) -> Capacity {
        self.capacity(number)
    }
    fn settings(&self) -> Settings {
        self.settings()
    }
    fn locals(&self) -> Vec<LocalAddress> {
        self.locals()
    }
}

/// The steps from `observed` to `desired`; none when they agree.
pub fn plan(desired: &Desired, observed: &impl Observed) -> Vec<Op> {
    let mut ops = Vec::new();
    for key in observed.services().keys().filter(|key| !desired.services.contains_key(key)) {
        ops.push(Op::RemoveService(*key));
    }
    plan_director(&mut ops, desired.settings, &desired.locals, observed);
    for (key, service) in &desired.services {
        plan_service(&mut ops, *key, service.clone(), observed);
    }
    ops
}

/// The steps for what belongs to the director as a whole.
pub fn plan_director(ops: &mut Vec<Op>, settings: Settings, locals: &[LocalAddress], observed: &impl Observed) {
    if observed.settings() != settings {
        ops.push(Op::SetSettings(settings));
    }
    if observed.locals() != locals {
        ops.push(Op::SetLocals(locals.to_vec()));
    }
}

/// The steps for one service.
pub fn plan_service(ops: &mut Vec<Op>, key: ServiceKey, service: DesiredService, observed: &impl Observed) {
    let row = observed.services().get(&key);
    if row.is_none() {
        ops.reserve(service.reals.len() + 2);
        ops.push(Op::AddService(key));
    }
    let number = |endpoint: &SocketAddr| row.and_then(|row| row.reals.get(endpoint)).copied();
    let mut is_limit_new = false;
    for (endpoint, real) in &service.reals {
        let number = number(endpoint);
        let now = number.map_or_else(Capacity::default, |number| observed.capacity(number));
        let value = number.and_then(|number| observed.real(number)).map(identity_free);
        if value != Some(real.value) || now != real.capacity {
            is_limit_new |= (now.upper > 0) != (real.capacity.upper > 0);
            let (real, capacity) = (real.value, real.capacity);
            ops.push(Op::SetReal { service: key, endpoint: *endpoint, real, capacity });
        }
    }
    // Members say which reals have limits.
    if is_limit_new || row.is_none_or(|row| row.pool != service.pool) {
        ops.push(Op::SetPool { service: key, pool: service.pool });
    }
    for endpoint in
        row.into_iter().flat_map(|row| row.reals.keys()).filter(|endpoint| !service.reals.contains_key(endpoint))
    {
        let meets = number(endpoint)
            .and_then(|number| observed.real(number))
            .map_or(disposition::GONE, |real| real.disposition);
        if meets != service.removed_disposition {
            ops.push(Op::RemoveReal { service: key, endpoint: *endpoint, disposition: service.removed_disposition });
        }
    }
}

/// The room that a plan needs; compared with what there is ([`Tables::has_room`]) before anything is done.
pub fn needed(ops: &[Op], observed: &impl Observed) -> Room {
    let is_new = |service: &ServiceKey, endpoint: &SocketAddr| {
        observed.services().get(service).is_none_or(|row| !row.reals.contains_key(endpoint))
    };
    let reals = ops
        .iter()
        .filter(|op| matches!(op, Op::SetReal { service, endpoint, .. } if is_new(service, endpoint)))
        .count();
    let services = ops.iter().map(|op| numbers_of(op, observed)).sum();
    let pools = || ops.iter().filter_map(|op| if let Op::SetPool { pool, .. } = op { Some(pool) } else { None });
    Room {
        reals,
        services,
        members: pools().map(|pool| pool.members.len()).sum(),
        lines: pools().map(|pool| pool.ring.len().div_ceil(RING_LINE as usize)).sum(),
        configs: pools().count(),
    }
}

/// Numbers that a step needs for a service, or for the addresses of a mark.
fn numbers_of(op: &Op, observed: &impl Observed) -> usize {
    match op {
        Op::AddService(_) => 1,
        Op::SetPool { service, pool } if service.protocol == Protocol::Mark => {
            let known = observed.services().get(service).map_or_else(BTreeSet::new, |row| distinct(&row.pool));
            distinct(pool).difference(&known).count()
        }
        _ => 0,
    }
}

/// Addresses of a pool that connections are told apart by.
fn distinct(pool: &Pool) -> BTreeSet<(IpAddr, u8, u8)> {
    pool.addresses.iter().map(|address| (address.ip, address.prefix, address.protocol)).collect()
}
