//! Configurations of many services: each VIP has a port 80, each real server is reached by a tunnel through one gateway, so that a million of
//! them need one neighbour.

use std::fmt::Write as _;
use std::net::Ipv4Addr;

/// The gateway behind which all real servers are.
pub(crate) const GATEWAY: &str = "192.0.2.254";
/// The director's own address.
pub(crate) const DIRECTOR: &str = "192.0.2.1/24";
/// The network of the real servers.
pub(crate) const REALS: &str = "10.0.0.0/8";

/// A configuration's size.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Size {
    pub(crate) services: usize,
    pub(crate) reals: usize,
    pub(crate) hosts: usize,
    pub(crate) scheduler: &'static str,
}

/// VIP of a service.
pub(crate) fn vip(service: usize) -> Ipv4Addr {
    Ipv4Addr::from_bits(0xac10_0001 + service as u32)
}

/// Address of a real server of a service.
pub(crate) fn real(size: &Size, service: usize, real: usize) -> Ipv4Addr {
    Ipv4Addr::from_bits(0x0a00_0001 + ((service * size.reals + real) % size.hosts.max(size.reals)) as u32)
}

/// As TOML, as an operator or `xvs export` writes it.
pub(crate) fn text(size: &Size) -> String {
    let mut text = String::with_capacity(size.services * (90 + size.reals * 40));
    for service in 0..size.services {
        let (vip, scheduler) = (vip(service), size.scheduler);
        let _ =
            write!(text, "[[service]]\naddress = \"{vip}:80\"\nscheduler = \"{scheduler}\"\nmethod = \"tunnel\"\n\n");
        for place in 0..size.reals {
            let _ = write!(text, "[[service.real]]\naddress = \"{}\"\nweight = 1\n\n", real(size, service, place));
        }
    }
    text
}
