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
}

pub(crate) const DIRECT: Way = Way { name: "direct", method: "direct", checksum: false, shim: 0, protocol: None };

pub(crate) const TUNNELS: [Way; 5] = [
    Way { name: "tunnel", method: "tunnel", checksum: false, shim: 0, protocol: None },
    Way { name: "gue", method: "gue", checksum: false, shim: 8, protocol: Some(UDP) },
    Way { name: "gue+sum", method: "gue", checksum: true, shim: 8, protocol: Some(UDP) },
    Way { name: "gre", method: "gre", checksum: false, shim: 4, protocol: Some(GRE) },
    Way { name: "gre+sum", method: "gre", checksum: true, shim: 8, protocol: Some(GRE) },
];

/// Protocol numbers.
pub(crate) const UDP: u8 = 17;
pub(crate) const GRE: u8 = 47;

impl Way {
    pub(crate) fn is_tunnel(self) -> bool {
        self != DIRECT
    }

    /// Whether its packets are to carry a checksum of their own.
    pub(crate) fn has_checksum(self) -> bool {
        self.checksum
    }

    /// The verdict on a packet that goes this way.
    pub(crate) fn verdict(self) -> &'static str {
        if self.is_tunnel() { "tunnel" } else { "direct" }
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
        // Said in any case: over IPv6, GUE has a checksum unless told otherwise.
        let checksum = match self.protocol {
            Some(_) => format!("tunnel_checksum = {}\n", self.checksum),
            None => String::new(),
        };
        format!(
            "[[service]]\naddress = \"{target}\"\nprotocol = \"{protocol}\"\nmethod = \"{}\"\n\
             [[service.real]]\naddress = \"{real}\"\n{checksum}",
            self.method
        )
    }
}

/// A UDP service on port 5353 of the first VIP: its key and where clients connect to.
pub(crate) fn echo(family: Family) -> (String, SocketAddr) {
    let address = SocketAddr::new(plan::vip(family, 0), 5353);
    (format!("udp://{address}"), address)
}
