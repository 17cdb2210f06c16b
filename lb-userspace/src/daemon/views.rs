//! What the API shows: Spec, facts and tables joined into the shapes of `api::types`. Changes nothing.

use std::collections::BTreeMap;
use std::sync::Arc;

use lb_common::abi::real::method;
use lb_common::abi::verdict::Action;

use super::change::{World, known};
use super::director::Director;
use crate::api::types::{
    ConnectionCounts, Counters, EarlyFragmentsView, InterfaceView, RealCounts, RealState, RealStatsView, RealView,
    ServiceStatsView, ServiceView, StatsView, StatusView, VerdictAction, VerdictView, XdpMode,
};
use crate::dataplane::counters::Sum;
use crate::dataplane::tables::ServiceRow;
use crate::model::spec::DEFAULT_TUNNEL_PORT;
use crate::model::{Method, ServiceSpec};
use crate::reconcile::rewrite::{clamps_mss, growth, has_checksum};

/// Warnings that are told.
const MOST_WARNINGS: usize = 1000;

/// The daemon's state.
pub(super) fn status(director: &Director) -> StatusView {
    let mut reals = RealCounts::default();
    let mut warnings = director.warnings.clone();
    if director.is_behind {
        warnings.push(
            "the tables do not hold what is applied yet, for want of room; it is tried again every second".to_owned(),
        );
    }
    let health = director.health.borrow();
    let world = World { spec: &director.saved.spec, next_hops: &director.next_ways, health: &health };
    let join = world.join(&director.tables);
    for service in &director.saved.spec.services {
        for (endpoint, real) in join.reals(service, &known(&director.tables, service)) {
            reals.total += 1;
            match real.state {
                RealState::Up => reals.up += 1,
                RealState::Down => reals.down += 1,
                RealState::Unresolved => reals.unresolved += 1,
                RealState::Drained => reals.drained += 1,
            }
            if matches!(real.state, RealState::Down | RealState::Unresolved) && warnings.len() < MOST_WARNINGS {
                let reason = real.reason.as_deref().unwrap_or("no reason known");
                warnings.push(format!("real {endpoint} of {} is {}: {reason}", service.key, real.state));
            }
        }
    }
    let (used_v4, used_v6) = director.tables.used();
    let (capacity_v4, capacity_v6) = director.tables.places();
    let interfaces = director.loaded.links().iter().map(|(name, link)| InterfaceView {
        name: name.clone(),
        index: link.ifindex,
        mode: if link.is_native { XdpMode::Native } else { XdpMode::Generic },
        program_id: link.program_id,
        link_id: link.link_id,
    });
    StatusView {
        version: env!("CARGO_PKG_VERSION").to_owned(),
        pid: std::process::id(),
        uptime_seconds: director.started.elapsed().as_secs(),
        revision: director.saved.revision,
        interfaces: interfaces.collect(),
        services: director.saved.spec.services.len() as u64,
        reals,
        connections: ConnectionCounts { used_v4, capacity_v4, used_v6, capacity_v6 },
        warnings,
    }
}

/// The state of a daemon whose director's task has ended.
pub(super) fn stopping() -> StatusView {
    StatusView {
        version: env!("CARGO_PKG_VERSION").to_owned(),
        pid: std::process::id(),
        uptime_seconds: 0,
        revision: 0,
        interfaces: Vec::new(),
        services: 0,
        reals: RealCounts::default(),
        connections: ConnectionCounts::default(),
        warnings: vec!["the daemon is stopping".to_owned()],
    }
}

/// These services with their reals.
pub(super) fn services(director: &Director, of: &[Arc<ServiceSpec>]) -> Vec<ServiceView> {
    with_templates(director, of, &templates(director, of))
}

/// Persistence templates by the number of their real. The whole table is walked for it, so only when a service has some.
fn templates(director: &Director, of: &[Arc<ServiceSpec>]) -> BTreeMap<u32, u64> {
    if of.iter().any(|service| service.persistence.is_some()) {
        return director.tables.template_counts();
    }
    BTreeMap::new()
}

fn with_templates(director: &Director, of: &[Arc<ServiceSpec>], templates: &BTreeMap<u32, u64>) -> Vec<ServiceView> {
    let spec = &director.saved.spec;
    let statistics = &director.statistics;
    let mut views = Vec::with_capacity(of.len());
    let health = director.health.borrow();
    let world = World { spec, next_hops: &director.next_ways, health: &health };
    let join = world.join(&director.tables);
    for service in of {
        let row = director.tables.services().get(&service.key);
        let wanted = join.service(service, &known(&director.tables, service));
        let mut reals = Vec::with_capacity(service.reals.len());
        for real in &service.reals {
            let number = row.and_then(|row| row.reals.get(&real.endpoint())).copied();
            let state = wanted.reals.get(&real.endpoint());
            let load = number.map_or_else(Default::default, |number| director.tables.load(number));
            let value = state.map(|state| state.value).unwrap_or_default();
            let place = (service.key, Some(real.endpoint()));
            let method = service.method_of(real);
            let mac = Some(value.destination_mac).filter(|mac| *mac != [0; 6]);
            reals.push(RealView {
                address: real.address,
                port: real.port,
                method,
                weight: real.weight,
                upper_threshold: real.upper_threshold,
                lower_threshold: real.lower_threshold,
                tunnel_port: (method == Method::Gue).then(|| real.tunnel_port.unwrap_or(DEFAULT_TUNNEL_PORT)),
                tunnel_checksum: has_checksum(method, real),
                is_local: value.method == method::LOCAL,
                effective_weight: state.map_or(0, |state| state.weight),
                state: state.map_or(RealState::Unresolved, |state| state.state),
                reason: state.and_then(|state| state.reason.clone()),
                interface: state.and_then(|state| state.interface.clone()),
                mac: mac.map(|mac| mac.map(|byte| format!("{byte:02x}")).join(":")),
                mtu: Some(u32::from(value.mtu)).filter(|mtu| *mtu > 0),
                overhead: growth(&value, &service.key, real.address),
                clamps_mss: clamps_mss(&value, &service.key),
                active: u64::from(load.active()),
                inactive: u64::from(load.inactive()),
                templates: number.and_then(|number| templates.get(&number).copied()).unwrap_or(0),
                counters: statistics.shown(&place, &real_counters(director, number)),
                rates: statistics.rates(&place),
            });
        }
        views.push(ServiceView {
            service: service.key,
            protocol: service.key.protocol,
            address: service.key.address,
            port: service.key.port,
            scheduler: service.scheduler,
            flags: service.scheduler_flags.clone(),
            persistence: service.persistence,
            one_packet: service.one_packet,
            method: service.method,
            on_real_down: service.on_real_down,
            helper: service.helper,
            counters: statistics.shown(&(service.key, None), &service_counters(director, row)),
            rates: statistics.rates(&(service.key, None)),
            active: reals.iter().map(|real| real.active).sum(),
            inactive: reals.iter().map(|real| real.inactive).sum(),
            real_count: reals.len() as u64,
            reals,
        });
    }
    views
}

/// Counters of the director as a whole, and of these services.
pub(super) fn stats(director: &Director, of: &[Arc<ServiceSpec>]) -> StatsView {
    let verdicts = director.tables.verdicts().into_iter().map(|(verdict, packets)| VerdictView {
        name: verdict.name().to_owned(),
        action: match verdict.action() {
            Action::Tx => VerdictAction::Tx,
            Action::Redirect => VerdictAction::Redirect,
            Action::Pass => VerdictAction::Pass,
            Action::Drop => VerdictAction::Drop,
        },
        description: verdict.description().to_owned(),
        packets,
    });
    let services = of.iter().map(|service| {
        let row = director.tables.services().get(&service.key);
        let shown = |real, counters| director.statistics.shown(&(service.key, real), &counters);
        let reals = service.reals.iter().map(|real| {
            let number = row.and_then(|row| row.reals.get(&real.endpoint())).copied();
            let counters = shown(Some(real.endpoint()), real_counters(director, number));
            RealStatsView { address: real.address, port: real.port, counters }
        });
        let counters = shown(None, service_counters(director, row));
        ServiceStatsView { service: service.key, counters, reals: reals.collect() }
    });
    let early_fragments = EarlyFragmentsView {
        waiting: director.held.len() as u64,
        sent_on: director.held.sent_on,
        given_up: director.held.given_up,
    };
    StatsView { verdicts: verdicts.collect(), services: services.collect(), early_fragments }
}

pub(super) fn real_counters(director: &Director, number: Option<u32>) -> Counters {
    number.map_or_else(Counters::default, |number| counters(director.tables.real_sum(number)))
}

pub(super) fn service_counters(director: &Director, row: Option<&ServiceRow>) -> Counters {
    row.map_or_else(Counters::default, |row| counters(director.tables.service_sum(row)))
}

fn counters(sum: Sum) -> Counters {
    let Sum { connections, packets, bytes, reply_packets, reply_bytes } = sum;
    Counters { connections, packets, bytes, reply_packets, reply_bytes }
}
