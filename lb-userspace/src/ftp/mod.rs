//! FTP through NAT: what IPVS's `ip_vs_ftp` does, as a pure function of packets.
//!
//! A control connection says in its text where its data connections will go, so translating addresses in headers is not enough:
//!
//! ```text
//! packet --> segment (headers, checksums) --> session (stream: lines; command, reply: meaning)
//!                                                |                     |
//!                                          adjust: edits          expect: data connections
//!                                                v                     v
//!            packet: translated bytes <----------+             for the datapath to let through
//! ```
//!
//! [`table::Ftp`] is the way in: one packet of a control connection goes in, the packets to send and the [`expect::Expectation`]s to
//! install come out. Nothing here sends, waits or asks for the time. What cannot be read with certainty is passed on as it came:
//! then a data connection fails, and never the control connection.

pub mod adjust;
mod command;
pub mod expect;
pub mod packet;
mod reply;
pub mod reset;
pub mod segment;
pub mod session;
mod stream;
pub mod table;

#[cfg(test)]
mod samples;
#[cfg(test)]
mod tests;

use std::net::{IpAddr, SocketAddr};

/// Who sent a packet.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Direction {
    /// The client: addressed to the VIP, goes to the real.
    FromClient,
    /// The real: addressed to the client, leaves as the VIP's.
    FromReal,
}

/// A control connection's addresses on both sides of the director, all of one family.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Translation {
    client: SocketAddr,
    vip: SocketAddr,
    real: SocketAddr,
}

/// What a client calls its control connection: one at a time has these.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct ControlKey {
    /// The client's address and port.
    pub client: SocketAddr,
    /// The VIP and the service's port.
    pub vip: SocketAddr,
}

impl Translation {
    /// None when the three are not of one address family: NAT does not translate between families.
    pub fn new(client: SocketAddr, vip: SocketAddr, real: SocketAddr) -> Option<Self> {
        // Without IPv6's scope and flow label, which would make equal endpoints differ.
        let plain = |end: SocketAddr| SocketAddr::new(end.ip(), end.port());
        let one_family = client.is_ipv4() == vip.is_ipv4() && vip.is_ipv4() == real.is_ipv4();
        one_family.then(|| Self { client: plain(client), vip: plain(vip), real: plain(real) })
    }

    /// The client's address and port.
    pub const fn client(&self) -> SocketAddr {
        self.client
    }

    /// The VIP and the service's port.
    pub const fn vip(&self) -> SocketAddr {
        self.vip
    }

    /// The real's address and port.
    pub const fn real(&self) -> SocketAddr {
        self.real
    }

    /// What the client calls this connection.
    pub const fn key(&self) -> ControlKey {
        ControlKey { client: self.client, vip: self.vip }
    }

    /// Number of the address family in `EPSV` and `EPRT` (RFC 2428).
    const fn family(&self) -> u8 {
        if self.vip.is_ipv4() { 1 } else { 2 }
    }

    /// Source and destination that a packet comes with, and those it leaves with.
    const fn ends(&self, direction: Direction) -> [(SocketAddr, SocketAddr); 2] {
        match direction {
            Direction::FromClient => [(self.client, self.vip), (self.client, self.real)],
            Direction::FromReal => [(self.real, self.client), (self.vip, self.client)],
        }
    }
}

/// Why a data connection that was spoken of will not come about, or other news of a control connection. For counters and the log.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Notice {
    /// `PORT` or `EPRT` named another host than the client: the FTP bounce attack (RFC 2577, section 3).
    NotTheClient(IpAddr),
    /// A 227 reply named another host than the real and the VIP.
    NotTheReal(IpAddr),
    /// A data port below 1024 was named: these belong to other services (RFC 2577, section 3).
    LowPort(u16),
    /// The address in a 227 reply came in two segments, or behind a lost one: passed on as it was.
    SplitReply,
    /// The server agreed to TLS: from now on nothing can be read.
    Encrypted,
    /// All places for expected data connections are taken.
    NoRoom,
}
