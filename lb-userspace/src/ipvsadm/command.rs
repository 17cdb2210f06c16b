//! What a command line asks for.

use std::net::SocketAddr;

use crate::model::{Netmask, SchedulerFlag, ServiceKey};

/// A command of ipvsadm.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Command {
    /// `-L`, and a command line without words.
    List(List),
    /// `-S`
    Save {
        /// Without names.
        numeric: bool,
    },
    /// `-R`
    Restore,
    /// `-Z`, of one service or all.
    Zero(Option<ServiceKey>),
    /// Changes the configuration.
    Change(Change),
    /// `--start-daemon`
    StartDaemon,
    /// `--stop-daemon`
    StopDaemon,
    /// `-h`
    Help,
    /// `-v`
    Version,
}

/// A command that changes the configuration.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Change {
    /// `-C`
    Clear,
    /// `--set`: tcp, tcpfin, udp; 0 keeps one.
    SetTimeouts([u32; 3]),
    /// `-A`
    AddService(Service),
    /// `-E`
    EditService(Service),
    /// `-D`
    DeleteService(ServiceKey),
    /// `-a`
    AddServer(Server),
    /// `-e`
    EditServer(Server),
    /// `-d`
    DeleteServer {
        /// The service.
        service: ServiceKey,
        /// Its real.
        real: SocketAddr,
    },
}

/// A virtual service: every option of it, those that were not given with their defaults.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Service {
    /// What it serves.
    pub(super) key: ServiceKey,
    /// Scheduler, by the name that was given.
    pub(super) scheduler: String,
    /// Seconds of persistence.
    pub(super) persistence: Option<u32>,
    /// Clients that count as one.
    pub(super) netmask: Option<Netmask>,
    /// Persistence engine.
    pub(super) pe: Option<String>,
    /// One-packet scheduling.
    pub(super) one_packet: bool,
    /// Flags of the scheduler.
    pub(super) flags: Vec<SchedulerFlag>,
}

/// A real server: every option of it, those that were not given with their defaults.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Server {
    /// The service.
    pub(super) service: ServiceKey,
    /// Address and port.
    pub(super) real: SocketAddr,
    /// How it is reached.
    pub(super) forwarding: Forwarding,
    /// Share of new connections.
    pub(super) weight: u32,
    /// Upper threshold of connections.
    pub(super) upper: u32,
    /// Lower threshold of connections.
    pub(super) lower: u32,
}

/// How a real is reached.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Forwarding {
    /// `-g`
    Gatewaying,
    /// `-m`
    Masquerading,
    /// `-i`
    Tunnel(Tunnel),
}

/// Headers of a tunnel.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Tunnel {
    /// IP in IP.
    Ipip,
    /// GUE to this port.
    Gue(u16, Checksum),
    /// GRE.
    Gre(Checksum),
}

/// The checksum of a tunnel's header.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Checksum {
    /// `--tun-nocsum`, and nothing said.
    Without,
    /// `--tun-csum`
    With,
    /// `--tun-remcsum`: remote checksum offload.
    Remote,
}

/// What `-L` lists, and how.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct List {
    /// What is listed.
    pub(super) what: Listing,
    /// Only this service, and no line of the version.
    pub(super) service: Option<ServiceKey>,
    /// Without names.
    pub(super) numeric: bool,
    /// Numbers in full.
    pub(super) exact: bool,
    /// As they stand in the configuration.
    pub(super) nosort: bool,
}

/// Listings.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Listing {
    /// Services and reals.
    Services(Columns),
    /// `-c`; with columns for persistence engines or without.
    Connections {
        /// `--persistent-conn`
        engines: bool,
    },
    /// `--timeout`
    Timeouts,
    /// `--daemon`
    Daemon,
}

/// What a listing of services says of each.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Columns {
    /// Forward, Weight, ActiveConn, InActConn
    Plain,
    /// `--stats`
    Stats,
    /// `--rate`
    Rate,
    /// `--thresholds`
    Thresholds,
    /// `--persistent-conn`
    PersistentConn,
    /// `--tun-info`
    TunInfo,
}
