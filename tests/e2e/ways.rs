//! The ways to a real, as the end-to-end tests name and configure them.

use std::net::SocketAddr;

use lb_lab::plan::{self, Family};

use crate::stage::Stage;

/// A forwarding method with its options.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Way {
    pub(crate) name: &'static str,
    method: &'static str,
    checksum: bool,
    /// Bytes between outer IP header and packet.
    shim: u32,
    /// Protocol number behind the outer IP header, where it does not depend on the packet inside.
    pub(crate) protocol: Option<u8>,
    /// Verdicts on packets to the real and on answers, where these come back through the director.
    translated: Option<[&'static str; 2]>,
}

const fn way(name: &'static str, method: &'static str, checksum: bool, shim: u32, protocol: Option<u8>) -> Way {
    Way { name, method, checksum, shim, protocol, translated: None }
}

pub(crate) const DIRECT: Way = way("direct", "direct", false, 0, None);
pub(crate) const NAT: Way = Way { translated: Some(["nat", "reply"]), ..way("nat", "nat", false, 0, None) };
pub(crate) const FULL_NAT: Way = Way { name: "fullnat", method: "fullnat", ..NAT };

pub(crate) const TUNNELS: [Way; 5] = [
    way("tunnel", "tunnel", false, 0, None),
    way("gue", "gue", false, 8, Some(UDP)),
    way("gue+sum", "gue", true, 8, Some(UDP)),
    way("gre", "gre", false, 4, Some(GRE)),
    way("gre+sum", "gre", true, 8, Some(GRE)),
];

/// Protocol numbers.
pub(crate) const UDP: u8 = 17;
pub(crate) const GRE: u8 = 47;

impl Way {
    /// The same, of a translated way, where clients and reals are behind different ports of the director.
    pub(crate) fn between_ports(self) -> Self {
        Self { translated: Some(["nat-redirect", "reply-redirect"]), ..self }
    }

    pub(crate) fn is_tunnel(self) -> bool {
        self.method != "direct" && self.translated.is_none()
    }

    /// Answers come back through the director, and services have other ports than their reals.
    pub(crate) fn is_translated(self) -> bool {
        self.translated.is_some()
    }

    /// Where clients connect to a real's port.
    pub(crate) fn target(self, at: SocketAddr) -> SocketAddr {
        if self.is_translated() { SocketAddr::new(at.ip(), at.port() + 8000) } else { at }
    }

    /// Whether its packets are to carry a checksum of their own.
    pub(crate) fn has_checksum(self) -> bool {
        self.checksum
    }

    /// The verdict on a packet that goes this way.
    pub(crate) fn verdict(self) -> &'static str {
        match self.translated {
            Some([to_real, _]) => to_real,
            None if self.is_tunnel() => "tunnel",
            None => "direct",
        }
    }

    /// The verdict on answers that come back.
    pub(crate) fn answer(self) -> Option<&'static str> {
        self.translated.map(|[_, answer]| answer)
    }

    /// Bytes that it puts in front of a packet.
    pub(crate) fn overhead(self, outer: Family) -> u32 {
        match outer {
            _ if !self.is_tunnel() => 0,
            Family::V4 => 20 + self.shim,
            Family::V6 => 40 + self.shim,
        }
    }

    /// A service with real1 alone, as TOML.
    pub(crate) fn service(self, stage: &Stage, target: SocketAddr, protocol: &str, outer: Family) -> String {
        let real = stage.address("real1", outer);
        let port = if self.is_translated() { target.port() - 8000 } else { target.port() };
        // Said in any case: over IPv6, GUE has a checksum unless told otherwise.
        let checksum = match self.protocol {
            Some(_) => format!("tunnel_checksum = {}\n", self.checksum),
            None => String::new(),
        };
        format!(
            "[[service]]\naddress = \"{target}\"\nprotocol = \"{protocol}\"\nmethod = \"{}\"\n\
             [[service.real]]\naddress = \"{}\"\n{checksum}",
            self.method,
            SocketAddr::new(real, port)
        )
    }
}

/// A UDP service on port 5353 of the first VIP: its key and where clients connect to.
pub(crate) fn echo(family: Family) -> (String, SocketAddr) {
    let address = SocketAddr::new(plan::vip(family, 0), 5353);
    (format!("udp://{address}"), address)
}
