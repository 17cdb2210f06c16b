//! One network namespace, made with `ip netns add` and deleted when dropped, together with the processes left in it.
//!
//! Programs enter through `nsenter --net` and threads through setns. Never `ip netns exec`: it remounts /sys, and the
//! bpffs pins below it are gone for the program.

use std::fs::{self, File};
use std::io::Write as _;
use std::net::{IpAddr, SocketAddr, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::Duration;

use nix::sched::{CloneFlags, setns};

use crate::{LabError, LabName, name, process, run};

/// A network namespace that lives as long as this value.
#[derive(Debug)]
pub struct Netns {
    name: String,
    path: PathBuf,
    keep: bool,
}

impl Netns {
    /// Creates the namespace of `host` in `lab`. Fails when it exists already: that is residue to be removed first.
    pub fn create(lab: &LabName, host: &str) -> Result<Self, LabError> {
        let name = lab.namespace(host);
        run::succeed(Command::new("ip").args(["netns", "add", &name]))?;
        Ok(Self::handle(name, false))
    }

    /// The handle of a namespace somebody else made and will delete (a laboratory left running).
    pub fn existing(lab: &LabName, host: &str) -> Result<Self, LabError> {
        let handle = Self::handle(lab.namespace(host), true);
        fs::metadata(&handle.path).map_err(LabError::io(format!("namespace {}", handle.name)))?;
        Ok(handle)
    }

    fn handle(name: String, keep: bool) -> Self {
        let path = Path::new(name::NETNS_DIR).join(&name);
        Self { name, path, keep }
    }

    /// The name as `ip netns` lists it.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// The file that stands for the namespace.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// A command that will run inside. `nsenter` replaces itself with it, so the child's pid is the program's own.
    pub fn command(&self, program: impl AsRef<std::ffi::OsStr>) -> Command {
        let mut command = Command::new("nsenter");
        command.arg(format!("--net={}", self.path.display())).arg("--").arg(program);
        command
    }

    /// Runs a command line inside that must succeed; returns its stdout.
    pub fn run(&self, words: &[&str]) -> Result<String, LabError> {
        let Some((program, arguments)) = words.split_first() else {
            return Err(LabError::Answer { what: "run in a namespace".into(), answer: "no command".into() });
        };
        run::succeed(self.command(program).args(arguments))
    }

    /// Runs many `ip` lines inside in one process; a failure quotes the line.
    pub fn ip_batch(&self, lines: &str) -> Result<(), LabError> {
        let mut command = self.command("ip");
        command.args(["-batch", "-"]).stdin(Stdio::piped()).stdout(Stdio::null()).stderr(Stdio::piped());
        let mut child = command.spawn().map_err(|cause| LabError::Spawn { command: run::line(&command), cause })?;
        if let Some(mut stdin) = child.stdin.take() {
            // A write that fails means that ip has ended; its own message says more.
            let _ = stdin.write_all(lines.as_bytes());
        }
        let output = child.wait_with_output().map_err(LabError::io("wait for ip"))?;
        if output.status.success() {
            return Ok(());
        }
        let said = String::from_utf8_lossy(&output.stderr);
        let line = said
            .rsplit("failed -:")
            .next()
            .and_then(|number| number.trim().parse::<usize>().ok())
            .and_then(|number| lines.lines().nth(number.saturating_sub(1)))
            .unwrap_or("-batch");
        Err(LabError::Command {
            command: format!("ip {line} (in {})", self.name),
            status: output.status.to_string(),
            output: said.trim().replace('\n', "; "),
        })
    }

    /// Turns off what would let a packet leave an interface without a whole checksum, or longer than its link.
    pub fn without_offloads(&self, interface: &str) -> Result<(), LabError> {
        self.run(&["ethtool", "-K", interface, "tx", "off", "tso", "off", "gso", "off", "gro", "off"]).map(drop)
    }

    /// Opens the namespace for [`enter_fd`] in threads of the caller.
    pub fn open(&self) -> Result<File, LabError> {
        File::open(&self.path).map_err(LabError::io(format!("open namespace {}", self.path.display())))
    }

    /// Runs a closure in a thread of its own that has entered the namespace: sockets it opens and files it reads
    /// under /proc/sys/net are those of the namespace.
    pub fn enter<T: Send>(&self, work: impl FnOnce() -> T + Send) -> Result<T, LabError> {
        let file = self.open()?;
        let entered = std::thread::scope(|scope| scope.spawn(move || enter_fd(&file).map(|()| work())).join());
        match entered {
            Ok(result) => result,
            Err(panic) => std::panic::resume_unwind(panic),
        }
    }

    /// Sets kernel parameters below /proc/sys inside, for example `("net.ipv4.ip_forward", "1")`; a dot inside an
    /// interface name is not supported.
    pub fn sysctl(&self, settings: &[(&str, &str)]) -> Result<(), LabError> {
        self.enter(|| {
            for (key, value) in settings {
                let path = Path::new("/proc/sys").join(key.replace('.', "/"));
                fs::write(&path, value).map_err(LabError::io(format!("set {key}={value}")))?;
            }
            Ok(())
        })?
    }

    /// Whether a TCP connection from inside to `address` is accepted within `limit`.
    pub fn connects(&self, address: IpAddr, port: u16, limit: Duration) -> Result<bool, LabError> {
        self.enter(|| TcpStream::connect_timeout(&SocketAddr::new(address, port), limit).is_ok())
    }

    /// Leaves the namespace in place when this value is dropped.
    pub fn keep(&mut self) {
        self.keep = true;
    }
}

impl Drop for Netns {
    fn drop(&mut self) {
        if !self.keep {
            // A process inside keeps the namespace and its veths alive after its name is gone.
            process::kill_in_namespace(&self.path);
            // Nothing can be done about a failure here; the residue check reports what stays.
            let _ = delete(&self.name);
        }
    }
}

/// Moves the calling thread (not the process) into a namespace opened by [`Netns::open`].
pub fn enter_fd(file: &File) -> Result<(), LabError> {
    setns(file, CloneFlags::CLONE_NEWNET).map_err(|errno| LabError::Io {
        what: "enter a network namespace (root is needed)".into(),
        cause: errno.into(),
    })
}

/// Deletes a namespace by name.
pub fn delete(name: &str) -> Result<(), LabError> {
    run::succeed(Command::new("ip").args(["netns", "delete", name])).map(drop)
}
