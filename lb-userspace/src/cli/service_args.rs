//! The shapes of `xvs service`.

use std::ops::RangeInclusive;

use clap::{Args, Subcommand};

use super::args::words;
use crate::model::{
    Helper, Method, Netmask, OnRealDown, Scheduler, SchedulerFlag, ServiceKey, duration,
    health::{ProbeKind, parse_status},
};

/// `xvs service`
#[derive(Debug, Subcommand)]
pub enum ServiceCommand {
    /// Add a service
    #[command(after_help = "Examples:\n  xvs service add tcp://10.0.0.1:80 --scheduler wrr\n  \
                            xvs service add 'udp://[fd00::1]:53' --scheduler sh --flag sh-port\n  \
                            xvs service add 10.0.0.1:80 --check http --check-path /health --check-status 200-299\n  \
                            xvs service add mark://1 --persistent 600 --netmask 255.255.255.0\n  \
                            xvs service add udp://10.0.0.1:53 --scheduler rr --one-packet")]
    Add(ServiceAddArgs),
    /// Change a service; what is not named stays
    #[command(after_help = "Examples:\n  xvs service edit tcp://10.0.0.1:80 --scheduler mh --flag mh-port\n  \
                            xvs service edit 10.0.0.1:80 --check-interval 5s\n  \
                            xvs service edit 10.0.0.1:80 --no-check --no-flags\n  \
                            xvs service edit 10.0.0.1:80 --persistent --timeout-tcp 3600")]
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
    /// Service: [PROTOCOL://]ADDRESS[:PORT], such as tcp://10.0.0.1:80, udp://[fd00::1]:53 or sctp://10.0.0.1:3868; mark://N, mark6://N
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
    /// Service: [PROTOCOL://]ADDRESS[:PORT]; tcp when no protocol is said, any port when no port is. mark://N takes what the rules of
    /// mark N match of IPv4, mark6://N of IPv6
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
    /// Back to the usual 4093 slots
    #[arg(long, conflicts_with = "table_slots")]
    pub no_table_slots: bool,
    /// End persistence: clients are scheduled anew
    #[arg(long, conflicts_with_all = ["persistent", "netmask"])]
    pub no_persistent: bool,
    /// Remember conversations again
    #[arg(long, conflicts_with = "one_packet")]
    pub no_one_packet: bool,
    /// Back to the director's timeouts
    #[arg(long, conflicts_with_all = ["timeout_tcp", "timeout_tcp_fin", "timeout_udp"])]
    pub no_timeouts: bool,
    /// Take the helper away
    #[arg(long, conflicts_with = "helper")]
    pub no_helper: bool,
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
    /// Scheduler flag; may be given several times. flag-1 and flag-2 of sh and mh are their -fallback and -port
    #[arg(long = "flag", value_name = "FLAG",
          value_parser = words::<SchedulerFlag>(SchedulerFlag::ALL, SchedulerFlag::as_str))]
    pub flags: Vec<SchedulerFlag>,
    /// mh: slots of its table, one of 251, 509, 1021, 2039, 4093, 8191, 16381, 32749, 65521, 131071 [default: 4093]
    #[arg(long, value_name = "N")]
    pub table_slots: Option<u32>,
    /// Keep clients with one real, remembered for so many seconds; 360 when none are said
    #[arg(long, value_name = "SECONDS", num_args = 0..=1, default_missing_value = "360")]
    pub persistent: Option<u32>,
    /// Persistence of whole networks: 255.255.255.0, for IPv6 /64
    #[arg(long, value_name = "MASK")]
    pub netmask: Option<Netmask>,
    /// Schedule each UDP packet for itself and remember nothing
    #[arg(long)]
    pub one_packet: bool,
    /// Seconds that an idle TCP connection is remembered [default: the director's]
    #[arg(long, value_name = "SECONDS")]
    pub timeout_tcp: Option<u32>,
    /// Seconds that a TCP connection is remembered after a FIN [default: the director's]
    #[arg(long, value_name = "SECONDS")]
    pub timeout_tcp_fin: Option<u32>,
    /// Seconds that an idle UDP conversation is remembered [default: the director's]
    #[arg(long, value_name = "SECONDS")]
    pub timeout_udp: Option<u32>,
    /// Forwarding method of the reals that say none [default: direct]
    #[arg(short, long, value_parser = words::<Method>(Method::ALL, Method::as_str))]
    pub method: Option<Method>,
    /// What becomes of a real's connections when its check fails [default: keep]
    #[arg(long, value_name = "POLICY", value_parser = words::<OnRealDown>(OnRealDown::ALL, OnRealDown::as_str))]
    pub on_real_down: Option<OnRealDown>,
    /// Follow this protocol, so that the further connections it announces reach their real; for method nat
    #[arg(long, value_parser = words::<Helper>(Helper::ALL, Helper::as_str))]
    pub helper: Option<Helper>,
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
