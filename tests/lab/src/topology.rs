//! Builds a [`Plan`]: namespaces, bridges, veth pairs, addresses, routes; and takes it down again when dropped.
//!
//! What must hold for XDP on veth, and is done here:
//! - transmit checksum and segmentation offload are off on every host: a packet that XDP forwards must carry a whole
//!   checksum and fit one buffer, or the real server drops it;
//! - `rp_filter=0`: reals and router see one half of a conversation only;
//! - bridges learn and forward at once (no spanning tree, no multicast snooping), IPv6 addresses are usable at once (no
//!   duplicate address detection).
//!
//! What is not: the program on the peers of the director's ports that `XDP_TX` needs: [`crate::prepare::switch`].

use std::collections::BTreeMap;
use std::fs;
use std::net::IpAddr;
use std::path::{Path, PathBuf};
use std::time::Duration;

use crate::plan::{self, Family, Host, Plan, Role};
use crate::{LabError, LabName, Netns, run};

/// How long links and IPv6 addresses may take to become usable.
const READY: Duration = Duration::from_secs(10);

/// A topology that exists in the kernel as long as this value does.
#[derive(Debug)]
pub struct Topology {
    lab: LabName,
    plan: Plan,
    namespaces: BTreeMap<String, Netns>,
    directory: PathBuf,
    keep: bool,
}

impl Topology {
    /// Builds a plan under a laboratory's name. What exists already under that name is an error, not reused.
    pub fn build(lab: &LabName, plan: Plan) -> Result<Self, LabError> {
        let directory = lab.directory();
        fs::create_dir(&directory).map_err(LabError::io(format!("create {}", directory.display())))?;
        // From here on dropping `topology` removes whatever exists already.
        let mut topology = Self { lab: lab.clone(), plan, namespaces: BTreeMap::new(), directory, keep: false };
        for name in topology.plan.namespaces() {
            let namespace = Netns::create(lab, &name)?;
            namespace.sysctl(COMMON)?;
            topology.namespaces.insert(name, namespace);
        }
        topology.build_switch()?;
        for host in &topology.plan.hosts {
            topology.build_host(host)?;
        }
        topology.wait_ready()?;
        Ok(topology)
    }

    /// The handle of a laboratory that was left running; dropping it changes nothing.
    pub fn existing(lab: &LabName, plan: Plan) -> Result<Self, LabError> {
        let mut namespaces = BTreeMap::new();
        for name in plan.namespaces() {
            namespaces.insert(name.clone(), Netns::existing(lab, &name)?);
        }
        Ok(Self { lab: lab.clone(), plan, namespaces, directory: lab.directory(), keep: true })
    }

    /// The laboratory's name.
    pub fn lab(&self) -> &LabName {
        &self.lab
    }

    /// What was built.
    pub fn plan(&self) -> &Plan {
        &self.plan
    }

    /// The laboratory's directory for configuration, logs and sockets.
    pub fn directory(&self) -> &Path {
        &self.directory
    }

    /// The namespace of a host or of the switch.
    pub fn netns(&self, host: &str) -> Result<&Netns, LabError> {
        self.namespaces.get(host).ok_or_else(|| self.no_host(host))
    }

    /// The address of a host's first port.
    pub fn address(&self, host: &str, family: Family) -> Result<IpAddr, LabError> {
        self.plan.address(host, family).ok_or_else(|| self.no_host(host))
    }

    fn no_host(&self, host: &str) -> LabError {
        LabError::NoHost { topology: self.plan.name.to_owned(), host: host.to_owned() }
    }

    /// Leaves everything in place when this value is dropped.
    pub fn keep(&mut self) {
        self.keep = true;
        for namespace in self.namespaces.values_mut() {
            namespace.keep();
        }
    }

    fn build_switch(&self) -> Result<(), LabError> {
        let switch_mtu = self.plan.switch_mtu;
        let mut lines = String::from("link set lo up\n");
        for network in &self.plan.networks {
            let bridge = network.bridge;
            lines += &format!("link add {bridge} type bridge stp_state 0 forward_delay 0 mcast_snooping 0\n");
            lines += &format!("link set {bridge} mtu {switch_mtu} up\n");
        }
        for host in &self.plan.hosts {
            let namespace = self.lab.namespace(&host.name);
            for (n, port) in host.ports.iter().enumerate() {
                let (near, far) = (host.switch_port(n), &port.interface);
                let (mac, mtu, bridge) = (port.mac(), port.mtu, port.network.bridge);
                lines += &format!(
                    "link add {near} mtu {switch_mtu} type veth peer name {far} mtu {mtu} address {mac} netns {namespace}\n"
                );
                lines += &format!("link set {near} master {bridge} up\n");
            }
        }
        self.netns(plan::SWITCH)?.ip_batch(&lines)
    }

    fn build_host(&self, host: &Host) -> Result<(), LabError> {
        let namespace = self.netns(&host.name)?;
        match host.role {
            Role::Router => namespace.sysctl(ROUTING)?,
            // The default range of 28000 ports would be walked through within seconds.
            Role::Client => namespace.sysctl(&[("net.ipv4.ip_local_port_range", "1024 65535")])?,
            Role::Director | Role::Real => {}
        }
        namespace.ip_batch(&host_lines(host))?;
        for port in &host.ports {
            namespace.without_offloads(&port.interface)?;
        }
        Ok(())
    }

    /// Waits until all links are up and no IPv6 address is tentative any more.
    fn wait_ready(&self) -> Result<(), LabError> {
        for host in &self.plan.hosts {
            let namespace = self.netns(&host.name)?;
            run::wait_for(&format!("network of {}", host.name), READY, || {
                let links = namespace.run(&["ip", "-o", "link", "show", "up"]).map_err(|error| error.to_string())?;
                let up = host.ports.iter().all(|port| {
                    links
                        .lines()
                        .any(|line| line.contains(&format!(" {}@", port.interface)) && line.contains("LOWER_UP"))
                });
                let tentative = namespace
                    .run(&["ip", "-6", "-o", "address", "show", "tentative"])
                    .map_err(|error| error.to_string())?;
                match (up, tentative.trim()) {
                    (true, "") => Ok(()),
                    (true, tentative) => Err(format!("tentative addresses: {tentative}")),
                    (false, _) => Err("a link without carrier".to_owned()),
                }
            })?;
        }
        Ok(())
    }
}

impl Drop for Topology {
    fn drop(&mut self) {
        if !self.keep {
            self.namespaces.clear();
            let _ = fs::remove_dir_all(&self.directory);
        }
    }
}

/// Set in every namespace before its links exist, so that `default` reaches them.
pub const COMMON: &[(&str, &str)] = &[
    ("net.ipv4.conf.all.rp_filter", "0"),
    ("net.ipv4.conf.default.rp_filter", "0"),
    ("net.ipv6.conf.all.disable_ipv6", "0"),
    ("net.ipv6.conf.default.disable_ipv6", "0"),
    ("net.ipv6.conf.all.accept_dad", "0"),
    ("net.ipv6.conf.default.accept_dad", "0"),
    ("net.ipv6.conf.default.dad_transmits", "0"),
    ("net.ipv6.conf.default.accept_ra", "0"),
    ("net.ipv6.conf.default.router_solicitations", "0"),
];

/// Set in a router. No redirects: they would send a host around it.
const ROUTING: &[(&str, &str)] = &[
    ("net.ipv4.ip_forward", "1"),
    ("net.ipv6.conf.all.forwarding", "1"),
    ("net.ipv4.conf.all.send_redirects", "0"),
    ("net.ipv4.conf.default.send_redirects", "0"),
];

/// The `ip` lines that configure a host from the inside.
fn host_lines(host: &Host) -> String {
    let mut lines = String::from("link set lo up\n");
    for port in &host.ports {
        let interface = &port.interface;
        lines += &format!("link set {interface} up\n");
        let (v4, v6) = (port.network.address(Family::V4, port.number), port.network.address(Family::V6, port.number));
        lines += &format!("address add {v4}/24 dev {interface}\naddress add {v6}/64 dev {interface} nodad\n");
    }
    if host.role == Role::Director {
        for n in 0..plan::VIPS {
            // On the port, not on lo: the kernel answers neighbour solicitations only for addresses of the port itself.
            // preferred_lft 0 keeps it from being chosen as the source of the director's own health checks.
            let (v4, v6) = (plan::vip(Family::V4, n), plan::vip(Family::V6, n));
            lines += &format!("address add {v4}/32 dev eth0\n");
            lines += &format!("address add {v6}/128 dev eth0 nodad preferred_lft 0\n");
        }
    }
    for route in &host.routes {
        for family in Family::ALL {
            let to = route.to.map_or_else(|| "default".to_owned(), |network| network.prefix(family));
            lines += &format!("route add {to} via {}\n", route.via.address(family, plan::ROUTER_NUMBER));
        }
    }
    lines
}
