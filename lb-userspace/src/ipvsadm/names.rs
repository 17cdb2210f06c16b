//! Names of hosts and ports, both ways.

use std::{
    cell::RefCell,
    collections::HashMap,
    net::{IpAddr, Ipv4Addr, ToSocketAddrs},
};

use crate::model::Protocol;

/// Who knows names. Tests have one that asks nobody.
pub(super) trait Names {
    /// Port of a service by its name.
    fn port(&self, name: &str, protocol: Protocol) -> Option<u16>;
    /// Name of a port.
    fn port_name(&self, port: u16, protocol: Protocol) -> Option<String>;
    /// IPv4 address of a host; ipvsadm asks for no other.
    fn address(&self, host: &str) -> Option<Ipv4Addr>;
    /// Name of a host.
    fn host(&self, address: IpAddr) -> Option<String>;
}

/// `/etc/services` and the system's resolver.
#[derive(Debug)]
pub(super) struct SystemNames {
    services: Services,
    /// Hosts that were asked for: a listing names each many times, and a resolver that is away takes seconds.
    hosts: RefCell<HashMap<IpAddr, Option<String>>>,
}

impl SystemNames {
    /// Reads `/etc/services`; without it every port is a number.
    pub(super) fn load() -> Self {
        let text = std::fs::read("/etc/services").unwrap_or_default();
        Self { services: Services::read(&String::from_utf8_lossy(&text)), hosts: RefCell::default() }
    }
}

impl Names for SystemNames {
    fn port(&self, name: &str, protocol: Protocol) -> Option<u16> {
        self.services.port(name, protocol)
    }

    fn port_name(&self, port: u16, protocol: Protocol) -> Option<String> {
        self.services.name(port, protocol)
    }

    fn address(&self, host: &str) -> Option<Ipv4Addr> {
        let found = (host, 0).to_socket_addrs().ok()?;
        found.map(|address| address.ip()).find_map(|address| match address {
            IpAddr::V4(v4) => Some(v4),
            IpAddr::V6(_) => None,
        })
    }

    fn host(&self, address: IpAddr) -> Option<String> {
        let ask = || dns_lookup::lookup_addr(&address).ok().filter(|name| name.parse::<IpAddr>().is_err());
        self.hosts.borrow_mut().entry(address).or_insert_with(ask).clone()
    }
}

/// What `/etc/services` says: names (the first is the official one), port, protocol.
#[derive(Debug, Default)]
struct Services(Vec<(Vec<String>, u16, Protocol)>);

impl Services {
    fn read(text: &str) -> Self {
        let line = |line: &str| {
            let mut words = line.split('#').next()?.split_whitespace();
            let (name, (port, protocol)) = (words.next()?, words.next()?.split_once('/')?);
            let protocol =
                [Protocol::Tcp, Protocol::Udp, Protocol::Sctp].into_iter().find(|p| p.as_str() == protocol)?;
            let names = std::iter::once(name).chain(words).map(str::to_owned).collect();
            Some((names, port.parse().ok()?, protocol))
        };
        Self(text.lines().filter_map(line).collect())
    }

    fn port(&self, name: &str, protocol: Protocol) -> Option<u16> {
        let mut known = self.0.iter().filter(|(_, _, of)| *of == protocol);
        known.find(|(names, ..)| names.iter().any(|known| known == name)).map(|(_, port, _)| *port)
    }

    fn name(&self, port: u16, protocol: Protocol) -> Option<String> {
        let known = self.0.iter().find(|(_, of, p)| *of == port && *p == protocol);
        known.and_then(|(names, ..)| names.first().cloned())
    }
}

/// Knows a few names for tests.
#[cfg(test)]
pub(super) struct FewNames;

#[cfg(test)]
impl Names for FewNames {
    fn port(&self, name: &str, protocol: Protocol) -> Option<u16> {
        match (name, protocol) {
            ("http", Protocol::Tcp) => Some(80),
            ("https", Protocol::Tcp) => Some(443),
            ("domain", Protocol::Tcp | Protocol::Udp) => Some(53),
            ("tftp", Protocol::Udp) => Some(69),
            _ => None,
        }
    }

    fn port_name(&self, port: u16, protocol: Protocol) -> Option<String> {
        let names = ["http", "https", "domain", "tftp"];
        names.into_iter().find(|name| self.port(name, protocol) == Some(port)).map(str::to_owned)
    }

    fn address(&self, host: &str) -> Option<Ipv4Addr> {
        (host == "www.example.org").then_some(Ipv4Addr::new(192, 0, 2, 1))
    }

    fn host(&self, address: IpAddr) -> Option<String> {
        (address == IpAddr::from([192, 0, 2, 1])).then(|| "www.a-long-name-of-a-host.example.org".to_owned())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_port_has_a_name_by_its_protocol() {
        let text = "# comment\nhttp\t\t80/tcp\t\twww # WorldWideWeb\ndomain 53/tcp\ndomain 53/udp\nodd 70000/tcp\nx 5\ny 6/ddp\n";
        let services = Services::read(text);
        assert_eq!(services.port("http", Protocol::Tcp), Some(80));
        assert_eq!(services.port("www", Protocol::Tcp), Some(80), "an alias");
        assert_eq!(services.port("www", Protocol::Udp), None);
        assert_eq!(services.name(80, Protocol::Tcp).as_deref(), Some("http"));
        assert_eq!(services.name(53, Protocol::Udp).as_deref(), Some("domain"));
        assert_eq!(services.name(53, Protocol::Sctp), None);
        assert_eq!(services.0.len(), 3, "lines that are none are left out");
    }
}
