//! The JSON shapes of the API.
//!
//! Answers ("views") say what is, with the words of the configuration. Field names are a promise: a field may
//! be added in `/v1`, none is renamed or removed.

use std::net::{IpAddr, SocketAddr};

use serde::{Deserialize, Serialize};

use crate::model::{
    Helper, Method, OnRealDown, Persistence, Problem, Protocol, Scheduler, SchedulerFlag, ServiceKey, Spec, edit::Edit,
    word::words,
};

words! {
    /// How the XDP program is attached.
    XdpMode, "XDP mode", later ["offload"];
    /// In the driver.
    Native = "native",
    /// After the kernel made an skb: slower, works everywhere.
    Generic = "generic",
}

words! {
    /// What a real server is to the scheduler.
    RealState, "real server state", later [];
    /// Takes new connections.
    Up = "up",
    /// Its health check failed.
    Down = "down",
    /// Its next hop's MAC address is not known.
    Unresolved = "unresolved",
    /// Its weight is 0.
    Drained = "drained",
}

words! {
    /// What XDP does with a packet.
    VerdictAction, "verdict action", later [];
    /// Out of the interface it came from.
    Tx = "tx",
    /// Out of another interface.
    Redirect = "redirect",
    /// To the kernel.
    Pass = "pass",
    /// Dropped.
    Drop = "drop",
}

words! {
    /// What a change does to its target.
    ChangeAction, "change", later [];
    /// The target is new.
    Add = "add",
    /// The target stays and is changed.
    Change = "change",
    /// The target goes.
    Remove = "remove",
}

/// `GET /v1/status`
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct StatusView {
    /// Version of the daemon.
    pub version: String,
    /// Process id of the daemon.
    pub pid: u32,
    /// Seconds since the daemon started; the tables may be older.
    pub uptime_seconds: u64,
    /// Revision of the Spec that is applied.
    pub revision: u64,
    /// The interfaces the program is attached to.
    pub interfaces: Vec<InterfaceView>,
    /// Number of services.
    pub services: u64,
    /// Number of reals by state.
    pub reals: RealCounts,
    /// Use of the connection tables.
    pub connections: ConnectionCounts,
    /// What an operator should look at, one line each.
    pub warnings: Vec<String>,
}

/// An interface the program is attached to.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct InterfaceView {
    /// Name in the daemon's network namespace.
    pub name: String,
    /// Kernel index.
    pub index: u32,
    /// How the program is attached.
    pub mode: XdpMode,
    /// Kernel id of the program.
    pub program_id: u32,
    /// Kernel id of the link.
    pub link_id: u32,
}

/// Number of reals by state; the four states sum to `total`.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct RealCounts {
    /// All.
    pub total: u64,
    /// Take new connections.
    pub up: u64,
    /// Their check failed.
    pub down: u64,
    /// Their next hop is not known.
    pub unresolved: u64,
    /// Their weight is 0.
    pub drained: u64,
}

/// Use of the connection tables, in entries.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct ConnectionCounts {
    /// IPv4 connections remembered.
    pub used_v4: u64,
    /// IPv4 connections that fit.
    pub capacity_v4: u64,
    /// IPv6 connections remembered.
    pub used_v6: u64,
    /// IPv6 connections that fit.
    pub capacity_v6: u64,
}

/// What was counted since the tables were made, or since somebody began anew by `POST /v1/zero`.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Counters {
    /// Connections scheduled.
    pub connections: u64,
    /// Packets forwarded.
    pub packets: u64,
    /// Bytes forwarded, from the IP header on, before encapsulation.
    pub bytes: u64,
    /// Answers that came back through the director (address translation): sent on to their clients.
    #[serde(default)]
    pub reply_packets: u64,
    /// Bytes of these answers, from the IP header on, as the real sent them.
    #[serde(default)]
    pub reply_bytes: u64,
}

/// What a second brings, smoothed as IPVS does: every 2 s a quarter of the way from the old value to the new one.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Rates {
    /// Connections scheduled.
    pub connections: u64,
    /// Packets forwarded.
    pub packets: u64,
    /// Bytes forwarded.
    pub bytes: u64,
    /// Answers sent on.
    pub reply_packets: u64,
    /// Bytes of these answers.
    pub reply_bytes: u64,
}

/// One entry of `GET /v1/services`
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ServiceView {
    /// The key: `tcp://10.0.0.1:80`.
    pub service: ServiceKey,
    /// The key's protocol.
    pub protocol: Protocol,
    /// The key's address.
    pub address: IpAddr,
    /// The key's port; 0 means any.
    pub port: u16,
    /// How a new connection's real is chosen.
    pub scheduler: Scheduler,
    /// Options of the scheduler.
    pub flags: Vec<SchedulerFlag>,
    /// Clients stay with one real.
    #[serde(default)]
    pub persistence: Option<Persistence>,
    /// Each UDP packet is scheduled for itself.
    #[serde(default)]
    pub one_packet: bool,
    /// Forwarding method of the reals that say none.
    pub method: Method,
    /// What becomes of a real's connections when its check fails.
    pub on_real_down: OnRealDown,
    /// What its connections speak, when the daemon follows it.
    #[serde(default)]
    pub helper: Option<Helper>,
    /// Sum over all CPUs.
    pub counters: Counters,
    /// Counters per second.
    #[serde(default)]
    pub rates: Rates,
    /// Established connections.
    pub active: u64,
    /// Other connections (opening, closing, UDP).
    pub inactive: u64,
    /// How many reals it has, whether they are listed or not.
    #[serde(default)]
    pub real_count: u64,
    /// The reals, in the order of the Spec.
    pub reals: Vec<RealView>,
}

/// A real server of a [`ServiceView`].
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct RealView {
    /// Address of the real.
    pub address: IpAddr,
    /// Port of the real.
    pub port: u16,
    /// How it is reached.
    pub method: Method,
    /// Weight in the Spec.
    pub weight: u32,
    /// Weight the scheduler uses: 0 when the real is down or unresolved.
    pub effective_weight: u32,
    /// Connections from which on it gets no new ones; 0 means no limit.
    #[serde(default)]
    pub upper_threshold: u32,
    /// Connections below which it gets new ones again; 0 means three quarters of the upper threshold.
    #[serde(default)]
    pub lower_threshold: u32,
    /// GUE: UDP port that it opens tunnels at.
    #[serde(default)]
    pub tunnel_port: Option<u16>,
    /// GUE and GRE: with a checksum in the header.
    #[serde(default)]
    pub tunnel_checksum: Option<bool>,
    /// It is the director itself: its packets go to the kernel as they are, by whatever method.
    #[serde(default)]
    pub is_local: bool,
    /// What the real is to the scheduler.
    pub state: RealState,
    /// Why it is not up.
    pub reason: Option<String>,
    /// Interface its packets leave by.
    pub interface: Option<String>,
    /// MAC address of its next hop, `aa:bb:cc:dd:ee:ff`.
    pub mac: Option<String>,
    /// Bytes of the largest IP packet on the way to it, headers that the director adds included.
    #[serde(default)]
    pub mtu: Option<u32>,
    /// Bytes by which a client's packet is longer on that way; below 0 where it is shorter.
    #[serde(default)]
    pub overhead: i32,
    /// The segments that both ends of a TCP connection announce are cut to what fits.
    #[serde(default)]
    pub clamps_mss: bool,
    /// Established connections.
    pub active: u64,
    /// Other connections.
    pub inactive: u64,
    /// Clients, or networks of them, that persistence sends to it.
    #[serde(default)]
    pub templates: u64,
    /// Sum over all CPUs.
    pub counters: Counters,
    /// Counters per second.
    #[serde(default)]
    pub rates: Rates,
}

/// `GET /v1/stats`
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct StatsView {
    /// Every packet seen, by what became of it.
    pub verdicts: Vec<VerdictView>,
    /// Counters by service.
    pub services: Vec<ServiceStatsView>,
    /// Fragments that came before their packet's first one, since the daemon started.
    #[serde(default)]
    pub early_fragments: EarlyFragmentsView,
}

/// Fragments that the daemon holds.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct EarlyFragmentsView {
    /// They wait now.
    pub waiting: u64,
    /// They were sent on.
    pub sent_on: u64,
    /// Their first one did not come within a second, or there was no room.
    pub given_up: u64,
}

/// Packets that met one fate.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct VerdictView {
    /// Name of the verdict or drop reason.
    pub name: String,
    /// What XDP did.
    pub action: VerdictAction,
    /// What it means, in one line.
    pub description: String,
    /// How many.
    pub packets: u64,
}

/// Counters of a service.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ServiceStatsView {
    /// The service.
    pub service: ServiceKey,
    /// Its counters.
    pub counters: Counters,
    /// Its reals' counters.
    pub reals: Vec<RealStatsView>,
}

/// Counters of a real.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct RealStatsView {
    /// Address of the real.
    pub address: IpAddr,
    /// Port of the real.
    pub port: u16,
    /// Its counters.
    pub counters: Counters,
}

/// Most connections a `GET /v1/connections` shows when no limit is given.
pub const DEFAULT_CONNECTION_LIMIT: usize = 1000;

/// Query of `GET /v1/services` and `GET /v1/stats`.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct ServiceFilter {
    /// Only this service.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub service: Option<ServiceKey>,
    /// `false`: without their reals.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub reals: Option<bool>,
}

/// Query of `GET /v1/connections`. Everything given must match.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct ConnectionFilter {
    /// Of this service.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub service: Option<ServiceKey>,
    /// From this client.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub client: Option<IpAddr>,
    /// To this real.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub real: Option<IpAddr>,
    /// In this state, as [`ConnectionView::state`] names it; upper and lower case are the same.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub state: Option<String>,
    /// Pass over this many that match, to go through a long list in pages.
    #[serde(skip_serializing_if = "is_zero")]
    pub skip: u64,
    /// Show at most this many.
    pub limit: usize,
}

fn is_zero(number: &u64) -> bool {
    *number == 0
}

impl Default for ConnectionFilter {
    fn default() -> Self {
        Self { service: None, client: None, real: None, state: None, skip: 0, limit: DEFAULT_CONNECTION_LIMIT }
    }
}

/// `GET /v1/connections`
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct ConnectionPage {
    /// Connections that match.
    pub total: u64,
    /// Connections listed here; less than `total` when the limit cut the list.
    pub shown: u64,
    /// The connections.
    pub connections: Vec<ConnectionView>,
}

/// A connection remembered.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ConnectionView {
    /// Transport protocol.
    pub protocol: Protocol,
    /// The client's address and port.
    pub client: SocketAddr,
    /// The address and port the client asked for.
    #[serde(rename = "virtual")]
    pub virtual_: SocketAddr,
    /// The real that answers.
    pub real: SocketAddr,
    /// State of the connection.
    pub state: String,
    /// Seconds since its last packet.
    pub idle_seconds: u64,
    /// Seconds until it is forgotten if no packet comes.
    pub expires_seconds: u64,
}

/// Body of `POST /v1/plan` and `POST /v1/apply`: exactly one of `toml`, `spec`, `edits`.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ChangeRequest {
    /// A whole configuration as TOML text.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub toml: Option<String>,
    /// A whole configuration as JSON.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub spec: Option<Spec>,
    /// Changes to the configuration that is applied, as one transaction.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub edits: Option<Vec<Edit>>,
    /// `apply` only: refuse (409) unless this revision is the one applied.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub if_revision: Option<u64>,
}

/// Body of `POST /v1/zero`
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct ZeroRequest {
    /// Only this service's counters and its reals'; none means all services.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub service: Option<ServiceKey>,
}

/// `POST /v1/zero`
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct ZeroedView {
    /// Services that count from 0 now.
    pub services: u64,
}

/// `POST /v1/plan`
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct PlanView {
    /// Revision the plan starts from.
    pub revision: u64,
    /// What would change; empty when nothing would. The first thousand.
    pub changes: Vec<ChangeView>,
    /// Changes beyond those.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub more: u64,
    /// What an operator should know before applying.
    pub warnings: Vec<String>,
}

/// One line of a plan.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ChangeView {
    /// What is done.
    pub action: ChangeAction,
    /// To what: `service tcp://10.0.0.1:80`, `real 10.0.1.1 of tcp://10.0.0.1:80`.
    pub target: String,
    /// In which way: `weight 1 -> 5`.
    pub detail: String,
}

/// `POST /v1/apply`
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct AppliedView {
    /// Revision that is applied now.
    pub revision: u64,
    /// What changed; empty when nothing did. The first thousand.
    pub changes: Vec<ChangeView>,
    /// Changes beyond those.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub more: u64,
}

/// `GET /v1/spec`
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct SpecView {
    /// Its revision.
    pub revision: u64,
    /// The Spec.
    pub spec: Spec,
}

/// Body of every answer that is not a success.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ErrorBody {
    /// What went wrong, in one line.
    pub error: String,
    /// With 422: every problem of the configuration.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub problems: Vec<Problem>,
}
