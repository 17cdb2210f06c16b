//! What a topology consists of: hosts, their ports, addresses and routes. Pure data; [`crate::topology`] builds it.
//!
//! Each host is a namespace with one veth (`eth0`, `eth1`) into each network it is on; all bridges live in a namespace of
//! their own, `switch`, where the other end of host `real1`'s `eth0` is called `real1-0`.
//!
//! Sizes: the client's port carries 1500 bytes, everything else 1600, because a tunnelled packet is 20 (IPv4 outer) or
//! 40 bytes (IPv6 outer) longer than the client's and must not need fragments (RFC 2003 section 5, RFC 2473 section 7).
//! [`Plan::every_link`] takes that room away, for tests of what a director then tells the client.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

/// Name of the namespace that holds the bridges.
pub const SWITCH: &str = "switch";
/// Name of the client's namespace.
pub const CLIENT: &str = "client";
/// Name of the director's namespace.
pub const DIRECTOR: &str = "director";
/// Name of the router's namespace, where there is one.
pub const ROUTER: &str = "router";

/// What the client's port carries, in bytes.
pub const CLIENT_MTU: u32 = 1500;
/// What every other port carries: the client's packets plus the largest outer header (40) with room to spare.
pub const LAN_MTU: u32 = 1600;
/// Most reals a topology has: their addresses end in 11 to 90, below the VIPs at 100.
pub const MAX_REALS: usize = 80;
/// How many VIPs of each family the director answers for.
pub const VIPS: u8 = 4;

/// An address family.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Family {
    /// IPv4.
    V4,
    /// IPv6.
    V6,
}

impl Family {
    /// Both.
    pub const ALL: [Self; 2] = [Self::V4, Self::V6];

    /// `ipv4` or `ipv6`.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::V4 => "ipv4",
            Self::V6 => "ipv6",
        }
    }
}

/// A network: one bridge, `10.N.0.0/24` and `fdN::/64`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Network {
    /// Name of the bridge in `switch`.
    pub bridge: &'static str,
    /// The N in its prefixes; for IPv6 the same two characters stand in the text, so `fd77::/64`.
    pub number: u8,
}

/// Where client and director are: 10.77.0.0/24, fd77::/64.
pub const LAN: Network = Network { bridge: "lan", number: 77 };
/// Behind the director's second port: 10.78.0.0/24, fd78::/64.
pub const BACK: Network = Network { bridge: "back", number: 78 };
/// Behind a router: 10.79.0.0/24, fd79::/64.
pub const FAR: Network = Network { bridge: "far", number: 79 };

impl Network {
    /// The address of host `number` in this network. The decimal digits are kept in IPv6 (`fd77::11` for 11): the
    /// eye should recognise the host, not the value.
    pub fn address(self, family: Family, host: u8) -> IpAddr {
        match family {
            Family::V4 => Ipv4Addr::new(10, self.number, 0, host).into(),
            Family::V6 => Ipv6Addr::new(0xfd00 + digits(self.number), 0, 0, 0, 0, 0, 0, digits(host)).into(),
        }
    }

    /// The prefix in the form `ip route` takes.
    pub fn prefix(self, family: Family) -> String {
        match family {
            Family::V4 => format!("10.{}.0.0/24", self.number),
            Family::V6 => format!("fd{}::/64", self.number),
        }
    }
}

/// The hexadecimal number that is written with the decimal digits of `n`.
fn digits(n: u8) -> u16 {
    let n = u16::from(n);
    (n / 100) << 8 | (n / 10 % 10) << 4 | (n % 10)
}

/// The `n`-th address clients are served on (0 to [`VIPS`] - 1): 10.77.0.100, fd77::100 and following.
pub fn vip(family: Family, n: u8) -> IpAddr {
    LAN.address(family, 100 + n)
}

/// One host's port into a network.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Port {
    /// `eth0` or `eth1`.
    pub interface: String,
    /// The network it is on.
    pub network: Network,
    /// Last part of its addresses there.
    pub number: u8,
    /// Largest packet, in bytes.
    pub mtu: u32,
}

/// What a host is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Role {
    /// Sends the requests.
    Client,
    /// Balances them; holds the VIPs as host addresses so that the kernel answers ARP and neighbour solicitations.
    Director,
    /// Serves them.
    Real,
    /// Forwards between two networks.
    Router,
}

/// One host.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Host {
    /// Name of its namespace inside the laboratory.
    pub name: String,
    /// What it is for.
    pub role: Role,
    /// Its ports, `eth0` first.
    pub ports: Vec<Port>,
    /// Routes beyond its own networks: to which network (none: default), by which router.
    pub routes: Vec<Route>,
}

/// A route by the router's address in `via`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Route {
    /// Destination; `None` is the default route.
    pub to: Option<Network>,
    /// The network in which the router is reached.
    pub via: Network,
}

/// A whole topology.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Plan {
    /// `one-arm`, `two-arm`, `routed` or `distant-client`.
    pub name: &'static str,
    /// The networks, each one bridge.
    pub networks: Vec<Network>,
    /// The hosts; the switch is not one of them.
    pub hosts: Vec<Host>,
    /// Largest packet that bridges and the switch's ports carry, in bytes.
    pub switch_mtu: u32,
}

const CLIENT_NUMBER: u8 = 2;
/// Last part of the director's addresses.
pub const DIRECTOR_NUMBER: u8 = 1;
/// Last part of a router's addresses.
pub const ROUTER_NUMBER: u8 = 254;
const FIRST_REAL_NUMBER: u8 = 11;

impl Plan {
    /// Client, director and reals on one network: direct routing by `XDP_TX` out of the port the packet came in.
    pub fn one_arm(reals: usize) -> Self {
        let hosts = vec![
            host(CLIENT, Role::Client, CLIENT_NUMBER, &[LAN], &[]),
            host(DIRECTOR, Role::Director, DIRECTOR_NUMBER, &[LAN], &[]),
        ];
        Self::with_reals("one-arm", &[LAN], hosts, reals, LAN, &[])
    }

    /// The director has a port to the client's network and one to the reals': the packet is redirected between them. The
    /// reals answer by a router, as the director does not forward.
    pub fn two_arm(reals: usize) -> Self {
        let hosts = vec![
            host(CLIENT, Role::Client, CLIENT_NUMBER, &[LAN], &[Route { to: Some(BACK), via: LAN }]),
            host(DIRECTOR, Role::Director, DIRECTOR_NUMBER, &[LAN, BACK], &[]),
            host(ROUTER, Role::Router, ROUTER_NUMBER, &[LAN, BACK], &[]),
        ];
        Self::with_reals("two-arm", &[LAN, BACK], hosts, reals, BACK, &[Route { to: None, via: BACK }])
    }

    /// The reals are behind a router: only tunnels reach them.
    pub fn routed(reals: usize) -> Self {
        let far = [Route { to: Some(FAR), via: LAN }];
        let hosts = vec![
            host(CLIENT, Role::Client, CLIENT_NUMBER, &[LAN], &far),
            host(DIRECTOR, Role::Director, DIRECTOR_NUMBER, &[LAN], &far),
            host(ROUTER, Role::Router, ROUTER_NUMBER, &[LAN, FAR], &[]),
        ];
        Self::with_reals("routed", &[LAN, FAR], hosts, reals, FAR, &[Route { to: None, via: FAR }])
    }

    /// The client is behind a router whose port to it carries no more than `narrow` bytes, which neither the client nor the
    /// reals on the director's network know.
    pub fn distant_client(reals: usize, narrow: u32) -> Self {
        let default = [Route { to: None, via: LAN }];
        let mut router = host(ROUTER, Role::Router, ROUTER_NUMBER, &[LAN, FAR], &[]);
        router.ports[1].mtu = narrow;
        let hosts = vec![
            host(CLIENT, Role::Client, CLIENT_NUMBER, &[FAR], &[Route { to: None, via: FAR }]),
            host(DIRECTOR, Role::Director, DIRECTOR_NUMBER, &[LAN], &default),
            router,
        ];
        Self::with_reals("distant-client", &[LAN, FAR], hosts, reals, LAN, &default)
    }

    /// The same with every port of every host and of the switch at `mtu` bytes: a tunnel no longer has room for what the
    /// client may send.
    pub fn every_link(mut self, mtu: u32) -> Self {
        self.switch_mtu = mtu;
        self.hosts.iter_mut().flat_map(|host| &mut host.ports).for_each(|port| port.mtu = mtu);
        self
    }

    fn with_reals(
        name: &'static str,
        networks: &[Network],
        mut hosts: Vec<Host>,
        reals: usize,
        network: Network,
        routes: &[Route],
    ) -> Self {
        let last = FIRST_REAL_NUMBER + u8::try_from(reals.min(MAX_REALS)).unwrap_or(0);
        for (index, number) in (FIRST_REAL_NUMBER..last).enumerate() {
            hosts.push(host(&real_name(index), Role::Real, number, &[network], routes));
        }
        Self { name, networks: networks.to_vec(), hosts, switch_mtu: LAN_MTU }
    }

    /// Names of the reals, in order.
    pub fn reals(&self) -> Vec<String> {
        self.hosts.iter().filter(|host| host.role == Role::Real).map(|host| host.name.clone()).collect()
    }

    /// A host by name.
    pub fn host(&self, name: &str) -> Option<&Host> {
        self.hosts.iter().find(|host| host.name == name)
    }

    /// The address of a host's first port.
    pub fn address(&self, name: &str, family: Family) -> Option<IpAddr> {
        let port = self.host(name)?.ports.first()?;
        Some(port.network.address(family, port.number))
    }

    /// The switch's side of a host's ports, for `xvs veth-peer attach`.
    pub fn switch_ports(&self, name: &str) -> Vec<String> {
        self.host(name).map_or_else(Vec::new, |host| (0..host.ports.len()).map(|n| host.switch_port(n)).collect())
    }

    /// The namespaces it takes, the switch included.
    pub fn namespaces(&self) -> Vec<String> {
        std::iter::once(SWITCH.to_owned()).chain(self.hosts.iter().map(|host| host.name.clone())).collect()
    }
}

impl Host {
    /// Name of the switch's end of port `n`.
    pub fn switch_port(&self, n: usize) -> String {
        format!("{}-{n}", self.name)
    }
}

impl Port {
    /// A locally administered hardware address that tells network and host: 02:58:56:NN:00:HH, digits as in the address.
    pub fn mac(&self) -> String {
        format!("02:58:56:{:02x}:00:{:02x}", self.network.number, self.number)
    }
}

/// Name of the `index`-th real.
pub fn real_name(index: usize) -> String {
    format!("real{}", index + 1)
}

fn host(name: &str, role: Role, number: u8, networks: &[Network], routes: &[Route]) -> Host {
    let mtu = if role == Role::Client { CLIENT_MTU } else { LAN_MTU };
    let ports = networks
        .iter()
        .enumerate()
        .map(|(n, network)| Port { interface: format!("eth{n}"), network: *network, number, mtu })
        .collect();
    Host { name: name.to_owned(), role, ports, routes: routes.to_vec() }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    fn all() -> [Plan; 4] {
        [Plan::one_arm(3), Plan::two_arm(3), Plan::routed(3), Plan::distant_client(3, LAN_MTU)]
    }

    #[test]
    fn addresses_read_the_same_in_both_families() {
        assert_eq!(LAN.address(Family::V4, 11).to_string(), "10.77.0.11");
        assert_eq!(LAN.address(Family::V6, 11).to_string(), "fd77::11");
        assert_eq!(vip(Family::V4, 0).to_string(), "10.77.0.100");
        assert_eq!(vip(Family::V6, 1).to_string(), "fd77::101");
        assert_eq!(FAR.address(Family::V6, 254).to_string(), "fd79::254");
    }

    #[test]
    fn no_two_ports_share_an_address_a_mac_or_a_switch_port() {
        for plan in all() {
            let mut seen = BTreeSet::new();
            let vips = (0..VIPS).flat_map(|n| Family::ALL.map(|family| vip(family, n).to_string()));
            assert!(vips.into_iter().all(|vip| seen.insert(vip)));
            for host in &plan.hosts {
                for (n, port) in host.ports.iter().enumerate() {
                    for family in Family::ALL {
                        assert!(seen.insert(port.network.address(family, port.number).to_string()));
                    }
                    assert!(seen.insert(port.mac()));
                    assert!(seen.insert(host.switch_port(n)));
                    // IFNAMSIZ is 16 with its NUL.
                    assert!(host.switch_port(n).len() < 16);
                }
            }
        }
    }

    #[test]
    fn the_largest_topology_stays_below_the_vips() {
        let plan = Plan::one_arm(1000);
        assert_eq!(plan.reals().len(), MAX_REALS);
        assert_eq!(plan.address("real80", Family::V4).unwrap().to_string(), "10.77.0.90");
    }

    #[test]
    fn a_tunnelled_packet_of_the_client_fits_every_other_port() {
        for plan in all() {
            for host in plan.hosts.iter().filter(|host| host.role != Role::Client) {
                assert!(host.ports.iter().all(|port| port.mtu >= CLIENT_MTU + 40));
            }
        }
    }

    #[test]
    fn a_plan_of_equal_links_has_no_room_for_tunnels() {
        for plan in all().map(|plan| plan.every_link(CLIENT_MTU)) {
            assert_eq!(plan.switch_mtu, CLIENT_MTU);
            assert!(plan.hosts.iter().flat_map(|host| &host.ports).all(|port| port.mtu == CLIENT_MTU));
        }
    }

    #[test]
    fn only_the_routers_port_to_a_distant_client_is_narrow() {
        let plan = Plan::distant_client(2, 1400);
        let narrow: Vec<_> = plan
            .hosts
            .iter()
            .flat_map(|host| host.ports.iter().map(move |port| (&*host.name, port)))
            .filter(|(_, port)| port.mtu < CLIENT_MTU)
            .collect();
        assert_eq!(narrow.len(), 1);
        assert_eq!((narrow[0].0, narrow[0].1.network, narrow[0].1.mtu), (ROUTER, FAR, 1400));
    }

    #[test]
    fn reals_off_the_lan_have_a_way_back() {
        for plan in [Plan::two_arm(2), Plan::routed(2)] {
            for real in plan.reals() {
                assert!(plan.host(&real).unwrap().routes.iter().any(|route| route.to.is_none()));
            }
        }
    }
}
