//! Listings: views of the API to the text of ipvsadm 1.31. Nothing here asks anybody but for names.

pub(super) mod connections;
mod largenum;
mod order;
pub(super) mod save;
pub(super) mod services;

use std::net::{IpAddr, SocketAddr};

use super::names::Names;
use crate::{
    api::types::{RealView, ServiceView},
    model::{Method, Protocol},
};

/// How addresses are written.
pub(super) struct Words<'a, N> {
    /// Without names.
    pub(super) numeric: bool,
    /// Who knows them.
    pub(super) names: &'a N,
}

impl<N: Names> Words<'_, N> {
    /// `10.0.0.1:80`, `[fd00::1]:http`; the brackets are the family's, whatever stands in them.
    fn endpoint(&self, endpoint: SocketAddr, protocol: Protocol) -> String {
        let (address, port) = (endpoint.ip(), endpoint.port());
        let host = if self.numeric { None } else { self.names.host(address) };
        let host = host.unwrap_or_else(|| address.to_string());
        let port_name = if self.numeric { None } else { self.names.port_name(port, protocol) };
        let port = port_name.unwrap_or_else(|| port.to_string());
        match address {
            IpAddr::V4(_) => format!("{host}:{port}"),
            IpAddr::V6(_) => format!("[{host}]:{port}"),
        }
    }

    fn service(&self, service: &ServiceView) -> String {
        self.endpoint(service.service.endpoint(), service.protocol)
    }

    /// A mark's reals have the names of TCP's ports.
    fn real(&self, service: &ServiceView, real: &RealView) -> String {
        let protocol = if service.protocol == Protocol::Mark { Protocol::Tcp } else { service.protocol };
        self.endpoint(SocketAddr::new(real.address, real.port), protocol)
    }
}

/// How IPVS calls a way to a real. Full NAT has no name of its own there.
fn forward(real: &RealView) -> &'static str {
    match real.method {
        _ if real.is_local => "Local",
        Method::Direct => "Route",
        Method::Tunnel | Method::Gue | Method::Gre => "Tunnel",
        Method::Nat | Method::FullNat => "Masq",
    }
}

/// The mark as C's `%d` prints it.
fn mark(service: &ServiceView) -> Option<i32> {
    service.service.mark().map(|mark| mark as i32)
}

#[cfg(test)]
mod tests;
