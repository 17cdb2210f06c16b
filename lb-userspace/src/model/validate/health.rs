//! Health checks.

use std::ops::RangeInclusive;

use super::{CHECK_COUNT, CHECK_INTERVAL_MS, CHECK_TIMEOUT_MS, Check, out_of_range};
use crate::model::duration;
use crate::model::health::{HealthSpec, Probe};
use crate::model::spec::ServiceSpec;
use crate::model::word::Protocol;

/// Bytes of a health check's path.
const MAX_PATH: usize = 1024;
/// Bytes of a `Host` header: 253 for the name (RFC 1035), 6 for the port.
const MAX_HOST: usize = 259;

impl Check<'_> {
    pub(super) fn health(&mut self, service_path: &str, service: &ServiceSpec, health: &HealthSpec) {
        let path = &format!("{service_path}.health");
        let HealthSpec { port, interval_ms, timeout_ms, rise, fall, probe } = health;
        match port {
            Some(0) => self.say(format!("{path}.port"), out_of_range(0, &(1..=65_535))),
            None if self.read(path, &["port"]) && self.key_read(service_path) => {
                if let Some(message) = missing_port(service) {
                    self.say(format!("{path}.port"), message);
                }
            }
            _ => {}
        }
        let interval = self.duration(path, "interval", *interval_ms, &CHECK_INTERVAL_MS);
        let timeout = self.duration(path, "timeout", *timeout_ms, &CHECK_TIMEOUT_MS);
        if interval && timeout && timeout_ms > interval_ms {
            let (timeout, interval) = (duration::text(*timeout_ms), duration::text(*interval_ms));
            let message = format!("{timeout} is longer than interval {interval}: checks would run into each other");
            self.say(format!("{path}.timeout"), message);
        }
        self.range(path, "rise", *rise, &CHECK_COUNT);
        self.range(path, "fall", *fall, &CHECK_COUNT);
        if let Probe::Http { path: request, host, status } = probe {
            // Both go into a request as they are: a space or a line end would make it another request.
            let clean = |text: &str| text.bytes().all(|byte| byte.is_ascii_graphic());
            if !request.starts_with('/') || !clean(request) || request.len() > MAX_PATH {
                let message =
                    format!("{request:?} is not a path (starts with /, printable ASCII, up to {MAX_PATH} bytes)");
                self.say(format!("{path}.path"), message);
            }
            if let Some(host) = host.as_ref().filter(|host| host.is_empty() || !clean(host) || host.len() > MAX_HOST) {
                self.say(format!("{path}.host"), format!("{host:?} is not a host name"));
            }
            if status.is_empty() && self.read(path, &["status"]) {
                self.say(format!("{path}.status"), "empty: no answer would count as success");
            }
            for (index, range) in status.iter().enumerate() {
                let at = format!("{path}.status[{index}]");
                if range.is_empty() || *range.start() < 100 || *range.end() > 599 {
                    self.say(at, format!("{}-{} is not a range within 100-599", range.start(), range.end()));
                }
            }
        }
    }

    /// Checks a duration; true when it was readable and in its range.
    fn duration(&mut self, path: &str, key: &str, ms: u64, range: &RangeInclusive<u64>) -> bool {
        if !self.read(path, &[key]) {
            return false;
        }
        let fits = range.contains(&ms);
        if !fits {
            let (low, high) = (duration::text(*range.start()), duration::text(*range.end()));
            self.say(format!("{path}.{key}"), format!("{} is out of range; from {low} to {high}", duration::text(ms)));
        }
        fits
    }
}

/// Why a check of this service has to name a port, when it has to.
fn missing_port(service: &ServiceSpec) -> Option<String> {
    let ServiceSpec { key, reals, .. } = service;
    if key.mark().is_some() {
        let real = reals.iter().find(|real| real.port == 0)?;
        let why = "of this mark's service has no port of its own, so the check must name one";
        return Some(format!("missing: real {} {why}", real.address));
    }
    if key.port == 0 {
        return Some("missing: the service has any port, so the check must name one".to_owned());
    }
    let why = "missing: checks ask by TCP, which an SCTP port does not answer; name a TCP port";
    (key.protocol == Protocol::Sctp).then(|| why.to_owned())
}
