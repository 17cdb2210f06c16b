//! An FTP server on each real: vsftpd with an anonymous user who may store files, and a file that says whose it is.

use std::fs::{self, File, Permissions};
use std::net::{IpAddr, Ipv4Addr};
use std::os::unix::fs::{PermissionsExt as _, chown};
use std::os::unix::process::CommandExt as _;
use std::path::{Path, PathBuf};
use std::process::{Child, Stdio};
use std::time::Duration;

use nix::unistd::User;

use crate::stage::{Stage, wait};

/// The port of control connections on the reals.
pub(crate) const PORT: u16 = 21;

/// A real's vsftpd, killed when dropped; sessions end with the namespace.
pub(crate) struct FtpServer {
    child: Child,
    files: PathBuf,
    log: PathBuf,
}

impl FtpServer {
    /// Starts one on every real.
    pub(crate) fn on_all(stage: &Stage) -> Vec<Self> {
        stage.cluster.real_names().iter().map(|host| Self::start(stage, host)).collect()
    }

    fn start(stage: &Stage, host: &str) -> Self {
        let directory = stage.cluster.topology().directory().join(host);
        let files = directory.join("ftp");
        let store = files.join("in");
        fs::create_dir_all(&store).unwrap();
        let user = User::from_name("ftp").unwrap().expect("the package vsftpd makes a user ftp");
        chown(&store, Some(user.uid.as_raw()), None).unwrap();
        fs::set_permissions(&store, Permissions::from_mode(0o755)).unwrap();
        fs::write(files.join(marker(host)), host).unwrap();
        let path = directory.join("vsftpd.conf");
        fs::write(&path, configuration(host, &directory)).unwrap();
        let namespace = stage.cluster.topology().netns(host).unwrap();
        let mut command = namespace.command("vsftpd");
        let log = File::create(directory.join("vsftpd.err")).unwrap();
        command.arg(&path).stdin(Stdio::null()).stdout(Stdio::null()).stderr(log).process_group(0);
        let child = command.spawn().expect("vsftpd, which cargo xtask setup installs");
        let server = Self { child, files, log: directory.join("vsftpd.log") };
        wait(&format!("vsftpd of {host}"), || {
            match namespace.connects(IpAddr::V4(Ipv4Addr::LOCALHOST), PORT, Duration::from_secs(1)) {
                Ok(true) => Ok(()),
                Ok(false) => Err("no connection to port 21".to_owned()),
                Err(error) => Err(error.to_string()),
            }
        });
        server
    }

    /// Where a stored file is.
    pub(crate) fn stored(&self, name: &str) -> PathBuf {
        self.files.join("in").join(name)
    }

    /// How many times clients have sent a command.
    pub(crate) fn times(&self, command: &str) -> usize {
        let log = fs::read_to_string(&self.log).unwrap_or_default();
        let is_it = |line: &&str| line.contains("FTP command:") && line.contains(&format!("\"{command}"));
        log.lines().filter(is_it).count()
    }

    /// Puts a file where clients fetch it.
    pub(crate) fn lay_down(&self, name: &str, bytes: &[u8]) {
        fs::write(self.files.join(name), bytes).unwrap();
    }
}

impl Drop for FtpServer {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// A file that only this real has.
pub(crate) fn marker(host: &str) -> String {
    format!("this-is-{host}")
}

/// `listen_ipv6` serves both families. No sandboxes: they need rights that a container may not have.
fn configuration(host: &str, directory: &Path) -> String {
    format!(
        "listen=NO
listen_ipv6=YES
background=NO
ftpd_banner={host}
anonymous_enable=YES
local_enable=NO
no_anon_password=YES
anon_root={root}
write_enable=YES
anon_upload_enable=YES
anon_world_readable_only=NO
anon_umask=022
connect_from_port_20=YES
port_enable=YES
pasv_enable=YES
pasv_min_port=40000
pasv_max_port=40999
seccomp_sandbox=NO
isolate=NO
isolate_network=NO
xferlog_enable=YES
xferlog_std_format=NO
log_ftp_protocol=YES
dual_log_enable=NO
vsftpd_log_file={log}
",
        root = directory.join("ftp").display(),
        log = directory.join("vsftpd.log").display(),
    )
}
