//! The director as the daemon holds it: Spec, facts, tables, links. A config change's whole life is [`Director::apply`]:
//! validate, effective, plan, room, save, ops.

use std::collections::{BTreeMap, BTreeSet};
use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::{Duration, Instant};

use lb_common::abi::LAYOUT_VERSION;
use lb_common::abi::real::Capacity;
use lb_common::abi::remembered::EXPIRATION;
use lb_common::abi::settings::{DEFAULT_TIMEOUTS, Settings};
use lb_common::abi::tables::Table;
use tokio::sync::{mpsc, watch};

use super::held::Held;
use super::helper::{Helper, Moment, is_handed};
use super::rates::Statistics;
use super::store::{Saved, Store};
use super::{DaemonError, Options};
use crate::api::error::EngineError;
use crate::api::types::{AppliedView, PlanView};
use crate::dataplane::addresses::fits;
use crate::dataplane::ageing::Ageing;
use crate::dataplane::clock::{self, Clock};
use crate::dataplane::connections::Sweep;
use crate::dataplane::early::{self, EarlyFragment};
use crate::dataplane::loader::{Loaded, Mode};
use crate::dataplane::mapped::Mapped;
use crate::dataplane::memory::from_pin;
use crate::dataplane::pins::{Geometry, Pins};
use crate::dataplane::tables::Tables;
use crate::dataplane::{DataplaneError, cpus, objects};
use crate::model::{HealthSpec, Probe, ServiceKey, Spec, edit, validate};
use crate::reconcile::changes::changes;
use crate::reconcile::effective::{Desired, Facts, LOOKED_UP, check_id, effective, targets, timeouts};
use crate::reconcile::plan::{Op, numbers_needed, plan};
use crate::signal::health::{self, CheckConfig, CheckId, CheckKind, Health};
use crate::signal::neighbour::{self, NextHop, Target, WAITING};

/// Intent, facts and tables of a running director.
pub(super) struct Director {
    pub(super) saved: Saved,
    pub(super) tables: Tables,
    pub(super) loaded: Loaded,
    pub(super) started: Instant,
    pub(super) sweep: Sweep,
    pub(super) warnings: Vec<String>,
    /// What the tables were last brought to.
    pub(super) desired: Desired,
    /// Reals that the last change has brought.
    fresh: Vec<(ServiceKey, SocketAddr)>,
    /// The tables could not follow for want of room; the next tick tries again.
    pub(super) is_behind: bool,
    pins: Pins,
    mode: Mode,
    by_flag: Vec<String>,
    clock: Clock,
    store: Store,
    config: PathBuf,
    wanted_ways: watch::Sender<BTreeSet<Target>>,
    wanted_checks: watch::Sender<BTreeMap<CheckId, CheckConfig>>,
    pub(super) next_hops: watch::Receiver<BTreeMap<Target, NextHop>>,
    pub(super) health: watch::Receiver<BTreeMap<CheckId, Health>>,
    /// Fragments that the program has handed over.
    pub(super) early: Option<mpsc::Receiver<Vec<EarlyFragment>>>,
    pub(super) held: Held,
    pub(super) helper: Helper,
    pub(super) statistics: Statistics,
}

impl Director {
    /// Adopts or creates the tables, attaches, and brings the tables to `from_file` or what was applied last.
    pub(super) fn start(
        options: &Options,
        store: Store,
        saved: Saved,
        from_file: Option<Spec>,
    ) -> Result<Self, DaemonError> {
        let pins = Pins::new(&options.pin_dir);
        pins.prepare()?;
        let mut clock = Clock::load()?;
        let mut warnings = Vec::new();
        let wanted = Geometry::for_connections(options.connections, options.reals, options.translated, cpus()?)?;
        let adopted = adopted(&pins)?;
        if let Some((kept, _)) = adopted.filter(|(kept, _)| *kept != wanted) {
            let connections = kept.v4.room();
            warnings.push(format!(
                "the tables keep the size they were created with ({connections} connections, {} reals); \
                 `xvs detach` makes room for another, and forgets connections",
                kept.reals
            ));
        }
        let is_new = adopted.is_none();
        let (geometry, settings) = match adopted {
            Some(found) => found,
            None => (wanted, new_settings(&mut clock)?),
        };
        let loaded = Loaded::load(objects::DIRECTOR, &pins, &geometry, &settings, &store.verifier_log());
        if loaded.is_err() && is_new {
            pins.remove_maps()?;
        }
        let mut loaded = loaded?;
        let early = early::read(&mut loaded)?;
        let mut tables = Tables::adopt(loaded.memory(), geometry)?;
        if is_new {
            tables.set_settings(&settings);
        }
        let helper = Helper::open(&mut warnings);
        let (wanted_ways, ways) = watch::channel(BTreeSet::new());
        let (wanted_checks, checks) = watch::channel(BTreeMap::new());
        let mut director = Self {
            tables,
            loaded,
            started: Instant::now(),
            sweep: Sweep::default(),
            warnings,
            desired: Desired { services: BTreeMap::new(), settings, locals: Vec::new() },
            fresh: Vec::new(),
            is_behind: false,
            pins,
            mode: options.mode,
            by_flag: options.interfaces.clone(),
            clock,
            store,
            config: options.config.clone(),
            wanted_ways,
            wanted_checks,
            next_hops: neighbour::spawn(ways),
            health: health::spawn(checks),
            saved,
            early: Some(early),
            held: Held::default(),
            helper,
            statistics: Statistics::default(),
        };
        let spec = from_file.unwrap_or_else(|| director.saved.spec.clone());
        director.apply(spec, None).map_err(|error| DaemonError::other("applying the configuration", error))?;
        if director.interfaces(&director.saved.spec).is_empty() {
            director.warnings.push(
                "no interface is named: give --interface or [director] interfaces, no packet is balanced until then"
                    .to_owned(),
            );
        }
        for warning in &director.warnings {
            tracing::warn!("{warning}");
        }
        Ok(director)
    }

    /// What would change.
    pub(super) fn plan(&self, spec: &Spec) -> Result<PlanView, EngineError> {
        check(spec)?;
        self.prepare(spec)?;
        let warnings = self.interfaces(spec).is_empty().then(|| "no interface would be served".to_owned());
        let changes = changes(&self.saved.spec, spec);
        Ok(PlanView { revision: self.saved.revision, changes, warnings: warnings.into_iter().collect() })
    }

    /// Makes a Spec the applied one, whole or not at all.
    pub(super) fn apply(&mut self, spec: Spec, if_revision: Option<u64>) -> Result<AppliedView, EngineError> {
        if let Some(given) = if_revision.filter(|given| *given != self.saved.revision) {
            return Err(EngineError::StaleRevision { given, current: self.saved.revision });
        }
        check(&spec)?;
        let changes = changes(&self.saved.spec, &spec);
        let (desired, ops) = self.prepare(&spec)?;
        let attached = self.attach(&spec)?;
        if !changes.is_empty() || self.saved.revision == 0 {
            // `xvs apply` of the configuration file itself: a restart must not take the file for changed.
            let in_file = super::read_config(&self.config).ok().flatten().filter(|file| *file == spec);
            let file = in_file.or_else(|| self.saved.file.clone());
            let next = Saved { revision: self.saved.revision + 1, spec, file };
            if let Err(error) = self.store.save(&next) {
                self.detach(&attached);
                return Err(failed(format!("the configuration could not be saved: {error}; nothing was changed")));
            }
            self.saved = next;
        }
        self.fresh = new_reals(&self.desired, &desired);
        self.execute(desired, &ops);
        self.detach_unnamed();
        self.follow();
        Ok(AppliedView { revision: self.saved.revision, changes })
    }

    /// Applies edits to the Spec that is applied now, all or none.
    pub(super) fn edit(
        &mut self,
        edits: Vec<edit::Edit>,
        if_revision: Option<u64>,
    ) -> Result<AppliedView, EngineError> {
        let spec = self.edited(edits)?;
        self.apply(spec, if_revision)
    }

    /// The applied Spec with edits.
    pub(super) fn edited(&self, edits: Vec<edit::Edit>) -> Result<Spec, EngineError> {
        let mut spec = self.saved.spec.clone();
        for edit in edits {
            edit::apply(&mut spec, edit)?;
        }
        Ok(spec)
    }

    /// New facts: brings the tables to what they mean for the applied Spec.
    pub(super) fn reconcile(&mut self) {
        match self.prepare(&self.saved.spec) {
            Ok((desired, ops)) => self.execute(desired, &ops),
            Err(error) => {
                self.is_behind = true;
                tracing::error!("the tables could not follow: {error}");
            }
        }
    }

    /// What should be, for a Spec and the facts as they are.
    fn join(&self, spec: &Spec) -> Desired {
        let known = |service: &_, endpoint: &SocketAddr| {
            let row = self.tables.services().get(service)?;
            let number = *row.reals.get(endpoint)?;
            let value = self.tables.real(number)?;
            let weight =
                row.pool.members.iter().find(|(member, _)| member == endpoint).map_or(0, |(_, weight)| *weight);
            Some((value, Capacity { weight, ..self.tables.capacity(number) }))
        };
        let facts = Facts { next_hops: &self.next_hops.borrow(), health: &self.health.borrow(), known: &known };
        effective(spec, &facts, &self.tables.settings())
    }

    /// How long connections are kept, by the applied Spec.
    pub(super) fn ageing(&self) -> Ageing {
        Ageing::of(&self.tables, timeouts(&self.saved.spec.director, &self.tables.settings()))
    }

    /// Reals that the last change brought wait for their neighbours' answers. Packets that come before these would be refused; the
    /// kernel's IPVS has the kernel queue them.
    pub(super) fn awaits_neighbours(&self) -> bool {
        self.fresh.iter().any(|(service, endpoint)| {
            let real = self.desired.services.get(service).and_then(|service| service.reals.get(endpoint));
            let reason = real.and_then(|real| real.reason.as_deref());
            reason.is_some_and(|reason| reason.starts_with(WAITING) || reason == LOOKED_UP)
        })
    }

    /// What should be and the steps to it, with room for all of them.
    fn prepare(&self, spec: &Spec) -> Result<(Desired, Vec<Op>), EngineError> {
        let desired = self.join(spec);
        let ops = plan(&desired, &self.tables);
        let (needed, room) = (numbers_needed(&ops, &self.tables), self.tables.room());
        if needed.0 > room.0 || needed.1 > room.1 {
            return Err(EngineError::Conflict {
                what: format!(
                    "the tables have room for {} more reals and {} more services, this needs {} and {}; start the daemon with a larger --reals",
                    room.0, room.1, needed.0, needed.1
                ),
            });
        }
        let pools = ops.iter().filter_map(|op| if let Op::SetPool { pool, .. } = op { Some(pool) } else { None });
        self.tables.has_room(pools).map_err(|what| EngineError::Conflict { what })?;
        let addresses = desired.services.values().flat_map(|service| &service.pool.addresses);
        fits(&addresses).map_err(|what| EngineError::Conflict { what })?;
        Ok((desired, ops))
    }

    fn execute(&mut self, desired: Desired, ops: &[Op]) {
        for op in ops {
            tracing::debug!(%op, "step");
        }
        let done = crate::reconcile::apply(&mut self.tables, ops);
        self.is_behind = done.is_err();
        if let Err(error) = done {
            // Places that were left a moment ago rest until the next second.
            tracing::warn!("the tables follow in a second: {error}");
        }
        self.desired = desired;
    }

    /// Tells resolver and checks what the applied Spec needs.
    fn follow(&self) {
        let spec = &self.saved.spec;
        self.wanted_ways.send_replace(targets(spec).collect());
        let checks = spec.services.iter().flat_map(|service| {
            let health = service.health.as_ref();
            service
                .reals
                .iter()
                .filter_map(move |real| Some((check_id(service, real), check_config(health?, real.endpoint()))))
        });
        self.wanted_checks.send_replace(checks.collect());
    }

    fn interfaces(&self, spec: &Spec) -> Vec<String> {
        let mut names = self.by_flag.clone();
        names.extend(spec.director.interfaces.iter().filter(|name| !self.by_flag.contains(name)).cloned());
        names
    }

    /// Attaches to the interfaces of a Spec that have no program yet; all of them or none. Returns which.
    fn attach(&mut self, spec: &Spec) -> Result<Vec<String>, EngineError> {
        let mut new = Vec::new();
        for name in self.interfaces(spec) {
            if self.loaded.links().contains_key(&name) {
                continue;
            }
            match self.loaded.attach(&self.pins, &name, self.mode) {
                // Traffic runs on it already: whatever fails after it, it stays.
                Ok(link) if link.is_adopted => {
                    tracing::info!(interface = %name, native = link.is_native, program = link.program_id, "adopted");
                    continue;
                }
                Ok(link) => {
                    tracing::info!(interface = %name, native = link.is_native, program = link.program_id, "attached");
                }
                Err(error) => {
                    self.detach(&new);
                    return Err(failed(error.to_string()));
                }
            }
            new.push(name);
        }
        Ok(new)
    }

    fn detach(&mut self, names: &[String]) {
        for name in names {
            match self.loaded.detach(&self.pins, name) {
                Ok(()) => tracing::info!(interface = %name, "detached"),
                Err(error) => tracing::error!("detaching from {name}: {error}"),
            }
        }
    }

    /// Takes the program off interfaces that the applied Spec does not name.
    fn detach_unnamed(&mut self) {
        let wanted = self.interfaces(&self.saved.spec);
        match self.loaded.pinned(&self.pins) {
            Ok(names) => self.detach(&names.into_iter().filter(|name| !wanted.contains(name)).collect::<Vec<_>>()),
            Err(error) => tracing::error!("looking for links: {error}"),
        }
    }

    /// Once a second: forgets connections that are over, frees what nobody uses, and tries again what had no room.
    pub(super) fn tick(&mut self) {
        let settings = self.tables.settings();
        match self.clock.tick(settings.tick_shift) {
            Ok(tick) => {
                self.sweep = self.tables.sweep(tick, &self.ageing());
                if tick % FORGETTING == 0 {
                    let day = clock::ticks(EXPIRATION, settings.jiffies_per_second, settings.tick_shift);
                    self.tables.forget_destinations(tick, day);
                }
                self.helper.tick(&Moment { tables: &self.tables, settings, tick, now: Instant::now() });
            }
            Err(error) => tracing::error!("no clock, nothing expires: {error}"),
        }
        let desired = &self.desired.services;
        self.tables.settle(|service, endpoint| {
            desired.get(service).is_some_and(|service| service.reals.contains_key(endpoint))
        });
        if self.is_behind {
            self.reconcile();
        }
    }

    /// Gives the helper what is its own, and keeps fragments until their packets' first ones have come.
    pub(super) fn take(&mut self, frames: Vec<EarlyFragment>) {
        let (handed, fragments): (Vec<_>, Vec<_>) = frames.into_iter().partition(is_handed);
        if !handed.is_empty() {
            self.help(&handed);
        }
        self.held.take(Instant::now(), fragments);
        self.send_on();
    }

    fn help(&mut self, handed: &[EarlyFragment]) {
        let settings = self.tables.settings();
        let tick = match self.clock.tick(settings.tick_shift) {
            Ok(tick) => tick,
            Err(error) => return tracing::error!("no clock, packets of control connections are dropped: {error}"),
        };
        for frame in handed {
            let at = Moment { tables: &self.tables, settings, tick, now: Instant::now() };
            if self.helper.take(&at, frame)
                && let Err(error) = self.loaded.inject(frame.ifindex, &frame.frame)
            {
                tracing::warn!("{error}");
            }
        }
    }

    /// Runs those through the program again whose packets are known by now.
    pub(super) fn send_on(&mut self) {
        let now = match self.clock.tick(self.tables.settings().tick_shift) {
            Ok(now) => now,
            Err(error) => return tracing::error!("no clock, no fragment goes on: {error}"),
        };
        for fragment in self.held.ready(Instant::now(), |tag| self.tables.knows_fragment(tag, now)) {
            if let Err(error) = self.loaded.inject(fragment.ifindex, &fragment.frame) {
                tracing::warn!("{error}");
            }
        }
    }

    /// Ticks and seconds since a stamp.
    pub(super) fn now(&mut self) -> Result<(u32, Settings), DataplaneError> {
        let settings = self.tables.settings();
        Ok((self.clock.tick(settings.tick_shift)?, settings))
    }
}

/// How often [`Director::tick`] runs.
pub(super) const TICK: Duration = Duration::from_secs(1);

/// Reals of a new state that an old one does not have.
fn new_reals(old: &Desired, new: &Desired) -> Vec<(ServiceKey, SocketAddr)> {
    let is_known = |service: &ServiceKey, endpoint: &SocketAddr| {
        old.services.get(service).is_some_and(|service| service.reals.contains_key(endpoint))
    };
    let all =
        new.services.iter().flat_map(|(key, service)| service.reals.keys().map(move |endpoint| (*key, *endpoint)));
    all.filter(|(service, endpoint)| !is_known(service, endpoint)).collect()
}

/// Ticks from one look at the remembered destinations to the next: IPVS's are a minute apart.
const FORGETTING: u32 = 64;

fn failed(cause: String) -> EngineError {
    EngineError::Failed { cause }
}

fn check(spec: &Spec) -> Result<(), EngineError> {
    let problems = validate::validate(spec);
    if problems.is_empty() { Ok(()) } else { Err(EngineError::Refused { problems }) }
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

/// Settings of tables that are about to be made.
fn new_settings(clock: &mut Clock) -> Result<Settings, DataplaneError> {
    let rate = clock.rate()?;
    let shift = clock::shift_for(rate);
    Ok(Settings {
        layout_version: LAYOUT_VERSION,
        jiffies_per_second: rate,
        tick_shift: shift,
        hash_key: random_key()?,
        timeouts: DEFAULT_TIMEOUTS.map(|seconds| clock::ticks(seconds, rate, shift)),
        ..Settings::default()
    })
}

/// Size and settings of tables that are there. Tables without version are those of a daemon that died while it made them: no program
/// has ever used them, so they are made anew.
fn adopted(pins: &Pins) -> Result<Option<(Geometry, Settings)>, DataplaneError> {
    let Some(geometry) = pins.existing(cpus()?)? else { return Ok(None) };
    let path = pins.map(Table::Settings);
    let map = Mapped::of(&from_pin(&path)?, geometry.layout(Table::Settings))?;
    let settings: Settings = map.read(0).unwrap_or_default();
    match settings.layout_version {
        LAYOUT_VERSION => Ok(Some((geometry, settings))),
        0 => pins.remove_maps().map(|()| None),
        other => {
            let difference = format!("layout version {other}, this version has {LAYOUT_VERSION}");
            Err(DataplaneError::Shape { path, difference })
        }
    }
}

fn random_key() -> Result<[u64; 2], DataplaneError> {
    let mut bytes = [0; 16];
    std::fs::File::open("/dev/urandom")
        .and_then(|mut file| std::io::Read::read_exact(&mut file, &mut bytes))
        .map_err(|e| DataplaneError::other("/dev/urandom", e))?;
    let word = |at: usize| bytes[at..at + 8].iter().fold(0, |word, byte| (word << 8) | u64::from(*byte));
    Ok([word(0), word(8)])
}
