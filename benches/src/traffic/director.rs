//! The real daemon in a lane.

use std::time::Duration;

use anyhow::Context as _;
use lb_lab::{Director, DirectorOptions, run};

use super::lab::{IN, Lab, Lane, OUT, REALS};

/// How long reals may take to be known.
const READY: Duration = Duration::from_secs(10);

/// A service of the laboratory.
pub(crate) struct Service<'a> {
    /// Its address; port 80, TCP.
    pub(crate) vip: &'a str,
    /// Scheduler.
    pub(crate) scheduler: &'a str,
    /// How packets get to its reals.
    pub(crate) method: &'a str,
}

/// Starts `xvs daemon` in a lane, with these services over the lane's reals, and waits until all reals are up.
pub(crate) fn start(lab: &Lab, lane: &Lane, services: &[Service<'_>], arguments: &[&str]) -> anyhow::Result<Director> {
    let mut toml = String::new();
    for service in services {
        toml += &format!(
            "[[service]]\naddress = \"{}:80\"\nscheduler = \"{}\"\nmethod = \"{}\"\n",
            service.vip, service.scheduler, service.method
        );
        for real in 1..=REALS {
            toml += &format!("[[service.real]]\naddress = \"{}\"\n", lane.real(real));
        }
    }
    let config = lab.name.directory().join("xvs.toml");
    std::fs::write(&config, toml).with_context(|| format!("writing {}", config.display()))?;
    let options = DirectorOptions {
        interfaces: [IN, OUT].map(str::to_owned).to_vec(),
        config: Some(config),
        arguments: arguments.iter().map(|word| (*word).to_owned()).chain(["--mode".into(), "native".into()]).collect(),
        ..DirectorOptions::standard()?
    };
    let director = Director::start_in(&lab.name, &lane.director, &options)?;
    let wanted = services.len() * usize::from(REALS);
    run::wait_for("every real of the benchmark is up", READY, || {
        let listed = director.json(&["service", "list"]).map_err(|error| error.to_string())?;
        let up = listed.to_string().matches("\"state\":\"up\"").count();
        if up == wanted { Ok(()) } else { Err(format!("{up} of {wanted}: {}", director.log())) }
    })?;
    Ok(director)
}
