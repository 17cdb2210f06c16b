//! The command line as clap shapes: names, values, help. No logic.
//!
//! Help, manual pages, completions and `docs/reference/cli.md` all come from here.

use std::{ffi::OsString, net::IpAddr, path::PathBuf};

use clap::{Args, Parser, Subcommand, ValueEnum};

use super::daemon_args::{DaemonArgs, DetachArgs, RealserverArgs, VethPeerCommand};
use super::doctor_args::DoctorCommand;
use super::{director_args::DirectorCommand, mark_args::MarkCommand};
use super::{real_args::RealCommand, service_args::ServiceCommand};
use crate::{
    api::{DEFAULT_SOCKET, types::DEFAULT_CONNECTION_LIMIT},
    model::ServiceKey,
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
    /// Add, remove and list the rules that give packets a mark, by which one service takes many ports or addresses
    #[command(subcommand)]
    Mark(MarkCommand),
    /// Change and show what belongs to the director as a whole
    #[command(subcommand)]
    Director(DirectorCommand),
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
    /// Speak as ipvsadm 1.31 does: the binary called `ipvsadm` is this
    #[command(
        disable_help_flag = true,
        after_help = "Examples:\n  xvs ipvsadm -A -t 10.0.0.1:80 -s wrr\n  xvs ipvsadm -L -n\n  \
                      ln -s /usr/local/bin/xvs /usr/local/sbin/ipvsadm"
    )]
    Ipvsadm(IpvsadmArgs),
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

// === ipvsadm ===

/// `xvs ipvsadm`
#[derive(Debug, Args)]
pub struct IpvsadmArgs {
    /// A command line of ipvsadm, such as -L -n
    #[arg(value_name = "WORDS", trailing_var_arg = true, allow_hyphen_values = true)]
    pub words: Vec<OsString>,
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

/// A fixed word: clap lists the possible values in help and completions; the message for a wrong one is the
/// model's, which tells words of LVS from typing mistakes.
pub(super) fn words<T>(all: &'static [T], name: fn(T) -> &'static str) -> WordParser<T>
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
