//! What `xvs` does on the hosts around the director: reals accept packets for the VIPs, the switch's ports towards the
//! director take frames sent by XDP. Undone when dropped, while the namespaces still exist: a record of them outside
//! would otherwise outlive them.

use std::net::IpAddr;
use std::path::Path;
use std::process::Command;

use crate::{LabError, Netns, Topology, name, plan, run};

/// Something that was prepared, and the command that undoes it.
#[derive(Debug)]
pub struct Prepared {
    undo: Option<Command>,
}

impl Prepared {
    /// Leaves it in place when this value is dropped.
    pub fn keep(&mut self) {
        self.undo = None;
    }
}

impl Drop for Prepared {
    fn drop(&mut self) {
        if let Some(mut undo) = self.undo.take() {
            // Nothing can be done about a failure here; the residue check reports what stays.
            let _ = run::output(&mut undo);
            // The folder of such pins, once nobody else on this machine has any in it.
            let _ = std::fs::remove_dir(name::HOST_PINS);
        }
    }
}

/// Makes a real accept packets for VIPs (`xvs realserver join`), with `tunnel` also inside tunnels, on all its ports.
pub fn real(topology: &Topology, xvs: &Path, host: &str, vips: &[IpAddr], tunnel: bool) -> Result<Prepared, LabError> {
    let ports: Vec<&str> = topology
        .plan()
        .host(host)
        .into_iter()
        .flat_map(|host| &host.ports)
        .map(|port| port.interface.as_str())
        .collect();
    join(topology.netns(host)?, &topology.directory().join(host), xvs, vips, &ports, tunnel)
}

/// [`real`] for any namespace; `directory` is its own in the laboratory's.
pub fn join(
    namespace: &Netns,
    directory: &Path,
    xvs: &Path,
    vips: &[IpAddr],
    ports: &[&str],
    tunnel: bool,
) -> Result<Prepared, LabError> {
    let mut join = namespace.command(xvs);
    // A record of this laboratory's own: the machine may be a real server itself.
    let state = directory.join("realserver");
    join.args(["realserver", "join", "--state-dir"]).arg(&state);
    for vip in vips {
        join.arg("--vip").arg(vip.to_string());
    }
    if tunnel {
        join.arg("--tunnel");
    }
    for port in ports {
        join.args(["--interface", port]);
    }
    run::succeed(&mut join)?;
    let mut leave = namespace.command(xvs);
    leave.args(["realserver", "leave", "--state-dir"]).arg(&state);
    Ok(Prepared { undo: Some(leave) })
}

/// Attaches the pass-only program to the peers of the director's ports: `XDP_TX` and redirect towards a veth work only when
/// its peer has a program too.
pub fn switch(topology: &Topology, xvs: &Path) -> Result<Prepared, LabError> {
    let ports = topology.plan().switch_ports(plan::DIRECTOR);
    let ports: Vec<&str> = ports.iter().map(String::as_str).collect();
    peers(topology.netns(plan::SWITCH)?, xvs, &ports)
}

/// `xvs veth-peer attach` on ports of a namespace.
pub fn peers(namespace: &Netns, xvs: &Path, ports: &[&str]) -> Result<Prepared, LabError> {
    run::succeed(namespace.command(xvs).args(["veth-peer", "attach"]).args(ports))?;
    let mut detach = namespace.command(xvs);
    detach.args(["veth-peer", "detach"]).args(ports);
    Ok(Prepared { undo: Some(detach) })
}
