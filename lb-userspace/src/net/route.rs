//! Route lookup: which way the kernel would send a packet to one destination (`ip route get`).
//!
//! The kernel's own lookup is asked, not the routing table walked: policy rules, multipath and cached path MTUs are in
//! the answer. Nothing here changes a route.

use std::net::IpAddr;

use netlink_packet_route::AddressFamily;
use netlink_packet_route::route::{RouteAddress, RouteAttribute, RouteMessage, RouteMetric, RouteType, RouteVia};

use super::{NetError, Netlink, collected};
use crate::net::address::host_prefix;

const EACCES: i32 = 13;
const EINVAL: i32 = 22;
const ENETUNREACH: i32 = 101;
const EHOSTUNREACH: i32 = 113;

/// The kernel's answer for one destination.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Lookup {
    /// The destination is an address of this host.
    Local,
    /// Packets leave by this route.
    Via(Route),
    /// Packets do not leave; why, in plain words.
    NoWay(String),
}

/// A way out of this host.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Route {
    /// Index of the interface that packets leave by.
    pub ifindex: u32,
    /// The next router, `None` if the destination is on the link itself. May be of the other family (RFC 5549).
    pub gateway: Option<IpAddr>,
    /// The source address that the kernel would choose.
    pub source: Option<IpAddr>,
    /// The path MTU in bytes if route or cache know one below the link's.
    pub mtu: Option<u32>,
}

impl Netlink {
    /// Asks which way packets to `destination` leave. "No route" is an answer, not an error.
    pub async fn route(&self, destination: IpAddr) -> Result<Lookup, NetError> {
        let request = self.handle.route().get(request(destination));
        match collected(&format!("look up the route to {destination}"), request.execute()).await {
            Ok(messages) => Ok(messages.first().map_or_else(no_route, |message| answer(destination, message))),
            Err(NetError::Refused { cause, .. }) => Ok(match cause.raw_os_error() {
                Some(ENETUNREACH) => no_route(),
                Some(EHOSTUNREACH) => Lookup::NoWay("an unreachable route forbids it".into()),
                Some(EACCES) => Lookup::NoWay("a prohibit route forbids it".into()),
                Some(EINVAL) => Lookup::NoWay("a blackhole route swallows it".into()),
                _ => Lookup::NoWay(format!("the route lookup failed: {cause}")),
            }),
            Err(error) => Err(error),
        }
    }
}

fn no_route() -> Lookup {
    Lookup::NoWay("no route".into())
}

fn request(destination: IpAddr) -> RouteMessage {
    let mut message = RouteMessage::default();
    message.header.destination_prefix_length = host_prefix(destination);
    let (family, address) = match destination {
        IpAddr::V4(address) => (AddressFamily::Inet, RouteAddress::Inet(address)),
        IpAddr::V6(address) => (AddressFamily::Inet6, RouteAddress::Inet6(address)),
    };
    message.header.address_family = family;
    message.attributes.push(RouteAttribute::Destination(address));
    message
}

fn ip(address: &RouteAddress) -> Option<IpAddr> {
    match address {
        RouteAddress::Inet(address) => Some(IpAddr::V4(*address)),
        RouteAddress::Inet6(address) => Some(IpAddr::V6(*address)),
        _ => None,
    }
}

fn answer(destination: IpAddr, message: &RouteMessage) -> Lookup {
    match message.header.kind {
        RouteType::Local => return Lookup::Local,
        RouteType::Unicast => {}
        RouteType::BlackHole => return Lookup::NoWay("a blackhole route swallows it".into()),
        RouteType::Unreachable => return Lookup::NoWay("an unreachable route forbids it".into()),
        RouteType::Prohibit => return Lookup::NoWay("a prohibit route forbids it".into()),
        RouteType::Broadcast => return Lookup::NoWay(format!("{destination} is a broadcast address")),
        RouteType::Multicast => return Lookup::NoWay(format!("{destination} is a multicast address")),
        RouteType::Anycast => return Lookup::NoWay(format!("{destination} is an anycast address of this host")),
        other => return Lookup::NoWay(format!("the route is of a kind that carries no packets: {other:?}")),
    }
    let mut ifindex = None;
    let (mut gateway, mut source, mut mtu) = (None, None, None);
    for attribute in &message.attributes {
        match attribute {
            RouteAttribute::Oif(index) => ifindex = Some(*index),
            RouteAttribute::Gateway(address) => gateway = ip(address),
            RouteAttribute::Via(RouteVia::Inet(address)) => gateway = Some(IpAddr::V4(*address)),
            RouteAttribute::Via(RouteVia::Inet6(address)) => gateway = Some(IpAddr::V6(*address)),
            RouteAttribute::PrefSource(address) => source = ip(address),
            RouteAttribute::Metrics(metrics) => {
                mtu = metrics.iter().find_map(|metric| match metric {
                    RouteMetric::Mtu(mtu) if *mtu > 0 => Some(*mtu),
                    _ => None,
                });
            }
            _ => {}
        }
    }
    ifindex.map_or_else(no_route, |ifindex| Lookup::Via(Route { ifindex, gateway, source, mtu }))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn message(kind: RouteType, attributes: Vec<RouteAttribute>) -> RouteMessage {
        let mut message = RouteMessage::default();
        message.header.kind = kind;
        message.attributes = attributes;
        message
    }

    #[test]
    fn gateway_source_and_mtu_are_read() {
        let far = "192.0.2.1".parse().expect("address");
        let found = answer(
            far,
            &message(
                RouteType::Unicast,
                vec![
                    RouteAttribute::Oif(3),
                    RouteAttribute::Via(RouteVia::Inet6("fe80::1".parse().expect("address"))),
                    RouteAttribute::PrefSource(RouteAddress::Inet("10.0.0.2".parse().expect("address"))),
                    RouteAttribute::Metrics(vec![RouteMetric::Mtu(1400)]),
                ],
            ),
        );
        let gateway = Some("fe80::1".parse().expect("address"));
        let source = Some("10.0.0.2".parse().expect("address"));
        assert_eq!(found, Lookup::Via(Route { ifindex: 3, gateway, source, mtu: Some(1400) }));
    }

    #[test]
    fn kinds_that_carry_nothing_say_so() {
        let far = "10.0.0.255".parse().expect("address");
        assert_eq!(answer(far, &message(RouteType::Local, vec![RouteAttribute::Oif(1)])), Lookup::Local);
        let broadcast = answer(far, &message(RouteType::Broadcast, vec![RouteAttribute::Oif(3)]));
        assert_eq!(broadcast, Lookup::NoWay("10.0.0.255 is a broadcast address".into()));
        assert_eq!(answer(far, &message(RouteType::Unicast, vec![])), Lookup::NoWay("no route".into()));
    }
}
