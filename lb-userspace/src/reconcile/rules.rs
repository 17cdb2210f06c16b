//! The addresses that a service is found at: its own, or the blocks of its mark's rules that no more specific rule has.
//!
//! A range of ports is cut into blocks of a power of two, and the datapath takes the smallest block around a packet's port. A block that lies
//! in a narrower range is that one's: were it entered for both, it would be the same place in the table. One that lies there in part is cut
//! finer there, and so found first.

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;

use lb_common::abi::shape::{WHOLE_PORT, blocks};

use crate::dataplane::addresses::Address;
use crate::model::mark::width;
use crate::model::{MarkRule, PortRange, Protocol, ServiceKey, Spec};

/// Rules that have a service, and services, by what they match.
pub(super) struct Rules<'a> {
    marks: BTreeMap<ServiceKey, Vec<&'a MarkRule>>,
    /// Ranges of ports by protocol, address and prefix.
    ranges: BTreeMap<(Protocol, IpAddr, u8), Vec<PortRange>>,
    /// Services of one address.
    services: BTreeSet<ServiceKey>,
}

impl<'a> Rules<'a> {
    /// Those of a Spec.
    pub(super) fn of(spec: &'a Spec) -> Self {
        // Only rules ask for them.
        let asked = if spec.marks.is_empty() { &[][..] } else { &spec.services[..] };
        let services: BTreeSet<ServiceKey> = asked.iter().map(|service| service.key).collect();
        let mut rules = Self { marks: BTreeMap::new(), ranges: BTreeMap::new(), services };
        for rule in &spec.marks {
            let key = ServiceKey::of_mark(rule.mark, rule.address.is_ipv6());
            if rules.services.contains(&key) {
                rules.marks.entry(key).or_default().push(rule);
                rules.ranges.entry((rule.protocol, rule.address, rule.prefix)).or_default().extend(rule.ports);
            }
        }
        rules
    }

    /// Where clients reach a service.
    pub(super) fn addresses(&self, key: &ServiceKey) -> Vec<Address> {
        if let Some(address) = Address::of_service(key) {
            return vec![address];
        }
        let rules = self.marks.get(key).into_iter().flatten();
        let mut addresses: Vec<Address> = rules.flat_map(|rule| self.of_rule(rule)).collect();
        addresses.sort_unstable();
        addresses
    }

    /// The blocks that are a rule's own.
    fn of_rule(&self, rule: &MarkRule) -> Vec<Address> {
        let Some(protocol) = rule.protocol.number() else { return Vec::new() };
        let block = |port, bits| Address {
            ip: rule.address,
            prefix: rule.prefix.min(width(rule.address)),
            protocol,
            port,
            port_bits: bits,
        };
        let Some(ports) = rule.ports else { return vec![block(0, 0)] };
        let others = self.ranges.get(&(rule.protocol, rule.address, rule.prefix)).map_or(&[][..], Vec::as_slice);
        let narrower: Vec<&PortRange> = others.iter().filter(|other| order(**other) < order(ports)).collect();
        let is_own = |(port, bits): &(u16, u32)| {
            let last = port + (u16::MAX.checked_shr(*bits).unwrap_or(0));
            let is_in = |other: &&PortRange| other.first() <= *port && last <= other.last();
            !narrower.iter().any(is_in) && !(*bits == WHOLE_PORT && rule.is_single() && self.is_service(rule, *port))
        };
        blocks(ports.first(), ports.last())
            .into_iter()
            .filter(is_own)
            .map(|(port, bits)| block(port, bits as u8))
            .collect()
    }

    /// A service has this port of the rule's address.
    fn is_service(&self, rule: &MarkRule, port: u16) -> bool {
        self.services.contains(&ServiceKey { protocol: rule.protocol, address: rule.address, port })
    }
}

/// The narrower range comes first, of two as wide the one that begins first.
fn order(ports: PortRange) -> (u32, u16) {
    (ports.count(), ports.first())
}

#[cfg(test)]
mod tests {
    use lb_common::wire::transport::TCP;
    use proptest::prelude::*;

    use super::*;
    use crate::model::mark::Destination;
    use crate::model::parse::parse;

    /// The mark whose block the datapath finds for a port of the address: the smallest one.
    fn found(spec: &Spec, port: u16) -> Option<u32> {
        let rules = Rules::of(spec);
        let blocks = |service: &std::sync::Arc<crate::model::ServiceSpec>| {
            let key = service.key;
            rules.addresses(&key).into_iter().map(move |address| (address, key))
        };
        let has = |address: &Address| {
            let size = (u32::from(u16::MAX) + 1) >> address.port_bits;
            (u32::from(address.port)..u32::from(address.port) + size).contains(&u32::from(port))
        };
        let all = spec.services.iter().flat_map(blocks).filter(|(address, _)| has(address));
        let (block, key) = all.max_by_key(|(address, _)| address.port_bits)?;
        let twins = spec.services.iter().flat_map(blocks).filter(|(address, _)| *address == block).count();
        assert_eq!(twins, 1, "{block:?} is entered once");
        key.mark()
    }

    proptest! {
        #[test]
        fn the_narrowest_range_has_a_port(
            ranges in prop::collection::btree_set((1..300u16, 1..300u16).prop_map(|(a, b)| (a.min(b), a.max(b))), 1..9),
            port in 1..300u16,
        ) {
            let services: String = (1..=ranges.len()).map(|mark| format!("[[service]]\nmark = {mark}\n")).collect();
            let mut spec = parse(services.as_bytes()).unwrap();
            for (index, (first, last)) in ranges.iter().enumerate() {
                let destination: Destination = format!("10.0.0.0/24:{first}-{last}").parse().unwrap();
                spec.marks.push(MarkRule::new(index as u32 + 1, Protocol::Tcp, destination));
            }
            let matching = spec.marks.iter().filter(|rule| rule.ports.is_some_and(|it| (it.first()..=it.last()).contains(&port)));
            let expected = matching.min_by_key(|rule| rule.ports.map(order)).map(|rule| rule.mark);
            prop_assert_eq!(found(&spec, port), expected);
        }
    }

    #[test]
    fn a_services_port_is_left_out_and_a_rule_without_service_takes_none() {
        let text = "[[mark]]\nmark = 1\naddress = \"10.0.0.1:80-82\"\n[[mark]]\nmark = 2\naddress = \"10.0.0.1:81\"\n\
                    [[service]]\nmark = 1\n[[service]]\naddress = \"10.0.0.1:82\"\n";
        let spec = parse(text.as_bytes()).unwrap();
        let rules = Rules::of(&spec);
        let ports: Vec<_> =
            rules.addresses(&spec.services[0].key).iter().map(|address| (address.port, address.port_bits)).collect();
        assert_eq!(ports, [(80, 15)]);
        assert_eq!(rules.addresses(&spec.services[1].key), [Address::single([10, 0, 0, 1].into(), TCP, 82)]);
    }
}
