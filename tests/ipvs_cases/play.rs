//! Plays a case: the network, a director, the services by `ipvsadm`, every step; what came of each.

use std::collections::BTreeMap;
use std::env;
use std::ffi::OsString;
use std::fmt::Write as _;
use std::fs;
use std::io::Write as _;
use std::net::IpAddr;
use std::os::unix::fs::symlink;
use std::process::{Command, Stdio};
use std::thread::sleep;
use std::time::Duration;

use lb_lab::{Director, DirectorOptions, LabError, LabName, run};
use lb_userspace::api::types::{RealState, ServiceView};

use crate::client::Client;
use crate::listing::{self, Going};
use crate::marks;
use crate::network::{Network, PORTS, real_addresses};
use crate::recorded::{Answer, Case, Mode, Step};
use crate::servers::Servers;

/// Between two steps, as recorded.
const PAUSE: Duration = Duration::from_millis(40);
/// Before the listings.
const REST: Duration = Duration::from_millis(100);
/// What a step of that name waits.
const SETTLE: Duration = Duration::from_secs(6);
/// How long the director may take to find a new real's hardware address.
const FOUND: Duration = Duration::from_secs(10);

/// What came of a case.
pub(crate) struct Seen {
    /// Of each line of the set-up.
    pub(crate) setup: Vec<Answer>,
    /// Of each step.
    pub(crate) steps: Vec<Outcome>,
    /// Listings by name; a name nobody knows has none.
    pub(crate) outputs: BTreeMap<String, Option<Answer>>,
    /// Connections that were about to go when the listings began.
    pub(crate) going: Going,
}

/// What came of a step.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Outcome {
    /// Time has passed.
    Nothing,
    /// A word of the client.
    Word(String),
    /// What a command said.
    Answer(Answer),
}

/// Plays a case under a laboratory's name; everything is gone afterwards.
pub(crate) fn play(lab: &LabName, case: &Case) -> Result<Seen, String> {
    let mut options = DirectorOptions::standard().map_err(text)?;
    let marks = marks::rules(&case.nft)?;
    let settings = settings(&case.sysctl)?;
    let network = Network::build(lab, &case.topology, &options.binary).map_err(text)?;
    let config = lab.directory().join("director.toml");
    fs::write(&config, settings).map_err(text)?;
    options.config = Some(config);
    options.interfaces = PORTS.map(str::to_owned).to_vec();
    let servers = if case.has_traffic() { servers(&network, case).map_err(text)? } else { Vec::new() };
    let director = Director::start_in(lab, &network.director, &options).map_err(text)?;
    for (mark, rules) in &marks {
        let mark = mark.to_string();
        let words: Vec<&str> = ["mark", "add", &mark].into_iter().chain(rules.iter().map(String::as_str)).collect();
        director.xvs(&words).map_err(text)?;
    }
    let player = Player { case, network: &network, director: &director, path: search_path(lab, &options)? };
    let seen = player.play();
    drop((servers, director));
    seen
}

/// Director's settings for the recorded ones: where ours are others than IPVS's, IPVS's.
fn settings(sysctl: &[String]) -> Result<String, String> {
    let mut values = BTreeMap::from([("conn_reuse_mode", "1")]);
    for line in sysctl {
        let (name, value) = line.split_once('=').ok_or_else(|| format!("no setting: {line}"))?;
        let name = name.trim().strip_prefix("net.ipv4.vs.").ok_or_else(|| format!("no setting of IPVS: {line}"))?;
        values.insert(name, value.trim());
    }
    let mut toml = "[director]\n".to_owned();
    for (name, value) in values {
        let value = match (name, value) {
            ("conn_reuse_mode", number) => number,
            ("expire_nodest_conn" | "expire_quiescent_template" | "sloppy_tcp" | "sloppy_sctp", "0") => "false",
            ("expire_nodest_conn" | "expire_quiescent_template" | "sloppy_tcp" | "sloppy_sctp", "1") => "true",
            _ => return Err(format!("no setting of the director's: {name}={value}")),
        };
        writeln!(toml, "{name} = {value}").map_err(text)?;
    }
    Ok(toml)
}

/// A PATH that begins with the binary under the name that makes it `ipvsadm`: it was recorded by that name, which it prints.
fn search_path(lab: &LabName, options: &DirectorOptions) -> Result<OsString, String> {
    let directory = lab.directory().join("bin");
    fs::create_dir(&directory).map_err(text)?;
    symlink(&options.binary, directory.join("ipvsadm")).map_err(text)?;
    let mut path = directory.into_os_string();
    path.push(":");
    path.push(env::var_os("PATH").unwrap_or_default());
    Ok(path)
}

fn servers(network: &Network, case: &Case) -> Result<Vec<Servers>, LabError> {
    let mut servers = Vec::new();
    for (real, n) in network.reals.iter().zip(1..) {
        let mut addresses: Vec<IpAddr> = real_addresses(n).to_vec();
        if case.topology.mode != Mode::Nat {
            addresses.extend(&case.topology.vips);
        }
        servers.push(Servers::start(real, &format!("r{n}"), &addresses)?);
    }
    Ok(servers)
}

struct Player<'a> {
    case: &'a Case,
    network: &'a Network,
    director: &'a Director,
    path: OsString,
}

impl Player<'_> {
    fn play(&self) -> Result<Seen, String> {
        let mut seen = Seen { setup: Vec::new(), steps: Vec::new(), outputs: BTreeMap::new(), going: Going::new() };
        for line in &self.case.setup {
            let arguments = line.strip_prefix("ipvsadm").ok_or_else(|| format!("no line of ipvsadm: {line}"))?;
            seen.setup.push(self.ipvsadm(arguments, None)?);
        }
        self.wait_found()?;
        let mut client = Client::new(&self.network.client);
        for step in &self.case.steps {
            seen.steps.push(self.step(step, &mut client)?);
            sleep(PAUSE);
        }
        sleep(Duration::from_secs_f64(self.case.stats_taken_after_s.unwrap_or(0.0)) + REST);
        seen.going = listing::going(&self.ipvsadm("-Lnc", None)?.stdout);
        for (name, recorded) in &self.case.outputs {
            let arguments = listing::arguments(name, recorded);
            let answer = arguments.map(|arguments| self.ipvsadm(&arguments, None)).transpose()?;
            seen.outputs.insert(name.clone(), answer);
        }
        Ok(seen)
    }

    fn step(&self, step: &Step, client: &mut Client<'_>) -> Result<Outcome, String> {
        let word = match step {
            Step::Conn { ends, hold, .. } => client.connect(*ends, hold.as_deref()),
            Step::Udp { ends, .. } => client.datagram(*ends),
            Step::Close { h, .. } => client.close(h),
            Step::Rst { h, .. } => client.reset(h),
            Step::Send { h, .. } => client.send(h),
            Step::Sleep { s } => {
                sleep(Duration::from_secs_f64(*s));
                return Ok(Outcome::Nothing);
            }
            Step::Settle => {
                sleep(SETTLE);
                return Ok(Outcome::Nothing);
            }
            Step::Ipvsadm { args, .. } => return self.command(args, None),
            Step::IpvsadmRestore { stdin, .. } => return self.command("-R", Some(stdin)),
        };
        Ok(Outcome::Word(word))
    }

    fn command(&self, arguments: &str, stdin: Option<&str>) -> Result<Outcome, String> {
        let answer = self.ipvsadm(arguments, stdin)?;
        self.wait_found()?;
        Ok(Outcome::Answer(answer))
    }

    /// Runs the drop-in in the director's namespace.
    fn ipvsadm(&self, arguments: &str, stdin: Option<&str>) -> Result<Answer, String> {
        let mut command: Command = self.network.director.command("ipvsadm");
        command.args(arguments.split_whitespace()).env("PATH", &self.path).env("XVS_SOCKET", self.director.socket());
        command.stdin(if stdin.is_some() { Stdio::piped() } else { Stdio::null() });
        command.stdout(Stdio::piped()).stderr(Stdio::piped());
        let mut child = command.spawn().map_err(text)?;
        if let (Some(mut input), Some(stdin)) = (child.stdin.take(), stdin) {
            // A program that does not read its input says so by its answer.
            let _ = input.write_all(stdin.as_bytes());
        }
        let output = child.wait_with_output().map_err(text)?;
        let words = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
        // None: killed by a signal.
        let rc = output.status.code().unwrap_or(-1);
        Ok(Answer { rc, stdout: words(&output.stdout), stderr: words(&output.stderr) })
    }

    /// IPVS leaves a real's hardware address to the kernel, which asks for it when the first packet is to go; our director
    /// asks when the real is added and does not choose it before.
    fn wait_found(&self) -> Result<(), String> {
        if !self.case.has_traffic() {
            return Ok(());
        }
        let ours: Vec<IpAddr> = (1..=self.case.topology.real_servers).flat_map(real_addresses).collect();
        let look = || {
            let answer = self.director.json(&["real", "list"]).map_err(text)?;
            let services: Vec<ServiceView> = serde_json::from_value(answer).map_err(text)?;
            let reals = services.iter().flat_map(|service| &service.reals);
            let lost = |state: RealState| state == RealState::Unresolved || state == RealState::Down;
            match reals.filter(|real| ours.contains(&real.address)).find(|real| lost(real.state)) {
                Some(real) => Err(format!("{} is {}: {:?}", real.address, real.state, real.reason)),
                None => Ok(()),
            }
        };
        run::wait_for("hardware addresses of all reals", FOUND, look).map_err(text)
    }
}

fn text(error: impl std::fmt::Display) -> String {
    error.to_string()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(lines: &[&str]) -> Result<String, String> {
        settings(&lines.iter().map(ToString::to_string).collect::<Vec<_>>())
    }

    #[test]
    fn settings_are_those_of_ipvs() {
        assert_eq!(of(&[]).unwrap(), "[director]\nconn_reuse_mode = 1\n");
        assert_eq!(
            of(&["net.ipv4.vs.expire_nodest_conn=1", "net.ipv4.vs.conn_reuse_mode=0"]).unwrap(),
            "[director]\nconn_reuse_mode = 0\nexpire_nodest_conn = true\n"
        );
        assert!(of(&["net.ipv4.vs.sync_ports=2"]).is_err());
        assert!(of(&["net.ipv4.ip_forward=1"]).is_err());
    }
}
