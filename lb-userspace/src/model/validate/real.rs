//! Real servers.

use super::{At, Check, THRESHOLD, WEIGHT, out_of_range};
use crate::model::address::{family, unusable};
use crate::model::spec::{RealSpec, ServiceSpec};
use crate::model::word::Method;

impl Check<'_> {
    /// The numbers of a real.
    pub(super) fn real_numbers(&mut self, at: At<'_>, real: &RealSpec) {
        let RealSpec { weight, upper_threshold: upper, lower_threshold: lower, .. } = *real;
        self.range(at, "weight", weight, &WEIGHT);
        self.range(at, "upper_threshold", upper, &THRESHOLD);
        self.range(at, "lower_threshold", lower, &THRESHOLD);
        if lower > upper && self.read(at, &["upper_threshold", "lower_threshold"]) {
            let message = match upper {
                0 => format!("{lower} means nothing without an upper threshold; set upper_threshold too"),
                _ => {
                    format!("{lower} is above the upper threshold {upper}: the real would come back before it is full")
                }
            };
            self.say(format!("{at}.lower_threshold"), message);
        }
    }

    pub(super) fn real_address(&mut self, at: At<'_>, service: &ServiceSpec, real: &RealSpec) {
        let path = at.service;
        let key = || format!("{at}.address");
        if let Some(reason) = unusable(real.address) {
            self.say(key(), format!("{} is {reason}: no real server can have it", real.address));
            return;
        }
        if !self.key_read(path) {
            return;
        }
        let method = service.method_of(real);
        let method_read = self.read(at, &["method"]) && (real.method.is_some() || self.read(path, &["method"]));
        let is_mark = service.key.mark().is_some();
        if method_read && is_mark && real.port != 0 && method != Method::Nat {
            let message = format!(
                "port {}: {method} forwarding does not rewrite the ports of a mark's service; leave it out, or use method nat",
                real.port
            );
            self.say(key(), message);
        }
        if method_read && !is_mark && real.port != service.key.port && !method.is_translated() {
            let message = format!(
                "port {} is not the service's port {}: {method} forwarding does not rewrite ports; leave it out, or use \
                 method nat or fullnat",
                real.port, service.key.port
            );
            self.say(key(), message);
        }
        if method_read && !is_mark && method.is_translated() && (real.port == 0) != (service.key.port == 0) {
            let message = match real.port {
                0 => "port 0 is for services of any port, whose packets keep their port".to_owned(),
                port => format!("port {port}: the service has any port, and its packets keep theirs; leave it out"),
            };
            self.say(key(), message);
        }
        if method_read && real.tunnel_port.is_some() && method != Method::Gue {
            self.say(format!("{at}.tunnel_port"), format!("{method} forwarding has no UDP header; use method gue"));
        }
        if real.tunnel_port == Some(0) {
            self.say(format!("{at}.tunnel_port"), out_of_range(0, &(1..=65_535)));
        }
        if method_read && real.tunnel_checksum.is_some() && !matches!(method, Method::Gue | Method::Gre) {
            let message = format!("{method} forwarding has no checksum to choose; use method gue or gre");
            self.say(format!("{at}.tunnel_checksum"), message);
        }
        if real.address == service.key.address {
            self.say(key(), format!("{} is the service's own address: its packets would come back", real.address));
            return;
        }
        let (ours, theirs) = (family(service.key.address), family(real.address));
        if method_read && method == Method::Direct && ours != theirs {
            let message = format!(
                "{} is {theirs} but service {} is {ours}: direct forwarding keeps the packet as it is; \
                 use method tunnel, gue, gre or fullnat",
                real.address, service.key
            );
            self.say(key(), message);
        }
        if method_read && method == Method::Nat && ours != theirs {
            let message = format!(
                "{} is {theirs} but service {} is {ours}: nat keeps the client's address, which has no place in the \
                 other family; use method fullnat",
                real.address, service.key
            );
            self.say(key(), message);
        }
        if method_read && method == Method::FullNat && !self.locals.contains(&real.address.is_ipv4()) {
            let message = format!(
                "fullnat to {} sends from an {theirs} address of the director: name one in director.local_addresses",
                real.address
            );
            self.say(key(), message);
        }
    }
}
