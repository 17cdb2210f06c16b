//! The network that the cases were recorded in: one client, a director between it and a bridge, real servers on that bridge.
//!
//! | host | port | addresses |
//! |---|---|---|
//! | `client` | `c0` to `d0` | 10.0.1.2, .11 to .50, 10.0.3.11 to .14, fd00:1::2 |
//! | | `c1` to the bridge, unless mode is nat | 10.0.2.254, fd00:2::254 |
//! | `director` | `d0`, `d1` to the bridge | 10.0.1.1, fd00:1::1 and the VIPs; 10.0.2.1, fd00:2::1 |
//! | `rN` | `e0` to the bridge | 10.0.2.(10+N), fd00:2::(the same digits) |

use std::fs;
use std::net::IpAddr;
use std::path::Path;

use lb_lab::prepare::{self, Prepared};
use lb_lab::{LabError, LabName, Netns, topology};

use crate::recorded::{Hosts, Mode};

/// What every port but the client's carries: a tunnelled packet is longer than the client's.
const LAN_MTU: u32 = 1600;
/// Ports of the director.
pub(crate) const PORTS: [&str; 2] = ["d0", "d1"];

/// The network, until it is dropped.
pub(crate) struct Network {
    // Dropped in this order: what was prepared is undone in namespaces that are still there.
    prepared: Vec<Prepared>,
    /// Where the client is.
    pub(crate) client: Netns,
    /// Where the director is.
    pub(crate) director: Netns,
    bridge: Netns,
    /// `r1` and following.
    pub(crate) reals: Vec<Netns>,
    _directory: Directory,
}

/// The laboratory's directory.
struct Directory(LabName);

impl Drop for Directory {
    fn drop(&mut self) {
        // What stays is residue, which the test looks for.
        let _ = fs::remove_dir_all(self.0.directory());
    }
}

/// A real server's addresses; `n` counts from 1.
pub(crate) fn real_addresses(n: u8) -> [IpAddr; 2] {
    let text = [format!("10.0.2.{}", 10 + n), format!("fd00:2::{}", 10 + n)];
    text.map(|text| text.parse().expect("an address"))
}

impl Network {
    /// Builds what a case needs.
    pub(crate) fn build(lab: &LabName, hosts: &Hosts, xvs: &Path) -> Result<Self, LabError> {
        let directory = Directory(lab.clone());
        fs::create_dir(lab.directory()).map_err(LabError::io("create the laboratory's directory"))?;
        let create = |host: &str| {
            let namespace = Netns::create(lab, host)?;
            namespace.sysctl(topology::COMMON)?;
            Ok(namespace)
        };
        let reals = (1..=hosts.real_servers).map(|n| create(&format!("r{n}"))).collect::<Result<_, LabError>>()?;
        let (client, director, bridge) = (create("client")?, create("director")?, create("bridge")?);
        let mut network = Self { prepared: Vec::new(), client, director, bridge, reals, _directory: directory };
        network.connect(hosts)?;
        network.prepared.push(prepare::peers(&network.client, xvs, &["c0"])?);
        network.prepared.push(prepare::peers(&network.bridge, xvs, &["d1-0"])?);
        if hosts.mode != Mode::Nat {
            for (real, n) in network.reals.iter().zip(1..) {
                let state = lab.directory().join(format!("r{n}"));
                let tunnel = hosts.mode == Mode::Tun;
                network.prepared.push(prepare::join(real, &state, xvs, &hosts.vips, &["e0"], tunnel)?);
            }
        }
        Ok(network)
    }

    fn connect(&self, hosts: &Hosts) -> Result<(), LabError> {
        self.bridge.ip_batch(&self.bridge_lines(hosts.mode))?;
        let has_second_port = hosts.mode != Mode::Nat;
        self.client.ip_batch(&self.client_lines(has_second_port))?;
        self.client.without_offloads("c0")?;
        if has_second_port {
            self.client.without_offloads("c1")?;
        }
        self.director.sysctl(&[
            ("net.ipv4.ip_forward", "1"),
            ("net.ipv6.conf.all.forwarding", "1"),
            ("net.ipv4.conf.all.send_redirects", "0"),
            ("net.ipv4.conf.default.send_redirects", "0"),
        ])?;
        self.director.ip_batch(&director_lines(&hosts.vips))?;
        for port in PORTS {
            self.director.without_offloads(port)?;
        }
        for (real, n) in self.reals.iter().zip(1..) {
            real.ip_batch(&real_lines(n, hosts.mode))?;
            real.without_offloads("e0")?;
        }
        Ok(())
    }

    fn bridge_lines(&self, mode: Mode) -> String {
        let mut lines = format!(
            "link set lo up\nlink add lan type bridge stp_state 0 forward_delay 0 mcast_snooping 0\nlink set lan mtu {LAN_MTU} up\n"
        );
        let mut ends = vec![("d1-0".to_owned(), "d1", &self.director)];
        ends.extend(self.reals.iter().zip(1..).map(|(real, n)| (format!("r{n}-0"), "e0", real)));
        if mode != Mode::Nat {
            ends.push(("client-1".to_owned(), "c1", &self.client));
        }
        for (near, far, namespace) in ends {
            let name = namespace.name();
            lines += &format!("link add {near} mtu {LAN_MTU} type veth peer name {far} mtu {LAN_MTU} netns {name}\n");
            lines += &format!("link set {near} master lan up\n");
        }
        lines
    }

    fn client_lines(&self, has_second_port: bool) -> String {
        let mut lines = format!(
            "link set lo up\nlink add c0 type veth peer name d0 netns {}\nlink set c0 up\n",
            self.director.name()
        );
        lines += "address add 10.0.1.2/24 dev c0\naddress add fd00:1::2/64 dev c0 nodad\n";
        for n in 11..=50 {
            lines += &format!("address add 10.0.1.{n}/24 dev c0\n");
        }
        for n in 11..=14 {
            lines += &format!("address add 10.0.3.{n}/24 dev c0\n");
        }
        if has_second_port {
            lines += "link set c1 up\naddress add 10.0.2.254/24 dev c1\naddress add fd00:2::254/64 dev c1 nodad\n";
        } else {
            lines += "route add 10.0.2.0/24 via 10.0.1.1\nroute add fd00:2::/64 via fd00:1::1\n";
        }
        lines
    }
}

fn director_lines(vips: &[IpAddr]) -> String {
    let mut lines = "link set lo up\nlink set d0 up\nlink set d1 up\n".to_owned();
    lines += "address add 10.0.1.1/24 dev d0\naddress add fd00:1::1/64 dev d0 nodad\n";
    lines += "address add 10.0.2.1/24 dev d1\naddress add fd00:2::1/64 dev d1 nodad\n";
    for vip in vips {
        lines += &match vip {
            IpAddr::V4(vip) => format!("address add {vip}/32 dev d0\n"),
            // Never the source of what the director itself asks.
            IpAddr::V6(vip) => format!("address add {vip}/128 dev d0 nodad preferred_lft 0\n"),
        };
    }
    lines + "route add 10.0.3.0/24 via 10.0.1.2\n"
}

fn real_lines(n: u8, mode: Mode) -> String {
    let [v4, v6] = real_addresses(n);
    let gate = if mode == Mode::Nat { 1 } else { 254 };
    format!(
        "link set lo up\nlink set e0 up\naddress add {v4}/24 dev e0\naddress add {v6}/64 dev e0 nodad\n\
         route add default via 10.0.2.{gate}\nroute add default via fd00:2::{gate}\n"
    )
}
