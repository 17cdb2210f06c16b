//! Spec to TOML. What is written parses back to the same Spec (property-tested), and reads as an operator
//! would have written it: what is at its default is left out, but for the three words every service is about.

use std::fmt::{Display, Write as _};
use std::net::IpAddr;

use toml_edit::{Array, ArrayOfTables, DocumentMut, Item, Table, value};

use super::{
    duration,
    health::{self, HealthSpec, Probe},
    key::ServiceKey,
    mark::MarkRule,
    persistence::Persistence,
    ports::PortRange,
    spec::{DEFAULT_CONN_REUSE_MODE, DirectorSpec, RealSpec, ServiceSpec, SomeTimeouts, Spec, TimeoutSpec},
    word::{Family, OnRealDown},
};

/// Writes a Spec as TOML.
pub fn to_toml(spec: &Spec) -> String {
    let Spec { director, marks, services } = spec;
    let mut document = DocumentMut::new();
    let table = director_table(director);
    if !table.is_empty() {
        document.insert("director", Item::Table(table));
    }
    if !marks.is_empty() {
        let tables: ArrayOfTables = marks.iter().map(mark_table).collect();
        document.insert("mark", Item::ArrayOfTables(tables));
    }
    let mut text = document.to_string();
    for service in services {
        // One document for each: one for a million reals takes gigabytes.
        let mut document = DocumentMut::new();
        document.insert("service", Item::ArrayOfTables(ArrayOfTables::from_iter([service_table(service)])));
        separate(&mut text);
        text.push_str(document.to_string().trim_start_matches('\n'));
        for real in &service.reals {
            separate(&mut text);
            text.push_str("[[service.real]]\n");
            real_text(&mut text, real, service.key.port);
        }
    }
    text
}

/// An empty line between tables.
fn separate(text: &mut String) {
    if !text.is_empty() {
        text.push('\n');
    }
}

fn director_table(director: &DirectorSpec) -> Table {
    let DirectorSpec {
        interfaces,
        timeouts,
        sloppy_tcp,
        sloppy_sctp,
        expire_nodest_conn,
        expire_quiescent_template,
        conn_reuse_mode,
        answer_echo,
        tunnel_source_v4,
        tunnel_source_v6,
        tunnel_source_vary,
        local_addresses,
        local_ports,
        toa,
        clamp_mss,
    } = director;
    let mut table = Table::new();
    if !interfaces.is_empty() {
        table.insert("interfaces", value(interfaces.iter().collect::<Array>()));
    }
    let switches = [
        ("sloppy_tcp", sloppy_tcp),
        ("sloppy_sctp", sloppy_sctp),
        ("expire_nodest_conn", expire_nodest_conn),
        ("expire_quiescent_template", expire_quiescent_template),
        ("answer_echo", answer_echo),
    ];
    for (key, _) in switches.into_iter().filter(|(_, is_on)| **is_on) {
        table.insert(key, value(true));
    }
    if *conn_reuse_mode != DEFAULT_CONN_REUSE_MODE {
        table.insert("conn_reuse_mode", number(*conn_reuse_mode));
    }
    if let Some(source) = tunnel_source_v4 {
        table.insert("tunnel_source_v4", word(source));
    }
    if let Some(source) = tunnel_source_v6 {
        table.insert("tunnel_source_v6", word(source));
    }
    if !*tunnel_source_vary {
        table.insert("tunnel_source_vary", value(false));
    }
    if !local_addresses.is_empty() {
        table.insert("local_addresses", value(local_addresses.iter().map(IpAddr::to_string).collect::<Array>()));
    }
    if *local_ports != PortRange::default() {
        table.insert("local_ports", word(local_ports));
    }
    if *toa {
        table.insert("toa", value(true));
    }
    if *clamp_mss {
        table.insert("clamp_mss", value(true));
    }
    let default = TimeoutSpec::default();
    if *timeouts != default {
        let TimeoutSpec { tcp, tcp_fin, udp } = timeouts;
        let mut inner = Table::new();
        for (key, seconds, default) in
            [("tcp", tcp, default.tcp), ("tcp_fin", tcp_fin, default.tcp_fin), ("udp", udp, default.udp)]
        {
            if *seconds != default {
                inner.insert(key, number(*seconds));
            }
        }
        table.insert("timeouts", Item::Table(inner));
    }
    table
}

fn service_table(service: &ServiceSpec) -> Table {
    let ServiceSpec {
        key,
        scheduler,
        scheduler_flags,
        table_slots,
        persistence,
        one_packet,
        timeouts,
        method,
        on_real_down,
        helper,
        health,
        reals: _,
    } = service;
    let mut table = Table::new();
    insert_key(&mut table, key);
    table.insert("scheduler", word(scheduler));
    if !scheduler_flags.is_empty() {
        table.insert("flags", value(scheduler_flags.iter().map(|flag| flag.as_str()).collect::<Array>()));
    }
    if let Some(slots) = table_slots {
        table.insert("table_slots", number(*slots));
    }
    if *one_packet {
        table.insert("one_packet", value(true));
    }
    table.insert("method", word(method));
    if *on_real_down != OnRealDown::default() {
        table.insert("on_real_down", word(on_real_down));
    }
    if let Some(helper) = helper {
        table.insert("helper", word(helper));
    }
    if let Some(persistence) = persistence {
        table.insert("persistence", Item::Table(persistence_table(persistence)));
    }
    if let Some(timeouts) = timeouts {
        table.insert("timeouts", Item::Table(timeouts_table(timeouts)));
    }
    if let Some(health) = health {
        table.insert("health", Item::Table(health_table(health)));
    }
    table
}

fn insert_key(table: &mut Table, key: &ServiceKey) {
    match key.mark() {
        Some(mark) => {
            table.insert("mark", number(mark));
            if key.address.is_ipv6() {
                table.insert("family", word(Family::Ipv6));
            }
        }
        None => {
            table.insert("address", word(key.endpoint()));
            table.insert("protocol", word(key.protocol));
        }
    }
}

fn mark_table(rule: &MarkRule) -> Table {
    let mut table = Table::new();
    table.insert("mark", number(rule.mark));
    table.insert("protocol", word(rule.protocol));
    table.insert("address", word(rule.destination()));
    table
}

fn persistence_table(persistence: &Persistence) -> Table {
    let Persistence { timeout, netmask } = persistence;
    let mut table = Table::new();
    table.insert("timeout", number(*timeout));
    if let Some(netmask) = netmask {
        table.insert("netmask", word(netmask));
    }
    table
}

fn timeouts_table(timeouts: &SomeTimeouts) -> Table {
    let SomeTimeouts { tcp, tcp_fin, udp } = timeouts;
    let mut table = Table::new();
    for (key, seconds) in [("tcp", tcp), ("tcp_fin", tcp_fin), ("udp", udp)] {
        if let Some(seconds) = seconds {
            table.insert(key, number(*seconds));
        }
    }
    table
}

/// Addresses, numbers and words: nothing in it has to be escaped. Writing to a String cannot fail.
fn real_text(text: &mut String, real: &RealSpec, service_port: u16) {
    let RealSpec { address, port, weight, upper_threshold, lower_threshold, method, tunnel_port, tunnel_checksum } =
        real;
    let _ = match *port == service_port {
        true => writeln!(text, "address = \"{address}\""),
        false => writeln!(text, "address = \"{}\"", real.endpoint()),
    };
    let _ = writeln!(text, "weight = {weight}");
    for (key, connections) in [("upper_threshold", upper_threshold), ("lower_threshold", lower_threshold)] {
        if *connections != 0 {
            let _ = writeln!(text, "{key} = {connections}");
        }
    }
    if let Some(method) = method {
        let _ = writeln!(text, "method = \"{method}\"");
    }
    if let Some(port) = tunnel_port {
        let _ = writeln!(text, "tunnel_port = {port}");
    }
    if let Some(checksum) = tunnel_checksum {
        let _ = writeln!(text, "tunnel_checksum = {checksum}");
    }
}

fn health_table(check: &HealthSpec) -> Table {
    let HealthSpec { port, interval_ms, timeout_ms, rise, fall, probe } = check;
    let mut table = Table::new();
    table.insert("type", word(check.kind()));
    if let Some(port) = port {
        table.insert("port", value(i64::from(*port)));
    }
    table.insert("interval", word(duration::text(*interval_ms)));
    table.insert("timeout", word(duration::text(*timeout_ms)));
    table.insert("rise", number(*rise));
    table.insert("fall", number(*fall));
    if let Probe::Http { path, host, status } = probe {
        table.insert("path", word(path));
        if let Some(host) = host {
            table.insert("host", word(host));
        }
        if *status != health::default_status() {
            table.insert("status", value(status.iter().map(health::status_text).collect::<Array>()));
        }
    }
    table
}

fn number(number: u32) -> Item {
    value(i64::from(number))
}

fn word(text: impl Display) -> Item {
    value(text.to_string())
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::model::{arbitrary, parse};

    #[test]
    fn an_export_reads_as_an_operator_would_write_it() {
        let text = "[director]\ninterfaces = [\"eth0\"]\n\n[director.timeouts]\nudp = 60\n\n[[service]]\n\
                    address = \"[fd00::1]:443\"\nprotocol = \"tcp\"\nscheduler = \"sh\"\nflags = [\"sh-port\"]\n\
                    method = \"tunnel\"\n\n[service.health]\ntype = \"http\"\ninterval = \"2s\"\n\
                    timeout = \"1s\"\nrise = 2\nfall = 3\npath = \"/health\"\n\n[[service.real]]\n\
                    address = \"10.0.1.1\"\nweight = 5\n";
        assert_eq!(to_toml(&parse::parse(text.as_bytes()).unwrap()), text);
    }

    proptest! {
        #[test]
        fn every_valid_spec_reads_back(spec in arbitrary::spec()) {
            let text = to_toml(&spec);
            let back = parse::parse(text.as_bytes()).map_err(|problems| TestCaseError::fail(format!("{problems:?}\n{text}")))?;
            prop_assert_eq!(back, spec);
        }

        #[test]
        fn every_valid_spec_survives_json(spec in arbitrary::spec()) {
            let text = serde_json::to_string(&spec).unwrap();
            prop_assert_eq!(serde_json::from_str::<Spec>(&text).unwrap(), spec);
        }
    }
}
