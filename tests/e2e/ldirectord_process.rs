//! Debian's ldirectord in the director's namespace, unmodified: its `/sbin/ipvsadm` is ours there.

use std::collections::BTreeMap;
use std::fs::{self, File};
use std::net::{IpAddr, SocketAddr};
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

use lb_lab::plan::DIRECTOR;
use lb_lab::{paths, run};
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

use crate::stage::{Stage, wait};

/// ldirectord looks for `ipvsadm` in no other place, whatever PATH says. In a mount namespace of its own our binary lies over Debian's,
/// and its pid file in a folder that goes away with it. `$0` is the binary, `$1` the configuration.
const START: &str = "set -e
mount --bind \"$0\" /sbin/ipvsadm
mount -t tmpfs none /run
exec ldirectord -d \"$1\" start";

/// A running ldirectord, killed when dropped.
pub(crate) struct Ldirectord {
    child: Child,
    ipvsadm: PathBuf,
    maintenance: PathBuf,
    log: PathBuf,
}

impl Ldirectord {
    /// Starts it with one service. `name` is that of its log below the build directory.
    pub(crate) fn start(stage: &Stage, name: &str, service: &str) -> Self {
        let directory = stage.cluster.topology().directory();
        let maintenance = directory.join("maintenance");
        fs::create_dir(&maintenance).unwrap();
        let config = directory.join("ldirectord.cf");
        let global = "checkinterval=1\nchecktimeout=2\nnegotiatetimeout=2\nautoreload=no";
        fs::write(&config, format!("{global}\nmaintenancedir={}\n{service}", maintenance.display())).unwrap();
        let binary = paths::xvs().unwrap();
        let ipvsadm = directory.join("ipvsadm");
        symlink(&binary, &ipvsadm).unwrap();
        let log = paths::target().join(format!("{name}.log"));
        let said = File::create(&log).unwrap();
        let mut command = stage.cluster.topology().netns(DIRECTOR).unwrap().command("unshare");
        command.args(["--mount", "sh", "-c", START]).arg(&binary).arg(&config);
        // Without PERLIO it would start itself again; an ipvsadm in the folder that it is started in would be taken before /sbin's.
        command.env("PERLIO", "perlio").env("XVS_SOCKET", stage.cluster.director().socket()).current_dir(&maintenance);
        command.stdin(Stdio::null()).stdout(said.try_clone().unwrap()).stderr(said);
        let child = command.spawn().expect("unshare of util-linux");
        Self { child, ipvsadm, maintenance, log }
    }

    /// What `ipvsadm -Ln` says of a TCP service: its reals and their weights. `None` when there is no such service.
    pub(crate) fn weights(&self, stage: &Stage, service: SocketAddr) -> Option<BTreeMap<IpAddr, u32>> {
        let mut command = Command::new(&self.ipvsadm);
        command.args(["-L", "-n"]).env("XVS_SOCKET", stage.cluster.director().socket());
        let listing = run::succeed(&mut command).unwrap();
        let mut lines = listing.lines().skip_while(|line| !line.starts_with(&format!("TCP  {service} ")));
        lines.next()?;
        let reals = lines.map_while(|line| line.strip_prefix("  -> "));
        Some(reals.map(|line| weight(line).unwrap_or_else(|| panic!("{line}"))).collect())
    }

    /// Waits until the service has just these reals with these weights.
    pub(crate) fn wait_weights(&mut self, stage: &Stage, service: SocketAddr, wanted: &[(IpAddr, u32)]) {
        let wanted: BTreeMap<IpAddr, u32> = wanted.iter().copied().collect();
        wait(&format!("{service} has {wanted:?}"), || {
            if let Ok(Some(status)) = self.child.try_wait() {
                return Err(format!("ldirectord ended ({status}), see {}", self.log.display()));
            }
            match self.weights(stage, service) {
                Some(seen) if seen == wanted => Ok(()),
                seen => Err(format!("{seen:?}")),
            }
        });
    }

    /// An operator puts a real into maintenance, or takes it out.
    pub(crate) fn maintain(&self, real: IpAddr, begin: bool) {
        let file = self.maintenance.join(real.to_string());
        if begin { fs::write(&file, "") } else { fs::remove_file(&file) }.unwrap();
    }

    /// Ends it in order and returns what it logged; each line says what it ran or found.
    pub(crate) fn stop(mut self) -> String {
        let pid = Pid::from_raw(i32::try_from(self.child.id()).unwrap());
        kill(pid, Signal::SIGTERM).unwrap();
        wait("end of ldirectord", || match self.child.try_wait() {
            Ok(Some(_)) => Ok(()),
            Ok(None) => Err("still running".to_owned()),
            Err(error) => Err(error.to_string()),
        });
        read(&self.log)
    }

    /// Where its log stays.
    pub(crate) fn log(&self) -> &Path {
        &self.log
    }
}

impl Drop for Ldirectord {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn read(path: &Path) -> String {
    String::from_utf8_lossy(&fs::read(path).unwrap()).into_owned()
}

/// `10.77.0.11:80   Route   1   0   0`
fn weight(line: &str) -> Option<(IpAddr, u32)> {
    let mut words = line.split_whitespace();
    let real: SocketAddr = words.next()?.parse().ok()?;
    Some((real.ip(), words.nth(1)?.parse().ok()?))
}

#[test]
fn a_line_of_a_real_is_read() {
    let real = weight("10.77.0.11:80                Route   7      0          12        ");
    assert_eq!(real, Some(("10.77.0.11".parse().unwrap(), 7)));
    assert_eq!(weight("RemoteAddress:Port           Forward Weight ActiveConn InActConn"), None);
}
