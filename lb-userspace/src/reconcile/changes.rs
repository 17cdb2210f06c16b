//! What differs between two Specs, in words: the lines of `xvs plan`.

use std::collections::BTreeMap;
use std::fmt::Display;
use std::net::SocketAddr;
use std::sync::Arc;

use crate::api::types::{ChangeAction, ChangeView};
use crate::model::{MarkRule, RealSpec, ServiceKey, ServiceSpec, SomeTimeouts, Spec};

/// Changes that are listed. Nobody reads more, and a million of them would be 150 MB.
pub const MOST_CHANGES: usize = 1000;

/// The changes from one Spec to another.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Changes {
    /// In the new one's order, removals first; at most [`MOST_CHANGES`].
    pub listed: Vec<ChangeView>,
    /// How many more there are.
    pub more: u64,
}

impl Changes {
    /// The two Specs say the same.
    pub fn is_empty(&self) -> bool {
        self.listed.is_empty()
    }

    fn push(&mut self, line: impl FnOnce() -> ChangeView) {
        if self.listed.len() < MOST_CHANGES {
            self.listed.push(line());
        } else {
            self.more += 1;
        }
    }
}

/// The changes from one Spec to another.
pub fn changes(old: &Spec, new: &Spec) -> Changes {
    let mut lines = Changes::default();
    let has_same_places = old.services.len() == new.services.len()
        && old.services.iter().zip(&new.services).all(|(one, other)| Arc::ptr_eq(one, other) || one.key == other.key);
    let index = |spec: &'_ Spec| -> BTreeMap<ServiceKey, usize> {
        if has_same_places {
            return BTreeMap::new();
        }
        spec.services.iter().enumerate().map(|(place, service)| (service.key, place)).collect()
    };
    let (places, new_places) = (index(old), index(new));
    let is_gone = |service: &&Arc<ServiceSpec>| !has_same_places && !new_places.contains_key(&service.key);
    for service in old.services.iter().filter(is_gone) {
        lines.push(|| {
            line(
                ChangeAction::Remove,
                format!("service {}", service.key),
                format!("with {} real servers", service.reals.len()),
            )
        });
    }
    if old.director != new.director {
        lines.push(|| line(ChangeAction::Change, "director".to_owned(), director(old, new)));
    }
    for rule in old.marks.iter().filter(|rule| !new.marks.contains(rule)) {
        lines.push(|| mark(ChangeAction::Remove, rule));
    }
    for rule in new.marks.iter().filter(|rule| !old.marks.contains(rule)) {
        lines.push(|| mark(ChangeAction::Add, rule));
    }
    for (place, service) in new.services.iter().enumerate() {
        let before = if has_same_places { Some(place) } else { places.get(&service.key).copied() };
        match before.map(|place| &old.services[place]) {
            Some(before) if before == service => {}
            Some(before) => change_service(&mut lines, before, service),
            None => {
                lines.push(|| {
                    line(
                        ChangeAction::Add,
                        format!("service {}", service.key),
                        format!("scheduler {}", service.scheduler),
                    )
                });
                service.reals.iter().for_each(|real| lines.push(|| add_real(service, real)));
            }
        }
    }
    lines
}

fn line(action: ChangeAction, target: String, detail: String) -> ChangeView {
    ChangeView { action, target, detail }
}

fn mark(action: ChangeAction, rule: &MarkRule) -> ChangeView {
    line(action, format!("mark {}", rule.mark), rule.to_string())
}

fn name(service: &ServiceSpec, real: &RealSpec) -> String {
    format!("real {} of {}", real.endpoint(), service.key)
}

fn add_real(service: &ServiceSpec, real: &RealSpec) -> ChangeView {
    line(ChangeAction::Add, name(service, real), format!("weight {}, {}", real.weight, service.method_of(real)))
}

fn change_service(lines: &mut Changes, old: &ServiceSpec, new: &ServiceSpec) {
    let reals = |service: &ServiceSpec| -> BTreeMap<SocketAddr, RealSpec> {
        service.reals.iter().map(|real| (real.endpoint(), real.clone())).collect()
    };
    let (old_reals, new_reals) = (reals(old), reals(new));
    for real in old.reals.iter().filter(|real| !new_reals.contains_key(&real.endpoint())) {
        lines.push(|| line(ChangeAction::Remove, name(old, real), format!("weight {}", real.weight)));
    }
    let mut details = Vec::new();
    differ(&mut details, "scheduler", &old.scheduler, &new.scheduler);
    differ(&mut details, "flags", &words(&old.scheduler_flags), &words(&new.scheduler_flags));
    differ(&mut details, "table slots", &or_default(old.table_slots), &or_default(new.table_slots));
    differ(&mut details, "persistence", &persistence(old), &persistence(new));
    differ(&mut details, "one packet", &old.one_packet, &new.one_packet);
    let (before, after) = (old.timeouts.unwrap_or_default(), new.timeouts.unwrap_or_default());
    differ(&mut details, "timeouts", &timeouts(before), &timeouts(after));
    differ(&mut details, "on_real_down", &old.on_real_down, &new.on_real_down);
    differ(&mut details, "helper", &or_none(old.helper), &or_none(new.helper));
    if old.health != new.health {
        details.push(match (&old.health, &new.health) {
            (None, _) => "health check added".to_owned(),
            (_, None) => "health check removed".to_owned(),
            _ => "health check changed".to_owned(),
        });
    }
    if !details.is_empty() {
        lines.push(|| line(ChangeAction::Change, format!("service {}", new.key), details.join(", ")));
    }
    for real in &new.reals {
        let Some(before) = old_reals.get(&real.endpoint()) else {
            lines.push(|| add_real(new, real));
            continue;
        };
        if before == real && old.method == new.method {
            continue;
        }
        let mut details = Vec::new();
        differ(&mut details, "weight", &before.weight, &real.weight);
        let thresholds = |real: &RealSpec| format!("{}/{}", real.upper_threshold, real.lower_threshold);
        differ(&mut details, "upper/lower threshold", &thresholds(before), &thresholds(real));
        if (before.tunnel_port, before.tunnel_checksum) != (real.tunnel_port, real.tunnel_checksum) {
            details.push("tunnel header".to_owned());
        }
        differ(&mut details, "method", &old.method_of(before), &new.method_of(real));
        if !details.is_empty() {
            lines.push(|| line(ChangeAction::Change, name(new, real), details.join(", ")));
        }
    }
    let order = |service: &ServiceSpec| service.reals.iter().map(RealSpec::endpoint).collect::<Vec<_>>();
    let (before, after) = (order(old), order(new));
    if before != after && before.len() == after.len() && before.iter().all(|endpoint| new_reals.contains_key(endpoint))
    {
        lines.push(|| {
            line(ChangeAction::Change, format!("service {}", new.key), "order of its real servers".to_owned())
        });
    }
}

fn differ<T: PartialEq + Display>(details: &mut Vec<String>, what: &str, old: &T, new: &T) {
    if old != new {
        details.push(format!("{what} {old} -> {new}"));
    }
}

fn or_none(word: Option<impl Display>) -> String {
    word.map_or_else(|| "none".to_owned(), |word| word.to_string())
}

fn or_default(number: Option<u32>) -> String {
    number.map_or_else(|| "default".to_owned(), |number| number.to_string())
}

fn persistence(service: &ServiceSpec) -> String {
    let Some(persistence) = service.persistence else { return "none".to_owned() };
    let mask = persistence.netmask.map(|mask| format!(" mask {mask}"));
    format!("{}s{}", persistence.timeout, mask.unwrap_or_default())
}

/// `tcp/tcp_fin/udp` in seconds.
fn timeouts(timeouts: SomeTimeouts) -> String {
    [timeouts.tcp, timeouts.tcp_fin, timeouts.udp].map(or_default).join("/")
}

fn words<T: Display>(words: &[T]) -> String {
    if words.is_empty() { "none".to_owned() } else { words.iter().map(T::to_string).collect::<Vec<_>>().join("+") }
}

fn director(old: &Spec, new: &Spec) -> String {
    let (old, new) = (&old.director, &new.director);
    let mut details = Vec::new();
    differ(&mut details, "interfaces", &words(&old.interfaces), &words(&new.interfaces));
    differ(&mut details, "tcp timeout", &old.timeouts.tcp, &new.timeouts.tcp);
    differ(&mut details, "tcp_fin timeout", &old.timeouts.tcp_fin, &new.timeouts.tcp_fin);
    differ(&mut details, "udp timeout", &old.timeouts.udp, &new.timeouts.udp);
    differ(&mut details, "sloppy_tcp", &old.sloppy_tcp, &new.sloppy_tcp);
    differ(&mut details, "sloppy_sctp", &old.sloppy_sctp, &new.sloppy_sctp);
    differ(&mut details, "expire_nodest_conn", &old.expire_nodest_conn, &new.expire_nodest_conn);
    let (before, after) = (old.expire_quiescent_template, new.expire_quiescent_template);
    differ(&mut details, "expire_quiescent_template", &before, &after);
    differ(&mut details, "conn_reuse_mode", &old.conn_reuse_mode, &new.conn_reuse_mode);
    differ(&mut details, "answer_echo", &old.answer_echo, &new.answer_echo);
    if (old.tunnel_source_v4, old.tunnel_source_v6, old.tunnel_source_vary)
        != (new.tunnel_source_v4, new.tunnel_source_v6, new.tunnel_source_vary)
    {
        details.push("tunnel source".to_owned());
    }
    differ(&mut details, "local addresses", &words(&old.local_addresses), &words(&new.local_addresses));
    differ(&mut details, "local ports", &old.local_ports, &new.local_ports);
    differ(&mut details, "toa", &old.toa, &new.toa);
    differ(&mut details, "clamp_mss", &old.clamp_mss, &new.clamp_mss);
    details.join(", ")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::parse::parse;

    #[test]
    fn tells_every_difference_and_nothing_else() {
        let old = parse(b"[[service]]\naddress = \"10.0.0.1:80\"\n[[service.real]]\naddress = \"10.0.1.1\"\n[[service.real]]\naddress = \"10.0.1.2\"\n").unwrap();
        assert!(changes(&old, &old).is_empty());
        let new = parse(b"[[service]]\naddress = \"10.0.0.1:80\"\nscheduler = \"rr\"\n[[service.real]]\naddress = \"10.0.1.1\"\nweight = 4\n[[service.real]]\naddress = \"10.0.1.3\"\n[[service]]\naddress = \"10.0.0.2:80\"\n").unwrap();
        let told: Vec<String> =
            changes(&old, &new).listed.iter().map(|c| format!("{} {}: {}", c.action, c.target, c.detail)).collect();
        assert_eq!(
            told,
            [
                "remove real 10.0.1.2:80 of tcp://10.0.0.1:80: weight 1",
                "change service tcp://10.0.0.1:80: scheduler wlc -> rr",
                "change real 10.0.1.1:80 of tcp://10.0.0.1:80: weight 1 -> 4",
                "add real 10.0.1.3:80 of tcp://10.0.0.1:80: weight 1, direct",
                "add service tcp://10.0.0.2:80: scheduler wlc",
            ]
        );
    }

    #[test]
    fn what_lvs_users_know_is_told_too() {
        let old = parse(b"[[mark]]\nmark = 1\naddress = \"10.0.0.1:80\"\n[[service]]\nmark = 1\n[[service.real]]\naddress = \"10.0.1.1\"\n").unwrap();
        let new = parse(
            b"[director]\nexpire_nodest_conn = true\nsloppy_sctp = true\nexpire_quiescent_template = true\nconn_reuse_mode = 1\n\
              [[mark]]\nmark = 1\naddress = \"10.0.0.1:443\"\n[[service]]\nmark = 1\nscheduler = \"mh\"\ntable_slots = 251\n\
              one_packet = true\npersistence = { timeout = 60, netmask = \"255.255.255.0\" }\ntimeouts = { udp = 5 }\n\
              [[service.real]]\naddress = \"10.0.1.1\"\nupper_threshold = 10\nlower_threshold = 2\n",
        )
        .unwrap();
        let told: Vec<String> =
            changes(&old, &new).listed.iter().map(|c| format!("{} {}: {}", c.action, c.target, c.detail)).collect();
        assert_eq!(
            told,
            [
                "change director: sloppy_sctp false -> true, expire_nodest_conn false -> true, \
                 expire_quiescent_template false -> true, conn_reuse_mode 3 -> 1",
                "remove mark 1: tcp 10.0.0.1:80",
                "add mark 1: tcp 10.0.0.1:443",
                "change service mark://1: scheduler wlc -> mh, table slots default -> 251, persistence none -> 60s mask \
                 255.255.255.0, one packet false -> true, timeouts default/default/default -> default/default/5",
                "change real 10.0.1.1:0 of mark://1: upper/lower threshold 0/0 -> 10/2",
            ]
        );
    }
}
