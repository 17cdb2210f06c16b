//! A change, planned service by service: what is compared and kept meanwhile is as large as the change, not as the configuration.

use std::collections::{BTreeMap, BTreeSet};
use std::net::SocketAddr;
use std::sync::Arc;

use lb_common::abi::limits::{MH_SLOTS, RING_LINE, SH_SLOTS};
use lb_common::abi::real::{Capacity, Real};

use crate::api::error::EngineError;
use crate::dataplane::addresses::fits;
use crate::dataplane::settling::Room;
use crate::dataplane::tables::Tables;
use crate::model::{Protocol, Scheduler, ServiceKey, ServiceSpec, Spec};
use crate::reconcile::carry_out;
use crate::reconcile::effective::{DesiredService, Join};
use crate::reconcile::plan::{Op, needed, plan_director, plan_service};
use crate::reconcile::scope::Scope;
use crate::signal::health::{CheckId, Health};
use crate::signal::neighbour::{NextHop, Target};

/// What a change is joined from.
pub(super) struct World<'a> {
    pub(super) spec: &'a Spec,
    pub(super) next_hops: &'a BTreeMap<Target, NextHop>,
    pub(super) health: &'a BTreeMap<CheckId, Health>,
}

/// The reals of services that nobody has configured: those that helpers need.
pub(super) type Companions = BTreeMap<ServiceKey, BTreeSet<SocketAddr>>;

/// The steps of a change, for all of which there is room.
pub(super) struct Steps {
    /// Services that go, and what belongs to the director as a whole.
    first: Vec<Op>,
    services: Vec<Step>,
    pub(super) companions: Companions,
}

enum Step {
    /// To a service that the tables have.
    Known(Vec<Op>),
    /// A service that is new to them. Its reals are joined when their turn comes: those of ten thousand services would be 400 MB.
    New(Arc<ServiceSpec>),
}

impl World<'_> {
    /// The Spec and the facts, service by service.
    pub(super) fn join(&self, tables: &Tables) -> Join<'_> {
        Join::new(self.spec, self.next_hops, self.health, tables.settings())
    }

    /// What a change of `scope` needs, if the tables have room for it.
    pub(super) fn steps(&self, tables: &Tables, scope: &Scope, before: &Companions) -> Result<Steps, EngineError> {
        let join = self.join(tables);
        let companions = join.companions(|service| known(tables, service));
        let is_wanted = |key: &ServiceKey| companions.contains_key(key);
        let gone: Vec<ServiceKey> = match scope {
            Scope::All => {
                let wanted: BTreeSet<ServiceKey> = self.spec.services.iter().map(|service| service.key).collect();
                let all = tables.services().keys();
                all.filter(|key| !wanted.contains(key) && !is_wanted(key)).copied().collect()
            }
            Scope::Some { removed, .. } => {
                let followed = before.keys().filter(|key| self.spec.service(key).is_none());
                removed.iter().chain(followed).filter(|key| !is_wanted(key)).copied().collect()
            }
        };
        let mut first: Vec<Op> = gone.into_iter().map(Op::RemoveService).collect();
        let services = scope.services(self.spec);
        plan_director(&mut first, join.settings(services.iter().map(|service| &***service)), join.locals(), tables);
        let mut room = Room::default();
        let mut steps = Vec::new();
        for service in services {
            if !tables.services().contains_key(&service.key) {
                room += needs(service, &join);
                steps.push(Step::New(Arc::clone(service)));
                continue;
            }
            let desired = join.service(service, &known(tables, service));
            plan_known(&mut steps, &mut room, service.key, desired, tables);
        }
        let mut followed = Companions::new();
        for (key, desired) in companions {
            followed.insert(key, desired.reals.keys().copied().collect());
            plan_known(&mut steps, &mut room, key, desired, tables);
        }
        tables.has_room(&room).map_err(|what| EngineError::Conflict { what })?;
        fits(&join.blocks().iter()).map_err(|what| EngineError::Conflict { what })?;
        Ok(Steps { first, services: steps, companions: followed })
    }

    /// Carries out the steps; returns whether all of them are done. What has no room now, though there is some, has it in a second.
    pub(super) fn carry_out(&self, tables: &mut Tables, steps: Steps) -> bool {
        let Steps { first, services, companions: _ } = steps;
        let done = all(tables, first).and_then(|()| {
            let join = self.join(tables);
            services.into_iter().try_for_each(|step| match step {
                Step::Known(ops) => all(tables, ops),
                Step::New(service) => {
                    let desired = join.service(&service, &known(tables, &service));
                    let mut ops = Vec::new();
                    plan_service(&mut ops, service.key, desired, tables);
                    all(tables, ops)
                }
            })
        });
        if let Err(error) = &done {
            // Places that were left a moment ago rest until the next second.
            tracing::warn!("the tables follow in a second: {error}");
        }
        done.is_ok()
    }
}

fn all(tables: &mut Tables, ops: Vec<Op>) -> Result<(), crate::dataplane::DataplaneError> {
    ops.into_iter().try_for_each(|op| {
        tracing::debug!(%op, "step");
        carry_out(tables, op)
    })
}

fn plan_known(steps: &mut Vec<Step>, room: &mut Room, key: ServiceKey, desired: DesiredService, tables: &Tables) {
    let mut ops = Vec::new();
    plan_service(&mut ops, key, desired, tables);
    if !ops.is_empty() {
        *room += needed(&ops, tables);
        steps.push(Step::Known(ops));
    }
}

/// What a service takes that the tables do not have.
fn needs(service: &ServiceSpec, join: &Join<'_>) -> Room {
    let slots = match service.scheduler {
        Scheduler::Mh => service.table_slots.unwrap_or(MH_SLOTS),
        Scheduler::Sh | Scheduler::Dh => SH_SLOTS,
        _ => 0,
    };
    let addresses = if service.key.protocol == Protocol::Mark {
        join.addresses(&service.key).iter().map(|it| (it.ip, it.prefix, it.protocol)).collect::<BTreeSet<_>>().len()
    } else {
        0
    };
    let reals = service.reals.len();
    Room { reals, services: 1 + addresses, members: reals, lines: slots.div_ceil(RING_LINE) as usize, configs: 1 }
}

/// What the tables say of the reals of a service.
pub(super) fn known<'a>(
    tables: &'a Tables,
    service: &ServiceSpec,
) -> impl Fn(&ServiceKey, &SocketAddr) -> Option<(Real, Capacity)> + use<'a> {
    let row = tables.services().get(&service.key);
    // A daemon that died between a real and the pool of its service leaves two weights: what packets go by is the pool's. Only checks ask.
    let weights: Option<BTreeMap<SocketAddr, u32>> =
        row.filter(|_| service.health.is_some()).map(|row| row.pool.members.iter().copied().collect());
    move |_, endpoint| {
        let number = *row?.reals.get(endpoint)?;
        let capacity = tables.capacity(number);
        let of_pool = |weights: &BTreeMap<SocketAddr, u32>| weights.get(endpoint).copied().unwrap_or(0);
        let weight = weights.as_ref().map_or(capacity.weight, of_pool);
        Some((tables.real(number)?, Capacity { weight, ..capacity }))
    }
}
