//! The verbs that act on this machine and not through the daemon: `daemon` itself, `detach`, `realserver`, `veth-peer`.

use std::collections::BTreeSet;
use std::fmt::Write as _;
use std::net::IpAddr;
use std::path::{Path, PathBuf};

use super::daemon_args::{
    DaemonArgs, DetachArgs, HOST_PINS, ModeArg, RealserverArgs, RealserverCommand, RealserverJoinArgs, VethPeerCommand,
};
use super::{CliError, output::Output};
use crate::api::socket::Socket;
use crate::daemon::{self, DEFAULT_CONNECTIONS, DEFAULT_REALS, DEFAULT_TRANSLATED, DaemonError, Options};
use crate::dataplane::attach::{Decapsulator, VethPeer};
use crate::dataplane::loader::Mode;
use crate::realserver::{self, Paths, Status};

pub(super) fn daemon(args: DaemonArgs, socket: PathBuf) -> Result<(), CliError> {
    let DaemonArgs { config, interfaces, mode, pin_dir, state_dir, connections, reals, translated, log } = args;
    let mode = match mode {
        ModeArg::Auto => Mode::Auto,
        ModeArg::Native => Mode::Native,
        ModeArg::Generic => Mode::Generic,
    };
    let connections = connections.unwrap_or(DEFAULT_CONNECTIONS);
    let reals = reals.unwrap_or(DEFAULT_REALS);
    let translated = translated.unwrap_or(DEFAULT_TRANSLATED);
    daemon::run(Options { config, interfaces, mode, socket, pin_dir, state_dir, connections, reals, translated, log })
        .map_err(|error| match error {
            DaemonError::Config { file, problems } => CliError::Problems { file: file.display().to_string(), problems },
            error => CliError::Failed(error.to_string()),
        })
}

pub(super) fn detach(args: &DetachArgs, socket: &Path) -> Result<(), CliError> {
    // Holding the daemon's lock proves that none runs, and keeps one from starting meanwhile.
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().map_err(|e| failed(&e))?;
    let _guard = runtime.enter();
    let _lock = Socket::bind(socket).map_err(|e| failed(&e))?;
    match std::fs::remove_dir_all(&args.pin_dir) {
        Ok(()) => Ok(()),
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(()),
        Err(error) => Err(CliError::Failed(format!("{}: {error}", args.pin_dir.display()))),
    }
}

pub(super) async fn realserver(args: RealserverArgs, out: &Output) -> Result<(), CliError> {
    let paths = Paths::new(&args.state_dir);
    let pins = Path::new(HOST_PINS);
    match args.command {
        RealserverCommand::Join(args) => join(args, &paths, pins, out).await,
        RealserverCommand::Leave => {
            let left = realserver::leave(&paths, &Decapsulator::without_vips(pins)).await.map_err(|e| failed(&e))?;
            tell(out, &left.undone, &left.warnings)
        }
        RealserverCommand::Status => {
            let status = realserver::status(&paths, &Decapsulator::without_vips(pins)).await.map_err(|e| failed(&e))?;
            out.show(&status, status_text)
        }
    }
}

async fn join(args: RealserverJoinArgs, paths: &Paths, pins: &Path, out: &Output) -> Result<(), CliError> {
    let RealserverJoinArgs { vips, tunnel, gue_port, interfaces } = args;
    let before = realserver::status(paths, &Decapsulator::without_vips(pins)).await.map_err(|e| failed(&e))?;
    let all: BTreeSet<IpAddr> = before.vips.iter().map(|vip| vip.address).chain(vips.iter().copied()).collect();
    let decap = Decapsulator::new(pins, &all.into_iter().collect::<Vec<_>>(), gue_port);
    let joined = realserver::join(&realserver::JoinArgs { vips, tunnel, interfaces }, paths, &decap)
        .await
        .map_err(|e| failed(&e))?;
    let after = realserver::status(paths, &decap).await.map_err(|e| failed(&e))?;
    for link in after.decap.iter().filter(|link| link.attached) {
        decap.add_vips(&link.interface).map_err(|e| failed(&e))?;
    }
    tell(out, &joined.changes, &joined.warnings)
}

pub(super) fn veth_peer(command: VethPeerCommand, out: &Output) -> Result<(), CliError> {
    let peer = VethPeer::new(Path::new(HOST_PINS));
    let mut done = Vec::new();
    match command {
        VethPeerCommand::Attach(args) => {
            for interface in &args.interfaces {
                if peer.attach(interface).map_err(|e| failed(&e))? {
                    done.push(format!("{interface}: attached"));
                }
            }
        }
        VethPeerCommand::Detach(args) => {
            for interface in &args.interfaces {
                if peer.detach(interface).map_err(|e| failed(&e))? {
                    done.push(format!("{interface}: detached"));
                }
            }
        }
    }
    tell(out, &done, &[])
}

fn failed(error: &dyn std::fmt::Display) -> CliError {
    CliError::Failed(error.to_string())
}

fn tell(out: &Output, done: &[String], warnings: &[String]) -> Result<(), CliError> {
    let view = serde_json::json!({ "changes": done, "warnings": warnings });
    out.show(&view, |_| {
        let mut text = String::new();
        for line in done {
            let _ = writeln!(text, "{line}");
        }
        for line in warnings {
            let _ = writeln!(text, "warning: {line}");
        }
        text
    })
}

fn status_text(status: &Status) -> String {
    let mut text = String::new();
    if !status.joined {
        return "not joined\n".to_owned();
    }
    for vip in &status.vips {
        let _ = writeln!(text, "vip     {} {}", vip.address, if vip.present { "on lo" } else { "missing" });
    }
    for link in &status.decap {
        let _ = writeln!(text, "decap   {} {}", link.interface, if link.attached { "attached" } else { "missing" });
    }
    for sysctl in &status.sysctls {
        let _ = writeln!(
            text,
            "sysctl  {} {} (before: {})",
            sysctl.key,
            sysctl.current.as_deref().unwrap_or("gone"),
            sysctl.before
        );
    }
    for problem in &status.problems {
        let _ = writeln!(text, "problem {problem}");
    }
    text
}
