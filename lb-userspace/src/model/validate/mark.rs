//! Rules of marks.

use std::collections::BTreeMap;

use super::{Check, MARK, MAX_MARK_RULES};
use crate::model::address::unusable;
use crate::model::key::ServiceKey;
use crate::model::mark::{Destination, MarkRule, network, width};
use crate::model::spec::DirectorSpec;
use crate::model::word::Protocol;

impl Check<'_> {
    /// `services` are those that could be read, with their places.
    pub(super) fn marks(
        &mut self,
        rules: &[MarkRule],
        director: &DirectorSpec,
        services: &BTreeMap<ServiceKey, String>,
    ) {
        if rules.len() > MAX_MARK_RULES {
            self.say("mark", format!("{} rules of marks are too many; at most {MAX_MARK_RULES}", rules.len()));
            return;
        }
        let mut known = BTreeMap::<_, (String, u32)>::new();
        for (index, rule) in rules.iter().enumerate() {
            let path = format!("mark[{index}]");
            self.range(&path, "mark", rule.mark, &MARK);
            if self.read(&path, &["protocol"]) && rule.protocol == Protocol::Mark {
                self.say(format!("{path}.protocol"), "a rule is for packets of tcp, udp or sctp");
                continue;
            }
            if !self.read(&path, &["address", "protocol"]) || !self.rule_address(&path, rule) {
                continue;
            }
            let key = format!("{path}.address");
            let matched = (rule.protocol, rule.address, rule.prefix, rule.ports);
            if let Some((first, mark)) = known.get(&matched) {
                self.duplicate(&key, &format!("rule {rule} (mark {mark})"), first);
                continue;
            }
            known.insert(matched, (path.clone(), rule.mark));
            if let Some((service, first)) = taken(rule).and_then(|service| services.get_key_value(&service)) {
                let what = format!("rule {rule} of mark {} takes what service {service} takes, which", rule.mark);
                self.duplicate(&key, &what, first);
            }
            self.answers(&key, rule, director);
        }
    }

    /// Is the address one that packets can have, and the prefix well written?
    fn rule_address(&mut self, path: &str, rule: &MarkRule) -> bool {
        let MarkRule { address, prefix, .. } = *rule;
        let (key, bits) = (format!("{path}.address"), width(address));
        if prefix > bits {
            self.say(&key, format!("/{prefix} is longer than an address; from 0 to {bits}"));
            return false;
        }
        let base = network(address, prefix);
        if base != address {
            let whole = Destination { address: base, ..rule.destination() };
            let one = Destination { prefix: bits, ..rule.destination() };
            let message = format!("{address} has bits beyond its prefix /{prefix}; write {whole} or {one}");
            self.say(&key, message);
            return false;
        }
        // Of /0 it is not one address but all.
        if let Some(reason) = unusable(address).filter(|_| prefix > 0) {
            self.say(&key, format!("{address} is {reason}: no packet to balance has it"));
            return false;
        }
        true
    }

    /// Answers to full NAT are told from packets to a service by their address and port.
    fn answers(&mut self, key: &str, rule: &MarkRule, director: &DirectorSpec) {
        let DirectorSpec { local_addresses, local_ports, .. } = director;
        let meets =
            rule.ports.is_none_or(|ports| ports.first() <= local_ports.last() && local_ports.first() <= ports.last());
        // full NAT of SCTP keeps ports, but has local addresses too: one rule for all protocols.
        if let Some(local) = local_addresses.iter().find(|local| meets && rule.covers(**local)) {
            let message = format!(
                "rule {rule} takes the answers to {local} (director.local_addresses): leave that address or ports {local_ports} out"
            );
            self.say(key, message);
        }
    }
}

/// The service that takes exactly the same packets.
fn taken(rule: &MarkRule) -> Option<ServiceKey> {
    let port = match rule.ports {
        None => 0,
        Some(ports) if ports.count() == 1 => ports.first(),
        Some(_) => return None,
    };
    rule.is_single().then_some(ServiceKey { protocol: rule.protocol, address: rule.address, port })
}
