//! `xvs director`

use std::fmt::Write as _;

use super::{
    CliError,
    config::{change_all, joined},
    director_args::{DirectorCommand, DirectorEditArgs},
    output::Output,
};
use crate::{
    api::{client::Client, types::SpecView},
    model::{DirectorSpec, Edit, SomeTimeouts, edit::DirectorEdit},
};

pub(super) async fn run(client: &Client, command: DirectorCommand, out: &Output) -> Result<(), CliError> {
    match command {
        DirectorCommand::Edit(args) => change_all(client, edits(&args), None, out).await,
        DirectorCommand::Show => {
            let SpecView { spec, .. } = client.get("/v1/spec").await?;
            out.show(&spec.director, text)
        }
    }
}

fn edits(args: &DirectorEditArgs) -> Vec<Edit> {
    let DirectorEditArgs {
        timeout_tcp: tcp,
        timeout_tcp_fin: tcp_fin,
        timeout_udp: udp,
        sloppy_tcp,
        sloppy_sctp,
        expire_nodest_conn,
        expire_quiescent_template,
        conn_reuse_mode,
    } = *args;
    let timeouts = SomeTimeouts { tcp, tcp_fin, udp };
    let settings =
        DirectorEdit { sloppy_tcp, sloppy_sctp, expire_nodest_conn, expire_quiescent_template, conn_reuse_mode };
    let mut edits = Vec::new();
    if timeouts != SomeTimeouts::default() {
        edits.push(Edit::SetTimeouts(timeouts));
    }
    // An edit that says nothing is refused by the daemon, with its sentence.
    if settings != DirectorEdit::default() || edits.is_empty() {
        edits.push(Edit::EditDirector(settings));
    }
    edits
}

fn text(director: &DirectorSpec) -> String {
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
    let lines = [
        ("interfaces", joined(interfaces)),
        ("timeouts.tcp", timeouts.tcp.to_string()),
        ("timeouts.tcp_fin", timeouts.tcp_fin.to_string()),
        ("timeouts.udp", timeouts.udp.to_string()),
        ("sloppy_tcp", sloppy_tcp.to_string()),
        ("sloppy_sctp", sloppy_sctp.to_string()),
        ("expire_nodest_conn", expire_nodest_conn.to_string()),
        ("expire_quiescent_template", expire_quiescent_template.to_string()),
        ("conn_reuse_mode", conn_reuse_mode.to_string()),
        ("answer_echo", answer_echo.to_string()),
        ("tunnel_source_v4", joined(tunnel_source_v4.as_slice())),
        ("tunnel_source_v6", joined(tunnel_source_v6.as_slice())),
        ("tunnel_source_vary", tunnel_source_vary.to_string()),
        ("local_addresses", joined(local_addresses)),
        ("local_ports", local_ports.to_string()),
        ("toa", toa.to_string()),
        ("clamp_mss", clamp_mss.to_string()),
    ];
    let mut text = String::new();
    for (name, value) in lines {
        // Writing to a String cannot fail.
        let _ = writeln!(text, "{name:<26} {value}");
    }
    text
}
