//! The table for people.

use std::fmt::Write as _;

use serde::{Deserialize, Serialize};

use super::process::Memory;
use crate::figures::Figure;

/// All of one size. Seconds, unless a name says otherwise.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub(crate) struct Measured {
    pub(crate) services: usize,
    pub(crate) reals: usize,
    pub(crate) applied: Option<Figure>,
    /// Until all reals take connections, from the beginning of `apply` on.
    pub(crate) up: f64,
    /// The same file once more.
    pub(crate) again: f64,
    /// Milliseconds from the request for another weight until the tables show it.
    pub(crate) seen: Option<Figure>,
    /// Milliseconds until it is answered.
    pub(crate) answered: Option<Figure>,
    /// Milliseconds of `xvs real edit`.
    pub(crate) command: Option<Figure>,
    pub(crate) service_list: f64,
    pub(crate) real_list: f64,
    pub(crate) export: f64,
    pub(crate) ipvsadm: f64,
    pub(crate) connections: u64,
    pub(crate) listed: Option<Figure>,
    /// After `kill -9`, until `xvs status` answers.
    pub(crate) started: Option<Figure>,
    pub(crate) empty: Memory,
    pub(crate) applied_memory: Memory,
    pub(crate) memory: Memory,
    pub(crate) connected_memory: Option<Memory>,
    pub(crate) restarted_memory: Memory,
    /// Percent of a core.
    pub(crate) idle_empty: f64,
    pub(crate) idle: f64,
    pub(crate) idle_connected: Option<f64>,
}

/// Services by mh.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct Rings {
    pub(crate) services: usize,
    pub(crate) reals: usize,
    pub(crate) applied: f64,
    pub(crate) up: f64,
    pub(crate) seen: Option<Figure>,
}

/// What the design is judged by, for the largest size: seconds, milliseconds, MiB, percent.
const APPLY: f64 = 3.0;
const CHANGE: f64 = 10.0;
const MEMORY: f64 = 400.0;
const LISTING: f64 = 2.0;
const IDLE: f64 = 0.5;

/// How a line shows a size.
type Shown<'a> = &'a dyn Fn(&Measured) -> String;

/// The table, then the targets.
pub(crate) fn text(all: &[Measured], rings: Option<&Rings>) -> String {
    let mut text = format!("{:<46}", "services x reals");
    for one in all {
        let _ = write!(text, " {:>24}", format!("{} x {}", one.services, one.reals / one.services.max(1)));
    }
    text.push('\n');
    let rows: [(&str, Shown<'_>); 21] = [
        ("apply from empty, s", &|one| figure(one.applied, 2)),
        ("until all reals are up, s", &|one| format!("{:.2}", one.up)),
        ("apply of the same file again, s", &|one| format!("{:.2}", one.again)),
        ("one weight: seen in the tables, ms", &|one| figure(one.seen, 2)),
        ("one weight: answered, ms", &|one| figure(one.answered, 2)),
        ("one weight: xvs real edit, ms", &|one| figure(one.command, 1)),
        ("xvs service list, s", &|one| format!("{:.2}", one.service_list)),
        ("xvs real list, s", &|one| format!("{:.2}", one.real_list)),
        ("xvs export, s", &|one| format!("{:.2}", one.export)),
        ("ipvsadm -L -n, s", &|one| format!("{:.2}", one.ipvsadm)),
        ("start after kill -9, s", &|one| figure(one.started, 2)),
        ("memory of an empty daemon, MiB own + mapped", &|one| memory(&one.empty)),
        ("memory after apply, MiB own + mapped", &|one| memory(&one.applied_memory)),
        ("memory after listings, MiB own + mapped", &|one| memory(&one.memory)),
        ("most memory so far, MiB", &|one| format!("{:.0}", one.memory.most)),
        ("memory after start, MiB own + mapped", &|one| memory(&one.restarted_memory)),
        ("idle, empty, % of a core", &|one| format!("{:.3}", one.idle_empty)),
        ("idle, configured, % of a core", &|one| format!("{:.3}", one.idle)),
        ("connections", &|one| one.connections.to_string()),
        ("xvs conn list -o json, s", &|one| figure(one.listed, 2)),
        ("idle with connections, % of a core", &|one| {
            one.idle_connected.map_or("-".to_owned(), |idle| format!("{idle:.3}"))
        }),
    ];
    for (name, of) in rows {
        let _ = write!(text, "{name:<46}");
        for one in all {
            let _ = write!(text, " {:>24}", of(one));
        }
        text.push('\n');
    }
    if let Some(rings) = rings {
        let Rings { services, reals, applied, up, seen } = rings;
        let each = reals / (*services).max(1);
        let _ = writeln!(
            text,
            "mh, {services} x {each}: apply {applied:.2} s, up {up:.2} s, one weight seen after {} ms",
            figure(*seen, 2)
        );
    }
    if let Some(largest) = all.last() {
        targets(&mut text, largest);
    }
    text
}

fn targets(text: &mut String, one: &Measured) {
    let _ = writeln!(text, "targets, {} services, {} reals", one.services, one.reals);
    let median = |figure: Option<Figure>| figure.map(|figure| figure.median);
    let idle = one.idle_connected.map_or(one.idle, |connected| connected.max(one.idle));
    let resident = one.connected_memory.unwrap_or(one.memory);
    for (name, value, target) in [
        ("apply from empty, s", median(one.applied), APPLY),
        ("one weight seen in the tables, ms", median(one.seen), CHANGE),
        ("memory, mapped tables included, MiB", Some(resident.resident), MEMORY),
        ("memory of its own, MiB", Some(resident.own), MEMORY),
        ("connections listed as JSON, s", median(one.listed), LISTING),
        ("idle, % of a core", Some(idle), IDLE),
    ] {
        let Some(value) = value else { continue };
        let word = if value < target { "met" } else { "missed" };
        let _ = writeln!(text, "  {name:<42} {value:>10.2}  below {target:>6}  {word}");
    }
}

fn figure(figure: Option<Figure>, places: usize) -> String {
    figure.map_or("-".to_owned(), |Figure { median, min, max }| {
        format!("{median:.places$} ({min:.places$}..{max:.places$})")
    })
}

fn memory(memory: &Memory) -> String {
    format!("{:.0} + {:.0}", memory.own, memory.mapped)
}
