//! An engine that keeps a Spec in memory and forwards nothing.

use std::{
    net::{IpAddr, Ipv4Addr},
    sync::{Arc, Mutex},
};

use lb_userspace::{
    api::{
        engine::{ConnectionPart, Engine},
        error::EngineError,
        types::*,
    },
    model::{Edit, Method, Protocol, ServiceKey, ServiceSpec, Spec, edit, validate::validate},
};
use tokio::sync::mpsc;

#[derive(Clone, Default)]
pub(crate) struct Fake(Arc<Mutex<State>>);

#[derive(Default)]
struct State {
    revision: u64,
    spec: Spec,
    /// When set, the next apply fails with it.
    broken: Option<String>,
}

impl Fake {
    pub(crate) fn break_next(&self, cause: &str) {
        self.0.lock().unwrap().broken = Some(cause.to_owned());
    }

    pub(crate) fn current(&self) -> (u64, Spec) {
        let state = self.0.lock().unwrap();
        (state.revision, state.spec.clone())
    }

    fn edited(&self, edits: Vec<Edit>) -> Result<Spec, EngineError> {
        let (_, mut spec) = self.current();
        for edit in edits {
            edit::apply(&mut spec, edit)?;
        }
        match validate(&spec) {
            problems if problems.is_empty() => Ok(spec),
            problems => Err(EngineError::Refused { problems }),
        }
    }
}

fn changes(old: &Spec, new: &Spec) -> Vec<ChangeView> {
    let mut changes = Vec::new();
    for service in &new.services {
        let action = match old.service(&service.key) {
            None => ChangeAction::Add,
            Some(known) if known != &**service => ChangeAction::Change,
            Some(_) => continue,
        };
        let detail = format!("{} reals, scheduler {}", service.reals.len(), service.scheduler);
        changes.push(ChangeView { action, target: format!("service {}", service.key), detail });
    }
    for service in old.services.iter().filter(|service| new.service(&service.key).is_none()) {
        let target = format!("service {}", service.key);
        changes.push(ChangeView { action: ChangeAction::Remove, target, detail: String::new() });
    }
    changes
}

pub(crate) const COUNTERS: Counters =
    Counters { connections: 3, packets: 40, bytes: 5000, reply_packets: 38, reply_bytes: 70_000 };

pub(crate) const RATES: Rates =
    Rates { connections: 1, packets: 20, bytes: 2500, reply_packets: 19, reply_bytes: 35_000 };

/// A real that is this engine itself.
pub(crate) const LOCAL: IpAddr = IpAddr::V4(Ipv4Addr::new(10, 0, 1, 254));

/// A real that this engine does not find.
pub(crate) const NO_WAY: IpAddr = IpAddr::V4(Ipv4Addr::new(10, 0, 1, 99));

impl Engine for Fake {
    async fn status(&self) -> StatusView {
        let (revision, spec) = self.current();
        let total = spec.services.iter().map(|service| service.reals.len() as u64).sum();
        StatusView {
            version: "9.9.9".to_owned(),
            pid: std::process::id(),
            uptime_seconds: 306,
            revision,
            interfaces: vec![InterfaceView {
                name: "eth0".to_owned(),
                index: 2,
                mode: XdpMode::Native,
                program_id: 318,
                link_id: 7,
            }],
            services: spec.services.len() as u64,
            reals: RealCounts { total, up: total, ..RealCounts::default() },
            connections: ConnectionCounts { used_v4: 5, capacity_v4: 1024, used_v6: 0, capacity_v6: 512 },
            warnings: vec!["eth0 has no route".to_owned()],
        }
    }

    async fn spec(&self) -> (u64, Spec) {
        self.current()
    }

    async fn services(&self, of: Vec<Arc<ServiceSpec>>) -> Vec<ServiceView> {
        let view = |service: &Arc<ServiceSpec>| ServiceView {
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
            counters: COUNTERS,
            rates: RATES,
            active: 1,
            inactive: 2,
            real_count: service.reals.len() as u64,
            reals: service
                .reals
                .iter()
                .map(|real| RealView {
                    address: real.address,
                    port: real.port,
                    method: service.method_of(real),
                    weight: real.weight,
                    upper_threshold: real.upper_threshold,
                    lower_threshold: real.lower_threshold,
                    tunnel_port: real.tunnel_port,
                    tunnel_checksum: real.tunnel_checksum,
                    is_local: real.address == LOCAL,
                    effective_weight: 0,
                    state: RealState::Unresolved,
                    reason: Some("no answer to ARP".to_owned()),
                    interface: Some("eth0".to_owned()),
                    mac: (service.method_of(real) == Method::Direct).then(|| "02:00:00:00:00:01".to_owned()),
                    // The way to one of them is not known.
                    mtu: (real.address != NO_WAY).then_some(1500),
                    overhead: if service.method_of(real) == Method::Tunnel { 20 } else { 0 },
                    clamps_mss: false,
                    active: 1,
                    inactive: 2,
                    templates: 4,
                    counters: COUNTERS,
                    rates: RATES,
                })
                .collect(),
        };
        of.iter().map(view).collect()
    }

    async fn stats(&self, of: Vec<Arc<ServiceSpec>>) -> StatsView {
        let services = self.services(of).await.into_iter().map(|service| ServiceStatsView {
            service: service.service,
            counters: service.counters,
            reals: service
                .reals
                .iter()
                .map(|real| RealStatsView { address: real.address, port: real.port, counters: real.counters })
                .collect(),
        });
        let verdict = VerdictView {
            name: "forwarded".to_owned(),
            action: VerdictAction::Redirect,
            description: "to a real server".to_owned(),
            packets: 40,
        };
        StatsView { verdicts: vec![verdict], services: services.collect(), ..StatsView::default() }
    }

    async fn connections(&self, filter: ConnectionFilter) -> Result<mpsc::Receiver<ConnectionPart>, EngineError> {
        if let Some(state) = filter.state.filter(|state| !state.eq_ignore_ascii_case("established")) {
            let what = format!("no connection state is named {state:?}; one of established");
            return Err(EngineError::NotFound { what });
        }
        let connection = |port: u16| ConnectionView {
            protocol: Protocol::Tcp,
            client: ([192, 0, 2, 7], port).into(),
            virtual_: ([10, 0, 0, 1], 80).into(),
            real: ([10, 0, 1, 1], 80).into(),
            state: "established".to_owned(),
            idle_seconds: 4,
            expires_seconds: 896,
        };
        let all: Vec<ConnectionView> = (0..5000)
            .map(|index| connection(1024 + index))
            .filter(|view| filter.client.is_none_or(|client| view.client.ip() == client))
            .filter(|view| filter.real.is_none_or(|real| view.real.ip() == real))
            .filter(|view| filter.service.is_none_or(|service| service.endpoint() == view.virtual_))
            .collect();
        let mut first = ConnectionPart { total: all.len() as u64, ..ConnectionPart::default() };
        let mut shown = all.iter().skip(filter.skip as usize).take(filter.limit);
        shown.by_ref().take(1).for_each(|view| first.push(view));
        let mut rest = ConnectionPart::default();
        shown.for_each(|view| rest.push(view));
        let (parts, receiver) = mpsc::channel(2);
        parts.try_send(first).unwrap();
        parts.try_send(rest).unwrap();
        Ok(receiver)
    }

    async fn zero(&self, service: Option<ServiceKey>) -> Result<ZeroedView, EngineError> {
        let (_, spec) = self.current();
        match service {
            Some(key) if spec.service(&key).is_none() => {
                Err(EngineError::NotFound { what: format!("service {key} does not exist") })
            }
            Some(_) => Ok(ZeroedView { services: 1 }),
            None => Ok(ZeroedView { services: spec.services.len() as u64 }),
        }
    }

    async fn plan(&self, spec: Spec) -> Result<PlanView, EngineError> {
        let (revision, old) = self.current();
        let warnings = vec!["this is only a plan".to_owned()];
        Ok(PlanView { revision, changes: changes(&old, &spec), more: 0, warnings })
    }

    async fn plan_edits(&self, edits: Vec<Edit>) -> Result<PlanView, EngineError> {
        let spec = self.edited(edits)?;
        self.plan(spec).await
    }

    async fn apply(&self, spec: Spec, if_revision: Option<u64>) -> Result<AppliedView, EngineError> {
        let mut state = self.0.lock().unwrap();
        if let Some(given) = if_revision.filter(|given| *given != state.revision) {
            return Err(EngineError::StaleRevision { given, current: state.revision });
        }
        if let Some(cause) = state.broken.take() {
            return Err(EngineError::Failed { cause });
        }
        let changes = changes(&state.spec, &spec);
        state.revision += u64::from(state.spec != spec);
        state.spec = spec;
        Ok(AppliedView { revision: state.revision, changes, more: 0 })
    }

    async fn edit(&self, edits: Vec<Edit>, if_revision: Option<u64>) -> Result<AppliedView, EngineError> {
        let spec = self.edited(edits)?;
        self.apply(spec, if_revision).await
    }
}
