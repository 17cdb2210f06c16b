//! Whose a real's value is: its address, port, family and service, and what follows from these.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

use lb_common::abi::real::{Real, family, method, option};
use lb_common::wire::readdress::Corrections;

use crate::model::ServiceKey;

/// Address and port of a real's value; None when the number is free.
pub fn endpoint(real: &Real) -> Option<SocketAddr> {
    let address = match real.family {
        family::V4 => IpAddr::from(<[u8; 4]>::try_from(&real.address[..4]).ok()?),
        family::V6 => IpAddr::from(real.address),
        _ => return None,
    };
    Some(SocketAddr::new(address, real.port))
}

/// The value of the real at `endpoint`, of the service `key` with the number `service`.
pub(super) fn identified(value: &Real, key: &ServiceKey, service: u32, endpoint: SocketAddr) -> Real {
    let mut real = Real { service: service as u16, port: endpoint.port(), ..*value };
    (real.address, real.family) = match endpoint.ip() {
        IpAddr::V4(address) => {
            let mut bytes = [0; 16];
            bytes[..4].copy_from_slice(&address.octets());
            (bytes, family::V4)
        }
        IpAddr::V6(address) => (address.octets(), family::V6),
    };
    if real.method == method::NAT {
        real.vary_or_corrections = corrections(real.options, key, endpoint).0;
    }
    real
}

/// What NAT does to the checksums of the service's packets, if that is the same for all of them, and if they are not the daemon's to translate.
fn corrections(options: u8, key: &ServiceKey, to: SocketAddr) -> Corrections {
    let has_one_end = key.mark().is_none() && key.port != 0 && to.port() != 0;
    if !has_one_end || options & option::HELPER != 0 {
        return Corrections::NONE;
    }
    let (old_port, new_port) = (key.port.to_be(), to.port().to_be());
    match (key.address, to.ip()) {
        (IpAddr::V4(old), IpAddr::V4(new)) => Corrections::v4((raw_v4(old), old_port), (raw_v4(new), new_port)),
        (IpAddr::V6(old), IpAddr::V6(new)) => Corrections::v6((raw_v6(old), old_port), (raw_v6(new), new_port)),
        _ => Corrections::NONE,
    }
}

fn raw_v4(address: Ipv4Addr) -> u32 {
    u32::from_ne_bytes(address.octets())
}

fn raw_v6(address: Ipv6Addr) -> [u64; 2] {
    let bytes = address.octets();
    [0, 8].map(|at| u64::from_ne_bytes(std::array::from_fn(|byte| bytes[at + byte])))
}
