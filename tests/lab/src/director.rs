//! An `xvs daemon` in a namespace of a topology, and the `xvs` command line against it.

use std::ffi::OsString;
use std::fs::{self, File, OpenOptions};
use std::os::unix::process::CommandExt as _;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};
use std::time::Duration;

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

use crate::{LabError, LabName, Netns, Topology, paths, plan, residue, run};

/// How long the daemon may take until it answers: loading programs and allocating tables included.
const START: Duration = Duration::from_secs(30);
/// How long it may take to end after SIGTERM.
const STOP: Duration = Duration::from_secs(10);

/// How to start the daemon.
#[derive(Clone, Debug)]
pub struct DirectorOptions {
    /// The host it runs on.
    pub host: String,
    /// The binary; see [`paths::xvs`].
    pub binary: PathBuf,
    /// Interfaces; empty takes all ports of the host.
    pub interfaces: Vec<String>,
    /// A configuration file; none starts without services.
    pub config: Option<PathBuf>,
    /// Further arguments of `xvs daemon`.
    pub arguments: Vec<String>,
}

impl DirectorOptions {
    /// The usual: host `director`, the binary of this working copy, all ports, no configuration.
    pub fn standard() -> Result<Self, LabError> {
        let binary = paths::xvs()?;
        Ok(Self {
            host: plan::DIRECTOR.to_owned(),
            binary,
            interfaces: Vec::new(),
            config: None,
            arguments: Vec::new(),
        })
    }
}

/// A running daemon. Dropping it ends the daemon and removes its pins, and with them its programs and tables.
#[derive(Debug)]
pub struct Director {
    binary: PathBuf,
    command: (OsString, Vec<OsString>),
    /// Arguments for the next start beside those.
    more: Vec<OsString>,
    child: Option<Child>,
    pins: PathBuf,
    socket: PathBuf,
    log: PathBuf,
    keep: bool,
}

impl Director {
    /// Starts a daemon with its own pins, socket and state, and waits until `xvs status` answers.
    pub fn start(topology: &Topology, options: &DirectorOptions) -> Result<Self, LabError> {
        let options = DirectorOptions { interfaces: interfaces(topology, options)?, ..options.clone() };
        Self::start_in(topology.lab(), topology.netns(&options.host)?, &options)
    }

    /// [`start`](Self::start) in a namespace of a laboratory that is no [`Topology`]. The interfaces have to be named.
    pub fn start_in(lab: &LabName, namespace: &Netns, options: &DirectorOptions) -> Result<Self, LabError> {
        let directory = lab.directory().join(&options.host);
        let state = directory.join("state");
        fs::create_dir_all(&state).map_err(LabError::io(format!("create {}", state.display())))?;
        let pins = lab.pin_directory();
        let socket = directory.join("xvs.sock");
        let mut command = namespace.command(&options.binary);
        command.arg("daemon").arg("--pin-dir").arg(&pins).arg("--socket").arg(&socket).arg("--state-dir").arg(&state);
        for interface in &options.interfaces {
            command.args(["--interface", interface]);
        }
        command.arg("--config").arg(config_file(options, &directory)?);
        command.args(&options.arguments);
        let mut director = Self {
            binary: options.binary.clone(),
            command: (command.get_program().to_owned(), command.get_args().map(ToOwned::to_owned).collect()),
            more: Vec::new(),
            child: None,
            pins,
            socket,
            log: directory.join("daemon.log"),
            keep: false,
        };
        director.restart()?;
        Ok(director)
    }

    /// The handle of a daemon that was left running: for the command line only, dropping it changes nothing.
    pub fn existing(topology: &Topology, options: &DirectorOptions) -> Self {
        let directory = topology.directory().join(&options.host);
        Self {
            binary: options.binary.clone(),
            command: (OsString::new(), Vec::new()),
            more: Vec::new(),
            child: None,
            pins: topology.lab().pin_directory(),
            socket: directory.join("xvs.sock"),
            log: directory.join("daemon.log"),
            keep: true,
        }
    }

    /// Gives the daemon further arguments from its next start on, instead of those that it got so last.
    pub fn more_arguments(&mut self, more: &[&str]) {
        self.more = more.iter().map(OsString::from).collect();
    }

    /// Ends the daemon if it runs and starts it with the arguments it had. What is pinned stays and carries traffic all the
    /// time.
    pub fn restart(&mut self) -> Result<(), LabError> {
        self.begin()?;
        self.wait_answer()
    }

    /// [`Director::restart`] without waiting for an answer.
    pub fn begin(&mut self) -> Result<(), LabError> {
        self.stop()?;
        let log = OpenOptions::new()
            .create(true)
            .append(true)
            .open(&self.log)
            .map_err(LabError::io(format!("open {}", self.log.display())))?;
        let (program, arguments) = &self.command;
        let mut command = Command::new(program);
        command.args(arguments).args(&self.more).stdin(Stdio::null()).stdout(clone(&log)?).stderr(log).process_group(0);
        let child = command.spawn().map_err(|cause| LabError::Spawn { command: run::line(&command), cause })?;
        self.child = Some(child);
        Ok(())
    }

    fn wait_answer(&mut self) -> Result<(), LabError> {
        let mut ended = None;
        let answered = run::wait_for("answer of xvs daemon", START, || {
            if let Some(Ok(Some(status))) = self.child.as_mut().map(Child::try_wait) {
                ended = Some(status);
                return Ok(());
            }
            self.xvs(&["status"]).map(drop).map_err(|error| error.to_string())
        });
        match (ended, answered) {
            (Some(status), _) => {
                self.child = None;
                Err(LabError::Answer { what: format!("xvs daemon ended ({status})"), answer: self.last_words() })
            }
            (None, Err(error)) => Err(LabError::Answer { what: error.to_string(), answer: self.last_words() }),
            (None, Ok(())) => Ok(()),
        }
    }

    /// From the next [`restart`](Self::restart) on, another binary: an upgrade.
    pub fn upgrade(&mut self, binary: PathBuf) {
        let (program, arguments) = &mut self.command;
        for word in std::iter::once(program).chain(arguments) {
            if word.as_os_str() == self.binary {
                *word = binary.clone().into();
            }
        }
        self.binary = binary;
    }

    /// Runs `xvs ARGUMENTS` against this daemon and returns its output, whatever its exit code.
    pub fn output(&self, arguments: &[&str]) -> Result<Output, LabError> {
        run::output(&mut self.cli(arguments))
    }

    /// Runs `xvs ARGUMENTS`, which must succeed; returns its stdout.
    pub fn xvs(&self, arguments: &[&str]) -> Result<String, LabError> {
        run::succeed(&mut self.cli(arguments))
    }

    /// Runs `xvs ARGUMENTS -o json`, which must succeed; returns what it printed.
    pub fn json(&self, arguments: &[&str]) -> Result<serde_json::Value, LabError> {
        let text = self.xvs(&[arguments, &["-o", "json"]].concat())?;
        serde_json::from_str(&text).map_err(|error| LabError::Answer {
            what: format!("xvs {} -o json is no JSON ({error})", arguments.join(" ")),
            answer: text,
        })
    }

    fn cli(&self, arguments: &[&str]) -> Command {
        let mut command = Command::new(&self.binary);
        command.args(arguments).env("XVS_SOCKET", &self.socket);
        command
    }

    /// The daemon's process id, while it runs.
    pub fn pid(&self) -> Option<u32> {
        self.child.as_ref().map(Child::id)
    }

    /// Where its maps and links are pinned.
    pub fn pin_directory(&self) -> &Path {
        &self.pins
    }

    /// Its control socket.
    pub fn socket(&self) -> &Path {
        &self.socket
    }

    /// What it wrote to stdout and stderr since its first start.
    pub fn log(&self) -> String {
        fs::read_to_string(&self.log).unwrap_or_default()
    }

    fn last_words(&self) -> String {
        let log = self.log();
        let lines: Vec<_> = log.lines().collect();
        lines[lines.len().saturating_sub(5)..].join("; ")
    }

    /// Ends the daemon by SIGTERM; pins stay. Nothing happens when it does not run.
    pub fn stop(&mut self) -> Result<(), LabError> {
        let Some(mut child) = self.child.take() else { return Ok(()) };
        send(&child, Signal::SIGTERM);
        let ended = run::wait_for("end of xvs daemon after SIGTERM", STOP, || match child.try_wait() {
            Ok(Some(_)) => Ok(()),
            Ok(None) => Err("still running".to_owned()),
            Err(error) => Err(error.to_string()),
        });
        if ended.is_err() {
            send(&child, Signal::SIGKILL);
            let _ = child.wait();
        }
        ended
    }

    /// Kills the daemon (SIGKILL); pins stay.
    pub fn kill(&mut self) {
        if let Some(mut child) = self.child.take() {
            send(&child, Signal::SIGKILL);
            let _ = child.wait();
        }
    }

    /// Leaves the daemon running when this value is dropped.
    pub fn keep(&mut self) {
        self.keep = true;
    }
}

impl Drop for Director {
    fn drop(&mut self) {
        if !self.keep {
            let _ = self.stop();
            let _ = residue::remove_tree(&self.pins);
        }
    }
}

fn interfaces(topology: &Topology, options: &DirectorOptions) -> Result<Vec<String>, LabError> {
    if !options.interfaces.is_empty() {
        return Ok(options.interfaces.clone());
    }
    let host = topology
        .plan()
        .host(&options.host)
        .ok_or_else(|| LabError::NoHost { topology: topology.plan().name.to_owned(), host: options.host.clone() })?;
    Ok(host.ports.iter().map(|port| port.interface.clone()).collect())
}

/// The configuration to start with. Always one of ours: the default would be the machine's /etc/xvs/xvs.toml.
fn config_file(options: &DirectorOptions, directory: &Path) -> Result<PathBuf, LabError> {
    if let Some(config) = &options.config {
        return Ok(config.clone());
    }
    let empty = directory.join("empty.toml");
    fs::write(&empty, "").map_err(LabError::io(format!("write {}", empty.display())))?;
    Ok(empty)
}

fn send(child: &Child, signal: Signal) {
    if let Ok(pid) = i32::try_from(child.id()) {
        // Not waited for yet, so the pid is still this child's.
        let _ = kill(Pid::from_raw(pid), signal);
    }
}

fn clone(file: &File) -> Result<File, LabError> {
    file.try_clone().map_err(LabError::io("copy a file handle"))
}
