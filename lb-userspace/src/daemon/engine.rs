//! The director's task and the handle that the API holds: requests queue up and are answered one by one, so no change meets another
//! half-way.

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::{mpsc, oneshot};
use tokio::time::{Instant, MissedTickBehavior, interval, sleep, timeout_at};

use super::counts;
use super::director::{Director, TICK};
use super::held::LOOK;
use super::listing::Listing;
use super::rates;
use super::views;
use crate::api::engine::{ConnectionPart, Engine};
use crate::api::error::EngineError;
use crate::api::types::{AppliedView, ConnectionFilter, PlanView, ServiceView, StatsView, StatusView, ZeroedView};
use crate::model::{Edit, ServiceKey, ServiceSpec, Spec};

/// Something to do with the director.
type Job = Box<dyn FnOnce(&mut Director) + Send>;

/// The handle.
#[derive(Clone)]
pub(super) struct Handle {
    jobs: mpsc::Sender<Job>,
}

/// Requests that may wait; a client beyond them waits for its turn at the socket.
const QUEUE: usize = 64;

/// The handle and the task, which runs until every handle is gone.
pub(super) fn start(director: Director) -> (Handle, impl Future<Output = ()> + Send) {
    let (jobs, queue) = mpsc::channel(QUEUE);
    (Handle { jobs }, work(director, queue))
}

async fn work(mut director: Director, mut queue: mpsc::Receiver<Job>) {
    let (mut next_hops, mut health) = (director.next_hops.clone(), director.health.clone());
    let mut routing = director.routing.clone();
    let mut ticks = interval(TICK);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let mut looks = interval(LOOK);
    looks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let mut estimates = interval(rates::PERIOD);
    estimates.set_missed_tick_behavior(MissedTickBehavior::Delay);
    // Without a sender it never gives anything: the daemon goes on without.
    let mut early = director.early.take().unwrap_or_else(|| mpsc::channel(1).1);
    loop {
        tokio::select! {
            job = queue.recv() => match job {
                Some(job) => job(&mut director),
                None => return,
            },
            Ok(()) = next_hops.changed() => director.ways_changed(),
            Ok(()) = routing.changed() => director.routing_changed(),
            Ok(()) = health.changed() => director.checks_changed(),
            _ = ticks.tick() => director.tick(),
            _ = estimates.tick() => counts::estimate(&mut director),
            Some(frames) = early.recv() => director.take(frames),
            _ = looks.tick(), if !director.held.is_empty() => director.send_on(),
        }
    }
}

impl Handle {
    /// Runs `job` in the director's task. None when that task is gone, which ends the daemon.
    async fn ask<T: Send + 'static>(&self, job: impl FnOnce(&mut Director) -> T + Send + 'static) -> Option<T> {
        let (answer, answered) = oneshot::channel();
        let job: Job = Box::new(move |director| {
            // A client that has gone needs no answer.
            let _ = answer.send(job(director));
        });
        self.jobs.send(job).await.ok()?;
        answered.await.ok()
    }

    async fn try_ask<T: Send + 'static>(
        &self,
        job: impl FnOnce(&mut Director) -> Result<T, EngineError> + Send + 'static,
    ) -> Result<T, EngineError> {
        let gone = || EngineError::Failed { cause: "the daemon is stopping; nothing was changed".to_owned() };
        self.ask(job).await.unwrap_or_else(|| Err(gone()))
    }
}

/// How long an answer waits for the neighbours of new reals, and how often it looks. On a local network they answer within some
/// milliseconds; one that is dead is not worth more.
const NEIGHBOURS: Duration = Duration::from_millis(250);
const NEIGHBOURS_LOOK: Duration = Duration::from_millis(5);

impl Handle {
    /// Returns when the reals that were just added can take packets, so that whoever added them may send some, or after a while.
    async fn settled(&self) {
        let deadline = Instant::now() + NEIGHBOURS;
        let awaits = || timeout_at(deadline, self.ask(|director| director.awaits_neighbours()));
        while matches!(awaits().await, Ok(Some(true))) {
            sleep(NEIGHBOURS_LOOK).await;
        }
    }
}

impl Engine for Handle {
    async fn status(&self) -> StatusView {
        self.ask(|director| views::status(director)).await.unwrap_or_else(views::stopping)
    }

    async fn spec(&self) -> (u64, Spec) {
        self.ask(|director| (director.saved.revision, director.saved.spec.clone())).await.unwrap_or_default()
    }

    async fn services(&self, of: Vec<Arc<ServiceSpec>>) -> Vec<ServiceView> {
        self.ask(move |director| views::services(director, &of)).await.unwrap_or_default()
    }

    async fn stats(&self, of: Vec<Arc<ServiceSpec>>) -> StatsView {
        self.ask(move |director| views::stats(director, &of)).await.unwrap_or_default()
    }

    async fn connections(&self, filter: ConnectionFilter) -> Result<mpsc::Receiver<ConnectionPart>, EngineError> {
        let mut listing = self.try_ask(move |director| Listing::new(director, filter)).await?;
        let (parts, receiver) = mpsc::channel(2);
        let handle = self.clone();
        tokio::spawn(async move {
            loop {
                let asked = handle.ask(move |director| {
                    let part = listing.part(director);
                    (part, listing)
                });
                let Some((Some(part), rest)) = asked.await else { return };
                listing = rest;
                // Nobody reads any more: nobody asks for the rest.
                if (part.total > 0 && parts.send(part).await.is_err()) || parts.is_closed() {
                    return;
                }
            }
        });
        Ok(receiver)
    }

    async fn zero(&self, service: Option<ServiceKey>) -> Result<ZeroedView, EngineError> {
        self.try_ask(move |director| counts::zero(director, service)).await
    }

    async fn plan(&self, spec: Spec) -> Result<PlanView, EngineError> {
        self.try_ask(move |director| director.plan(&spec)).await
    }

    async fn plan_edits(&self, edits: Vec<Edit>) -> Result<PlanView, EngineError> {
        self.try_ask(move |director| director.plan(&director.edited(&edits)?)).await
    }

    async fn apply(&self, spec: Spec, if_revision: Option<u64>) -> Result<AppliedView, EngineError> {
        let applied = self.try_ask(move |director| director.apply(spec, if_revision)).await?;
        self.settled().await;
        Ok(applied)
    }

    async fn edit(&self, edits: Vec<Edit>, if_revision: Option<u64>) -> Result<AppliedView, EngineError> {
        let applied = self.try_ask(move |director| director.edit(&edits, if_revision)).await?;
        self.settled().await;
        Ok(applied)
    }
}
