//! What is measured, in the order in which an operator would meet it.

use std::net::IpAddr;
use std::time::Instant;

use super::Arguments;
use super::answers::{Change, change_weight};
use super::configuration::{self, Size};
use super::process;
use super::report::{Measured, Rings};
use super::stage::{self, Stage};
use crate::figures::Figure;

/// One size, from an empty daemon on.
pub(crate) fn size(arguments: &Arguments, services: usize, is_largest: bool) -> anyhow::Result<Measured> {
    let size = Size { services, reals: arguments.reals, hosts: arguments.hosts, scheduler: "wrr" };
    let reals = services * arguments.reals;
    let connections = if is_largest { arguments.connections } else { 0 };
    let slow = (arguments.repetitions / 10).max(1);
    let mut measured = Measured { services, reals, ..Measured::default() };
    let mut applied = Vec::new();
    for repetition in 0..slow {
        let mut stage = Stage::new(&size, arguments.connections)?;
        let file = stage.file("big.toml");
        stage::write(&file, &configuration::text(&size))?;
        let file = file.to_string_lossy().into_owned();
        if repetition + 1 == slow {
            measured.empty = process::memory(stage.pid()?)?;
            measured.idle_empty = process::idle(stage.pid()?, arguments.idle)?;
        }
        let start = Instant::now();
        applied.push(stage.timed(&["apply", &file])?.0);
        if repetition + 1 < slow {
            continue;
        }
        measured.applied_memory = process::memory(stage.pid()?)?;
        measured.up = stage.wait_up(start, reals)?;
        measured.again = stage.timed(&["apply", &file])?.0;
        (measured.seen, measured.answered) = weights(&stage, &size, arguments.repetitions)?;
        measured.command = command(&stage, &size, slow)?;
        let listed = |words: &[&str]| Ok::<_, anyhow::Error>(stage.timed(words)?.0);
        measured.service_list = listed(&["service", "list"])?;
        measured.real_list = listed(&["real", "list"])?;
        measured.export = listed(&["export"])?;
        measured.ipvsadm = stage.timed_ipvsadm()?.0;
        measured.memory = process::memory(stage.pid()?)?;
        measured.idle = process::idle(stage.pid()?, arguments.idle)?;
        if connections > 0 {
            measured.connections = stage.connect(connections)?;
            let limit = connections.to_string();
            let listing = ["conn", "list", "-o", "json", "--limit", &limit];
            let times: Vec<f64> =
                (0..slow).map(|_| Ok(stage.timed(&listing)?.0)).collect::<anyhow::Result<Vec<f64>>>()?;
            measured.listed = Some(Figure::of(times));
            measured.connected_memory = Some(process::memory(stage.pid()?)?);
            measured.idle_connected = Some(process::idle(stage.pid()?, arguments.idle)?);
        }
        let mut starts = Vec::new();
        for _ in 0..slow {
            stage.director.kill();
            let start = Instant::now();
            stage.director.restart()?;
            starts.push(start.elapsed().as_secs_f64());
        }
        measured.started = Some(Figure::of(starts));
        measured.restarted_memory = process::memory(stage.pid()?)?;
    }
    measured.applied = Some(Figure::of(applied));
    Ok(measured)
}

/// Services by mh: all of them, and a change of one.
pub(crate) fn rings(arguments: &Arguments) -> anyhow::Result<Rings> {
    let services = arguments.rings.min(arguments.services);
    eprintln!("{services} services by mh ...");
    let size = Size { services, reals: arguments.reals, hosts: arguments.hosts, scheduler: "mh" };
    let stage = Stage::new(&size, 1 << 20)?;
    let file = stage.file("rings.toml");
    stage::write(&file, &configuration::text(&size))?;
    let start = Instant::now();
    let applied = stage.timed(&["apply", &file.to_string_lossy()])?.0;
    let up = stage.wait_up(start, services * arguments.reals)?;
    // A ring that is left rests for two seconds: as many changes at once as there is room for more rings beside a thousand.
    let (seen, _) = weights(&stage, &size, arguments.repetitions.min(20))?;
    Ok(Rings { services, reals: services * arguments.reals, applied, up, seen })
}

/// Weight changes by the API, of services from all over the configuration.
fn weights(stage: &Stage, size: &Size, repetitions: usize) -> anyhow::Result<(Option<Figure>, Option<Figure>)> {
    let tables = stage.tables()?;
    let mut changes = Vec::new();
    for repetition in 0..repetitions {
        let service = repetition * 7919 % size.services;
        let real = configuration::real(size, service, repetition % size.reals);
        let vip = IpAddr::from(configuration::vip(service));
        changes.push(change_weight(stage.director.socket(), &tables, vip, real.into(), 2 + repetition as u32)?);
    }
    let figure = |of: fn(&Change) -> f64| Some(Figure::of(changes.iter().map(of).collect()));
    Ok((figure(|change| change.seen), figure(|change| change.answered)))
}

/// The same by `xvs real edit`: milliseconds.
fn command(stage: &Stage, size: &Size, repetitions: usize) -> anyhow::Result<Option<Figure>> {
    let (service, real) = (format!("{}:80", configuration::vip(0)), configuration::real(size, 0, 0).to_string());
    let mut times = Vec::new();
    for repetition in 0..repetitions {
        let weight = (900 + repetition).to_string();
        times.push(stage.timed(&["real", "edit", &service, &real, "--weight", &weight])?.0 * 1e3);
    }
    Ok(Some(Figure::of(times)))
}
