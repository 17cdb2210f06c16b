//! The stage that every test stands on: a cluster under a name of its own, what the director says of it, and the proof that
//! nothing stays behind.

use std::collections::BTreeMap;
use std::net::{IpAddr, SocketAddr};
use std::time::Duration;

use lb_lab::plan::{self, Family};
use lb_lab::residue::{Residue, Scope};
use lb_lab::{Cluster, DirectorOptions, LabName, Plan, run};
use lb_userspace::api::types::{ConnectionPage, RealState, ServiceView, StatsView, StatusView};
use serde::de::DeserializeOwned;

/// How long something may take that is to happen. Generous: other work may have the cores.
pub(crate) const LIMIT: Duration = Duration::from_secs(30);

/// A running cluster and what can be asked of its director.
pub(crate) struct Stage {
    pub(crate) cluster: Cluster,
}

/// Builds a cluster, hands it over, takes it down and shows that nothing of it is left.
pub(crate) fn with(topic: &str, plan: Plan, work: impl FnOnce(&mut Stage)) {
    with_options(topic, plan, |_| {}, work);
}

/// [`with`], with other options for the daemon.
pub(crate) fn with_options(
    topic: &str,
    plan: Plan,
    adjust: impl FnOnce(&mut DirectorOptions),
    work: impl FnOnce(&mut Stage),
) {
    assert!(nix::unistd::geteuid().is_root(), "needs root: network namespaces and BPF");
    let lab = LabName::unique(topic).unwrap();
    let mut options = DirectorOptions::standard().unwrap();
    adjust(&mut options);
    let mut stage = Stage { cluster: Cluster::start(&lab, plan, &options).unwrap() };
    work(&mut stage);
    drop(stage);
    assert_eq!(Residue::find(&Scope::Lab(lab)).lines(), Vec::<String>::new(), "left behind");
}

impl Drop for Stage {
    /// What there is to know of a test that failed: what became of the packets, in the director and in the hosts' kernels.
    fn drop(&mut self) {
        if !std::thread::panicking() {
            return;
        }
        match self.cluster.director().json(&["stats"]) {
            Ok(stats) => println!("xvs stats: {stats}"),
            Err(error) => println!("xvs stats: {error}"),
        }
        let hosts = [plan::CLIENT, plan::DIRECTOR].map(str::to_owned).into_iter().chain(self.cluster.real_names());
        for host in hosts {
            let said = self.cluster.topology().netns(&host).and_then(|netns| netns.run(&["nstat", "-as"]));
            println!("{host}: {}", said.unwrap_or_else(|error| error.to_string()));
        }
    }
}

impl Stage {
    /// Asks the director for JSON.
    pub(crate) fn ask<T: DeserializeOwned>(&self, arguments: &[&str]) -> T {
        let answer = self.cluster.director().json(arguments).unwrap();
        serde_json::from_value(answer.clone()).unwrap_or_else(|error| panic!("xvs {arguments:?}: {error} in {answer}"))
    }

    /// `xvs status`.
    pub(crate) fn status(&self) -> StatusView {
        self.ask(&["status"])
    }

    /// `xvs stats`.
    pub(crate) fn stats(&self) -> StatsView {
        self.ask(&["stats"])
    }

    /// One service with its reals.
    pub(crate) fn service(&self, key: &str) -> ServiceView {
        let mut services: Vec<ServiceView> = self.ask(&["real", "list", key]);
        assert_eq!(services.len(), 1, "{key}");
        services.remove(0)
    }

    /// The connections of a service, all of them.
    pub(crate) fn connections(&self, key: &str) -> ConnectionPage {
        let page: ConnectionPage = self.ask(&["conn", "list", "--service", key, "--limit", "1000000"]);
        assert_eq!(page.total, page.shown);
        page
    }

    /// How many packets met a verdict.
    pub(crate) fn verdict(&self, name: &str) -> u64 {
        let stats = self.stats();
        stats
            .verdicts
            .iter()
            .find(|verdict| verdict.name == name)
            .unwrap_or_else(|| panic!("no verdict {name}"))
            .packets
    }

    /// Connections given to each real of a service since the tables were made, by the real's name.
    pub(crate) fn scheduled(&self, key: &str) -> BTreeMap<String, u64> {
        let stats = self.stats();
        let service = stats.services.iter().find(|service| service.service.to_string() == key).unwrap();
        let reals: BTreeMap<String, u64> =
            service.reals.iter().map(|real| (self.name_of(real.address), real.counters.connections)).collect();
        assert_eq!(service.counters.connections, reals.values().sum::<u64>(), "the service's sum is its reals'");
        reals
    }

    /// The host that has an address.
    pub(crate) fn name_of(&self, address: IpAddr) -> String {
        self.cluster
            .real_names()
            .into_iter()
            .find(|name| Family::ALL.iter().any(|family| self.address(name, *family) == address))
            .unwrap_or_else(|| panic!("no real has {address}"))
    }

    /// A host's address.
    pub(crate) fn address(&self, host: &str, family: Family) -> IpAddr {
        self.cluster.address(host, family).unwrap()
    }

    /// Applies a configuration.
    pub(crate) fn apply(&self, toml: &str) {
        self.cluster.apply("e2e", toml).unwrap();
    }

    /// Applies a configuration and waits until all reals of all its services are up.
    pub(crate) fn apply_and_wait(&self, toml: &str) {
        self.apply(toml);
        let services: Vec<ServiceView> = self.ask(&["service", "list"]);
        assert!(!services.is_empty());
        for service in services {
            self.cluster.wait_states(&service.service.to_string(), &BTreeMap::new()).unwrap();
        }
    }

    /// Waits until one real of a service is in a state; returns why it is not up.
    pub(crate) fn wait_real(&self, key: &str, real: IpAddr, state: RealState) -> String {
        wait(&format!("{real} of {key} is {state}"), || {
            let view = self.service(key).reals.into_iter().find(|view| view.address == real).unwrap();
            match view.state == state {
                true => Ok(view.reason.unwrap_or_default()),
                false => Err(format!("{}: {:?}", view.state, view.reason)),
            }
        })
    }

    /// Requests that each real's own log has.
    pub(crate) fn served(&mut self) -> BTreeMap<String, u64> {
        let names = self.cluster.real_names();
        let count = |name: String| {
            let served = self.cluster.real_mut(&name).unwrap().0.served().unwrap();
            (name, served)
        };
        names.into_iter().map(count).collect()
    }

    /// A service's reals as TOML, with weights; in file order real1, real2, ...
    pub(crate) fn reals(&self, family: Family, weights: &[u32]) -> String {
        let names = self.cluster.real_names();
        assert!(weights.len() <= names.len());
        let lines = names.iter().zip(weights).map(|(name, weight)| {
            format!("[[service.real]]\naddress = \"{}\"\nweight = {weight}\n", self.address(name, family))
        });
        lines.collect()
    }
}

/// A TCP service on port 80 of a VIP: its key and where clients connect to.
pub(crate) fn http(family: Family, vip: u8) -> (String, SocketAddr) {
    let address = SocketAddr::new(plan::vip(family, vip), 80);
    (format!("tcp://{address}"), address)
}

/// Polls until `look` returns a value, and panics with its last words when the bound is reached.
pub(crate) fn wait<T>(what: &str, look: impl FnMut() -> Result<T, String>) -> T {
    run::wait_for(what, LIMIT, look).unwrap_or_else(|error| panic!("{error}"))
}

/// What came to each real between two counts.
pub(crate) fn since(now: &BTreeMap<String, u64>, before: &BTreeMap<String, u64>) -> BTreeMap<String, u64> {
    now.iter().map(|(name, count)| (name.clone(), count - before.get(name).copied().unwrap_or(0))).collect()
}
