//! The command line as clap shapes: names, values, help. No logic.
//!
//! Help, manual pages, completions and `docs/reference/cli.md` all come from here.

use std::{
    net::{IpAddr, SocketAddr},
    ops::RangeInclusive,
    path::PathBuf,
};

use clap::{Args, Parser, Subcommand, ValueEnum};

use super::daemon_args::{DaemonArgs, DetachArgs, RealserverArgs, VethPeerCommand};
use super::doctor_args::DoctorCommand;
use crate::{
    api::{DEFAULT_SOCKET, types::DEFAULT_CONNECTION_LIMIT},
    model::{
        Method, OnRealDown, Scheduler, SchedulerFlag, ServiceKey, duration,
        health::{ProbeKind, parse_status},
        key::parse_real,
    },
};

/// XVS, the Linux Virtual Server on XDP: a layer-4 load balancer in the network driver.
#[derive(Debug, Parser)]
#[command(name = "xvs", version, propagate_version = false, max_term_width = 100)]
#[command(after_help = "Exit codes: 0 done; 1 failed, refused by what is applied, or `xvs doctor` found something; \
                        2 wrong input or usage; 3 daemon not reachable.")]
pub struct Cli {
    /// How listings are printed
    #[arg(short, long, global = true, value_enum, default_value_t = Format::Table, value_name = "FORMAT")]
    pub output: Format,
    /// Socket of the daemon
    #[arg(
        long,
        global = true,
        env = "XVS_SOCKET",
        hide_env_values = true,
        default_value = DEFAULT_SOCKET,
        value_name = "PATH"
    )]
    pub socket: PathBuf,
    /// What to do
    #[command(subcommand)]
    pub command: Command,
}

/// How listings are printed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum Format {
    /// Aligned columns, for people
    Table,
    /// The API's JSON, for programs
    Json,
}

/// The verbs and nouns.
#[derive(Debug, Subcommand)]
pub enum Command {
    /// Add, change, remove and list virtual services
    #[command(subcommand)]
    Service(ServiceCommand),
    /// Add, change, remove and list the real servers of a service
    #[command(subcommand)]
    Real(RealCommand),
    /// Apply a configuration file, whole or not at all
    #[command(after_help = "Examples:\n  xvs apply /etc/xvs/xvs.toml\n  xvs export | sed s/wlc/sh/ | xvs apply -\n  \
                            xvs apply new.toml --if-revision 7")]
    Apply(ApplyArgs),
    /// Show what applying a configuration file would change
    #[command(after_help = "Examples:\n  xvs plan /etc/xvs/xvs.toml\n  xvs plan -o json new.toml")]
    Plan(FileArgs),
    /// Check a configuration file; needs no daemon
    #[command(after_help = "Examples:\n  xvs check /etc/xvs/xvs.toml\n  xvs check - < new.toml\n\n\
                            Every problem is one line FILE:LINE:COLUMN: KEY: MESSAGE; the exit code is then 2.")]
    Check(FileArgs),
    /// Print the configuration that is applied, as TOML (as JSON with -o json)
    #[command(after_help = "Examples:\n  xvs export > /etc/xvs/xvs.toml\n  xvs export -o json")]
    Export,
    /// Show how the daemon is
    #[command(after_help = "Examples:\n  xvs status\n  xvs status -o json | jq .warnings")]
    Status,
    /// Look at connections
    #[command(subcommand)]
    Conn(ConnCommand),
    /// Show what was counted: packets by verdict, and by service and real
    #[command(after_help = "Examples:\n  xvs stats\n  xvs stats -o json | jq .verdicts")]
    Stats,
    /// Look for what is set up badly
    #[command(subcommand)]
    Doctor(DoctorCommand),
    /// Run the director: the control plane, in the foreground
    Daemon(DaemonArgs),
    /// Take the director's program off its interfaces and remove its tables; needs that no daemon runs
    Detach(DetachArgs),
    /// Set up this machine as a real server
    Realserver(RealserverArgs),
    /// Prepare the other end of a director's veth device
    #[command(subcommand, name = "veth-peer")]
    VethPeer(VethPeerCommand),
    /// Write the manual pages into a directory
    #[command(after_help = "Example:\n  xvs man /usr/local/share/man/man1")]
    Man(ManArgs),
    /// Print a shell's completions
    #[command(after_help = "Example:\n  xvs completions bash > /etc/bash_completion.d/xvs")]
    Completions(CompletionsArgs),
}

// === configuration files ===

/// A configuration file.
#[derive(Debug, Args)]
pub struct FileArgs {
    /// Configuration file; - reads standard input
    pub file: PathBuf,
}

/// `xvs apply`
#[derive(Debug, Args)]
pub struct ApplyArgs {
    /// Configuration file; - reads standard input
    pub file: PathBuf,
    /// Refuse unless this revision is the one applied (see `xvs status`)
    #[arg(long, value_name = "N")]
    pub if_revision: Option<u64>,
}

// === services ===

/// `xvs service`
#[derive(Debug, Subcommand)]
pub enum ServiceCommand {
    /// Add a service
    #[command(after_help = "Examples:\n  xvs service add tcp://10.0.0.1:80 --scheduler wrr\n  \
                            xvs service add 'udp://[fd00::1]:53' --scheduler sh --flag sh-port\n  \
                            xvs service add 10.0.0.1:80 --check http --check-path /health --check-status 200-299")]
    Add(ServiceAddArgs),
    /// Change a service; what is not named stays
    #[command(after_help = "Examples:\n  xvs service edit tcp://10.0.0.1:80 --scheduler mh --flag mh-port\n  \
                            xvs service edit 10.0.0.1:80 --check-interval 5s\n  \
                            xvs service edit 10.0.0.1:80 --no-check --no-flags")]
    Edit(ServiceEditArgs),
    /// Remove a service and its reals
    #[command(visible_alias = "rm", after_help = "Example:\n  xvs service remove tcp://10.0.0.1:80")]
    Remove(ServiceKeyArgs),
    /// List services
    #[command(
        visible_alias = "ls",
        after_help = "Examples:\n  xvs service list\n  xvs service list 10.0.0.1:80 -o json"
    )]
    List(ServiceListArgs),
}

/// Names a service.
#[derive(Debug, Args)]
pub struct ServiceKeyArgs {
    /// Service: [PROTOCOL://]ADDRESS[:PORT], such as tcp://10.0.0.1:80, udp://[fd00::1]:53 or sctp://10.0.0.1:3868
    #[arg(value_name = "SERVICE")]
    pub key: ServiceKey,
}

/// May name a service.
#[derive(Debug, Args)]
pub struct ServiceListArgs {
    /// Only this service
    #[arg(value_name = "SERVICE")]
    pub key: Option<ServiceKey>,
}

/// `xvs service add`
#[derive(Debug, Args)]
pub struct ServiceAddArgs {
    /// Service: [PROTOCOL://]ADDRESS[:PORT]; tcp when no protocol is said, any port when no port is
    #[arg(value_name = "SERVICE")]
    pub key: ServiceKey,
    /// The service's settings
    #[command(flatten)]
    pub settings: ServiceSettings,
}

/// `xvs service edit`
#[derive(Debug, Args)]
pub struct ServiceEditArgs {
    /// Service: [PROTOCOL://]ADDRESS[:PORT]
    #[arg(value_name = "SERVICE")]
    pub key: ServiceKey,
    /// The service's settings
    #[command(flatten)]
    pub settings: ServiceSettings,
    /// Take all scheduler flags away
    #[arg(long, conflicts_with = "flags")]
    pub no_flags: bool,
    /// Take the health check away
    #[arg(long, conflicts_with_all = ["check", "check_port", "check_path", "check_host", "check_status",
                                      "check_interval", "check_timeout", "check_rise", "check_fall"])]
    pub no_check: bool,
}

/// What a service can be told.
#[derive(Debug, Args)]
pub struct ServiceSettings {
    /// Scheduler [default: wlc]
    #[arg(short, long, value_parser = words::<Scheduler>(Scheduler::ALL, Scheduler::as_str))]
    pub scheduler: Option<Scheduler>,
    /// Scheduler flag; may be given several times
    #[arg(long = "flag", value_name = "FLAG",
          value_parser = words::<SchedulerFlag>(SchedulerFlag::ALL, SchedulerFlag::as_str))]
    pub flags: Vec<SchedulerFlag>,
    /// Forwarding method of the reals that say none [default: direct]
    #[arg(short, long, value_parser = words::<Method>(Method::ALL, Method::as_str))]
    pub method: Option<Method>,
    /// What becomes of a real's connections when its check fails [default: keep]
    #[arg(long, value_name = "POLICY", value_parser = words::<OnRealDown>(OnRealDown::ALL, OnRealDown::as_str))]
    pub on_real_down: Option<OnRealDown>,
    /// Health check of the reals
    #[command(flatten)]
    pub check: CheckArgs,
}

/// A health check.
#[derive(Debug, Args)]
#[command(next_help_heading = "Health check")]
pub struct CheckArgs {
    /// Type of check
    #[arg(long, value_name = "TYPE", value_parser = words::<ProbeKind>(ProbeKind::ALL, ProbeKind::as_str))]
    pub check: Option<ProbeKind>,
    /// Port to check [default: the service's]
    #[arg(long, value_name = "PORT", value_parser = clap::value_parser!(u16).range(1..))]
    pub check_port: Option<u16>,
    /// http: path to ask for [default: /]
    #[arg(long, value_name = "PATH")]
    pub check_path: Option<String>,
    /// http: Host header [default: the real's address]
    #[arg(long, value_name = "NAME")]
    pub check_host: Option<String>,
    /// http: status or range of them that is a success; may be given several times [default: 200-299]
    #[arg(long, value_name = "RANGE", value_parser = parse_status)]
    pub check_status: Vec<RangeInclusive<u16>>,
    /// Time from one check to the next, such as 500ms or 1m [default: 2s]
    #[arg(long, value_name = "TIME", value_parser = duration::parse)]
    pub check_interval: Option<u64>,
    /// How long a check may take [default: 1s]
    #[arg(long, value_name = "TIME", value_parser = duration::parse)]
    pub check_timeout: Option<u64>,
    /// Successes in a row that make a real up [default: 2]
    #[arg(long, value_name = "N")]
    pub check_rise: Option<u32>,
    /// Failures in a row that make a real down [default: 3]
    #[arg(long, value_name = "N")]
    pub check_fall: Option<u32>,
}

// === reals ===

/// `xvs real`
#[derive(Debug, Subcommand)]
pub enum RealCommand {
    /// Add a real server to a service
    #[command(after_help = "Examples:\n  xvs real add tcp://10.0.0.1:80 10.0.1.1 --weight 5\n  \
                            xvs real add 10.0.0.1:80 fd00::11 --method tunnel")]
    Add(RealSetArgs),
    /// Change a real server; what is not named stays
    #[command(after_help = "Examples:\n  xvs real edit 10.0.0.1:80 10.0.1.1 --weight 0   (drain it: old connections \
                            stay, new ones go elsewhere)\n  xvs real edit 10.0.0.1:80 10.0.1.1 --method tunnel")]
    Edit(RealSetArgs),
    /// Remove a real server from a service
    #[command(visible_alias = "rm", after_help = "Example:\n  xvs real remove 10.0.0.1:80 10.0.1.1")]
    Remove(RealKeyArgs),
    /// List real servers
    #[command(visible_alias = "ls", after_help = "Examples:\n  xvs real list\n  xvs real list 10.0.0.1:80 -o json")]
    List(ServiceListArgs),
}

/// Names a real server of a service.
#[derive(Debug, Args)]
pub struct RealKeyArgs {
    /// Service: [PROTOCOL://]ADDRESS[:PORT]
    #[arg(value_name = "SERVICE")]
    pub key: ServiceKey,
    /// Real server: ADDRESS[:PORT]; the port is the service's
    #[arg(value_name = "REAL", value_parser = real_address)]
    pub real: RealAddress,
}

/// `xvs real add` and `edit`
#[derive(Debug, Args)]
pub struct RealSetArgs {
    /// Service and real
    #[command(flatten)]
    pub at: RealKeyArgs,
    /// Share of new connections, 0 to 65535; 0 drains [default when added: 1]
    #[arg(short, long, value_name = "N", value_parser = clap::value_parser!(u32).range(0..=65_535))]
    pub weight: Option<u32>,
    /// Forwarding method, when it differs from the service's
    #[arg(short, long, value_parser = words::<Method>(Method::ALL, Method::as_str))]
    pub method: Option<Method>,
    /// GUE: UDP port that the real opens tunnels at [default: 6080]
    #[arg(long, value_name = "PORT", value_parser = clap::value_parser!(u16).range(1..))]
    pub tunnel_port: Option<u16>,
    /// GUE and GRE: with a checksum in the header or without [default: with it for GUE to an IPv6 real]
    #[arg(long, value_name = "true|false")]
    pub tunnel_checksum: Option<bool>,
}

/// A real server as written on the command line.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct RealAddress {
    /// Its address.
    pub address: IpAddr,
    /// Its port, when one was given.
    pub port: Option<u16>,
}

impl RealAddress {
    /// The real in a service: its port is the service's unless said otherwise.
    pub fn endpoint(self, service: &ServiceKey) -> SocketAddr {
        SocketAddr::new(self.address, self.port.unwrap_or(service.port))
    }
}

// === connections ===

/// `xvs conn`
#[derive(Debug, Subcommand)]
pub enum ConnCommand {
    /// List connections
    #[command(
        visible_alias = "ls",
        after_help = "Examples:\n  xvs conn list --service 10.0.0.1:80\n  \
                            xvs conn list --client 192.0.2.7 --limit 20 -o json"
    )]
    List(ConnListArgs),
}

/// `xvs conn list`
#[derive(Debug, Args)]
pub struct ConnListArgs {
    /// Only of this service
    #[arg(long, value_name = "SERVICE")]
    pub service: Option<ServiceKey>,
    /// Only from this client
    #[arg(long, value_name = "ADDRESS")]
    pub client: Option<IpAddr>,
    /// Only to this real server
    #[arg(long, value_name = "ADDRESS")]
    pub real: Option<IpAddr>,
    /// Only in this state, as the listing names it
    #[arg(long)]
    pub state: Option<String>,
    /// Show at most this many
    #[arg(long, value_name = "N", default_value_t = DEFAULT_CONNECTION_LIMIT)]
    pub limit: usize,
}

// === documents ===

/// `xvs man`
#[derive(Debug, Args)]
pub struct ManArgs {
    /// Directory for the pages
    pub directory: PathBuf,
}

/// `xvs completions`
#[derive(Debug, Args)]
pub struct CompletionsArgs {
    /// Shell
    pub shell: clap_complete::Shell,
}

// === value parsers ===

fn real_address(text: &str) -> Result<RealAddress, String> {
    let (address, port) = parse_real(text).map_err(|error| error.to_string())?;
    Ok(RealAddress { address, port })
}

/// A fixed word: clap lists the possible values in help and completions; the message for a wrong one is the
/// model's, which tells words of LVS from typing mistakes.
fn words<T>(all: &'static [T], name: fn(T) -> &'static str) -> WordParser<T>
where
    T: Copy,
{
    WordParser { all, name }
}

/// See [`words`].
#[derive(Clone)]
pub struct WordParser<T: 'static> {
    all: &'static [T],
    name: fn(T) -> &'static str,
}

impl<T> clap::builder::TypedValueParser for WordParser<T>
where
    T: Copy + Send + Sync + std::str::FromStr<Err: std::error::Error + Send + Sync + 'static>,
{
    type Value = T;

    fn parse_ref(
        &self,
        command: &clap::Command,
        arg: Option<&clap::Arg>,
        value: &std::ffi::OsStr,
    ) -> Result<T, clap::Error> {
        let parser = |text: &str| text.parse::<T>();
        parser.parse_ref(command, arg, value)
    }

    fn possible_values(&self) -> Option<Box<dyn Iterator<Item = clap::builder::PossibleValue> + '_>> {
        Some(Box::new(self.all.iter().map(|value| clap::builder::PossibleValue::new((self.name)(*value)))))
    }
}
