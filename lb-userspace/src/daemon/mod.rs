//! `xvs daemon`: takes the socket, adopts or creates the tables, attaches, and serves until told to stop.
//!
//! Nothing it does at start or stop touches traffic: maps and links are pinned, and a signal ends the process, not the balancing.

mod change;
mod config;
mod counts;
mod director;
mod engine;
mod held;
mod helper;
mod journal;
mod listing;
mod rates;
mod routes;
mod startup;
mod store;
mod trim;
mod views;
mod wants;

use std::future::Future;
use std::io::IsTerminal as _;
use std::path::PathBuf;

use thiserror::Error;
use tokio::signal::unix::{SignalKind, signal};
use tracing_subscriber::EnvFilter;

use crate::api::server;
use crate::api::socket::{Socket, SocketError};
use crate::dataplane::DataplaneError;
use crate::dataplane::loader::Mode;
use crate::model::{Problem, Spec};
use config::ConfigFile;
use director::Director;
use store::{Saved, Store, sharing};

/// What the daemon is started with.
#[derive(Debug, Clone)]
pub struct Options {
    /// Configuration to apply at start, if it exists and has changed since it was applied last.
    pub config: PathBuf,
    /// Interfaces to serve besides those of the configuration.
    pub interfaces: Vec<String>,
    /// How to attach.
    pub mode: Mode,
    /// Unix socket of the API.
    pub socket: PathBuf,
    /// Where maps and links are pinned.
    pub pin_dir: PathBuf,
    /// Where the applied configuration is kept.
    pub state_dir: PathBuf,
    /// Connections remembered for each address family.
    pub connections: u32,
    /// Real servers over all services.
    pub reals: u32,
    /// Connections with address translation remembered.
    pub translated: u32,
    /// What to log, as `tracing-subscriber` reads it.
    pub log: String,
}

/// Connections of each family when nobody says otherwise: 32 MB for IPv4, 64 MB for IPv6.
pub const DEFAULT_CONNECTIONS: u32 = 1 << 20;
/// Connections with address translation remembered: 136 bytes each at half load, 17 MiB.
pub const DEFAULT_TRANSLATED: u32 = 1 << 16;
/// Real servers when nobody says otherwise: 64 B, and 32 B for each CPU.
pub const DEFAULT_REALS: u32 = 1 << 16;

/// Why the daemon did not start.
#[derive(Debug, Error)]
pub enum DaemonError {
    /// The configuration is wrong; nothing was touched.
    #[error("{}: {} problems", .file.display(), .problems.len())]
    Config {
        /// The file.
        file: PathBuf,
        /// Everything that is wrong with it.
        problems: Vec<Problem>,
    },
    /// Another daemon, or no right to the socket.
    #[error(transparent)]
    Socket(#[from] SocketError),
    /// Maps, programs or links.
    #[error(transparent)]
    Dataplane(#[from] DataplaneError),
    /// Files, signals, the rest.
    #[error("{what}: {cause}")]
    Other {
        /// What was tried.
        what: String,
        /// The answer.
        cause: String,
    },
}

impl DaemonError {
    fn other(what: impl Into<String>, cause: impl std::fmt::Display) -> Self {
        Self::Other { what: what.into(), cause: cause.to_string() }
    }
}

/// Runs until SIGTERM or SIGINT.
pub fn run(options: Options) -> Result<(), DaemonError> {
    // netlink-packet-route warns of every attribute that a newer kernel has made longer, at each listing.
    let filter = EnvFilter::try_new(format!("netlink_packet_route=error,{}", options.log));
    let filter = filter.map_err(|e| DaemonError::other(format!("--log {}", options.log), e))?;
    let is_terminal = std::io::stderr().is_terminal();
    tracing_subscriber::fmt().with_env_filter(filter).with_ansi(is_terminal).with_writer(std::io::stderr).init();
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build();
    runtime.map_err(|e| DaemonError::other("starting", e))?.block_on(serve(options))
}

async fn serve(options: Options) -> Result<(), DaemonError> {
    // The lock first: whoever holds it owns pins and state.
    let socket = Socket::bind(&options.socket)?;
    let mut store = Store::new(&options.state_dir);
    let (saved, from_file) = initial(&options, &mut store)?;
    let director = Director::start(&options, store, saved, from_file)?;
    let stop = stop_signal()?;
    let (engine, work) = engine::start(director);
    tracing::info!(socket = %options.socket.display(), "serving");
    let served = tokio::select! {
        served = server::serve(socket, engine, stop) => served.map_err(|e| DaemonError::other("serving the API", e)),
        () = work => Err(DaemonError::other("the director's task", "ended")),
    };
    tracing::info!("stopped; traffic goes on");
    served
}

/// The Spec to begin with: the one applied last, unless the configuration file says something else than it did then. The file wins in
/// that case, as an administrator who edits it and restarts expects; changes by command that are not in it are lost with a warning.
fn initial(options: &Options, store: &mut Store) -> Result<(Saved, (ConfigFile, Option<Spec>)), DaemonError> {
    let mut saved = store.load()?;
    let mut config = ConfigFile::new(&options.config);
    let Some(file) = config.read()? else { return Ok((saved, (config, None))) };
    let file = sharing(file, &saved.spec);
    let has_changed = saved.file.as_ref() != Some(&file);
    if !has_changed || saved.spec == file {
        if has_changed {
            saved.file = Some(file);
        }
        return Ok((saved, (config, None)));
    }
    saved.file = Some(file.clone());
    if saved.revision > 0 {
        tracing::warn!(file = %config.path().display(), "has changed; it replaces what was applied");
    }
    Ok((saved, (config, Some(file))))
}

/// The configuration that is read when no other is named; it need not exist.
pub const DEFAULT_CONFIG: &str = "/etc/xvs/xvs.toml";

fn stop_signal() -> Result<impl Future<Output = ()> + Send + 'static, DaemonError> {
    let listen = |kind| signal(kind).map_err(|e| DaemonError::other("signals", e));
    let (mut terminate, mut interrupt) = (listen(SignalKind::terminate())?, listen(SignalKind::interrupt())?);
    Ok(async move {
        tokio::select! {
            _ = terminate.recv() => {}
            _ = interrupt.recv() => {}
        }
    })
}
