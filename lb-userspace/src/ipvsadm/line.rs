//! The options of one command line, gathered one by one and then put together.

use std::net::{IpAddr, Ipv6Addr, SocketAddr};

use super::{
    address::endpoint,
    args::Tag,
    command::{Change, Checksum, Columns, Command, Forwarding, List, Listing, Server, Service, Tunnel},
    failure::Failure,
    flags,
    names::Names,
    numbers::{ipv4, number},
    options::{self, Given, Kind, Rules},
};
use crate::model::{Netmask, Protocol, ServiceKey, persistence::DEFAULT_PERSISTENCE_SECONDS};

/// Seconds that a timeout may have: 31 days.
const MAX_TIMEOUT: i64 = 31 * 86_400;
/// Largest weight and threshold: those of C's int.
const MAX_INT: i64 = i32::MAX as i64;
/// The one message of ipvsadm with a line's end of its own: an empty line follows it.
const IPV6_FIRST: &str = "-6 used before -f\n";
/// Scheduler of a service that names none.
const DEFAULT_SCHEDULER: &str = "wlc";

/// What the options of a command line have said so far.
pub(super) struct Line<'a, N> {
    names: &'a N,
    given: Given,
    protocol: Option<Protocol>,
    mark: Option<u32>,
    address: IpAddr,
    port: u16,
    netmask: Option<Netmask>,
    scheduler: String,
    persistence: Option<u32>,
    pe: Option<String>,
    flags: Option<String>,
    real: Option<(IpAddr, u16)>,
    forwarding: Tag,
    weight: u32,
    upper: u32,
    lower: u32,
    tunnel: TunnelType,
    tunnel_port: u16,
}

impl<'a, N: Names> Line<'a, N> {
    pub(super) fn new(names: &'a N) -> Self {
        Self {
            names,
            given: Given::default(),
            protocol: None,
            mark: None,
            address: IpAddr::from([0; 4]),
            port: 0,
            netmask: None,
            scheduler: String::new(),
            persistence: None,
            pe: None,
            flags: None,
            real: None,
            forwarding: Tag::Gatewaying,
            weight: 1,
            upper: 0,
            lower: 0,
            tunnel: TunnelType::Ipip,
            tunnel_port: 0,
        }
    }

    /// Reads an option; `word` is the one it stood in.
    pub(super) fn option(&mut self, tag: Tag, value: Option<String>, word: &str) -> Result<(), Failure> {
        if tag == Tag::Persistent {
            self.given.set(Kind::Persistent)?;
            let seconds = value.map_or(Ok(DEFAULT_PERSISTENCE_SECONDS), |text| timeout(&text, 1))?;
            self.persistence = Some(seconds);
            return Ok(());
        }
        let value = value.unwrap_or_default();
        match tag {
            Tag::TcpService => self.service(Protocol::Tcp, &value)?,
            Tag::UdpService => self.service(Protocol::Udp, &value)?,
            Tag::SctpService => self.service(Protocol::Sctp, &value)?,
            Tag::FwmarkService => self.fwmark(&value)?,
            Tag::Ipv6 if self.mark.is_none() => return Err(Failure::usage(IPV6_FIRST)),
            Tag::Ipv6 => (self.address, self.netmask) = (Ipv6Addr::UNSPECIFIED.into(), None),
            Tag::Scheduler => {
                self.given.set(Kind::Scheduler)?;
                self.scheduler = value;
            }
            Tag::Netmask => {
                self.given.set(Kind::Netmask)?;
                self.netmask = Some(self.netmask(&value)?);
            }
            Tag::Pe => {
                self.given.set(Kind::Pe)?;
                self.pe = Some(value);
            }
            Tag::SchedFlags => {
                self.given.set(Kind::SchedFlags)?;
                self.flags = Some(value);
            }
            Tag::RealServer => {
                self.given.set(Kind::Server)?;
                let real = endpoint(&value, self.protocol, self.names);
                let (address, port) =
                    real.ok_or_else(|| Failure::usage("illegal real server address[:port] specified"))?;
                self.real = Some((address, port.unwrap_or(self.port)));
            }
            Tag::Gatewaying | Tag::Ipip | Tag::Masquerading => {
                self.given.set(Kind::Forward)?;
                self.forwarding = tag;
            }
            Tag::Weight => {
                self.given.set(Kind::Weight)?;
                self.weight = int(&value, "weight")?;
            }
            Tag::UThreshold => {
                self.given.set(Kind::UThreshold)?;
                self.upper = int(&value, "u_threshold")?;
            }
            Tag::LThreshold => {
                self.given.set(Kind::LThreshold)?;
                self.lower = int(&value, "l_threshold")?;
            }
            Tag::TunType => {
                self.given.set(Kind::TunType)?;
                self.tunnel = match value.as_str() {
                    "ipip" => TunnelType::Ipip,
                    "gue" => TunnelType::Gue,
                    "gre" => TunnelType::Gre,
                    _ => return Err(Failure::usage("illegal tunnel type specified")),
                };
            }
            Tag::TunPort => {
                self.given.set(Kind::TunPort)?;
                let port = number(&value, 1, i64::from(u16::MAX)).and_then(|port| u16::try_from(port).ok());
                self.tunnel_port = port.ok_or_else(|| Failure::usage("illegal tunnel port specified"))?;
            }
            Tag::McastInterface | Tag::McastGroup | Tag::McastPort | Tag::McastTtl | Tag::SyncMaxlen | Tag::Syncid => {
                self.synchronization(tag, &value)?;
            }
            // It does nothing.
            Tag::Sort => {}
            _ => match plain(tag) {
                Some(kind) => self.given.set(kind)?,
                None => return Err(Failure::usage(format!("invalid option `{word}'"))),
            },
        }
        Ok(())
    }

    fn service(&mut self, protocol: Protocol, text: &str) -> Result<(), Failure> {
        self.given.set(Kind::Service)?;
        self.protocol = Some(protocol);
        let (address, port) = endpoint(text, self.protocol, self.names)
            .ok_or_else(|| Failure::usage("illegal virtual server address[:port] specified"))?;
        (self.address, self.port) = (address, port.unwrap_or(0));
        if address.is_ipv6() {
            // A mask that was given before is forgotten, as it was read for IPv4.
            self.netmask = None;
        }
        Ok(())
    }

    fn fwmark(&mut self, text: &str) -> Result<(), Failure> {
        self.given.set(Kind::Service)?;
        let mark = number(text, 1, i64::from(u32::MAX)).and_then(|mark| u32::try_from(mark).ok());
        let mark = mark.ok_or_else(|| Failure::usage(format!("invalid fwmark value `{text}' specified")))?;
        // Ports of its reals have the names of TCP's.
        (self.protocol, self.mark) = (Some(Protocol::Tcp), Some(mark));
        Ok(())
    }

    fn netmask(&self, text: &str) -> Result<Netmask, Failure> {
        if self.address.is_ipv6() {
            let prefix = number(text, 1, 128).and_then(|prefix| u8::try_from(prefix).ok());
            return prefix.map(Netmask::V6).ok_or_else(|| Failure::usage("illegal ipv6 netmask specified"));
        }
        let mask = ipv4(text).or_else(|| self.names.address(text).filter(|_| !text.is_empty()));
        mask.map(Netmask::V4).ok_or_else(|| Failure::usage("illegal virtual server persistent mask specified"))
    }

    fn synchronization(&mut self, tag: Tag, text: &str) -> Result<(), Failure> {
        let (kind, name, low, high) = match tag {
            Tag::McastPort => (Kind::McastPort, "mcast-port", 1, 65_535),
            Tag::McastTtl => (Kind::McastTtl, "mcast-ttl", 1, 255),
            Tag::SyncMaxlen => (Kind::SyncMaxlen, "sync-maxlen", 1, 65_507),
            Tag::Syncid => (Kind::Syncid, "syncid", 0, 255),
            Tag::McastGroup => {
                self.given.set(Kind::McastGroup)?;
                if text.parse::<IpAddr>().is_ok_and(|group| group.is_multicast()) {
                    return Ok(());
                }
                let family = if text.contains(':') { "IPv6" } else { "IPv4" };
                return Err(Failure::usage(format!("invalid {family} mcast-group `{text}'")));
            }
            _ => return self.given.set(Kind::McastInterface),
        };
        self.given.set(kind)?;
        number(text, low, high).map(|_| ()).ok_or_else(|| Failure::usage(format!("illegal {name} specified")))
    }

    /// What the whole line asks for.
    pub(super) fn finish(self, command: Tag, rules: &Rules, timeouts: [u32; 3]) -> Result<Command, Failure> {
        let scheduler = if self.scheduler.is_empty() { DEFAULT_SCHEDULER } else { &self.scheduler };
        let flags = self.flags.as_deref().map_or(Ok(Vec::new()), |text| flags::read(text, scheduler))?;
        rules.check(self.given)?;
        let key = self.key();
        Ok(match command {
            Tag::AddService | Tag::EditService => {
                let service = Service {
                    key,
                    scheduler: scheduler.to_owned(),
                    persistence: self.persistence,
                    netmask: self.netmask.filter(|mask| !mask.is_whole()),
                    pe: self.pe.clone(),
                    one_packet: self.given.has(Kind::Ops),
                    flags,
                };
                if self.mark.is_none() && key.port == 0 && service.persistence.is_none() {
                    return Err(Failure::usage("Zero port specified for non-persistent service"));
                }
                if service.one_packet && !matches!(key.protocol, Protocol::Udp | Protocol::Mark) {
                    return Err(Failure::usage("One-Packet Scheduling is only for UDP virtual services"));
                }
                Command::Change(match command {
                    Tag::AddService => Change::AddService(service),
                    _ => Change::EditService(service),
                })
            }
            Tag::AddServer => Command::Change(Change::AddServer(self.server(key)?)),
            Tag::EditServer => Command::Change(Change::EditServer(self.server(key)?)),
            Tag::DeleteService => Command::Change(Change::DeleteService(key)),
            Tag::DeleteServer => Command::Change(Change::DeleteServer { service: key, real: self.real() }),
            Tag::Clear => Command::Change(Change::Clear),
            Tag::Set => Command::Change(Change::SetTimeouts(timeouts)),
            Tag::Zero => Command::Zero(self.given.has(Kind::Service).then_some(key)),
            Tag::Restore => Command::Restore,
            Tag::Save => Command::Save { numeric: self.given.has(Kind::Numeric) },
            Tag::StartDaemon => Command::StartDaemon,
            Tag::StopDaemon => Command::StopDaemon,
            _ => Command::List(self.list(key)?),
        })
    }

    fn key(&self) -> ServiceKey {
        match self.mark {
            Some(mark) => ServiceKey::of_mark(mark, self.address.is_ipv6()),
            None => ServiceKey { protocol: self.protocol.unwrap_or_default(), address: self.address, port: self.port },
        }
    }

    fn real(&self) -> SocketAddr {
        self.real.map_or(SocketAddr::new(self.address, 0), |(address, port)| SocketAddr::new(address, port))
    }

    fn server(&self, service: ServiceKey) -> Result<Server, Failure> {
        let mut real = self.real();
        if self.forwarding != Tag::Masquerading && self.mark.is_none() {
            real.set_port(service.port);
        }
        if real.ip().is_ipv4() != service.address.is_ipv4() && self.forwarding != Tag::Ipip {
            return Err(Failure::usage("Different address family is allowed only for tunneling servers"));
        }
        let has_tunnel =
            self.given.any(&[Kind::TunType, Kind::TunPort, Kind::TunNocsum, Kind::TunCsum, Kind::TunRemcsum]);
        if has_tunnel && self.forwarding != Tag::Ipip {
            return Err(Failure::usage("Tunnel options conflict with forward method"));
        }
        let forwarding = match self.forwarding {
            Tag::Masquerading => Forwarding::Masquerading,
            Tag::Ipip => Forwarding::Tunnel(self.tunnel()?),
            _ => Forwarding::Gatewaying,
        };
        Ok(Server { service, real, forwarding, weight: self.weight, upper: self.upper, lower: self.lower })
    }

    fn tunnel(&self) -> Result<Tunnel, Failure> {
        self.tunnel.rules().check(self.given)?;
        let checksum = match (self.given.has(Kind::TunCsum), self.given.has(Kind::TunRemcsum)) {
            (true, _) => Checksum::With,
            (_, true) => Checksum::Remote,
            _ => Checksum::Without,
        };
        Ok(match self.tunnel {
            TunnelType::Ipip => Tunnel::Ipip,
            TunnelType::Gue => Tunnel::Gue(self.tunnel_port, checksum),
            TunnelType::Gre => Tunnel::Gre(checksum),
        })
    }

    fn list(&self, key: ServiceKey) -> Result<List, Failure> {
        let given = self.given;
        let has_numbers = given.any(&[Kind::Stats, Kind::Rate, Kind::Thresholds]);
        let conflicts = match (given.has(Kind::Connection), given.any(&[Kind::Timeout, Kind::Daemon])) {
            (true, _) => has_numbers,
            (_, true) => has_numbers || given.has(Kind::PersistentConn),
            _ => false,
        };
        if conflicts {
            return Err(Failure::usage("options conflicts in the list command"));
        }
        let what = match given {
            given if given.has(Kind::Connection) => Listing::Connections { engines: given.has(Kind::PersistentConn) },
            given if given.has(Kind::Timeout) => Listing::Timeouts,
            given if given.has(Kind::Daemon) => Listing::Daemon,
            given if given.has(Kind::Stats) => Listing::Services(Columns::Stats),
            given if given.has(Kind::Rate) => Listing::Services(Columns::Rate),
            given if given.has(Kind::Thresholds) => Listing::Services(Columns::Thresholds),
            given if given.has(Kind::PersistentConn) => Listing::Services(Columns::PersistentConn),
            given if given.has(Kind::TunInfo) => Listing::Services(Columns::TunInfo),
            _ => Listing::Services(Columns::Plain),
        };
        Ok(List {
            what,
            service: given.has(Kind::Service).then_some(key),
            numeric: given.has(Kind::Numeric),
            exact: given.has(Kind::Exact),
            nosort: given.has(Kind::NoSort),
        })
    }
}

/// Options without a value that only have to be noted.
fn plain(tag: Tag) -> Option<Kind> {
    Some(match tag {
        Tag::Numeric => Kind::Numeric,
        Tag::Connection => Kind::Connection,
        Tag::Timeout => Kind::Timeout,
        Tag::Daemon => Kind::Daemon,
        Tag::Stats => Kind::Stats,
        Tag::Rate => Kind::Rate,
        Tag::Thresholds => Kind::Thresholds,
        Tag::PersistentConn => Kind::PersistentConn,
        Tag::TunInfo => Kind::TunInfo,
        Tag::NoSort => Kind::NoSort,
        Tag::Exact => Kind::Exact,
        Tag::Ops => Kind::Ops,
        Tag::TunNocsum => Kind::TunNocsum,
        Tag::TunCsum => Kind::TunCsum,
        Tag::TunRemcsum => Kind::TunRemcsum,
        _ => return None,
    })
}

/// `--tun-type`
#[derive(Debug, Clone, Copy)]
enum TunnelType {
    Ipip,
    Gue,
    Gre,
}

impl TunnelType {
    fn rules(self) -> &'static Rules {
        match self {
            Self::Ipip => &options::IPIP,
            Self::Gue => &options::GUE,
            Self::Gre => &options::GRE,
        }
    }
}

/// Seconds of a timeout.
pub(super) fn timeout(text: &str, low: i64) -> Result<u32, Failure> {
    let seconds = number(text, low, MAX_TIMEOUT).and_then(|seconds| u32::try_from(seconds).ok());
    seconds.ok_or_else(|| Failure::usage(format!("invalid timeout value `{text}' specified")))
}

/// A whole number from 0 to C's largest.
fn int(text: &str, what: &str) -> Result<u32, Failure> {
    let value = number(text, 0, MAX_INT).and_then(|value| u32::try_from(value).ok());
    value.ok_or_else(|| Failure::usage(format!("illegal {what} specified")))
}
