//! How packets to a real are rewritten: MACs and interface from its next hop, and a tunnel's outer source. And how much longer they
//! become by it.

use std::net::IpAddr;

use lb_common::abi::real::{Real, disposition, method, option};
use lb_common::wire::tunnel;
use lb_common::wire::{ipv4, ipv6};

use crate::model::spec::DEFAULT_TUNNEL_PORT;
use crate::model::{DirectorSpec, Method, Protocol, RealSpec, ServiceKey};
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
            value.vary_or_corrections = if vary { VARY_V4.to_be() } else { 0 };
            let configured = director.tunnel_source_v4.map(|source| source.octets());
            let fallback = if vary { Some(VARYING_SOURCE_V4) } else { preferred_v4(egress.source) };
            configured.or(fallback).map(|source| {
                let mut bytes = [0; 16];
                bytes[..4].copy_from_slice(&source);
                bytes
            })
        }
        IpAddr::V6(_) => {
            value.vary_or_corrections = if vary { VARY_V6.to_be() } else { 0 };
            let configured = director.tunnel_source_v6.map(|source| source.octets());
            configured.or(if vary { Some(VARYING_SOURCE_V6) } else { preferred_v6(egress.source) })
        }
    };
    match source {
        Some(mut source) => {
            clear(&mut source[if address.is_ipv4() { 0..4 } else { 12..16 }], value.vary_or_corrections);
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
    if has_checksum(by, real) == Some(true) { number | method::CHECKSUM } else { number }
}

/// Has the tunnel's header a checksum? None where it has no place for one.
pub(crate) fn has_checksum(by: Method, real: &RealSpec) -> Option<bool> {
    match by {
        Method::Gue => Some(real.tunnel_checksum.unwrap_or(real.address.is_ipv6())),
        Method::Gre => Some(real.tunnel_checksum.unwrap_or(false)),
        _ => None,
    }
}

/// Bytes by which a packet of a client is longer on the way to the real at `address`, whose value this is; below 0 where it is shorter.
pub(crate) fn growth(value: &Real, service: &ServiceKey, address: IpAddr) -> i32 {
    if value.method != method::FULL_NAT {
        return i32::try_from(tunnel::overhead(value.method)).unwrap_or(0);
    }
    // The client's address and port in a TCP option; between the families there is none.
    let tells = value.options & option::TOA != 0 && service.protocol == Protocol::Tcp;
    match (service.address.is_ipv4(), address.is_ipv4()) {
        (true, true) if tells => 8,
        (false, false) if tells => 20,
        (true, false) => (ipv6::HEADER - ipv4::HEADER) as i32,
        (false, true) => -((ipv6::HEADER - ipv4::HEADER) as i32),
        _ => 0,
    }
}

/// Both ends of the service's connections to the real with this value announce no larger segments than fit.
pub(crate) fn clamps_mss(value: &Real, service: &ServiceKey) -> bool {
    method::is_translated(value.method) && value.options & option::CLAMP != 0 && service.protocol == Protocol::Tcp
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

#[cfg(test)]
mod tests {
    use super::*;

    fn egress() -> Egress {
        Egress {
            ifindex: 7,
            interface: "eth1".to_owned(),
            source_mac: [2; 6],
            destination_mac: [4; 6],
            source: IpAddr::from([10, 0, 0, 9]),
            mtu: 1500,
        }
    }

    fn value(director: &DirectorSpec, by: Method, real: &str) -> Real {
        let real = RealSpec::new(real.parse().unwrap());
        let (value, reason) = rewrite(director, by, &real, &egress());
        assert_eq!(reason, None);
        value.unwrap()
    }

    #[test]
    fn translation_takes_the_way_and_both_options() {
        for (by, number) in [(Method::Nat, method::NAT), (Method::FullNat, method::FULL_NAT)] {
            for (toa, clamp_mss, options) in
                [(false, false, 0), (true, false, option::TOA), (false, true, option::CLAMP), (true, true, 3)]
            {
                let director = DirectorSpec { toa, clamp_mss, ..DirectorSpec::default() };
                let expected = Real {
                    destination_mac: [4; 6],
                    source_mac: [2; 6],
                    mtu: 1500,
                    method: number,
                    disposition: disposition::FORWARD,
                    ifindex: 7,
                    options,
                    ..Real::default()
                };
                assert_eq!(value(&director, by, "10.0.1.1:8080"), expected);
            }
        }
    }

    #[test]
    fn other_methods_have_no_options() {
        let director = DirectorSpec { toa: true, clamp_mss: true, ..DirectorSpec::default() };
        for by in Method::ALL.iter().filter(|by| !by.is_translated()) {
            assert_eq!(value(&director, *by, "10.0.1.1:80").options, 0, "{by}");
        }
    }

    #[test]
    fn packets_grow_by_what_their_method_adds() {
        let told = DirectorSpec { toa: true, ..DirectorSpec::default() };
        let plain = DirectorSpec::default();
        let (v4, v6, over_v4, over_v6) = ("tcp://10.0.0.1:80", "tcp://[fd00::1]:80", "10.0.1.1:80", "[fd00::11]:80");
        for (director, by, service, real, grows) in [
            (&plain, Method::Direct, v4, over_v4, 0),
            (&plain, Method::Tunnel, v4, over_v4, 20),
            (&plain, Method::Tunnel, v4, over_v6, 40),
            (&plain, Method::Gue, v6, over_v4, 28),
            // With its checksum, as by default over IPv6.
            (&plain, Method::Gue, v4, over_v6, 48),
            (&plain, Method::Gre, v4, over_v4, 24),
            (&plain, Method::Gre, v4, over_v6, 44),
            (&told, Method::Nat, v4, over_v4, 0),
            (&plain, Method::FullNat, v4, over_v4, 0),
            (&plain, Method::FullNat, v4, over_v6, 20),
            (&plain, Method::FullNat, v6, over_v4, -20),
            (&told, Method::FullNat, v4, over_v4, 8),
            (&told, Method::FullNat, v6, over_v6, 20),
            (&told, Method::FullNat, v4, over_v6, 20),
            (&told, Method::FullNat, v6, over_v4, -20),
            (&told, Method::FullNat, "udp://10.0.0.1:53", over_v4, 0),
        ] {
            let key = service.parse().unwrap();
            let address = real.parse::<std::net::SocketAddr>().unwrap().ip();
            assert_eq!(growth(&value(director, by, real), &key, address), grows, "{by} from {service} to {real}");
        }
    }

    #[test]
    fn only_translated_tcp_is_clamped() {
        let director = DirectorSpec { clamp_mss: true, ..DirectorSpec::default() };
        for (by, service, clamps) in [
            (Method::Nat, "tcp://10.0.0.1:80", true),
            (Method::FullNat, "tcp://10.0.0.1:80", true),
            (Method::FullNat, "udp://10.0.0.1:53", false),
            (Method::Tunnel, "tcp://10.0.0.1:80", false),
        ] {
            let key = service.parse().unwrap();
            assert_eq!(clamps_mss(&value(&director, by, "10.0.1.1:80"), &key), clamps, "{by} of {service}");
            assert!(!clamps_mss(&value(&DirectorSpec::default(), by, "10.0.1.1:80"), &key));
        }
    }
}
