//! Services: their address or mark, what their scheduler is told, persistence, times, helper.

use std::collections::BTreeMap;

use super::{At, Check, MARK, MAX_REALS, TABLE_SLOTS, TIMEOUT_SECONDS};
use crate::model::address::{family, unusable};
use crate::model::persistence::Persistence;
use crate::model::spec::{ServiceSpec, SomeTimeouts};
use crate::model::word::{Helper, Method, Protocol, Scheduler, SchedulerFlag};

impl Check<'_> {
    pub(super) fn service(&mut self, path: &str, service: &ServiceSpec) {
        let ServiceSpec {
            key,
            scheduler: _,
            scheduler_flags: _,
            table_slots: _,
            persistence: _,
            one_packet: _,
            timeouts,
            method: _,
            on_real_down: _,
            helper,
            health,
            reals,
        } = service;
        if self.key_read(path) {
            if let Some(mark) = key.mark() {
                self.range(path, "mark", mark, &MARK);
            } else if let Some(reason) = unusable(key.address) {
                self.say(format!("{path}.address"), format!("{} is {reason}: no service can have it", key.address));
            }
        }
        self.scheduling(path, service);
        self.persistence(path, service);
        self.one_packet(path, service);
        if let Some(SomeTimeouts { tcp, tcp_fin, udp }) = *timeouts {
            for (key, seconds) in [("tcp", tcp), ("tcp_fin", tcp_fin), ("udp", udp)] {
                if let Some(seconds) = seconds {
                    self.range(format!("{path}.timeouts"), key, seconds, &TIMEOUT_SECONDS);
                }
            }
        }
        if let Some(helper) = helper.filter(|_| self.key_read(path)) {
            self.helper(path, service, helper);
        }
        if let Some(health) = health {
            self.health(path, service, health);
        }
        if reals.len() > MAX_REALS {
            let message = format!("{} reals are too many; at most {MAX_REALS} a service", reals.len());
            self.say(format!("{path}.real"), message);
            return;
        }
        let mut known = BTreeMap::new();
        for (index, real) in reals.iter().enumerate() {
            let at = At { service: path, index };
            if self.read(at, &["address"]) {
                let first = *known.entry((real.address, real.port)).or_insert(at);
                if first.index != index {
                    let what = format!("real {}", real.endpoint());
                    self.duplicate(&format!("{at}.address"), &what, &first.to_string());
                }
                self.real_address(at, service, real);
            }
            self.real_numbers(at, real);
        }
    }

    /// What the scheduler is told.
    fn scheduling(&mut self, path: &str, service: &ServiceSpec) {
        let ServiceSpec { scheduler, scheduler_flags, table_slots, .. } = service;
        let mut seen = BTreeMap::<_, String>::new();
        for (index, flag) in scheduler_flags.iter().enumerate() {
            let at = format!("{path}.flags[{index}]");
            if self.broken.contains(&at) {
                continue;
            }
            if let Some(first) = seen.get(flag) {
                self.duplicate(&at, &format!("flag {flag}"), first);
            } else if self.read(path, &["scheduler"]) {
                self.flag(path, &at, service, *flag);
            }
            seen.entry(flag).or_insert(at);
        }
        let Some(slots) = table_slots.filter(|_| self.read(path, &["table_slots"])) else { return };
        let key = format!("{path}.table_slots");
        if self.read(path, &["scheduler"]) && *scheduler != Scheduler::Mh {
            self.say(&key, format!("is for scheduler mh, this service has {scheduler}, which has no such table"));
        }
        if !TABLE_SLOTS.contains(&slots) {
            let known = TABLE_SLOTS.map(|slots| slots.to_string()).join(", ");
            self.say(&key, format!("{slots} is not one of the primes {known}"));
        }
    }

    fn flag(&mut self, path: &str, at: &str, service: &ServiceSpec, flag: SchedulerFlag) {
        let (scheduler, named) = (service.scheduler, flag.named_by(service.scheduler));
        if let Some(other) = flag.scheduler().filter(|other| *other != scheduler) {
            self.say(at, format!("flag {flag} is for scheduler {other}, this service has {scheduler}"));
        } else if named != flag {
            self.say(at, format!("scheduler {scheduler} calls flag {flag} {named}; write that"));
        } else if flag == SchedulerFlag::UdpActive {
            let is_blind =
                matches!(scheduler, Scheduler::Rr | Scheduler::Wrr | Scheduler::Sh | Scheduler::Dh | Scheduler::Mh);
            if is_blind {
                self.say(
                    at,
                    format!("flag {flag} means nothing to scheduler {scheduler}, which counts no connections"),
                );
            } else if !matches!(service.key.protocol, Protocol::Udp | Protocol::Mark) && self.key_read(path) {
                self.say(at, format!("flag {flag} is about udp, this service is {}", service.key.protocol));
            }
        }
    }

    fn persistence(&mut self, path: &str, service: &ServiceSpec) {
        let Some(Persistence { timeout, netmask }) = service.persistence else { return };
        let at = format!("{path}.persistence");
        self.range(&at, "timeout", timeout, &TIMEOUT_SECONDS);
        if let Some(netmask) = netmask.filter(|netmask| !netmask.fits(service.key.address))
            && self.key_read(path)
        {
            let ours = family(service.key.address);
            let example = if service.key.address.is_ipv4() { "255.255.255.0" } else { "/64" };
            let message =
                format!("{netmask} is not a netmask of {ours}, which service {} is; such as {example}", service.key);
            self.say(format!("{at}.netmask"), message);
        } else if let Some(netmask) = netmask.filter(|netmask| !netmask.is_contiguous()) {
            let message =
                format!("{netmask} has holes: leading bits of a client's address count here, such as 255.255.255.0");
            self.say(format!("{at}.netmask"), message);
        }
    }

    /// Without an entry for the connection nothing translates its answers back, and full NAT has no port to send from.
    fn one_packet(&mut self, path: &str, service: &ServiceSpec) {
        if !service.one_packet || !self.key_read(path) {
            return;
        }
        let key = format!("{path}.one_packet");
        if !matches!(service.key.protocol, Protocol::Udp | Protocol::Mark) {
            let message = format!("is for udp and for marks, this service is {}", service.key.protocol);
            self.say(&key, message);
        }
        let is_read = |at: &str| self.read(at, &["method"]);
        let reals = service.reals.iter().enumerate();
        let full = reals.filter(|(index, _)| is_read(&format!("{path}.real[{index}]")) && is_read(path));
        let full = full.map(|(_, real)| real).find(|real| service.method_of(real) == Method::FullNat);
        let why = "full NAT has to remember whom an answer is for";
        if let Some(real) = full {
            self.say(&key, format!("does not go with fullnat to real {}: {why}", real.endpoint()));
        } else if service.reals.is_empty() && service.method == Method::FullNat {
            self.say(&key, format!("does not go with method fullnat: {why}"));
        }
    }

    /// A helper's data connections are those of a service that the director makes for itself, of any port of the same address.
    fn helper(&mut self, path: &str, service: &ServiceSpec, helper: Helper) {
        let key = format!("{path}.helper");
        if service.key.mark().is_some() {
            self.say(
                &key,
                format!("{helper} is followed on an address and port, not by mark; make it a service of its own"),
            );
        } else if service.key.protocol != Protocol::Tcp {
            self.say(&key, format!("{helper} is spoken over tcp, this service is {}", service.key.protocol));
        } else if service.key.port == 0 {
            self.say(&key, format!("{helper} has control connections on a port of their own, such as 21; name it"));
        } else if let Some(any) = self.any_port.get(&service.key.address) {
            self.say(&key, format!("{any} takes the data connections of {helper}: one of the two has to go"));
        }
        let other = service.reals.iter().enumerate().find(|(index, real)| {
            let at = format!("{path}.real[{index}]");
            let is_read = self.read(&at, &["address", "method"]) && self.read(path, &["method"]);
            is_read && service.method_of(real) != Method::Nat
        });
        if let Some((_, real)) = other {
            let message = format!(
                "{helper} needs method nat, real {} has {}: behind other methods reals answer past the director, or never \
                 to the client's address",
                real.endpoint(),
                service.method_of(real)
            );
            self.say(&key, message);
        }
    }
}
