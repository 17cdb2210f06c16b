//! One phase of the demo: a load against one service, shown second by second, and its result.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use lb_lab::Cluster;
use lb_lab::load::{Load, LoadReport, LoadSpec};

use crate::interrupt::Interrupt;
use crate::out;
use crate::scene::Service;

/// How often a running load is looked at.
const LOOK: Duration = Duration::from_millis(50);

/// A phase with more failures than this is over: each may take the whole timeout, and nothing more is to be learnt.
const GIVE_UP: u64 = 100;

/// What a phase came to.
#[derive(Clone, Debug)]
pub(crate) struct PhaseResult {
    /// Name of the phase.
    pub(crate) name: String,
    /// The service it used.
    pub(crate) service: Service,
    /// What the load saw.
    pub(crate) load: LoadReport,
    /// Good answers by real; every real of the cluster is there, with 0 if need be.
    pub(crate) reals: BTreeMap<String, u64>,
    /// How many failures are in order: requests in flight when a real was taken away.
    pub(crate) allowed: u64,
    /// What else was not as it has to be, in words.
    pub(crate) complaints: Vec<String>,
}

/// A phase that is running.
pub(crate) struct Phase<'a> {
    name: &'a str,
    service: Service,
    cluster: &'a Cluster,
    interrupt: &'a Interrupt,
    load: Load,
    shown: (Instant, LoadReport),
    seconds: u64,
}

impl<'a> Phase<'a> {
    /// Starts a load of `requests`.
    pub(crate) fn start(
        cluster: &'a Cluster,
        interrupt: &'a Interrupt,
        name: &'a str,
        service: Service,
        requests: u64,
    ) -> anyhow::Result<Self> {
        let load = Load::start(cluster.client()?, LoadSpec::new(service.address(), Some(requests)))?;
        let shown = (Instant::now(), LoadReport::default());
        Ok(Self { name, service, cluster, interrupt, load, shown, seconds: 0 })
    }

    /// The running load.
    pub(crate) fn load(&self) -> &Load {
        &self.load
    }

    /// Lets it run until `enough` (or until too much has failed), showing a line each second; a signal ends it with an error.
    pub(crate) fn until(&mut self, enough: impl Fn(&Load) -> bool) -> anyhow::Result<()> {
        while !enough(&self.load) && !self.load.is_done() && self.load.snapshot().failed <= GIVE_UP {
            self.interrupt.check()?;
            std::thread::sleep(LOOK);
            self.show();
        }
        Ok(())
    }

    /// Lets it run to its end.
    pub(crate) fn finish(mut self) -> anyhow::Result<PhaseResult> {
        self.until(Load::is_done)?;
        let given_up = !self.load.is_done();
        let load = self.load.stop();
        let mut reals: BTreeMap<_, _> = self.cluster.real_names().into_iter().map(|name| (name, 0)).collect();
        reals.extend(load.reals.clone());
        let result = PhaseResult {
            name: self.name.to_owned(),
            service: self.service,
            load,
            reals,
            allowed: 0,
            complaints: given_up.then(|| "given up after so many failures".to_owned()).into_iter().collect(),
        };
        out::line(result.line());
        Ok(result)
    }

    fn show(&mut self) {
        let (since, before) = &self.shown;
        if since.elapsed() < Duration::from_secs(1) {
            return;
        }
        let now = self.load.snapshot();
        self.seconds += 1;
        if out::is_terminal() {
            let reals = parts(&now.reals_since(before));
            let (requests, failed) = (now.requests - before.requests, now.failed - before.failed);
            out::line(format_args!(
                "  {:<22} {:>3} s  {requests:>6} requests  {reals}  failed {failed}",
                self.name, self.seconds
            ));
        }
        self.shown = (Instant::now(), now);
    }
}

impl PhaseResult {
    /// The phase in one line.
    fn line(&self) -> String {
        let LoadReport { requests, failed, .. } = self.load;
        let p99 = self.load.latency.percentile(99).as_secs_f64() * 1000.0;
        let rate = self.load.rate();
        format!(
            "{:<24} {requests:>7} requests  {}  failed {failed}  {rate:.0}/s  p99 {p99:.1} ms",
            self.name,
            parts(&self.reals)
        )
    }
}

/// `real1 2000  real2 2000`.
fn parts(reals: &BTreeMap<String, u64>) -> String {
    reals.iter().map(|(name, count)| format!("{name} {count:>5}")).collect::<Vec<_>>().join("  ")
}
