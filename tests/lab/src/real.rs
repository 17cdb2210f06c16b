//! A real server's service: an nginx of its own that answers with its name.
//!
//! `/` answers the name in the body, every answer carries it in `X-Real`; `/health` is what health checks ask for and is
//! not counted; `/files/NAME` are files put there by [`Real::add_file`]; `/store/NAME` takes a file by PUT and gives it back.

use std::fs::{self, File};
use std::net::{IpAddr, Ipv4Addr};
use std::os::unix::fs::PermissionsExt as _;
use std::os::unix::process::CommandExt as _;
use std::path::{Path, PathBuf};
use std::process::{Child, Stdio};
use std::time::Duration;

use nix::sys::signal::{Signal, killpg};
use nix::unistd::Pid;

use crate::{LabError, Topology, process, run};

/// The port nginx listens on, in both families.
pub const PORT: u16 = 80;
/// The response header that carries the real's name.
pub const HEADER: &str = "X-Real";
/// How long nginx may take to start or to stop.
const LIMIT: Duration = Duration::from_secs(10);
/// How long killed workers may take to be gone.
const GONE: Duration = Duration::from_secs(2);

/// The nginx of one real server; killed when dropped.
#[derive(Debug)]
pub struct Real {
    name: String,
    directory: PathBuf,
    child: Option<Child>,
}

impl Real {
    /// Writes the configuration of `host` and starts its nginx.
    pub fn start(topology: &Topology, host: &str) -> Result<Self, LabError> {
        let directory = topology.directory().join(host);
        fs::create_dir_all(directory.join("files")).map_err(LabError::io(format!("create {}", directory.display())))?;
        // nginx's workers are nobody's, and write here.
        let store = directory.join("store");
        fs::create_dir_all(&store)
            .and_then(|()| fs::set_permissions(&store, fs::Permissions::from_mode(0o777)))
            .map_err(LabError::io(format!("create {}", store.display())))?;
        let path = directory.join("nginx.conf");
        fs::write(&path, configuration(host, &directory)).map_err(LabError::io(format!("write {}", path.display())))?;
        let mut real = Self { name: host.to_owned(), directory, child: None };
        real.resume(topology)?;
        Ok(real)
    }

    /// Starts nginx again after [`stop`](Self::stop) or [`kill`](Self::kill); returns when it accepts connections.
    pub fn resume(&mut self, topology: &Topology) -> Result<(), LabError> {
        self.kill();
        let namespace = topology.netns(&self.name)?;
        let log = self.directory.join("nginx.log");
        let stderr = File::create(&log).map_err(LabError::io(format!("create {}", log.display())))?;
        let mut command = namespace.command("nginx");
        command.arg("-p").arg(&self.directory).args(["-c", "nginx.conf"]);
        // Its own process group: Ctrl-C in a terminal ends the demo in order, not nginx before it.
        command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(stderr).process_group(0);
        let child = command.spawn().map_err(|cause| LabError::Spawn { command: run::line(&command), cause })?;
        let child = self.child.insert(child);
        run::wait_for(&format!("nginx of {}", self.name), LIMIT, || {
            if let Ok(Some(status)) = child.try_wait() {
                return Err(format!("it ended ({status}): {}", fs::read_to_string(&log).unwrap_or_default().trim()));
            }
            match namespace.connects(IpAddr::V4(Ipv4Addr::LOCALHOST), PORT, Duration::from_secs(1)) {
                Ok(true) => Ok(()),
                Ok(false) => Err("no connection to port 80".to_owned()),
                Err(error) => Err(error.to_string()),
            }
        })
    }

    /// The real's name.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Stops nginx at once and orderly: its sockets are closed, open connections are cut.
    pub fn stop(&mut self) -> Result<(), LabError> {
        self.signal(Signal::SIGTERM);
        if let Some(mut child) = self.child.take() {
            run::wait_for(&format!("end of the nginx of {}", self.name), LIMIT, || match child.try_wait() {
                Ok(Some(_)) => Ok(()),
                Ok(None) => Err("still running".to_owned()),
                Err(error) => Err(error.to_string()),
            })?;
        }
        Ok(())
    }

    /// Kills nginx and its workers (SIGKILL).
    pub fn kill(&mut self) {
        self.signal(Signal::SIGKILL);
        if let Some(mut child) = self.child.take() {
            let _ = child.wait();
            // The worker is not our child and may accept for a moment longer than the master lives.
            let group = i32::try_from(child.id()).unwrap_or_default();
            let _ = run::wait_for("end of the nginx workers", GONE, || match process::in_group(group) {
                left if left.is_empty() => Ok(()),
                left => Err(format!("{left:?}")),
            });
        }
    }

    fn signal(&self, signal: Signal) {
        if let Some(child) = &self.child {
            // Not waited for yet, so the group is still this nginx's.
            let _ = i32::try_from(child.id()).map(|pid| killpg(Pid::from_raw(pid), signal));
        }
    }

    /// How many requests it has answered since its first start, health checks not among them.
    pub fn served(&self) -> Result<u64, LabError> {
        let path = self.directory.join("access.log");
        let log = fs::read_to_string(&path).map_err(LabError::io(format!("read {}", path.display())))?;
        Ok(log.lines().count() as u64)
    }

    /// Puts a file of `size` zero bytes (sparse) under `/files/NAME`.
    pub fn add_file(&self, name: &str, size: u64) -> Result<(), LabError> {
        let path = self.directory.join("files").join(name);
        let failed = format!("write {}", path.display());
        File::create(&path).and_then(|file| file.set_len(size)).map_err(LabError::io(failed))
    }

    /// Where a file that a client has put under `/store/NAME` lies.
    pub fn stored(&self, name: &str) -> PathBuf {
        self.directory.join("store").join(name)
    }

    /// Leaves nginx running when this value is dropped.
    pub fn keep(&mut self) {
        self.child = None;
    }
}

impl Drop for Real {
    fn drop(&mut self) {
        self.kill();
    }
}

/// The nginx configuration: all paths below `directory`, in the foreground, one worker.
fn configuration(name: &str, directory: &Path) -> String {
    let directory = directory.display();
    format!(
        "daemon off;
worker_processes 1;
pid {directory}/nginx.pid;
error_log {directory}/error.log warn;
events {{ worker_connections 4096; }}
http {{
  access_log {directory}/access.log combined;
  client_body_temp_path {directory}/body;
  proxy_temp_path {directory}/proxy;
  fastcgi_temp_path {directory}/fastcgi;
  uwsgi_temp_path {directory}/uwsgi;
  scgi_temp_path {directory}/scgi;
  default_type application/octet-stream;
  sendfile on;
  server {{
    listen {PORT} backlog=4096;
    listen [::]:{PORT} ipv6only=on backlog=4096;
    add_header {HEADER} {name} always;
    location / {{ default_type text/plain; return 200 \"{name}\\n\"; }}
    location = /health {{ access_log off; default_type text/plain; return 200 \"ok\\n\"; }}
    location /files/ {{ alias {directory}/files/; }}
    location /store/ {{ alias {directory}/store/; dav_methods PUT; client_max_body_size 64m; }}
  }}
}}
"
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_path_of_the_configuration_leaves_the_directory() {
        let text = configuration("real1", Path::new("/tmp/xvs-lab-t/real1"));
        for line in text.lines().filter(|line| line.contains("_path") || line.contains("_log ") || line.contains("pid"))
        {
            assert!(line.contains("/tmp/xvs-lab-t/real1/") || line.contains("access_log off"), "{line}");
        }
        assert!(text.contains("add_header X-Real real1 always;"));
    }
}
