//! `xvs service`

use super::{
    CliError,
    args::{CheckArgs, ServiceAddArgs, ServiceCommand, ServiceEditArgs, ServiceListArgs, ServiceSettings},
    config::{change, joined},
    output::{Column, Output, table},
};
use crate::{
    api::{
        client::Client,
        types::{ServiceView, SpecView},
    },
    model::{
        Edit, HealthSpec, Probe, ServiceKey, ServiceSpec,
        edit::{ServiceEdit, ServiceRef},
    },
};

pub(super) async fn run(client: &Client, command: ServiceCommand, out: &Output) -> Result<(), CliError> {
    match command {
        ServiceCommand::Add(args) => change(client, Edit::AddService(added(args)?), None, out).await,
        ServiceCommand::Edit(args) => edit(client, args, out).await,
        ServiceCommand::Remove(args) => {
            change(client, Edit::RemoveService(ServiceRef { service: args.key }), None, out).await
        }
        ServiceCommand::List(args) => list(client, args, out).await,
    }
}

fn added(args: ServiceAddArgs) -> Result<ServiceSpec, CliError> {
    let ServiceAddArgs { key, settings } = args;
    let ServiceSettings { scheduler, flags, method, on_real_down, helper, check } = settings;
    let health = match check.check {
        Some(kind) => Some(patched(HealthSpec::new(kind), check)?),
        None if is_patch(&check) => {
            return Err(CliError::Usage("--check-... needs --check tcp or --check http".to_owned()));
        }
        None => None,
    };
    Ok(ServiceSpec {
        scheduler: scheduler.unwrap_or_default(),
        scheduler_flags: flags,
        method: method.unwrap_or_default(),
        on_real_down: on_real_down.unwrap_or_default(),
        helper,
        health,
        ..ServiceSpec::new(key)
    })
}

async fn edit(client: &Client, args: ServiceEditArgs, out: &Output) -> Result<(), CliError> {
    let ServiceEditArgs { key, settings, no_flags, no_helper, no_check } = args;
    let ServiceSettings { scheduler, flags, method, on_real_down, helper, check } = settings;
    let mut if_revision = None;
    let health = match check.check {
        _ if no_check => Some(None),
        Some(kind) => Some(Some(patched(HealthSpec::new(kind), check)?)),
        // A part of the check changes: the rest is what is applied, and must still be when this arrives.
        None if is_patch(&check) => {
            let SpecView { revision, spec } = client.get("/v1/spec").await?;
            if_revision = Some(revision);
            let service = spec.service(&key).ok_or_else(|| missing(&key))?;
            let health = service.health.clone().ok_or_else(|| {
                CliError::Failed(format!("service {key} has no health check; add one with --check tcp or --check http"))
            })?;
            Some(Some(patched(health, check)?))
        }
        None => None,
    };
    let scheduler_flags = (no_flags || !flags.is_empty()).then_some(flags);
    let helper = (no_helper || helper.is_some()).then_some(helper);
    let edit =
        ServiceEdit { scheduler, scheduler_flags, method, on_real_down, helper, health, ..ServiceEdit::new(key) };
    change(client, Edit::EditService(edit), if_revision, out).await
}

/// Is anything but the type of a check given?
fn is_patch(check: &CheckArgs) -> bool {
    let CheckArgs {
        check: _,
        check_port,
        check_path,
        check_host,
        check_status,
        check_interval,
        check_timeout,
        check_rise,
        check_fall,
    } = check;
    check_port.is_some()
        || check_path.is_some()
        || check_host.is_some()
        || !check_status.is_empty()
        || check_interval.is_some()
        || check_timeout.is_some()
        || check_rise.is_some()
        || check_fall.is_some()
}

fn patched(mut health: HealthSpec, args: CheckArgs) -> Result<HealthSpec, CliError> {
    let CheckArgs {
        check: _,
        check_port,
        check_path,
        check_host,
        check_status,
        check_interval,
        check_timeout,
        check_rise,
        check_fall,
    } = args;
    health.port = check_port.or(health.port);
    health.interval_ms = check_interval.unwrap_or(health.interval_ms);
    health.timeout_ms = check_timeout.unwrap_or(health.timeout_ms);
    health.rise = check_rise.unwrap_or(health.rise);
    health.fall = check_fall.unwrap_or(health.fall);
    match &mut health.probe {
        Probe::Tcp if check_path.is_some() || check_host.is_some() || !check_status.is_empty() => {
            let message = "--check-path, --check-host and --check-status belong to --check http";
            return Err(CliError::Usage(message.to_owned()));
        }
        Probe::Tcp => {}
        Probe::Http { path, host, status } => {
            *path = check_path.unwrap_or_else(|| path.clone());
            *host = check_host.or_else(|| host.clone());
            if !check_status.is_empty() {
                *status = check_status;
            }
        }
    }
    Ok(health)
}

async fn list(client: &Client, args: ServiceListArgs, out: &Output) -> Result<(), CliError> {
    out.show(&fetch(client, args).await?, |services| {
        let columns = [
            Column::Left("SERVICE"),
            Column::Left("SCHEDULER"),
            Column::Left("FLAGS"),
            Column::Left("METHOD"),
            Column::Left("ON DOWN"),
            Column::Left("HELPER"),
            Column::Right("REALS"),
            Column::Right("ACTIVE"),
            Column::Right("INACTIVE"),
            Column::Right("CONNECTIONS"),
            Column::Right("PACKETS"),
            Column::Right("BYTES"),
            Column::Right("REPLIES"),
            Column::Right("REPLY BYTES"),
        ];
        let rows = services.iter().map(|view| {
            vec![
                view.service.to_string(),
                view.scheduler.to_string(),
                joined(&view.flags),
                view.method.to_string(),
                view.on_real_down.to_string(),
                joined(view.helper.as_slice()),
                view.reals.len().to_string(),
                view.active.to_string(),
                view.inactive.to_string(),
                view.counters.connections.to_string(),
                view.counters.packets.to_string(),
                view.counters.bytes.to_string(),
                view.counters.reply_packets.to_string(),
                view.counters.reply_bytes.to_string(),
            ]
        });
        table(&columns, rows)
    })
}

/// The services, or the one that is named.
pub(super) async fn fetch(client: &Client, args: ServiceListArgs) -> Result<Vec<ServiceView>, CliError> {
    let mut services: Vec<ServiceView> = client.get("/v1/services").await?;
    if let Some(key) = args.key {
        services.retain(|view| view.service == key);
        if services.is_empty() {
            return Err(missing(&key));
        }
    }
    Ok(services)
}

fn missing(key: &ServiceKey) -> CliError {
    CliError::Failed(format!("service {key} does not exist"))
}
