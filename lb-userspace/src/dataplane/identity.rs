//! Whose a real's value is: its address, port, family and service, and what follows from these.

use std::net::{IpAddr, SocketAddr};

use lb_common::abi::real::{Real, family, method, option};
use lb_common::wire::readdress::Corrections;

use super::flows::{bytes, words};
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
    let family = if endpoint.is_ipv4() { family::V4 } else { family::V6 };
    let address = bytes(endpoint.ip());
    let mut real = Real { address, family, service: service as u16, port: endpoint.port(), ..*value };
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
    let (old, new) = (words(key.address), words(to.ip()));
    match (key.address.is_ipv4(), to.is_ipv4()) {
        (true, true) => Corrections::v4((old[0] as u32, old_port), (new[0] as u32, new_port)),
        (false, false) => Corrections::v6((old, old_port), (new, new_port)),
        _ => Corrections::NONE,
    }
}
