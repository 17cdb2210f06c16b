//! The director as the daemon holds it: Spec, facts, tables, links. A config change's whole life is [`Director::apply`]:
//! validate, effective, plan, room, save, ops.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

use lb_common::abi::remembered::EXPIRATION;
use lb_common::abi::settings::Settings;
use tokio::sync::{mpsc, watch};

use super::change::{Companions, Steps, World};
use super::config::ConfigFile;
use super::counts;
use super::held::Held;
use super::helper::{Helper, Moment, is_handed};
use super::rates::Statistics;
use super::routes::Routes;
use super::startup::{adopted, new_settings, resized};
use super::store::{Saved, Store, sharing};
use super::trim;
use super::wants::{Wants, difference};
use super::{DaemonError, Options};
use crate::api::error::EngineError;
use crate::api::types::{AppliedView, PlanView};
use crate::dataplane::ageing::{Ageing, Source};
use crate::dataplane::clock::{self, Clock};
use crate::dataplane::early::{self, EarlyFragment};
use crate::dataplane::loader::{Loaded, Mode};
use crate::dataplane::pins::{Geometry, Pins};
use crate::dataplane::resize::{Resize, Resized, recover};
use crate::dataplane::rounds::Rounds;
use crate::dataplane::tables::Tables;
use crate::dataplane::{DataplaneError, cpus, objects};
use crate::model::{ServiceSpec, Spec, edit, validate};
use crate::reconcile::changes::{Changes, changes};
use crate::reconcile::effective::timeouts;
use crate::reconcile::scope::Scope;
use crate::signal::health::{self, CheckId, Health};
use crate::signal::neighbour::{self, NextHop, Routing, Target};

/// Intent, facts and tables of a running director.
pub(super) struct Director {
    pub(super) saved: Saved,
    pub(super) tables: Tables,
    pub(super) loaded: Loaded,
    pub(super) started: Instant,
    rounds: Rounds,
    ageing: Option<(Source, Arc<Ageing>)>,
    pub(super) warnings: Vec<String>,
    /// Services that nobody has configured; none before the tables are brought to anything.
    companions: Option<Companions>,
    /// The tables could not follow for want of room; the next tick tries again.
    pub(super) is_behind: bool,
    /// Connections are on their way to the tables, from others that an attached program still uses.
    resize: Option<Resize>,
    pins: Pins,
    mode: Mode,
    by_flag: Vec<String>,
    clock: Clock,
    store: Store,
    config: ConfigFile,
    /// What resolver and checks are told to watch.
    wants: Wants,
    pub(super) next_hops: watch::Receiver<Arc<BTreeMap<Target, NextHop>>>,
    pub(super) routing: watch::Receiver<Routing>,
    routes: Routes,
    /// Those that the tables were brought to.
    pub(super) next_ways: Arc<BTreeMap<Target, NextHop>>,
    pub(super) health: watch::Receiver<BTreeMap<CheckId, Health>>,
    /// Fragments that the program has handed over.
    pub(super) early: Option<mpsc::Receiver<Vec<EarlyFragment>>>,
    pub(super) held: Held,
    pub(super) helper: Helper,
    pub(super) statistics: Statistics,
    /// Packets to and from reals at the last look of the estimators.
    pub(super) moved: u64,
}

impl Director {
    /// Adopts or creates the tables, attaches, and brings the tables to `from_file` or what was applied last.
    pub(super) fn start(
        options: &Options,
        store: Store,
        saved: Saved,
        (config, from_file): (ConfigFile, Option<Spec>),
    ) -> Result<Self, DaemonError> {
        let pins = Pins::new(&options.pin_dir);
        pins.prepare()?;
        let mut clock = Clock::load()?;
        let mut warnings = Vec::new();
        let wanted = Geometry::for_connections(options.connections, options.reals, options.translated, cpus()?)?;
        recover(&pins)?;
        let adopted = adopted(&pins)?;
        let is_new = adopted.is_none();
        let (mut geometry, settings) = match adopted {
            Some(found) => found,
            None => (wanted, new_settings(&mut clock)?),
        };
        let resize = resized(&pins, (geometry, wanted), &settings, &mut clock, &mut warnings);
        let mut maps = pins.clone();
        if let Some((next, _)) = &resize {
            (geometry, maps) = (*next, pins.next());
        }
        let loaded = Loaded::load(objects::DIRECTOR, &maps, &geometry, &settings, &store.verifier_log());
        if loaded.is_err() && is_new {
            pins.remove_maps()?;
        }
        let mut loaded = loaded?;
        let early = early::read(&mut loaded)?;
        let mut tables = Tables::adopt(loaded.memory(), geometry)?;
        if is_new || settings.moving != 0 {
            tables.set_settings(&Settings { moving: 0, ..settings });
        }
        let helper = Helper::open(&mut warnings);
        let (wants, ways, checks) = Wants::new();
        let resolver = neighbour::spawn(ways);
        let mut director = Self {
            tables,
            loaded,
            started: Instant::now(),
            rounds: Rounds::default(),
            ageing: None,
            warnings,
            companions: None,
            is_behind: false,
            resize: resize.map(|(_, resize)| resize),
            pins,
            mode: options.mode,
            by_flag: options.interfaces.clone(),
            clock,
            store,
            config,
            wants,
            next_hops: resolver.next_hops,
            routing: resolver.routing,
            routes: Routes::default(),
            next_ways: Arc::default(),
            health: health::spawn(checks),
            saved,
            early: Some(early),
            held: Held::default(),
            helper,
            statistics: Statistics::default(),
            moved: 0,
        };
        let spec = from_file.unwrap_or_else(|| director.saved.spec.clone());
        check(&spec, &Spec::default()).map_err(|error| DaemonError::other("applying the configuration", error))?;
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
        check(spec, &self.saved.spec)?;
        self.steps(spec, &Scope::between(&self.saved.spec, spec))?;
        let warnings = self.interfaces(spec).is_empty().then(|| "no interface would be served".to_owned());
        let Changes { listed, more } = changes(&self.saved.spec, spec);
        Ok(PlanView { revision: self.saved.revision, changes: listed, more, warnings: warnings.into_iter().collect() })
    }

    /// Makes a Spec that has been found good the applied one, whole or not at all.
    pub(super) fn apply(&mut self, spec: Spec, if_revision: Option<u64>) -> Result<AppliedView, EngineError> {
        self.change(sharing(spec, &self.saved.spec), None, if_revision)
    }

    /// Applies edits to the Spec that is applied now, all or none.
    pub(super) fn edit(&mut self, edits: &[edit::Edit], if_revision: Option<u64>) -> Result<AppliedView, EngineError> {
        let spec = self.edited(edits)?;
        self.change(spec, Some(edits), if_revision)
    }

    /// The applied Spec with edits.
    pub(super) fn edited(&self, edits: &[edit::Edit]) -> Result<Spec, EngineError> {
        let mut spec = self.saved.spec.clone();
        for edit in edits {
            edit::apply(&mut spec, edit.clone())?;
        }
        Ok(spec)
    }

    /// A change's whole life. With `edits` these have made the Spec out of the applied one.
    fn change(
        &mut self,
        spec: Spec,
        edits: Option<&[edit::Edit]>,
        if_revision: Option<u64>,
    ) -> Result<AppliedView, EngineError> {
        if let Some(given) = if_revision.filter(|given| *given != self.saved.revision) {
            return Err(EngineError::StaleRevision { given, current: self.saved.revision });
        }
        if edits.is_some() {
            check(&spec, &self.saved.spec)?;
        }
        let Changes { listed, more } = changes(&self.saved.spec, &spec);
        // The first time the tables may hold anything.
        let is_first = self.companions.is_none();
        let scope = if is_first || self.is_behind { Scope::All } else { Scope::between(&self.saved.spec, &spec) };
        let is_new = !listed.is_empty() || self.saved.revision == 0;
        let mut next = Saved { revision: self.saved.revision + u64::from(is_new), spec, file: self.saved.file.clone() };
        if is_new && edits.is_none() && self.config.says(&next.spec) {
            // `xvs apply` of the configuration file itself: a restart must not take the file for changed.
            next.file = Some(next.spec.clone());
        }
        // Ways are looked for meanwhile.
        self.wants.follow(&self.saved.spec, &next.spec, if is_first { &Scope::All } else { &scope }, &self.next_ways);
        let changed = self.make(next, &scope, edits, is_new);
        match changed {
            Ok(()) => Ok(AppliedView { revision: self.saved.revision, changes: listed, more }),
            Err(refused) => {
                let (error, next) = *refused;
                self.wants.follow(&next, &self.saved.spec, &Scope::All, &self.next_ways);
                Err(error)
            }
        }
    }

    /// Makes what has been found good the applied Spec. An error gives the Spec back.
    fn make(
        &mut self,
        next: Saved,
        scope: &Scope,
        edits: Option<&[edit::Edit]>,
        is_new: bool,
    ) -> Result<(), Box<(EngineError, Spec)>> {
        let is_staged = is_new && edits.is_none();
        // The disk and the tables are looked at together: each takes a second for a million reals.
        let (steps, staged) = if is_staged {
            let mut store = std::mem::take(&mut self.store);
            let (steps, staged) = std::thread::scope(|scope_of| {
                let staging = scope_of.spawn(|| store.stage(&next));
                let steps = self.steps(&next.spec, scope);
                (steps, staging.join().unwrap_or_else(|_| Err(std::io::Error::other("writing it panicked"))))
            });
            self.store = store;
            (steps, staged)
        } else {
            (self.steps(&next.spec, scope), Ok(()))
        };
        let ready = steps.and_then(|steps| Ok((steps, self.attach(&next.spec)?)));
        let (steps, attached) = match ready {
            Ok(ready) => ready,
            Err(error) => return Err(Box::new((error, next.spec))),
        };
        if is_new {
            let saved = staged.and_then(|()| match edits {
                Some(edits) => self.store.append(&next, edits),
                None => self.store.commit(&next),
            });
            if let Err(error) = saved {
                self.detach(&attached);
                let error = failed(format!("the configuration could not be saved: {error}; nothing was changed"));
                return Err(Box::new((error, next.spec)));
            }
        }
        let before = std::mem::replace(&mut self.saved, next);
        // Where everything is new to the tables, so are the ways that were found meanwhile.
        if before.spec.services.is_empty() {
            self.await_ways(self.saved.spec.services.len());
            self.next_ways = Arc::clone(&self.next_hops.borrow());
        }
        self.carry_out(steps, *scope == Scope::All);
        self.detach_unnamed();
        counts::follow(self, &before.spec, scope);
        trim::after(scope.services(&self.saved.spec).len() + before.spec.services.len());
        Ok(())
    }

    /// So many services would all be written twice, and so many rings have no room for that: the ways are waited for a little.
    fn await_ways(&self, services: usize) {
        let deadline = Instant::now() + WAYS;
        while services >= MANY && Instant::now() < deadline && self.wants.awaits(&self.next_hops.borrow()) {
            std::thread::sleep(WAYS_LOOK);
        }
    }

    /// Brings the tables to what the facts mean for the services of `scope`.
    fn reconcile(&mut self, scope: &Scope) {
        match self.steps(&self.saved.spec, scope) {
            Ok(steps) => self.carry_out(steps, *scope == Scope::All),
            Err(error) => {
                self.is_behind = true;
                tracing::error!("the tables could not follow: {error}");
            }
        }
    }

    /// New ways to reals.
    pub(super) fn ways_changed(&mut self) {
        let before = std::mem::replace(&mut self.next_ways, Arc::clone(&self.next_hops.borrow()));
        let changed = difference(&before, &self.next_ways);
        self.reconcile(&Scope::of_ways(&self.saved.spec, &changed));
    }

    /// Routes, links or neighbours are others: connections with translation look for their ways back again.
    pub(super) fn routing_changed(&mut self) {
        // Without a clock the program is not told that somebody watches either, and looks often.
        if let Ok(tick) = self.clock.tick(self.tables.settings().tick_shift) {
            self.routes.changed(&mut self.tables, *self.routing.borrow(), tick);
        }
    }

    /// New results of checks.
    pub(super) fn checks_changed(&mut self) {
        self.reconcile(&Scope::of_checks(&self.saved.spec));
    }

    fn steps(&self, spec: &Spec, scope: &Scope) -> Result<Steps, EngineError> {
        let world = World { spec, next_hops: &self.next_ways, health: &self.health.borrow() };
        world.steps(&self.tables, scope, self.companions.as_ref().unwrap_or(&Companions::new()))
    }

    fn carry_out(&mut self, steps: Steps, is_all: bool) {
        self.companions = Some(steps.companions.clone());
        let world = World { spec: &self.saved.spec, next_hops: &self.next_ways, health: &self.health.borrow() };
        let is_done = world.carry_out(&mut self.tables, steps);
        // What had no room before is tried again with everything.
        self.is_behind = !is_done || (self.is_behind && !is_all);
    }

    /// How long connections are kept, by the applied Spec.
    pub(super) fn ageing(&mut self) -> Arc<Ageing> {
        let director = timeouts(&self.saved.spec.director, &self.tables.settings());
        let source = Ageing::source(&self.tables, director);
        match &self.ageing {
            Some((known, ageing)) if *known == source => Arc::clone(ageing),
            _ => {
                let ageing = Arc::new(Ageing::of(&self.tables, director));
                self.ageing = Some((source, Arc::clone(&ageing)));
                ageing
            }
        }
    }

    /// Reals that the last change brought wait for their neighbours' answers. Packets that come before these would be refused; the
    /// kernel's IPVS has the kernel queue them.
    pub(super) fn awaits_neighbours(&self) -> bool {
        self.wants.awaits(&self.next_ways)
    }

    fn interfaces(&self, spec: &Spec) -> Vec<String> {
        let mut names = self.by_flag.clone();
        names.extend(spec.director.interfaces.iter().filter(|name| !self.by_flag.contains(name)).cloned());
        names
    }

    /// Attaches to the interfaces of a Spec that have no program yet; all of them or none. Returns which. Where connections are on their
    /// way from other tables, they arrive.
    fn attach(&mut self, spec: &Spec) -> Result<Vec<String>, EngineError> {
        let Some(mut resize) = self.resize.take() else { return self.attach_all(spec) };
        let (now, settings) = self.now().map_err(|error| failed(error.to_string()))?;
        resize.catch_up(now);
        self.tables.set_settings(&Settings { moving: 1, ..settings });
        let attached = self.attach_all(spec);
        let resized = attached.is_ok().then(|| resize.finish(&self.tables, now));
        self.tables.set_settings(&Settings { moving: 0, ..settings });
        match resized.transpose().map_err(|error| failed(error.to_string()))? {
            Some(Resized { carried, lost: 0 }) => {
                tracing::info!("{carried} connections go on in tables of another size");
            }
            Some(Resized { carried, lost }) => {
                tracing::warn!("{carried} connections go on in tables of another size, {lost} found no room in them");
            }
            None => {}
        }
        attached
    }

    fn attach_all(&mut self, spec: &Spec) -> Result<Vec<String>, EngineError> {
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
                let ageing = self.ageing();
                self.tables.sweep_due(&mut self.rounds, tick, &ageing);
                if tick % FORGETTING == 0 {
                    let day = clock::ticks(EXPIRATION, settings.jiffies_per_second, settings.tick_shift);
                    self.tables.forget_destinations(tick, day);
                }
                self.routes.tick(&mut self.tables, *self.routing.borrow(), tick);
                self.helper.tick(&Moment { tables: &self.tables, settings, tick, now: Instant::now() });
            }
            Err(error) => tracing::error!("no clock, nothing expires: {error}"),
        }
        let (spec, companions) = (&self.saved.spec, self.companions.as_ref());
        // Asked for the few reals only that no pool has.
        self.tables.settle(|service, endpoint| {
            let is_real = |service: &ServiceSpec| service.reals.iter().any(|real| real.endpoint() == *endpoint);
            spec.service(service).is_some_and(is_real)
                || companions.and_then(|all| all.get(service)).is_some_and(|reals| reals.contains(endpoint))
        });
        if self.is_behind {
            self.reconcile(&Scope::All);
        }
        // Whatever the last second has looked at: what goes on maps it again.
        self.tables.unmap();
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

/// Services that are many, how long their ways are waited for, and how often that is looked at.
const MANY: usize = 100;
const WAYS: Duration = Duration::from_millis(500);
const WAYS_LOOK: Duration = Duration::from_millis(2);

/// How often [`Director::tick`] runs.
pub(super) const TICK: Duration = Duration::from_secs(1);

/// Ticks from one look at the remembered destinations to the next: IPVS's are a minute apart.
const FORGETTING: u32 = 64;

fn failed(cause: String) -> EngineError {
    EngineError::Failed { cause }
}

fn check(spec: &Spec, applied: &Spec) -> Result<(), EngineError> {
    let problems = validate::validate_change(spec, applied);
    if problems.is_empty() { Ok(()) } else { Err(EngineError::Refused { problems }) }
}
