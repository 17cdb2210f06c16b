//! `xvs status` and `xvs stats`

use std::{fmt::Write as _, net::SocketAddr};

use super::{
    CliError,
    output::{Column, Output, table},
};
use crate::api::{
    client::Client,
    types::{Counters, EarlyFragmentsView, StatsView, StatusView},
};

pub(super) async fn status(client: &Client, out: &Output) -> Result<(), CliError> {
    out.show(&client.get::<StatusView>("/v1/status").await?, status_text)
}

fn status_text(status: &StatusView) -> String {
    let StatusView { version, pid, uptime_seconds, revision, interfaces, services, reals, connections, warnings } =
        status;
    let mut text = String::new();
    // Writing to a String cannot fail.
    let mut line = |name: &str, value: String| {
        let _ = writeln!(text, "{name:<12} {value}");
    };
    line("daemon", format!("xvs {version}, pid {pid}, up {}", uptime(*uptime_seconds)));
    line("revision", revision.to_string());
    for interface in interfaces {
        let (name, mode) = (&interface.name, interface.mode);
        let (index, program, link) = (interface.index, interface.program_id, interface.link_id);
        line("interface", format!("{name} (index {index}), {mode}, program {program}, link {link}"));
    }
    line("services", services.to_string());
    let (up, down, unresolved, drained) = (reals.up, reals.down, reals.unresolved, reals.drained);
    line("reals", format!("{}: {up} up, {down} down, {unresolved} unresolved, {drained} drained", reals.total));
    line("connections", format!("IPv4 {} of {}", connections.used_v4, connections.capacity_v4));
    line("", format!("IPv6 {} of {}", connections.used_v6, connections.capacity_v6));
    for warning in warnings {
        line("warning", warning.clone());
    }
    text
}

/// `3d 4h`, `4h 5m`, `5m 6s`, `6s`: the two units that matter.
fn uptime(seconds: u64) -> String {
    let (minutes, hours, days) = (seconds / 60, seconds / 3600, seconds / 86_400);
    match (days, hours, minutes) {
        (0, 0, 0) => format!("{seconds}s"),
        (0, 0, _) => format!("{minutes}m {}s", seconds % 60),
        (0, _, _) => format!("{hours}h {}m", minutes % 60),
        _ => format!("{days}d {}h", hours % 24),
    }
}

pub(super) async fn stats(client: &Client, out: &Output) -> Result<(), CliError> {
    out.show(&client.get::<StatsView>("/v1/stats").await?, stats_text)
}

fn stats_text(stats: &StatsView) -> String {
    let columns =
        [Column::Left("VERDICT"), Column::Left("ACTION"), Column::Right("PACKETS"), Column::Left("DESCRIPTION")];
    let rows = stats.verdicts.iter().map(|view| {
        vec![view.name.clone(), view.action.to_string(), view.packets.to_string(), view.description.clone()]
    });
    let mut text = table(&columns, rows);
    let columns = [
        Column::Left("SERVICE"),
        Column::Left("REAL"),
        Column::Right("CONNECTIONS"),
        Column::Right("PACKETS"),
        Column::Right("BYTES"),
        Column::Right("REPLIES"),
        Column::Right("REPLY BYTES"),
    ];
    let row = |service: String, real: String, counters: &Counters| {
        let Counters { connections, packets, bytes, reply_packets, reply_bytes } = counters;
        let numbers = [connections, packets, bytes, reply_packets, reply_bytes].map(u64::to_string);
        [service, real].into_iter().chain(numbers).collect()
    };
    let rows = stats.services.iter().flat_map(|view| {
        let whole = row(view.service.to_string(), "-".to_owned(), &view.counters);
        let reals = view.reals.iter().map(move |real| {
            row(view.service.to_string(), SocketAddr::new(real.address, real.port).to_string(), &real.counters)
        });
        std::iter::once(whole).chain(reals)
    });
    text.push('\n');
    text.push_str(&table(&columns, rows));
    let EarlyFragmentsView { waiting, sent_on, given_up } = stats.early_fragments;
    let _ = writeln!(text, "\nearly fragments: {waiting} waiting, {sent_on} sent on, {given_up} given up");
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_uptime_has_two_units() {
        assert_eq!([6, 306, 14_700, 273_600].map(uptime), ["6s", "5m 6s", "4h 5m", "3d 4h"]);
    }
}
