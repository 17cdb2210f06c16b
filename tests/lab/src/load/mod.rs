//! A bounded HTTP/1.1 load generator in the client's namespace: every request is a connection of its own and counts for
//! the real that answered it.
//!
//! It is there to count, not to be fast; for rates use [`crate::wrk`]. It never runs without a bound: a number of requests,
//! or [`Load::stop`], which also happens on drop.

mod histogram;
mod request;

use std::collections::BTreeMap;
use std::fs::File;
use std::net::SocketAddr;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

pub use histogram::Histogram;

use crate::{LabError, Netns, netns};

/// What to ask, and how much.
#[derive(Clone, Debug)]
pub struct LoadSpec {
    /// The virtual service.
    pub target: SocketAddr,
    /// The path asked for.
    pub path: String,
    /// Requests at the same time.
    pub workers: usize,
    /// Requests in all; `None` runs until [`Load::stop`].
    pub requests: Option<u64>,
    /// How long one request may take before it counts as failed.
    pub timeout: Duration,
}

impl LoadSpec {
    /// `requests` for `/` by 16 workers, 5 s each at most.
    pub fn new(target: SocketAddr, requests: Option<u64>) -> Self {
        Self { target, path: "/".to_owned(), workers: 16, requests, timeout: Duration::from_secs(5) }
    }
}

/// What came of it so far.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct LoadReport {
    /// Requests that ended, well or not.
    pub requests: u64,
    /// Requests without a whole good answer.
    pub failed: u64,
    /// Good answers by the real that gave them.
    pub reals: BTreeMap<String, u64>,
    /// Failures by kind.
    pub errors: BTreeMap<String, u64>,
    /// Latency of the good answers, from connect to end.
    pub latency: Histogram,
    /// Since the start, or from start to end.
    pub elapsed: Duration,
}

impl LoadReport {
    /// Requests per second.
    pub fn rate(&self) -> f64 {
        self.requests as f64 / self.elapsed.as_secs_f64().max(1e-9)
    }

    /// The part of the good answers that came from each real, 0 to 1.
    pub fn shares(&self) -> BTreeMap<String, f64> {
        let good: u64 = self.reals.values().sum();
        self.reals.iter().map(|(name, count)| (name.clone(), *count as f64 / good.max(1) as f64)).collect()
    }

    /// What happened between `earlier` and this report of the same load: requests, failures and who answered.
    pub fn reals_since(&self, earlier: &Self) -> BTreeMap<String, u64> {
        let count = |name: &String| earlier.reals.get(name).copied().unwrap_or(0);
        self.reals.iter().map(|(name, now)| (name.clone(), now - count(name))).collect()
    }

    fn add(&mut self, outcome: Result<String, String>, latency: Duration) {
        self.requests += 1;
        match outcome {
            Ok(real) => {
                *self.reals.entry(real).or_default() += 1;
                self.latency.add(latency);
            }
            Err(error) => {
                self.failed += 1;
                *self.errors.entry(error).or_default() += 1;
            }
        }
    }
}

/// A running load.
#[derive(Debug)]
pub struct Load {
    shared: Arc<Shared>,
    workers: Vec<JoinHandle<()>>,
    start: Instant,
}

#[derive(Debug)]
struct Shared {
    spec: LoadSpec,
    namespace: File,
    stop: AtomicBool,
    /// Requests begun.
    begun: AtomicU64,
    in_flight: AtomicU64,
    report: Mutex<LoadReport>,
}

impl Load {
    /// Starts the workers inside `namespace`.
    pub fn start(namespace: &Netns, spec: LoadSpec) -> Result<Self, LabError> {
        let workers = spec.workers.max(1);
        let shared = Arc::new(Shared {
            spec,
            namespace: namespace.open()?,
            stop: AtomicBool::new(false),
            begun: AtomicU64::new(0),
            in_flight: AtomicU64::new(0),
            report: Mutex::default(),
        });
        let mut load = Self { shared: Arc::clone(&shared), workers: Vec::new(), start: Instant::now() };
        for n in 0..workers {
            let shared = Arc::clone(&shared);
            let worker = std::thread::Builder::new()
                .name(format!("load-{n}"))
                .spawn(move || shared.work())
                .map_err(LabError::io("start a load thread"))?;
            load.workers.push(worker);
        }
        Ok(load)
    }

    /// Runs a load with a number of requests to its end.
    pub fn run(namespace: &Netns, spec: LoadSpec) -> Result<LoadReport, LabError> {
        let load = Self::start(namespace, spec)?;
        Ok(load.wait())
    }

    /// What came of it up to now.
    pub fn snapshot(&self) -> LoadReport {
        let mut report = self.shared.report().clone();
        report.elapsed = self.start.elapsed();
        report
    }

    /// Requests begun and not ended at this moment.
    pub fn in_flight(&self) -> u64 {
        self.shared.in_flight.load(Ordering::SeqCst)
    }

    /// Whether all workers have ended.
    pub fn is_done(&self) -> bool {
        self.workers.iter().all(JoinHandle::is_finished)
    }

    /// Begins no further requests, waits for those in flight and returns the report.
    pub fn stop(self) -> LoadReport {
        self.shared.stop.store(true, Ordering::SeqCst);
        self.wait()
    }

    /// Waits until the number of requests is reached (for a load without one: forever) and returns the report.
    pub fn wait(mut self) -> LoadReport {
        self.join();
        let mut report = self.shared.report().clone();
        report.elapsed = self.start.elapsed();
        report
    }

    fn join(&mut self) {
        for worker in self.workers.drain(..) {
            if let Err(panic) = worker.join()
                && !std::thread::panicking()
            {
                std::panic::resume_unwind(panic);
            }
        }
    }
}

impl Drop for Load {
    fn drop(&mut self) {
        self.shared.stop.store(true, Ordering::SeqCst);
        self.join();
    }
}

impl Shared {
    fn report(&self) -> MutexGuard<'_, LoadReport> {
        self.report.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn work(&self) {
        if let Err(error) = netns::enter_fd(&self.namespace) {
            // Counted like a request, so that the caller sees why nothing was sent.
            self.report().add(Err(error.to_string()), Duration::ZERO);
            return;
        }
        while self.begin() {
            self.in_flight.fetch_add(1, Ordering::SeqCst);
            let start = Instant::now();
            let outcome = request::ask(self.spec.target, &self.spec.path, self.spec.timeout);
            self.in_flight.fetch_sub(1, Ordering::SeqCst);
            self.report().add(outcome, start.elapsed());
        }
    }

    /// Takes one request out of those that are left.
    fn begin(&self) -> bool {
        let turn = self.begun.fetch_add(1, Ordering::SeqCst);
        !self.stop.load(Ordering::SeqCst) && self.spec.requests.is_none_or(|requests| turn < requests)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_report_counts_answers_and_failures_apart() {
        let mut report = LoadReport::default();
        for name in ["real1", "real1", "real1", "real2"] {
            report.add(Ok(name.into()), Duration::from_micros(100));
        }
        let earlier = report.clone();
        report.add(Err("connect: timed out".into()), Duration::from_secs(1));
        report.add(Ok("real2".into()), Duration::from_micros(100));
        assert_eq!((report.requests, report.failed), (6, 1));
        assert_eq!(report.reals.values().sum::<u64>() + report.failed, report.requests);
        assert_eq!(earlier.shares()["real1"], 0.75);
        assert_eq!(report.reals_since(&earlier), BTreeMap::from([("real1".into(), 0), ("real2".into(), 1)]));
        assert_eq!(report.latency.max(), Duration::from_micros(100));
    }
}
