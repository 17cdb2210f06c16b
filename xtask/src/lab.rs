//! `cargo xtask lab up|status|down`: the demo's network, left running to play with.

use anyhow::{Context as _, bail};
use clap::{Args, Subcommand, ValueEnum};
use lb_lab::plan::{self, Plan};
use lb_lab::residue::{Residue, Scope};
use lb_lab::{Cluster, DirectorOptions, LabName, Topology, paths, run};

use crate::reap::Reaper;
use crate::scene::Service;
use crate::{cargo, out, root, scene, setup};

#[derive(Debug, Args)]
pub(crate) struct LabArguments {
    #[command(subcommand)]
    verb: Verb,
}

#[derive(Debug, Subcommand)]
enum Verb {
    /// Build a network with a running director, real servers and services
    Up(UpArguments),
    /// Show what runs
    Status(NameArgument),
    /// Remove it; without --name every laboratory on this machine
    Down {
        /// Only this one
        #[arg(long)]
        name: Option<LabName>,
    },
}

#[derive(Debug, Args)]
struct NameArgument {
    /// Which laboratory
    #[arg(long, default_value = "lab")]
    name: LabName,
}

#[derive(Debug, Args)]
struct UpArguments {
    #[command(flatten)]
    name: NameArgument,
    /// How the hosts are connected
    #[arg(long, value_enum, default_value_t = TopologyArgument::OneArm)]
    topology: TopologyArgument,
    /// How many real servers
    #[arg(long, default_value_t = 3, value_parser = clap::value_parser!(u8).range(1..=plan::MAX_REALS as i64))]
    reals: u8,
}

#[derive(Clone, Copy, Debug, ValueEnum)]
enum TopologyArgument {
    /// Client, director and reals on one network
    OneArm,
    /// The director between the clients' network and the reals'
    TwoArm,
    /// The reals behind a router; only tunnels reach them
    Routed,
}

impl TopologyArgument {
    fn plan(self, reals: usize) -> Plan {
        match self {
            Self::OneArm => Plan::one_arm(reals),
            Self::TwoArm => Plan::two_arm(reals),
            Self::Routed => Plan::routed(reals),
        }
    }
}

pub(crate) fn run(arguments: &LabArguments) -> anyhow::Result<()> {
    match &arguments.verb {
        Verb::Up(arguments) => up(arguments),
        Verb::Status(arguments) => status(&arguments.name),
        Verb::Down { name } => down(name.as_ref()),
    }
}

fn up(arguments: &UpArguments) -> anyhow::Result<()> {
    setup::ensure()?;
    let xvs = cargo::xvs()?;
    root::become_root(&[("XVS_BIN", xvs.clone().into_os_string())])?;
    let lab = &arguments.name.name;
    if !Residue::find(&Scope::Lab(lab.clone())).is_empty() {
        bail!("laboratory `{lab}` is there already: `cargo xtask lab down --name {lab}` removes it");
    }
    // Removes the half of it when this is interrupted on the way.
    let reaper = Reaper::start(lab)?;
    let mut options = DirectorOptions::standard()?;
    options.binary.clone_from(&xvs);
    let plan = arguments.topology.plan(usize::from(arguments.reals));
    let services = Service::of_topology(plan.name);
    let mut cluster = Cluster::start(lab, plan, &options).context("the laboratory does not start")?;
    scene::apply(&cluster, &services).context("the services do not start")?;
    cluster.keep();
    reaper.release();
    let topology = cluster.topology();
    out::line(how_to_play(topology, &services, &cluster.director().socket().to_string_lossy(), &xvs.to_string_lossy()));
    Ok(())
}

/// Commands to copy.
fn how_to_play(topology: &Topology, services: &[Service], socket: &str, xvs: &str) -> String {
    let lab = topology.lab();
    let enter = |host: &str| format!("nsenter --net={}/{}", lb_lab::name::NETNS_DIR, lab.namespace(host));
    let mut lines = vec![
        format!("laboratory `{lab}` ({}) runs; as root:", topology.plan().name),
        format!("  export XVS_SOCKET={socket}"),
        format!("  {xvs} status"),
        format!("  {xvs} real list"),
    ];
    for service in services {
        lines.push(format!("  {} curl -s http://{}/", enter(plan::CLIENT), service.address()));
    }
    if let Some(service) = services.first() {
        let address = service.address();
        lines.push(format!("  {} wrk -t1 -c16 -d5s http://{address}/", enter(plan::CLIENT)));
        lines.push(format!("  {xvs} service edit {} --scheduler wlc", service.key()));
    }
    lines.push(format!("  {} tcpdump -ni eth0 tcp port 80", enter("real1")));
    lines.push(format!("  cat {}/services.toml", topology.directory().display()));
    lines.push(format!("  cargo xtask lab down --name {lab}"));
    lines.join("\n")
}

fn status(lab: &LabName) -> anyhow::Result<()> {
    root::become_root(&[])?;
    let residue = Residue::find(&Scope::Lab(lab.clone()));
    if residue.is_empty() {
        out::line(format_args!("laboratory `{lab}` is not there"));
        return Ok(());
    }
    for line in residue.lines() {
        out::line(line);
    }
    let socket = lab.directory().join(plan::DIRECTOR).join("xvs.sock");
    let answer = run::succeed(std::process::Command::new(paths::xvs()?).arg("status").env("XVS_SOCKET", socket));
    out::line(answer?.trim_end());
    Ok(())
}

fn down(lab: Option<&LabName>) -> anyhow::Result<()> {
    root::become_root(&[])?;
    let scope = lab.map_or(Scope::All, |lab| Scope::Lab(lab.clone()));
    let residue = Residue::find(&scope);
    for line in residue.lines() {
        out::line(format_args!("removing {line}"));
    }
    residue.remove()?;
    let left = Residue::find(&scope).lines();
    if !left.is_empty() {
        bail!("not everything could be removed: {}", left.join(", "));
    }
    out::line("nothing is left");
    Ok(())
}
