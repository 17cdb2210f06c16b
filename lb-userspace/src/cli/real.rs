//! `xvs real`

use super::{
    CliError,
    config::change,
    output::{Column, Output, table},
    real_args::{RealCommand, RealKeyArgs, RealSetArgs},
    service,
    service_args::ServiceListArgs,
};
use crate::{
    api::client::Client,
    model::{
        Edit, RealSpec,
        edit::{RealAdd, RealEdit, RealRef},
    },
};

pub(super) async fn run(client: &Client, command: RealCommand, out: &Output) -> Result<(), CliError> {
    let edit = match command {
        RealCommand::Add(args) => {
            let RealSetArgs {
                at: RealKeyArgs { key, real },
                weight,
                upper_threshold,
                lower_threshold,
                method,
                tunnel_port,
                tunnel_checksum,
            } = args;
            let new = RealSpec::new(real.endpoint(&key));
            let real = RealSpec {
                weight: weight.unwrap_or(new.weight),
                upper_threshold: upper_threshold.unwrap_or(new.upper_threshold),
                lower_threshold: lower_threshold.unwrap_or(new.lower_threshold),
                method,
                tunnel_port,
                tunnel_checksum,
                ..new
            };
            Edit::AddReal(RealAdd { service: key, real })
        }
        RealCommand::Edit(args) => {
            let RealSetArgs {
                at: RealKeyArgs { key, real },
                weight,
                upper_threshold,
                lower_threshold,
                method,
                tunnel_port,
                tunnel_checksum,
            } = args;
            let real = real.endpoint(&key);
            Edit::EditReal(RealEdit {
                service: key,
                real,
                weight,
                upper_threshold,
                lower_threshold,
                method,
                tunnel_port: tunnel_port.map(Some),
                tunnel_checksum: tunnel_checksum.map(Some),
            })
        }
        RealCommand::Remove(RealKeyArgs { key, real }) => {
            Edit::RemoveReal(RealRef { service: key, real: real.endpoint(&key) })
        }
        RealCommand::List(args) => return list(client, args, out).await,
    };
    change(client, edit, None, out).await
}

async fn list(client: &Client, args: ServiceListArgs, out: &Output) -> Result<(), CliError> {
    out.show(&service::fetch(client, args, true).await?, |services| {
        let columns = [
            Column::Left("SERVICE"),
            Column::Left("REAL"),
            Column::Left("METHOD"),
            Column::Right("WEIGHT"),
            Column::Right("EFFECTIVE"),
            Column::Left("STATE"),
            Column::Right("ACTIVE"),
            Column::Right("INACTIVE"),
            Column::Right("CONNECTIONS"),
            Column::Left("INTERFACE"),
            Column::Left("MAC"),
            Column::Left("REASON"),
        ];
        let reals = services.iter().flat_map(|view| view.reals.iter().map(move |real| (view, real)));
        let rows = reals.map(|(view, real)| {
            vec![
                view.service.to_string(),
                std::net::SocketAddr::new(real.address, real.port).to_string(),
                real.method.to_string(),
                real.weight.to_string(),
                real.effective_weight.to_string(),
                real.state.to_string(),
                real.active.to_string(),
                real.inactive.to_string(),
                real.counters.connections.to_string(),
                or_dash(real.interface.as_deref()),
                or_dash(real.mac.as_deref()),
                real.reason.clone().unwrap_or_default(),
            ]
        });
        table(&columns, rows)
    })
}

/// An empty cell would shift the columns for `awk`.
fn or_dash(text: Option<&str>) -> String {
    text.unwrap_or("-").to_owned()
}
