//! `xvs service`

use super::{
    CliError,
    config::{change, joined},
    output::{Column, Output, table},
    service_args::{CheckArgs, ServiceAddArgs, ServiceCommand, ServiceEditArgs, ServiceListArgs, ServiceSettings},
};
use crate::{
    api::{
        client::Client,
        types::{ServiceFilter, ServiceView, SpecView},
    },
    model::{
        Edit, HealthSpec, Persistence, Probe, ServiceKey, ServiceSpec, SomeTimeouts,
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
    let timeouts = timeouts(&settings, None);
    let ServiceSettings {
        scheduler,
        flags,
        table_slots,
        persistent,
        netmask,
        one_packet,
        timeout_tcp: _,
        timeout_tcp_fin: _,
        timeout_udp: _,
        method,
        on_real_down,
        helper,
        check,
    } = settings;
    let health = match check.check {
        Some(kind) => Some(patched(HealthSpec::new(kind), check)?),
        None if is_patch(&check) => {
            return Err(CliError::Usage("--check-... needs --check tcp or --check http".to_owned()));
        }
        None => None,
    };
    if netmask.is_some() && persistent.is_none() {
        return Err(CliError::Usage("--netmask is of persistence; it needs --persistent".to_owned()));
    }
    Ok(ServiceSpec {
        scheduler: scheduler.unwrap_or_default(),
        scheduler_flags: flags,
        table_slots,
        persistence: persistent.map(|timeout| Persistence { timeout, netmask }),
        one_packet,
        timeouts,
        method: method.unwrap_or_default(),
        on_real_down: on_real_down.unwrap_or_default(),
        helper,
        health,
        ..ServiceSpec::new(key)
    })
}

async fn edit(client: &Client, args: ServiceEditArgs, out: &Output) -> Result<(), CliError> {
    let ServiceEditArgs {
        key,
        settings,
        no_flags,
        no_table_slots,
        no_persistent,
        no_one_packet,
        no_timeouts,
        no_helper,
        no_check,
    } = args;
    // Where a part changes the rest is what is applied, and must still be when this arrives.
    let (known, if_revision) = match is_part(&settings) {
        true => {
            let SpecView { revision, spec } = client.get("/v1/spec").await?;
            (Some(spec.service(&key).ok_or_else(|| missing(&key))?.clone()), Some(revision))
        }
        false => (None, None),
    };
    let new_timeouts = timeouts(&settings, known.as_ref().and_then(|service| service.timeouts));
    let persistence = persistence(&settings, &key, known.as_ref().and_then(|service| service.persistence))?;
    let ServiceSettings { scheduler, flags, table_slots, one_packet, method, on_real_down, helper, check, .. } =
        settings;
    let health = match check.check {
        _ if no_check => Some(None),
        Some(kind) => Some(Some(patched(HealthSpec::new(kind), check)?)),
        None if is_patch(&check) => {
            let health = known.and_then(|service| service.health).ok_or_else(|| {
                CliError::Failed(format!("service {key} has no health check; add one with --check tcp or --check http"))
            })?;
            Some(Some(patched(health, check)?))
        }
        None => None,
    };
    let edit = ServiceEdit {
        service: key,
        scheduler,
        scheduler_flags: (no_flags || !flags.is_empty()).then_some(flags),
        table_slots: (no_table_slots || table_slots.is_some()).then_some(table_slots),
        persistence: (no_persistent || persistence.is_some()).then_some(persistence),
        one_packet: (no_one_packet || one_packet).then_some(one_packet),
        timeouts: (no_timeouts || new_timeouts.is_some()).then_some(new_timeouts),
        method,
        on_real_down,
        helper: (no_helper || helper.is_some()).then_some(helper),
        health,
    };
    change(client, Edit::EditService(edit), if_revision, out).await
}

/// Does an edit change part of something that is edited whole?
fn is_part(settings: &ServiceSettings) -> bool {
    let ServiceSettings { persistent, netmask, timeout_tcp, timeout_tcp_fin, timeout_udp, check, .. } = settings;
    let times = timeout_tcp.or(*timeout_tcp_fin).or(*timeout_udp);
    persistent.is_some() || netmask.is_some() || times.is_some() || check.check.is_none() && is_patch(check)
}

/// The timeouts after those named have changed; none when none is named.
fn timeouts(settings: &ServiceSettings, known: Option<SomeTimeouts>) -> Option<SomeTimeouts> {
    let ServiceSettings { timeout_tcp, timeout_tcp_fin, timeout_udp, .. } = settings;
    timeout_tcp.or(*timeout_tcp_fin).or(*timeout_udp)?;
    let known = known.unwrap_or_default();
    Some(SomeTimeouts {
        tcp: timeout_tcp.or(known.tcp),
        tcp_fin: timeout_tcp_fin.or(known.tcp_fin),
        udp: timeout_udp.or(known.udp),
    })
}

/// The persistence after what is named of it has changed; none when nothing is.
fn persistence(
    settings: &ServiceSettings,
    key: &ServiceKey,
    known: Option<Persistence>,
) -> Result<Option<Persistence>, CliError> {
    let none = || CliError::Failed(format!("service {key} has no persistence; add it with --persistent"));
    let mask = settings.netmask.or(known.and_then(|known| known.netmask));
    match (settings.persistent, settings.netmask) {
        (None, None) => Ok(None),
        (Some(timeout), _) => Ok(Some(Persistence { timeout, netmask: mask })),
        (None, Some(_)) => Ok(Some(Persistence { netmask: mask, ..known.ok_or_else(none)? })),
    }
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
    out.show(&fetch(client, args, out.is_json()).await?, |services| {
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
                view.real_count.to_string(),
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
pub(super) async fn fetch(
    client: &Client,
    args: ServiceListArgs,
    with_reals: bool,
) -> Result<Vec<ServiceView>, CliError> {
    let filter = ServiceFilter { service: args.key, reals: (!with_reals).then_some(false) };
    let query = serde_urlencoded::to_string(&filter).map_err(|error| CliError::Usage(error.to_string()))?;
    Ok(client.get(&format!("/v1/services?{query}")).await?)
}

fn missing(key: &ServiceKey) -> CliError {
    CliError::Failed(format!("service {key} does not exist"))
}
