//! From facts to a next hop: pure, so that each reason an operator may read is tested without a network.

use std::collections::BTreeMap;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use super::attempts::Key;
use super::{Egress, NextHop, Target, WAITING};
use crate::net::address::Address;
use crate::net::link::Link;
use crate::net::neighbour::{Neighbours, State};
use crate::net::route::{Lookup, Route};

/// What is known of this host.
#[derive(Debug, Default)]
pub(super) struct Facts {
    /// Links by index.
    pub(super) links: BTreeMap<u32, Link>,
    /// The neighbour table.
    pub(super) neighbours: Neighbours,
    /// The host's own addresses.
    pub(super) addresses: Vec<Address>,
}

/// What the decision depends on in the neighbour table, and what it wants done there.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Need {
    /// No neighbour is involved.
    Nothing,
    /// The entry serves.
    Serves(Key),
    /// The entry serves but should be checked.
    Refresh(Key),
    /// The entry is being asked for.
    Wait(Key),
    /// The entry is missing: ask.
    Solicit(Key),
    /// The kernel gave up on the entry: ask again after a while.
    Retry(Key),
}

impl Need {
    /// The neighbour that the decision depends on.
    pub(super) fn key(self) -> Option<Key> {
        match self {
            Need::Nothing => None,
            Need::Serves(key) | Need::Refresh(key) | Need::Wait(key) | Need::Solicit(key) | Need::Retry(key) => {
                Some(key)
            }
        }
    }
}

/// Decides the next hop of one target. `last_interface` is where its packets left before, `has_failed` tells whether
/// the kernel gave up on a neighbour since it last answered.
pub(super) fn decide(
    target: Target,
    lookup: &Lookup,
    facts: &Facts,
    last_interface: Option<u32>,
    has_failed: impl Fn(Key) -> bool,
) -> (NextHop, Need) {
    let route = match lookup {
        Lookup::Local => return (NextHop::Local, Need::Nothing),
        Lookup::NoWay(reason) => {
            let down = interface_that_is_down(target.address, facts, last_interface);
            return unresolved(down.unwrap_or_else(|| reason.clone()));
        }
        Lookup::Via(route) => route,
    };
    let Some(link) = facts.links.get(&route.ifindex) else {
        return unresolved(format!("the route leads to interface {} that is not known yet", route.ifindex));
    };
    let name = &link.name;
    if !link.up {
        return unresolved(format!("interface {name} is down"));
    }
    if !link.carrier {
        return unresolved(format!("interface {name} has no carrier"));
    }
    let Some(source_mac) = link.mac else {
        return unresolved(format!("interface {name} has no Ethernet address: XVS sends Ethernet frames only"));
    };
    if let (true, Some(gateway)) = (target.on_link, route.gateway) {
        return unresolved(format!("behind gateway {gateway}: direct routing needs the real in the same segment"));
    }
    let next = route.gateway.unwrap_or(target.address);
    let key = (route.ifindex, next);
    let protocol = if next.is_ipv4() { "ARP" } else { "ND" };
    // A gateway that is silent is another fault than a silent real server.
    let whom = route.gateway.map_or_else(String::new, |gateway| format!(" for gateway {gateway}"));
    let no_answer = || format!("no answer to {protocol}{whom} on {name}");
    let waiting = || format!("{WAITING} to {protocol}{whom} on {name}");
    let reason = || if has_failed(key) { no_answer() } else { waiting() };

    let Some(neighbour) = facts.neighbours.get(&key) else {
        return (NextHop::Unresolved { reason: reason() }, Need::Solicit(key));
    };
    match (neighbour.state, neighbour.mac) {
        (State::Failed, _) => (NextHop::Unresolved { reason: no_answer() }, Need::Retry(key)),
        (State::Incomplete, _) => (NextHop::Unresolved { reason: reason() }, Need::Wait(key)),
        (state, Some(destination_mac)) if destination_mac != [0; 6] => {
            let next_hop = NextHop::Resolved(egress(target, route, link, source_mac, destination_mac));
            (next_hop, if state == State::Stale { Need::Refresh(key) } else { Need::Serves(key) })
        }
        _ => unresolved(format!("{next} has no Ethernet address on {name}")),
    }
}

fn unresolved(reason: String) -> (NextHop, Need) {
    (NextHop::Unresolved { reason }, Need::Nothing)
}

fn egress(target: Target, route: &Route, link: &Link, source_mac: [u8; 6], destination_mac: [u8; 6]) -> Egress {
    let unspecified = match target.address {
        IpAddr::V4(_) => IpAddr::V4(Ipv4Addr::UNSPECIFIED),
        IpAddr::V6(_) => IpAddr::V6(Ipv6Addr::UNSPECIFIED),
    };
    let mtu = route.mtu.map_or(link.mtu, |path| path.min(link.mtu));
    Egress {
        ifindex: link.index,
        interface: link.name.clone(),
        source_mac,
        destination_mac,
        source: route.source.unwrap_or(unspecified),
        mtu: u16::try_from(mtu).unwrap_or(u16::MAX),
    }
}

/// A link that goes down takes its routes with it, and "no route" would hide the cause. The cause shows in an address
/// that the link still holds (IPv4) or in where the packets went before (IPv6 loses its addresses, too).
fn interface_that_is_down(address: IpAddr, facts: &Facts, last_interface: Option<u32>) -> Option<String> {
    let holder = facts.addresses.iter().filter(|own| own.covers(address)).map(|own| own.ifindex);
    holder
        .chain(last_interface)
        .filter_map(|index| facts.links.get(&index))
        .find(|link| !link.up)
        .map(|link| format!("interface {} is down", link.name))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::net::neighbour::Neighbour;

    const REAL: IpAddr = IpAddr::V4(Ipv4Addr::new(10, 0, 0, 2));
    const GATEWAY: IpAddr = IpAddr::V4(Ipv4Addr::new(10, 0, 0, 1));
    const DIRECT: Target = Target { address: REAL, on_link: true };
    const TUNNEL: Target = Target { address: REAL, on_link: false };

    fn facts(change: impl FnOnce(&mut Link)) -> Facts {
        let mut link = Link {
            index: 3,
            name: "eth0".into(),
            mac: Some([2, 0, 0, 0, 0, 1]),
            mtu: 1500,
            up: true,
            carrier: true,
            loopback: false,
            kind: None,
        };
        change(&mut link);
        Facts { links: BTreeMap::from([(3, link)]), ..Facts::default() }
    }

    fn with_neighbour(address: IpAddr, state: State, mac: Option<[u8; 6]>) -> Facts {
        let mut facts = facts(|_| {});
        facts.neighbours.insert((3, address), Neighbour { ifindex: 3, address, mac, state });
        facts
    }

    fn via(gateway: Option<IpAddr>) -> Lookup {
        Lookup::Via(Route { ifindex: 3, gateway, source: None, mtu: Some(1400) })
    }

    fn reason(target: Target, lookup: &Lookup, facts: &Facts) -> String {
        match decide(target, lookup, facts, None, |_| false) {
            (NextHop::Unresolved { reason }, _) => reason,
            other => panic!("resolved: {other:?}"),
        }
    }

    #[test]
    fn usable_and_stale_entries_resolve() {
        for (state, need) in [(State::Usable, Need::Serves((3, REAL))), (State::Stale, Need::Refresh((3, REAL)))] {
            let facts = with_neighbour(REAL, state, Some([2, 0, 0, 0, 0, 2]));
            let egress = Egress {
                ifindex: 3,
                interface: "eth0".into(),
                source_mac: [2, 0, 0, 0, 0, 1],
                destination_mac: [2, 0, 0, 0, 0, 2],
                source: IpAddr::V4(Ipv4Addr::UNSPECIFIED),
                mtu: 1400,
            };
            assert_eq!(decide(DIRECT, &via(None), &facts, None, |_| false), (NextHop::Resolved(egress), need));
        }
    }

    #[test]
    fn a_missing_entry_is_asked_for() {
        let (next_hop, need) = decide(DIRECT, &via(None), &facts(|_| {}), None, |_| false);
        assert_eq!(need, Need::Solicit((3, REAL)));
        assert_eq!(next_hop, NextHop::Unresolved { reason: "waiting for an answer to ARP on eth0".into() });
        let (next_hop, _) = decide(DIRECT, &via(None), &facts(|_| {}), None, |_| true);
        assert_eq!(next_hop, NextHop::Unresolved { reason: "no answer to ARP on eth0".into() });
    }

    #[test]
    fn a_failed_entry_does_not_serve_even_with_an_address() {
        let facts = with_neighbour(REAL, State::Failed, Some([2, 0, 0, 0, 0, 2]));
        assert_eq!(reason(DIRECT, &via(None), &facts), "no answer to ARP on eth0");
    }

    #[test]
    fn direct_routing_refuses_a_gateway_and_a_tunnel_uses_it() {
        let facts = with_neighbour(GATEWAY, State::Usable, Some([2, 0, 0, 0, 0, 9]));
        assert_eq!(
            reason(DIRECT, &via(Some(GATEWAY)), &facts),
            "behind gateway 10.0.0.1: direct routing needs the real in the same segment"
        );
        let (next_hop, _) = decide(TUNNEL, &via(Some(GATEWAY)), &facts, None, |_| false);
        let NextHop::Resolved(egress) = next_hop else { panic!("not resolved: {next_hop:?}") };
        assert_eq!(egress.destination_mac, [2, 0, 0, 0, 0, 9]);
        assert_eq!(
            reason(TUNNEL, &via(Some("10.0.0.7".parse().expect("address"))), &facts),
            "waiting for an answer to ARP for gateway 10.0.0.7 on eth0"
        );
    }

    #[test]
    fn links_that_cannot_carry_frames_say_why() {
        assert_eq!(reason(DIRECT, &via(None), &facts(|link| link.up = false)), "interface eth0 is down");
        assert_eq!(reason(DIRECT, &via(None), &facts(|link| link.carrier = false)), "interface eth0 has no carrier");
        assert_eq!(
            reason(DIRECT, &via(None), &facts(|link| link.mac = None)),
            "interface eth0 has no Ethernet address: XVS sends Ethernet frames only"
        );
    }

    #[test]
    fn no_route_names_the_interface_that_took_it_along() {
        let no_route = Lookup::NoWay("no route".into());
        assert_eq!(reason(DIRECT, &no_route, &facts(|_| {})), "no route");
        let mut down = facts(|link| link.up = false);
        assert_eq!(reason(DIRECT, &no_route, &down), "no route");
        let (next_hop, _) = decide(DIRECT, &no_route, &down, Some(3), |_| false);
        assert_eq!(next_hop, NextHop::Unresolved { reason: "interface eth0 is down".into() });
        down.addresses.push(Address { ifindex: 3, address: GATEWAY, prefix_length: 24 });
        assert_eq!(reason(DIRECT, &no_route, &down), "interface eth0 is down");
    }

    #[test]
    fn own_addresses_are_local() {
        assert_eq!(decide(DIRECT, &Lookup::Local, &facts(|_| {}), None, |_| false), (NextHop::Local, Need::Nothing));
    }
}
