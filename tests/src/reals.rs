//! Reals as rows write them: an address, a number that makes their MACs, and the way there.

use std::net::{IpAddr, SocketAddr};

use lb_common::abi::real::{Real, disposition, family, method};

use crate::director::INGRESS;

/// A real reached by direct routing, out of the interface that frames come in by. `number` makes its MAC.
pub fn direct(at: &str, number: u8) -> Real {
    let at: SocketAddr = at.parse().expect("an address and a port");
    let mut real = Real {
        destination_mac: [0x02, 0, 0, 0, 0x0a, number],
        mtu: 1500,
        source_mac: [0x02, 0, 0, 0, 0x0b, number],
        method: method::DIRECT,
        disposition: disposition::FORWARD,
        ifindex: INGRESS,
        port: at.port(),
        ..Real::default()
    };
    match at {
        SocketAddr::V4(at) => {
            real.address[..4].copy_from_slice(&at.ip().octets());
            real.family = family::V4;
        }
        SocketAddr::V6(at) => {
            real.address = at.ip().octets();
            real.family = family::V6;
        }
    }
    real
}

/// The same real by GUE at port 6080, or by GRE; with checksums or without.
pub fn through(tunnel: Real, by: [u8; 2], checksum: bool) -> Real {
    let method = if tunnel.method == method::TUNNEL_V4 { by[0] } else { by[1] };
    Real { method: method | if checksum { method::CHECKSUM } else { 0 }, tunnel_port: 6080, ..tunnel }
}

/// Methods of GUE, for an IPv4 and an IPv6 real.
pub const GUE: [u8; 2] = [method::GUE_V4, method::GUE_V6];
/// Methods of GRE.
pub const GRE: [u8; 2] = [method::GRE_V4, method::GRE_V6];

/// A real reached through a tunnel of its own family, from `source`.
pub fn tunnel(at: &str, number: u8, source: &str) -> Real {
    let mut real = direct(at, number);
    match source.parse().expect("an address") {
        IpAddr::V4(source) => {
            real.method = method::TUNNEL_V4;
            real.tunnel_source[..4].copy_from_slice(&source.octets());
        }
        IpAddr::V6(source) => {
            real.method = method::TUNNEL_V6;
            real.tunnel_source = source.octets();
        }
    }
    real
}

/// A real behind address translation: it answers through the director, knows no VIP.
pub fn nat(at: &str, number: u8) -> Real {
    Real { method: method::NAT, ..direct(at, number) }
}

/// A real that full NAT hides its clients from; it may be of the other family. `options` as in `lb_common::abi::real::option`.
pub fn full_nat(at: &str, number: u8, options: u8) -> Real {
    Real { method: method::FULL_NAT, options, ..direct(at, number) }
}
