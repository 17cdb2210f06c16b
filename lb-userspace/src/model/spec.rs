//! The Spec: everything an operator can say, as data.
//!
//! Says what is wanted, never what is: no interface index, no MAC address, no state of a real server stands
//! here. The JSON shape is the serde shape; unknown fields are errors in JSON as unknown keys are in TOML.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::sync::Arc;

use serde::{Deserialize, Serialize};

use super::{
    health::HealthSpec,
    key::ServiceKey,
    mark::MarkRule,
    persistence::Persistence,
    ports::PortRange,
    word::{Helper, Method, OnRealDown, Scheduler, SchedulerFlag},
};

/// A whole configuration.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Spec {
    /// What belongs to the director as a whole.
    #[serde(default)]
    pub director: DirectorSpec,
    /// What gives packets a mark; the most specific rule wins, whatever the order.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub marks: Vec<MarkRule>,
    /// The services, in the order of the file. They are shared between Specs: a change makes those anew that it is about, and two Specs are
    /// compared by looking at what they do not share.
    #[serde(default)]
    pub services: Vec<Arc<ServiceSpec>>,
}

/// What belongs to the director as a whole.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct DirectorSpec {
    /// Interfaces that receive the clients' packets; may be empty when the daemon is told by `--interface`.
    pub interfaces: Vec<String>,
    /// How long an idle connection is remembered.
    pub timeouts: TimeoutSpec,
    /// Take a TCP connection whose first packet seen is not a SYN (LVS `sloppy_tcp`).
    pub sloppy_tcp: bool,
    /// Take an SCTP association whose first packet seen is not an INIT (LVS `sloppy_sctp`).
    pub sloppy_sctp: bool,
    /// Reset a connection whose real was removed, at its next packet (LVS `expire_nodest_conn`); otherwise its packets are dropped.
    pub expire_nodest_conn: bool,
    /// Forget what persistence remembered of a real when its weight becomes 0 (LVS `expire_quiescent_template`).
    pub expire_quiescent_template: bool,
    /// When a SYN of a known, ended connection is scheduled anew, in the bits of LVS's `conn_reuse_mode`, 0 to 3.
    pub conn_reuse_mode: u32,
    /// Answer echo requests to a VIP; otherwise they are the kernel's.
    pub answer_echo: bool,
    /// Outer source address of IPv4 tunnels. None means 198.18.0.0/16, or what the route prefers if it does not vary.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub tunnel_source_v4: Option<Ipv4Addr>,
    /// Outer source address of IPv6 tunnels. None means 100::/64, or what the route prefers if it does not vary.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub tunnel_source_v6: Option<Ipv6Addr>,
    /// Vary the low bits of the outer source per flow (16 of IPv4, 32 of IPv6), so that a real spreads its receive queues. The default.
    pub tunnel_source_vary: bool,
    /// Addresses of this host that full NAT sends from.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub local_addresses: Vec<IpAddr>,
    /// Ports of these addresses that it uses.
    pub local_ports: PortRange,
    /// Full NAT over TCP: tell the real the client's address and port in TCP option 254.
    pub toa: bool,
    /// NAT and full NAT: cut the largest segment that a SYN announces to what fits both ways.
    pub clamp_mss: bool,
}

/// How long an idle connection is remembered, in seconds.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct TimeoutSpec {
    /// An established TCP connection, or an SCTP association.
    pub tcp: u32,
    /// A TCP connection after a FIN.
    pub tcp_fin: u32,
    /// A UDP conversation.
    pub udp: u32,
}

/// Some idle times, in seconds. What is none is the director's for a service, and stays where it is a change of the director's.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct SomeTimeouts {
    /// An established TCP connection, or an SCTP association.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub tcp: Option<u32>,
    /// A TCP connection after a FIN.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub tcp_fin: Option<u32>,
    /// A UDP conversation.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub udp: Option<u32>,
}

/// One virtual service.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ServiceSpec {
    /// Protocol, address and port.
    #[serde(rename = "service")]
    pub key: ServiceKey,
    /// How a new connection's real is chosen.
    #[serde(default)]
    pub scheduler: Scheduler,
    /// Options of the scheduler, by the names it has for them.
    #[serde(default)]
    pub scheduler_flags: Vec<SchedulerFlag>,
    /// `mh`: slots of its table, a prime of [`TABLE_SLOTS`](super::validate::TABLE_SLOTS); none means 4093.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub table_slots: Option<u32>,
    /// Clients stay with one real.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub persistence: Option<Persistence>,
    /// Each UDP packet is scheduled for itself and nothing is remembered.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub one_packet: bool,
    /// How long its idle connections are remembered, when it differs from the director's.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub timeouts: Option<SomeTimeouts>,
    /// Forwarding method of the reals that say none.
    #[serde(default)]
    pub method: Method,
    /// What becomes of a real's connections when its check fails.
    #[serde(default)]
    pub on_real_down: OnRealDown,
    /// What its connections speak, when this director has to follow it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub helper: Option<Helper>,
    /// How the reals are checked; none means they are taken to be up.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub health: Option<HealthSpec>,
    /// The real servers, in the order of the file.
    #[serde(default)]
    pub reals: Vec<RealSpec>,
}

/// One real server of a service, identified there by (address, port).
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct RealSpec {
    /// Address of the real.
    pub address: IpAddr,
    /// Port in host byte order; the service's, unless address translation rewrites it.
    pub port: u16,
    /// Share of new connections, 0 to 2147483647; 0 drains: old connections stay, new ones go elsewhere.
    #[serde(default = "default_weight")]
    pub weight: u32,
    /// Connections, active and not, from which on it gets no new ones; 0 means no limit.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub upper_threshold: u32,
    /// Connections below which it gets new ones again; 0 means three quarters of the upper threshold.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub lower_threshold: u32,
    /// Forwarding method, when it differs from the service's.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub method: Option<Method>,
    /// GUE: UDP port that the real opens tunnels at, in host byte order.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub tunnel_port: Option<u16>,
    /// GUE and GRE: with the checksum of the UDP or GRE header, where it can be told without reading the packet.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub tunnel_checksum: Option<bool>,
}

/// Weight of a real that says none.
pub const DEFAULT_WEIGHT: u32 = 1;

/// A SYN in TIME_WAIT and CLOSE is scheduled anew (not 0), and one in FIN_WAIT, the last state that direct routing shows (bit 2).
/// LVS's default is 1.
pub const DEFAULT_CONN_REUSE_MODE: u32 = 3;

/// GUE port of a real that says none: the one registered for it.
pub const DEFAULT_TUNNEL_PORT: u16 = 6080;

fn default_weight() -> u32 {
    DEFAULT_WEIGHT
}

fn is_zero(number: &u32) -> bool {
    *number == 0
}

// === impl DirectorSpec ===

impl Default for DirectorSpec {
    fn default() -> Self {
        Self {
            interfaces: Vec::new(),
            timeouts: TimeoutSpec::default(),
            sloppy_tcp: false,
            sloppy_sctp: false,
            expire_nodest_conn: false,
            expire_quiescent_template: false,
            conn_reuse_mode: DEFAULT_CONN_REUSE_MODE,
            answer_echo: false,
            tunnel_source_v4: None,
            tunnel_source_v6: None,
            tunnel_source_vary: true,
            local_addresses: Vec::new(),
            local_ports: PortRange::default(),
            toa: false,
            clamp_mss: false,
        }
    }
}

// === impl TimeoutSpec ===

/// The defaults of LVS (`net/netfilter/ipvs/ip_vs_proto_tcp.c`, `ip_vs_proto_udp.c`).
impl Default for TimeoutSpec {
    fn default() -> Self {
        Self { tcp: 900, tcp_fin: 120, udp: 300 }
    }
}

// === impl Spec ===

impl Spec {
    /// The service with this key.
    pub fn service(&self, key: &ServiceKey) -> Option<&ServiceSpec> {
        self.services.iter().find(|service| service.key == *key).map(Arc::as_ref)
    }

    /// The service at a place, to be changed: from now on this Spec's own.
    pub fn service_mut(&mut self, index: usize) -> &mut ServiceSpec {
        Arc::make_mut(&mut self.services[index])
    }
}

// === impl ServiceSpec ===

impl ServiceSpec {
    /// A service with every default and no real.
    pub fn new(key: ServiceKey) -> Self {
        Self {
            key,
            scheduler: Scheduler::default(),
            scheduler_flags: Vec::new(),
            table_slots: None,
            persistence: None,
            one_packet: false,
            timeouts: None,
            method: Method::default(),
            on_real_down: OnRealDown::default(),
            helper: None,
            health: None,
            reals: Vec::new(),
        }
    }

    /// Gives each flag the name its scheduler has for it: a flag that came as IPVS's `flag-1` is then `sh-fallback`.
    pub fn name_flags(&mut self) {
        for flag in &mut self.scheduler_flags {
            *flag = flag.named_by(self.scheduler);
        }
    }

    /// The method a real of this service is reached by.
    pub fn method_of(&self, real: &RealSpec) -> Method {
        real.method.unwrap_or(self.method)
    }
}

// === impl RealSpec ===

impl RealSpec {
    /// A real with every default.
    pub fn new(endpoint: SocketAddr) -> Self {
        Self {
            address: endpoint.ip(),
            port: endpoint.port(),
            weight: DEFAULT_WEIGHT,
            upper_threshold: 0,
            lower_threshold: 0,
            method: None,
            tunnel_port: None,
            tunnel_checksum: None,
        }
    }

    /// What identifies the real inside its service.
    pub fn endpoint(&self) -> SocketAddr {
        SocketAddr::new(self.address, self.port)
    }
}
