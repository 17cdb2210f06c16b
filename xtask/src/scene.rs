//! What demo and laboratory have in common: the configuration of the services, as an operator would write it.

use std::fmt::Write as _;
use std::net::{IpAddr, SocketAddr};

use lb_lab::Cluster;
use lb_lab::plan::{self, Family};
use lb_lab::real::PORT;

/// How packets reach the reals.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Method {
    Direct,
    Tunnel,
}

impl Method {
    /// The word the configuration uses.
    pub(crate) fn as_str(self) -> &'static str {
        match self {
            Self::Direct => "direct",
            Self::Tunnel => "tunnel",
        }
    }
}

/// A virtual service of the scene.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Service {
    /// Which VIP of its family.
    vip: u8,
    /// The clients' family.
    pub(crate) family: Family,
    /// How the reals are reached.
    pub(crate) method: Method,
    /// The family the reals are addressed in; the clients' but for mixed tunnels.
    pub(crate) outer: Family,
}

impl Service {
    const fn new(vip: u8, family: Family, method: Method, outer: Family) -> Self {
        Self { vip, family, method, outer }
    }

    pub(crate) const DIRECT_V4: Self = Self::new(0, Family::V4, Method::Direct, Family::V4);
    pub(crate) const DIRECT_V6: Self = Self::new(0, Family::V6, Method::Direct, Family::V6);
    pub(crate) const TUNNEL_V4: Self = Self::new(1, Family::V4, Method::Tunnel, Family::V4);
    pub(crate) const TUNNEL_V6: Self = Self::new(1, Family::V6, Method::Tunnel, Family::V6);
    pub(crate) const TUNNEL_V4_IN_V6: Self = Self::new(2, Family::V4, Method::Tunnel, Family::V6);
    pub(crate) const TUNNEL_V6_IN_V4: Self = Self::new(2, Family::V6, Method::Tunnel, Family::V4);

    pub(crate) const ALL: [Self; 6] = [
        Self::DIRECT_V4,
        Self::DIRECT_V6,
        Self::TUNNEL_V4,
        Self::TUNNEL_V6,
        Self::TUNNEL_V4_IN_V6,
        Self::TUNNEL_V6_IN_V4,
    ];

    /// Those that a topology can carry: behind a router only tunnels arrive.
    pub(crate) fn of_topology(name: &str) -> Vec<Self> {
        Self::ALL.into_iter().filter(|service| name != "routed" || service.method == Method::Tunnel).collect()
    }

    /// Where clients connect to.
    pub(crate) fn address(self) -> SocketAddr {
        SocketAddr::new(plan::vip(self.family, self.vip), PORT)
    }

    /// The key the command line takes.
    pub(crate) fn key(self) -> String {
        format!("tcp://{}", self.address())
    }
}

/// The configuration of `services`, each with the same reals, as TOML. `addresses` gives a real's address by family.
pub(crate) fn configuration(services: &[Service], addresses: &[[IpAddr; 2]]) -> String {
    let mut text = String::new();
    for service in services {
        let (address, method) = (service.address(), service.method.as_str());
        // Writing to a String cannot fail.
        let _ = write!(
            text,
            "[[service]]\naddress = \"{address}\"\nscheduler = \"rr\"\nmethod = \"{method}\"\non_real_down = \"drop\"\n\n"
        );
        for real in addresses {
            let address = real[usize::from(service.outer == Family::V6)];
            let _ = write!(text, "[[service.real]]\naddress = \"{address}\"\n\n");
        }
    }
    text
}

/// Applies the configuration of `services` and waits until all reals are up.
pub(crate) fn apply(cluster: &Cluster, services: &[Service]) -> anyhow::Result<()> {
    let mut addresses = Vec::new();
    for real in cluster.real_names() {
        addresses.push([cluster.address(&real, Family::V4)?, cluster.address(&real, Family::V6)?]);
    }
    cluster.apply("services", &configuration(services, &addresses))?;
    for service in services {
        cluster.wait_states(&service.key(), &Default::default())?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    #[test]
    fn no_two_services_share_an_address() {
        let keys: BTreeSet<String> = Service::ALL.into_iter().map(Service::key).collect();
        assert_eq!(keys.len(), Service::ALL.len());
        assert_eq!(Service::DIRECT_V6.key(), "tcp://[fd77::100]:80");
    }

    #[test]
    fn mixed_tunnels_name_reals_of_the_outer_family() {
        let text =
            configuration(&[Service::TUNNEL_V4_IN_V6], &[["10.77.0.11".parse().unwrap(), "fd77::11".parse().unwrap()]]);
        assert!(text.contains("address = \"10.77.0.102:80\"") && text.contains("address = \"fd77::11\""), "{text}");
        assert!(!text.contains("10.77.0.11\""), "{text}");
    }

    #[test]
    fn behind_a_router_there_are_only_tunnels() {
        assert!(Service::of_topology("routed").iter().all(|service| service.method == Method::Tunnel));
        assert_eq!(Service::of_topology("one-arm").len(), 6);
    }
}
