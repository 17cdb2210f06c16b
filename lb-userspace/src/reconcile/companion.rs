//! The service behind one with a helper: any TCP port of the same address, where data connections arrive. It schedules nobody: the daemon
//! makes each of its connections, for the real that the control connection is with.

use std::collections::BTreeMap;
use std::net::SocketAddr;

use lb_common::abi::real::{Capacity, Real, disposition, option};
use lb_common::abi::service::{flag, scheduler};
use lb_common::wire::transport::TCP;

use super::effective::{DesiredReal, DesiredService};
use crate::dataplane::addresses::Address;
use crate::dataplane::tables::Pool;
use crate::model::{ServiceKey, Spec};

/// The services that a Spec's helpers need besides its own, by the reals of these.
pub(super) fn companions(
    spec: &Spec,
    services: &BTreeMap<ServiceKey, DesiredService>,
) -> BTreeMap<ServiceKey, DesiredService> {
    let mut companions = BTreeMap::new();
    let followed = spec.services.iter().filter(|service| service.helper.is_some());
    for (key, service) in followed.filter_map(|service| Some((service.key, services.get(&service.key)?))) {
        let companion = companions.entry(ServiceKey { port: 0, ..key }).or_insert_with(|| DesiredService {
            pool: Pool {
                scheduler: scheduler::RR,
                flags: flag::HELPER,
                addresses: vec![Address::single(key.address, TCP, 0)],
                ..Pool::default()
            },
            reals: BTreeMap::new(),
            removed_disposition: service.removed_disposition,
        });
        for (endpoint, real) in &service.reals {
            for port in ports(key.port, endpoint.port()) {
                let known = companion.reals.entry(SocketAddr::new(endpoint.ip(), port));
                let merged = known.or_insert_with(|| data(real));
                if merged.value.disposition != disposition::FORWARD {
                    // One service's check has failed, another's has not.
                    *merged = data(real);
                }
            }
        }
    }
    companions
}

/// Ports of a real's numbers: 0 for passive mode, where the port is the same on both sides. Active mode connects from one below the
/// control connection's (RFC 959, section 3.2), which is another at the service where the real's port is.
fn ports(service: u16, real: u16) -> impl Iterator<Item = u16> {
    let active = (real != service).then(|| real.saturating_sub(1)).filter(|port| *port != 0);
    std::iter::once(0).chain(active)
}

/// The real as data connections meet it. One that drains still has all of its control connections' data connections begin.
fn data(real: &DesiredReal) -> Box<DesiredReal> {
    let value = real.value;
    let disposition = if matches!(value.disposition, disposition::DRAIN | disposition::KEEP) {
        disposition::FORWARD
    } else {
        value.disposition
    };
    let value = Real { disposition, options: value.options & !(option::HELPER | option::LIMITED), ..value };
    Box::new(DesiredReal { value, weight: 0, capacity: Capacity::default(), ..real.clone() })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::api::types::RealState;
    use crate::model::parse::parse;

    fn service(reals: &[(&str, u8)]) -> DesiredService {
        let real = |(endpoint, disposition): &(&str, u8)| {
            let value = Real { disposition: *disposition, options: option::HELPER | option::CLAMP, ..Real::default() };
            let real = DesiredReal {
                value,
                state: RealState::Up,
                reason: None,
                weight: 3,
                capacity: Capacity::default(),
                interface: None,
            };
            (endpoint.parse().unwrap(), Box::new(real))
        };
        let pool = Pool::default();
        DesiredService { pool, reals: reals.iter().map(real).collect(), removed_disposition: disposition::GONE }
    }

    #[test]
    fn two_services_of_an_address_share_one_and_real_ports_of_their_own_have_numbers() {
        let toml = |port, helper| format!("[[service]]\naddress = \"10.0.0.1:{port}\"\nmethod = \"nat\"\n{helper}\n");
        let helper = "helper = \"ftp\"";
        let spec = parse((toml(21, helper) + &toml(2121, helper) + &toml(80, "")).as_bytes()).unwrap();
        let [first, second, web] = [0, 1, 2].map(|at: usize| spec.services[at].key);
        let services = BTreeMap::from([
            (first, service(&[("10.0.1.1:21", disposition::DRAIN), ("10.0.1.2:1021", disposition::DROP)])),
            (second, service(&[("10.0.1.2:2121", disposition::FORWARD)])),
            (web, service(&[("10.0.1.3:80", disposition::FORWARD)])),
        ]);
        let companions = companions(&spec, &services);
        let keys: Vec<_> = companions.keys().map(ToString::to_string).collect();
        assert_eq!(keys, ["tcp://10.0.0.1:0"]);
        let companion = companions.values().next().unwrap();
        assert_eq!((companion.pool.flags, companion.pool.members.len()), (flag::HELPER, 0));
        let reals: Vec<_> = companion
            .reals
            .iter()
            .map(|(endpoint, real)| (endpoint.to_string(), real.value.disposition, real.value.options, real.weight))
            .collect();
        let expected = [
            ("10.0.1.1:0", disposition::FORWARD),
            ("10.0.1.2:0", disposition::FORWARD),
            ("10.0.1.2:1020", disposition::DROP),
        ];
        assert_eq!(reals, expected.map(|(real, met)| (real.to_owned(), met, option::CLAMP, 0)));
    }
}
