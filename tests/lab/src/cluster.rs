//! A whole cluster that works: a topology, an nginx on each real, the reals prepared for all VIPs, and a director.

use std::collections::BTreeMap;
use std::fs;
use std::net::IpAddr;
use std::time::Duration;

use serde::Deserialize;

use crate::plan::{self, CLIENT, Family, Plan};
use crate::prepare::{self, Prepared};
use crate::{Director, DirectorOptions, LabError, LabName, Netns, Real, Topology, run};

/// How long reals may take to reach a state: neighbour resolution or a few health checks.
const STATE: Duration = Duration::from_secs(20);

/// A running cluster. Dropping it stops and removes everything, the director first.
#[derive(Debug)]
pub struct Cluster {
    // Dropped in this order.
    director: Director,
    reals: Vec<Real>,
    prepared: Vec<Prepared>,
    topology: Topology,
}

/// What the director says about a real server.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
pub struct RealState {
    /// Its address.
    pub address: IpAddr,
    /// `up`, `down`, `unresolved` or `drained`.
    pub state: String,
    /// Why it is not up.
    pub reason: Option<String>,
}

#[derive(Deserialize)]
struct ServiceReals {
    reals: Vec<RealState>,
}

impl Cluster {
    /// Builds and starts everything; reals take tunnels too.
    pub fn start(lab: &LabName, plan: Plan, options: &DirectorOptions) -> Result<Self, LabError> {
        let topology = Topology::build(lab, plan)?;
        let mut prepared = vec![prepare::switch(&topology, &options.binary)?];
        let vips: Vec<IpAddr> =
            Family::ALL.into_iter().flat_map(|family| (0..plan::VIPS).map(move |n| plan::vip(family, n))).collect();
        let mut reals = Vec::new();
        for host in topology.plan().reals() {
            reals.push(Real::start(&topology, &host)?);
            prepared.push(prepare::real(&topology, &options.binary, &host, &vips, true)?);
        }
        let director = Director::start(&topology, options)?;
        Ok(Self { director, reals, prepared, topology })
    }

    /// The director.
    pub fn director(&self) -> &Director {
        &self.director
    }

    /// The director, to stop, kill or restart it.
    pub fn director_mut(&mut self) -> &mut Director {
        &mut self.director
    }

    /// The topology.
    pub fn topology(&self) -> &Topology {
        &self.topology
    }

    /// The client's namespace.
    pub fn client(&self) -> Result<&Netns, LabError> {
        self.topology.netns(CLIENT)
    }

    /// Names of the reals, in order.
    pub fn real_names(&self) -> Vec<String> {
        self.reals.iter().map(|real| real.name().to_owned()).collect()
    }

    /// A real's nginx together with the topology it needs to be started again.
    pub fn real_mut(&mut self, name: &str) -> Result<(&mut Real, &Topology), LabError> {
        let topology = &self.topology;
        let real = self.reals.iter_mut().find(|real| real.name() == name);
        real.map(|real| (real, topology))
            .ok_or_else(|| LabError::NoHost { topology: topology.plan().name.to_owned(), host: name.to_owned() })
    }

    /// A host's address.
    pub fn address(&self, host: &str, family: Family) -> Result<IpAddr, LabError> {
        self.topology.address(host, family)
    }

    /// Applies a whole configuration; the file stays in the laboratory's directory as `NAME.toml`.
    pub fn apply(&self, name: &str, toml: &str) -> Result<(), LabError> {
        let path = self.topology.directory().join(format!("{name}.toml"));
        fs::write(&path, toml).map_err(LabError::io(format!("write {}", path.display())))?;
        self.director.xvs(&["apply", &path.to_string_lossy()]).map(drop)
    }

    /// What the director says about the reals of a service.
    pub fn real_states(&self, service: &str) -> Result<Vec<RealState>, LabError> {
        let answer = self.director.json(&["real", "list", service])?;
        let services: Vec<ServiceReals> = serde_json::from_value(answer.clone()).map_err(|error| LabError::Answer {
            what: format!("xvs real list ({error})"),
            answer: answer.to_string(),
        })?;
        Ok(services.into_iter().flat_map(|service| service.reals).collect())
    }

    /// Waits until the reals of a service are in the wanted states; those not named have to be `up`.
    pub fn wait_states(&self, service: &str, wanted: &BTreeMap<IpAddr, &str>) -> Result<(), LabError> {
        run::wait_for(&format!("state of the reals of {service}"), STATE, || {
            let states = self.real_states(service).map_err(|error| error.to_string())?;
            let other: Vec<String> = states
                .iter()
                .filter(|real| real.state != *wanted.get(&real.address).unwrap_or(&"up"))
                .map(|real| {
                    let reason = real.reason.as_deref().unwrap_or("no reason given");
                    format!("{} is {} ({reason})", real.address, real.state)
                })
                .collect();
            match (states.is_empty(), other.is_empty()) {
                (true, _) => Err("it has no reals".to_owned()),
                (false, true) => Ok(()),
                (false, false) => Err(other.join(", ")),
            }
        })
    }

    /// Leaves everything running when this value is dropped.
    pub fn keep(&mut self) {
        self.director.keep();
        self.reals.iter_mut().for_each(Real::keep);
        self.prepared.iter_mut().for_each(Prepared::keep);
        self.topology.keep();
    }
}
