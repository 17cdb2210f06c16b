//! The keys of a configuration file, table by table.
//!
//! Only reads: whether the values make sense together is for `validate`. What cannot be read holds its default
//! and is in the report, under the key `validate` is told to leave alone.

use std::net::{IpAddr, Ipv4Addr};
use std::ops::RangeInclusive;
use std::sync::Arc;

use toml_edit::Table;

use super::reader::{Report, Section, Unread};
use crate::model::{
    duration,
    health::{self, HealthSpec, Probe, ProbeKind},
    key::{ServiceKey, parse_real},
    mark::{Destination, MarkRule},
    persistence::Persistence,
    spec::{DEFAULT_WEIGHT, DirectorSpec, RealSpec, ServiceSpec, SomeTimeouts, Spec, TimeoutSpec},
    validate::{CHECK_COUNT, CONN_REUSE_MODE, MARK, TABLE_SLOTS, THRESHOLD, TIMEOUT_SECONDS, WEIGHT},
    word::{Family, Protocol, SchedulerFlag},
};

/// Stands where an address could not be read; never leaves [`super::parse`].
const UNREAD: IpAddr = IpAddr::V4(Ipv4Addr::UNSPECIFIED);

/// Reads a whole document. The Spec is complete, and of use, only when nothing is unread.
pub(super) fn read(table: &Table) -> (Spec, Vec<Unread>) {
    let report = Report::default();
    let mut root = Section::root(&report, table);
    let director = root.section("director").map(director).unwrap_or_default();
    let marks = root.sections("mark").into_iter().map(mark).collect();
    let services = root.sections("service").into_iter().map(service).map(Arc::new).collect();
    root.finish();
    (Spec { director, marks, services }, report.into_inner())
}

fn director(mut section: Section<'_>) -> DirectorSpec {
    let default = DirectorSpec::default();
    let director = DirectorSpec {
        interfaces: section
            .list("interfaces", &String::new(), |name| Ok::<_, String>(name.to_owned()))
            .unwrap_or(default.interfaces),
        timeouts: section.section("timeouts").map(timeouts).unwrap_or_default(),
        sloppy_tcp: section.boolean("sloppy_tcp").unwrap_or(default.sloppy_tcp),
        sloppy_sctp: section.boolean("sloppy_sctp").unwrap_or(default.sloppy_sctp),
        expire_nodest_conn: section.boolean("expire_nodest_conn").unwrap_or(default.expire_nodest_conn),
        expire_quiescent_template: section
            .boolean("expire_quiescent_template")
            .unwrap_or(default.expire_quiescent_template),
        conn_reuse_mode: number(&mut section, "conn_reuse_mode", &CONN_REUSE_MODE).unwrap_or(default.conn_reuse_mode),
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
    let SomeTimeouts { tcp, tcp_fin, udp } = seconds(&mut section);
    section.finish();
    TimeoutSpec {
        tcp: tcp.unwrap_or(default.tcp),
        tcp_fin: tcp_fin.unwrap_or(default.tcp_fin),
        udp: udp.unwrap_or(default.udp),
    }
}

fn seconds(section: &mut Section<'_>) -> SomeTimeouts {
    SomeTimeouts {
        tcp: number(section, "tcp", &TIMEOUT_SECONDS),
        tcp_fin: number(section, "tcp_fin", &TIMEOUT_SECONDS),
        udp: number(section, "udp", &TIMEOUT_SECONDS),
    }
}

/// A number that `validate` has this range for.
fn number(section: &mut Section<'_>, key: &'static str, range: &RangeInclusive<u32>) -> Option<u32> {
    section.number(key, i64::from(*range.start()), i64::from(*range.end()))
}

fn mark(mut section: Section<'_>) -> MarkRule {
    let mark = number(&mut section, "mark", &MARK);
    if !section.has("mark") {
        section.missing("mark", "1");
    }
    let protocol = section.word("protocol").unwrap_or_default();
    let destination = section.word("address");
    if !section.has("address") {
        section.missing("address", "\"10.0.0.1:80\"");
    }
    section.finish();
    let unread = Destination { address: UNREAD, prefix: 32, ports: None };
    MarkRule::new(mark.unwrap_or_default(), protocol, destination.unwrap_or(unread))
}

/// A service's `mark` and `family`, or its `protocol` and `address`; none when they could not be read.
fn key(section: &mut Section<'_>) -> Option<ServiceKey> {
    let protocol = section.word("protocol");
    let address = section.read("address", |text| match protocol.unwrap_or_default() {
        // Said below.
        Protocol::Mark => Ok(None),
        protocol => ServiceKey::with_protocol(protocol, text).map(Some),
    });
    let mark = number(section, "mark", &MARK);
    let family = section.word("family");
    if section.has("mark") {
        for key in ["protocol", "address"] {
            section.refuse(key, "a mark's service has none: the rules of the mark say what it takes");
        }
        return mark.map(|mark| ServiceKey::of_mark(mark, family == Some(Family::Ipv6)));
    }
    section.refuse("family", "is for a mark's service; here the address tells the family");
    if protocol == Some(Protocol::Mark) {
        section.refuse("protocol", "a mark's service is written mark = 1, without protocol and address");
    } else if !section.has("address") {
        section.missing("address", "\"10.0.0.1:80\"");
    }
    address.flatten()
}

fn persistence(mut section: Section<'_>) -> Persistence {
    let default = Persistence::default();
    let persistence = Persistence {
        timeout: number(&mut section, "timeout", &TIMEOUT_SECONDS).unwrap_or(default.timeout),
        netmask: section.word("netmask"),
    };
    section.finish();
    persistence
}

fn service_timeouts(mut section: Section<'_>) -> SomeTimeouts {
    let timeouts = seconds(&mut section);
    section.finish();
    timeouts
}

fn service(mut section: Section<'_>) -> ServiceSpec {
    let key = key(&mut section).unwrap_or(ServiceKey { protocol: Protocol::default(), address: UNREAD, port: 0 });
    let mut service = ServiceSpec {
        key,
        scheduler: section.word("scheduler").unwrap_or_default(),
        scheduler_flags: section.list("flags", &SchedulerFlag::ShPort, str::parse).unwrap_or_default(),
        table_slots: number(&mut section, "table_slots", &(TABLE_SLOTS[0]..=TABLE_SLOTS[9])),
        persistence: section.section("persistence").map(persistence),
        one_packet: section.boolean("one_packet").unwrap_or_default(),
        timeouts: section.section("timeouts").map(service_timeouts),
        method: section.word("method").unwrap_or_default(),
        on_real_down: section.word("on_real_down").unwrap_or_default(),
        helper: section.word("helper"),
        health: section.section("health").map(health),
        reals: section.sections("real").into_iter().map(|section| real(section, key.port)).collect(),
    };
    section.finish();
    service.name_flags();
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
        weight: number(&mut section, "weight", &WEIGHT).unwrap_or(DEFAULT_WEIGHT),
        upper_threshold: number(&mut section, "upper_threshold", &THRESHOLD).unwrap_or_default(),
        lower_threshold: number(&mut section, "lower_threshold", &THRESHOLD).unwrap_or_default(),
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
    spec.port = section.number("port", 1, 65_535);
    spec.interval_ms = section.read("interval", duration::parse).unwrap_or(spec.interval_ms);
    spec.timeout_ms = section.read("timeout", duration::parse).unwrap_or(spec.timeout_ms);
    spec.rise = number(&mut section, "rise", &CHECK_COUNT).unwrap_or(spec.rise);
    spec.fall = number(&mut section, "fall", &CHECK_COUNT).unwrap_or(spec.fall);
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
