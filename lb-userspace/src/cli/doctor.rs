//! `xvs doctor`

use std::collections::BTreeMap;
use std::fmt::Write as _;

use super::{
    CliError,
    doctor_args::{DoctorCommand, DoctorMtuArgs},
    output::{Column, Output, table},
    service,
    service_args::ServiceListArgs,
};
use crate::api::client::Client;
use crate::doctor::mtu::{Fit, MtuFinding, MtuReport, examine};

/// Reals that one line names.
const NAMED: usize = 3;

pub(super) async fn run(client: &Client, command: DoctorCommand, out: &Output) -> Result<(), CliError> {
    let DoctorCommand::Mtu(DoctorMtuArgs { key, packet }) = command;
    let services = service::fetch(client, ServiceListArgs { key }, true).await?;
    let report = examine(&services, packet);
    out.show(&report, mtu_text)?;
    if report.fits { Ok(()) } else { Err(CliError::Found) }
}

fn mtu_text(report: &MtuReport) -> String {
    let columns = [
        Column::Left("SERVICE"),
        Column::Left("REAL"),
        Column::Left("METHOD"),
        Column::Left("INTERFACE"),
        Column::Right("MTU"),
        Column::Right("OVERHEAD"),
        Column::Right("LARGEST"),
        Column::Left("RESULT"),
    ];
    let or_dash = |number: Option<u32>| number.map_or_else(|| "-".to_owned(), |number| number.to_string());
    let rows = report.reals.iter().map(|real| {
        vec![
            real.service.to_string(),
            real.endpoint().to_string(),
            real.method.to_string(),
            real.interface.clone().unwrap_or_else(|| "-".to_owned()),
            or_dash(real.mtu),
            real.overhead.to_string(),
            or_dash(real.largest),
            real.result.to_string(),
        ]
    });
    let mut text = table(&columns, rows);
    // Writing to a String cannot fail.
    for ((_, advice), reals) in alike(&report.reals) {
        let [first, rest @ ..] = reals.as_slice() else { continue };
        let named: Vec<String> = reals.iter().take(NAMED).map(|real| real.endpoint().to_string()).collect();
        let more = match (rest.len() + 1).saturating_sub(NAMED) {
            0 => String::new(),
            more => format!(" and {more} more"),
        };
        let _ = writeln!(text, "\n{} to {}{more}: {}", first.service, named.join(", "), advice.join("; or "));
    }
    if report.reals.iter().any(|real| real.result == Fit::TooLong) {
        text.push_str(
            "\nUntil then a client whose packet is too long is told by ICMP what fits, and that packet is lost. Nobody is told of \
             IPv4 packets\nwithout \"don't fragment\".\n",
        );
    }
    if report.reals.iter().any(|real| real.result == Fit::Unknown) {
        text.push_str("\nThe way to some real servers is not known: `xvs real list` says why.\n");
    }
    text
}

/// Reals of one service that are given the same advice, under it.
fn alike(reals: &[MtuFinding]) -> BTreeMap<(String, &[String]), Vec<&MtuFinding>> {
    let mut groups = BTreeMap::<_, Vec<_>>::new();
    for real in reals.iter().filter(|real| !real.advice.is_empty()) {
        groups.entry((real.service.to_string(), real.advice.as_slice())).or_default().push(real);
    }
    groups
}
