//! Spec to TOML. What is written parses back to the same Spec (property-tested), and reads as an operator
//! would have written it: what is at its default is left out, but for the three words every service is about.

use std::fmt::Display;
use std::net::IpAddr;

use toml_edit::{Array, ArrayOfTables, DocumentMut, Item, Table, value};

use super::{
    duration,
    health::{self, HealthSpec, Probe},
    ports::PortRange,
    spec::{DirectorSpec, RealSpec, ServiceSpec, Spec, TimeoutSpec},
    word::OnRealDown,
};

/// Writes a Spec as TOML.
pub fn to_toml(spec: &Spec) -> String {
    let Spec { director, services } = spec;
    let mut document = DocumentMut::new();
    let table = director_table(director);
    if !table.is_empty() {
        document.insert("director", Item::Table(table));
    }
    if !services.is_empty() {
        let tables: ArrayOfTables = services.iter().map(service_table).collect();
        document.insert("service", Item::ArrayOfTables(tables));
    }
    document.to_string()
}

fn director_table(director: &DirectorSpec) -> Table {
    let DirectorSpec {
        interfaces,
        timeouts,
        sloppy_tcp,
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
    if *sloppy_tcp {
        table.insert("sloppy_tcp", value(true));
    }
    if *answer_echo {
        table.insert("answer_echo", value(true));
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
                inner.insert(key, value(i64::from(*seconds)));
            }
        }
        table.insert("timeouts", Item::Table(inner));
    }
    table
}

fn service_table(service: &ServiceSpec) -> Table {
    let ServiceSpec { key, scheduler, scheduler_flags, method, on_real_down, helper, health, reals } = service;
    let mut table = Table::new();
    table.insert("address", word(key.endpoint()));
    table.insert("protocol", word(key.protocol));
    table.insert("scheduler", word(scheduler));
    if !scheduler_flags.is_empty() {
        table.insert("flags", value(scheduler_flags.iter().map(|flag| flag.as_str()).collect::<Array>()));
    }
    table.insert("method", word(method));
    if *on_real_down != OnRealDown::default() {
        table.insert("on_real_down", word(on_real_down));
    }
    if let Some(helper) = helper {
        table.insert("helper", word(helper));
    }
    if let Some(health) = health {
        table.insert("health", Item::Table(health_table(health)));
    }
    if !reals.is_empty() {
        let tables: ArrayOfTables = reals.iter().map(|real| real_table(real, key.port)).collect();
        table.insert("real", Item::ArrayOfTables(tables));
    }
    table
}

fn real_table(real: &RealSpec, service_port: u16) -> Table {
    let RealSpec { address, port, weight, method, tunnel_port, tunnel_checksum } = real;
    let mut table = Table::new();
    match *port == service_port {
        true => table.insert("address", word(address)),
        false => table.insert("address", word(real.endpoint())),
    };
    table.insert("weight", value(i64::from(*weight)));
    if let Some(method) = method {
        table.insert("method", word(method));
    }
    if let Some(port) = tunnel_port {
        table.insert("tunnel_port", value(i64::from(*port)));
    }
    if let Some(checksum) = tunnel_checksum {
        table.insert("tunnel_checksum", value(*checksum));
    }
    table
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
    table.insert("rise", value(i64::from(*rise)));
    table.insert("fall", value(i64::from(*fall)));
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
