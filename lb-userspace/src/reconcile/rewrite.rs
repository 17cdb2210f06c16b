//! How packets to a real are rewritten: MACs and interface from its next hop, and a tunnel's outer source.

use std::net::IpAddr;

use lb_common::abi::real::{Real, disposition, method, option};

use crate::model::spec::DEFAULT_TUNNEL_PORT;
use crate::model::{DirectorSpec, Method, RealSpec};
use crate::signal::neighbour::Egress;

/// Outer IPv4 source when none is configured and it varies: 198.18.0.0/15 is set aside for tests between networks (RFC 2544), so no
/// host answers there.
const VARYING_SOURCE_V4: [u8; 4] = [198, 18, 0, 0];
/// Outer IPv6 source when none is configured and it varies: 100::/64, the discard prefix (RFC 6666).
const VARYING_SOURCE_V6: [u8; 16] = [1, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0];
/// Low bits of the outer source that vary with the flow.
const VARY_V4: u32 = 0x0000_ffff;
const VARY_V6: u32 = 0xffff_ffff;

/// The value of a real that is reached by `egress`, or why there is none.
pub(super) fn rewrite(
    director: &DirectorSpec,
    by: Method,
    real: &RealSpec,
    egress: &Egress,
) -> (Option<Real>, Option<String>) {
    let address = real.address;
    let mut value = Real {
        destination_mac: egress.destination_mac,
        mtu: egress.mtu,
        source_mac: egress.source_mac,
        ifindex: egress.ifindex,
        method: method::DIRECT,
        disposition: disposition::FORWARD,
        ..Real::default()
    };
    match by {
        Method::Direct => return (Some(value), None),
        Method::Nat | Method::FullNat => {
            let options = [(director.toa, option::TOA), (director.clamp_mss, option::CLAMP)];
            value.options = options.into_iter().filter(|(wanted, _)| *wanted).fold(0, |bits, (_, bit)| bits | bit);
            value.method = if by == Method::Nat { method::NAT } else { method::FULL_NAT };
            return (Some(value), None);
        }
        Method::Tunnel | Method::Gue | Method::Gre => {}
    }
    if by == Method::Gue {
        value.tunnel_port = real.tunnel_port.unwrap_or(DEFAULT_TUNNEL_PORT);
    }
    value.method = tunnel_method(by, real);
    let vary = director.tunnel_source_vary;
    let source = match address {
        IpAddr::V4(_) => {
            value.tunnel_source_vary = if vary { VARY_V4.to_be() } else { 0 };
            let configured = director.tunnel_source_v4.map(|source| source.octets());
            let fallback = if vary { Some(VARYING_SOURCE_V4) } else { preferred_v4(egress.source) };
            configured.or(fallback).map(|source| {
                let mut bytes = [0; 16];
                bytes[..4].copy_from_slice(&source);
                bytes
            })
        }
        IpAddr::V6(_) => {
            value.tunnel_source_vary = if vary { VARY_V6.to_be() } else { 0 };
            let configured = director.tunnel_source_v6.map(|source| source.octets());
            configured.or(if vary { Some(VARYING_SOURCE_V6) } else { preferred_v6(egress.source) })
        }
    };
    match source {
        Some(mut source) => {
            clear(&mut source[if address.is_ipv4() { 0..4 } else { 12..16 }], value.tunnel_source_vary);
            value.tunnel_source = source;
            (Some(value), None)
        }
        None => (None, Some(format!("no source address towards {address}: set tunnel_source_v4 or tunnel_source_v6"))),
    }
}

/// Number of a tunnel method to a real. IPv6 wants a checksum in UDP (RFC 8200 section 8.1); IPv4 leaves it out unless asked for, as
/// IPVS does.
fn tunnel_method(by: Method, real: &RealSpec) -> u8 {
    let is_v4 = real.address.is_ipv4();
    let number = match (by, is_v4) {
        (Method::Gue, true) => method::GUE_V4,
        (Method::Gue, false) => method::GUE_V6,
        (Method::Gre, true) => method::GRE_V4,
        (Method::Gre, false) => method::GRE_V6,
        (_, true) => method::TUNNEL_V4,
        (_, false) => method::TUNNEL_V6,
    };
    let checksum = match by {
        Method::Gue => real.tunnel_checksum.unwrap_or(!is_v4),
        Method::Gre => real.tunnel_checksum.unwrap_or(false),
        _ => false,
    };
    if checksum { number | method::CHECKSUM } else { number }
}

/// Clears the bits of a source that the datapath fills from the flow's hash.
fn clear(bytes: &mut [u8], vary: u32) {
    for (byte, mask) in bytes.iter_mut().zip(vary.to_ne_bytes()) {
        *byte &= !mask;
    }
}

fn preferred_v4(source: IpAddr) -> Option<[u8; 4]> {
    match source {
        IpAddr::V4(source) if !source.is_unspecified() => Some(source.octets()),
        _ => None,
    }
}

fn preferred_v6(source: IpAddr) -> Option<[u8; 16]> {
    match source {
        IpAddr::V6(source) if !source.is_unspecified() => Some(source.octets()),
        _ => None,
    }
}
