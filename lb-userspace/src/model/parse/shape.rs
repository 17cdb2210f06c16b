//! The keys of a configuration file, table by table.
//!
//! Only reads: whether the values make sense together is for `validate`. What cannot be read holds its default
//! and is in the report, under the key `validate` is told to leave alone.

use std::net::{IpAddr, Ipv4Addr};

use toml_edit::Table;

use super::reader::{Report, Section, Unread};
use crate::model::{
    duration,
    health::{self, HealthSpec, Probe, ProbeKind},
    key::{ServiceKey, parse_real},
    spec::{DEFAULT_WEIGHT, DirectorSpec, RealSpec, ServiceSpec, Spec, TimeoutSpec},
    validate::{CHECK_COUNT, TIMEOUT_SECONDS, WEIGHT},
    word::{Protocol, SchedulerFlag},
};

/// Stands where an address could not be read; never leaves [`super::parse`].
const UNREAD: IpAddr = IpAddr::V4(Ipv4Addr::UNSPECIFIED);

/// Reads a whole document. The Spec is complete, and of use, only when nothing is unread.
pub(super) fn read(table: &Table) -> (Spec, Vec<Unread>) {
    let report = Report::default();
    let mut root = Section::root(&report, table);
    let director = root.section("director").map(director).unwrap_or_default();
    let services = root.sections("service").into_iter().map(service).collect();
    root.finish();
    (Spec { director, services }, report.into_inner())
}

fn director(mut section: Section<'_>) -> DirectorSpec {
    let default = DirectorSpec::default();
    let director = DirectorSpec {
        interfaces: section
            .list("interfaces", &String::new(), |name| Ok::<_, String>(name.to_owned()))
            .unwrap_or(default.interfaces),
        timeouts: section.section("timeouts").map(timeouts).unwrap_or_default(),
        sloppy_tcp: section.boolean("sloppy_tcp").unwrap_or(default.sloppy_tcp),
        answer_echo: section.boolean("answer_echo").unwrap_or(default.answer_echo),
        tunnel_source_v4: section.read("tunnel_source_v4", |text| address_of(text, "an IPv4 address")),
        tunnel_source_v6: section.read("tunnel_source_v6", |text| address_of(text, "an IPv6 address")),
        tunnel_source_vary: section.boolean("tunnel_source_vary").unwrap_or(default.tunnel_source_vary),
        local_addresses: section
            .list("local_addresses", &UNREAD, |text| address_of(text, "an IP address"))
            .unwrap_or(default.local_addresses),
        local_ports: section.read("local_ports", str::parse).unwrap_or(default.local_ports),
        toa: section.boolean("toa").unwrap_or(default.toa),
        clamp_mss: section.boolean("clamp_mss").unwrap_or(default.clamp_mss),
    };
    section.finish();
    director
}

fn address_of<T: std::str::FromStr>(text: &str, what: &str) -> Result<T, String> {
    text.parse().map_err(|_| format!("{text:?} is not {what}"))
}

fn timeouts(mut section: Section<'_>) -> TimeoutSpec {
    let default = TimeoutSpec::default();
    let (low, high) = (i64::from(*TIMEOUT_SECONDS.start()), i64::from(*TIMEOUT_SECONDS.end()));
    let timeouts = TimeoutSpec {
        tcp: section.number("tcp", low, high).unwrap_or(default.tcp),
        tcp_fin: section.number("tcp_fin", low, high).unwrap_or(default.tcp_fin),
        udp: section.number("udp", low, high).unwrap_or(default.udp),
    };
    section.finish();
    timeouts
}

fn service(mut section: Section<'_>) -> ServiceSpec {
    let protocol = section.word("protocol").unwrap_or_default();
    let address = section.read("address", |text| ServiceKey::with_protocol(protocol, text));
    if !section.has("address") {
        section.missing("address", "\"10.0.0.1:80\"");
    }
    let key = address.unwrap_or(ServiceKey { protocol: Protocol::default(), address: UNREAD, port: 0 });
    let service = ServiceSpec {
        key,
        scheduler: section.word("scheduler").unwrap_or_default(),
        scheduler_flags: section.list("flags", &SchedulerFlag::ShPort, str::parse).unwrap_or_default(),
        method: section.word("method").unwrap_or_default(),
        on_real_down: section.word("on_real_down").unwrap_or_default(),
        helper: section.word("helper"),
        health: section.section("health").map(health),
        reals: section.sections("real").into_iter().map(|section| real(section, key.port)).collect(),
    };
    section.finish();
    service
}

fn real(mut section: Section<'_>, service_port: u16) -> RealSpec {
    let address = section.read("address", parse_real);
    if !section.has("address") {
        section.missing("address", "\"10.0.1.1\"");
    }
    let (address, port) = address.unwrap_or((UNREAD, None));
    let real = RealSpec {
        address,
        port: port.unwrap_or(service_port),
        weight: section
            .number("weight", i64::from(*WEIGHT.start()), i64::from(*WEIGHT.end()))
            .unwrap_or(DEFAULT_WEIGHT),
        method: section.word("method"),
        tunnel_port: section.number("tunnel_port", 1, 65_535),
        tunnel_checksum: section.boolean("tunnel_checksum"),
    };
    section.finish();
    real
}

fn health(mut section: Section<'_>) -> HealthSpec {
    let kind = section.word("type");
    if !section.has("type") {
        section.missing("type", "\"tcp\" (or \"http\")");
    }
    // Without a readable type the keys of HTTP are taken as known: one mistake, one problem.
    let mut spec = HealthSpec::new(kind.unwrap_or(ProbeKind::Http));
    let (low, high) = (i64::from(*CHECK_COUNT.start()), i64::from(*CHECK_COUNT.end()));
    spec.port = section.number("port", 1, 65_535);
    spec.interval_ms = section.read("interval", duration::parse).unwrap_or(spec.interval_ms);
    spec.timeout_ms = section.read("timeout", duration::parse).unwrap_or(spec.timeout_ms);
    spec.rise = section.number("rise", low, high).unwrap_or(spec.rise);
    spec.fall = section.number("fall", low, high).unwrap_or(spec.fall);
    if let Probe::Http { path, host, status } = &mut spec.probe {
        *path = section.text("path").unwrap_or_else(|| health::DEFAULT_PATH.to_owned());
        *host = section.text("host");
        // A single range needs no list.
        *status = match section.is_text("status") {
            true => section.read("status", health::parse_status).map(|range| vec![range]),
            false => section.list("status", &(200..=200), health::parse_status),
        }
        .unwrap_or_else(health::default_status);
    }
    section.finish();
    spec
}
