//! Health checks: is a real server able to serve?
//!
//! One small task per check asks at its interval and turns the answers into a state with rise and fall thresholds. A
//! check never takes a real server out of service: it says what it saw, and the reconciler decides.
//!
//! All tasks end when the last receiver of the output is dropped.

mod http;
mod schedule;
mod tcp;
mod threshold;

use std::collections::BTreeMap;
use std::future::Future;
use std::net::SocketAddr;
use std::ops::RangeInclusive;
use std::pin::Pin;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use tokio::sync::{Semaphore, watch};
use tokio::task::JoinHandle;
use tokio::time::Instant;

use schedule::Schedule;
use threshold::Thresholds;

pub use http::HttpCheck;
pub use tcp::TcpCheck;

/// Checks under way at a time. Each holds a socket and, for HTTP, up to 80 kB of buffers: 20 MB at most.
const IN_FLIGHT: usize = 256;

/// Names a check: the real server as a member of a service.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct CheckId {
    /// The service, in any notation the caller keeps to.
    pub service: String,
    /// The real server's identity inside the service; what is connected to is [`CheckConfig::target`].
    pub real: SocketAddr,
}

/// What to check and how often.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CheckConfig {
    /// Address and port to connect to.
    pub target: SocketAddr,
    /// What counts as a good answer.
    pub kind: CheckKind,
    /// Time from the start of one check to the start of the next (give or take 5 %).
    pub interval: Duration,
    /// Limit for the whole check, from the first packet to the last byte.
    pub timeout: Duration,
    /// Good answers in a row that bring a real server up; 0 counts as 1.
    pub rise: u32,
    /// Bad answers in a row that take it down; 0 counts as 1.
    pub fall: u32,
}

/// The kinds of checks.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum CheckKind {
    /// The connection is accepted.
    Tcp,
    /// `GET` is answered with one of these status codes, and the body is read to its end (64 KiB of it at most).
    Http {
        /// Path with query, beginning with `/`.
        path: String,
        /// Host header; the target's address if `None`.
        host: Option<String>,
        /// Status codes that count as good.
        status: Vec<RangeInclusive<u16>>,
    },
}

/// What the checks of a real server have shown.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Health {
    /// The state by the thresholds.
    pub state: HealthState,
    /// When it came to be in that state.
    pub since: SystemTime,
    /// Why the latest check failed; `None` if it succeeded.
    pub last_error: Option<String>,
    /// Checks done since the real server came under this check. A change of this number alone wakes no receiver.
    pub checks: u64,
}

/// Up, down, or not known yet.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum HealthState {
    /// No verdict yet. Whether that serves is for the caller to decide.
    Unknown,
    /// Serves.
    Up,
    /// Does not serve.
    Down,
}

/// One attempt to find out whether a real server serves.
pub trait Check: Send + Sync {
    /// Asks once. The caller limits the time. The error is what an operator reads.
    fn check(&self, target: SocketAddr) -> Pin<Box<dyn Future<Output = Result<(), CheckError>> + Send + '_>>;
}

/// Why a check failed.
#[derive(Debug, thiserror::Error)]
pub enum CheckError {
    /// The connection was not made or broke.
    #[error("{step}: {cause}")]
    Io {
        /// What was under way.
        step: &'static str,
        /// The system's reason.
        cause: std::io::Error,
    },
    /// The answer took too long.
    #[error("no complete answer within {} ms", .0.as_millis())]
    TimedOut(Duration),
    /// What came back is not HTTP, or ended early.
    #[error("not a valid HTTP response: {0}")]
    NotHttp(String),
    /// An HTTP answer with the wrong status.
    #[error("HTTP status {got}, wanted {wanted}")]
    Status {
        /// The status that came.
        got: u16,
        /// The ones that count as good.
        wanted: String,
    },
    /// The check itself cannot be put as a request.
    #[error("cannot ask: {0}")]
    Request(String),
}

impl CheckKind {
    fn build(&self) -> Box<dyn Check> {
        match self {
            CheckKind::Tcp => Box::new(TcpCheck),
            CheckKind::Http { path, host, status } => {
                Box::new(HttpCheck { path: path.clone(), host: host.clone(), status: status.clone() })
            }
        }
    }
}

type Output = watch::Sender<BTreeMap<CheckId, Health>>;

/// Starts the checks in this thread's network namespace. Needs a tokio runtime.
///
/// A new check starts as unknown. A check whose configuration changes starts over alone and keeps the state it had
/// until the new thresholds are reached: a longer interval must not take a healthy real server out of service.
pub fn spawn(checks: watch::Receiver<BTreeMap<CheckId, CheckConfig>>) -> watch::Receiver<BTreeMap<CheckId, Health>> {
    let (output, health) = watch::channel(BTreeMap::new());
    tokio::spawn(supervise(checks, Arc::new(output)));
    health
}

/// A running check; its task ends with it.
struct Running {
    config: CheckConfig,
    task: JoinHandle<()>,
}

impl Drop for Running {
    fn drop(&mut self) {
        self.task.abort();
    }
}

async fn supervise(mut checks: watch::Receiver<BTreeMap<CheckId, CheckConfig>>, output: Arc<Output>) {
    let in_flight = Arc::new(Semaphore::new(IN_FLIGHT));
    let mut running: BTreeMap<CheckId, Running> = BTreeMap::new();
    let mut open = true;
    loop {
        let wanted = checks.borrow_and_update().clone();
        stop(&mut running, &wanted, &output).await;
        for (id, config) in wanted {
            if running.contains_key(&id) {
                continue;
            }
            output.send_if_modified(|known| {
                let unknown =
                    Health { state: HealthState::Unknown, since: SystemTime::now(), last_error: None, checks: 0 };
                let before = known.len();
                known.entry(id.clone()).or_insert(unknown);
                known.len() != before
            });
            let work = watch_over(id.clone(), config.clone(), Arc::clone(&output), Arc::clone(&in_flight));
            running.insert(id, Running { config, task: tokio::spawn(work) });
        }
        loop {
            tokio::select! {
                () = output.closed() => return,
                changed = checks.changed(), if open => match changed {
                    Ok(()) => break,
                    // Nobody will change the checks any more; those that run go on.
                    Err(_) => open = false,
                },
            }
        }
    }
}

/// Stops the checks that are gone or changed, and forgets the health of those that are gone.
async fn stop(running: &mut BTreeMap<CheckId, Running>, wanted: &BTreeMap<CheckId, CheckConfig>, output: &Output) {
    let ended: Vec<CheckId> =
        running.iter().filter(|(id, check)| wanted.get(*id) != Some(&check.config)).map(|(id, _)| id.clone()).collect();
    let mut stopped = Vec::new();
    for id in &ended {
        if let Some(check) = running.remove(id) {
            check.task.abort();
            stopped.push(check);
        }
    }
    // A task may be in the middle of a step on another thread; only when it has ended can it not write any more.
    for check in &mut stopped {
        let _ = (&mut check.task).await;
    }
    output.send_if_modified(|known| {
        let before = known.len();
        known.retain(|id, _| wanted.contains_key(id));
        known.len() != before
    });
}

/// One check's life.
async fn watch_over(id: CheckId, config: CheckConfig, output: Arc<Output>, in_flight: Arc<Semaphore>) {
    let check = config.kind.build();
    let before = output.borrow().get(&id).map_or(HealthState::Unknown, |health| health.state);
    let mut thresholds = Thresholds::new(before, config.rise, config.fall);
    let mut schedule = Schedule::new(config.interval);
    tokio::time::sleep(schedule.first_delay()).await;
    loop {
        let Ok(permit) = in_flight.acquire().await else { return };
        let start = Instant::now();
        let result = match tokio::time::timeout(config.timeout, check.check(config.target)).await {
            Ok(result) => result,
            Err(_) => Err(CheckError::TimedOut(config.timeout)),
        };
        drop(permit);
        let state = thresholds.observe(result.is_ok());
        report(&output, &id, state, result.err().map(|error| error.to_string()));
        tokio::time::sleep_until(start + schedule.next_delay()).await;
    }
}

fn report(output: &Output, id: &CheckId, state: HealthState, error: Option<String>) {
    output.send_if_modified(|known| {
        let Some(health) = known.get_mut(id) else { return false };
        health.checks += 1;
        let modified = health.state != state || health.last_error != error;
        if health.state != state {
            let reason = error.as_deref().unwrap_or("answers");
            tracing::info!(service = %id.service, real = %id.real, ?state, reason, "health changed");
            health.state = state;
            health.since = SystemTime::now();
        }
        health.last_error = error;
        modified
    });
}
