//! The shapes of the verbs that are not requests to a daemon: the daemon itself, and what prepares the other
//! machines of a cluster. No logic.

use std::{net::IpAddr, path::PathBuf};

use clap::{Args, Subcommand, ValueEnum};

use crate::model::spec::DEFAULT_TUNNEL_PORT;

/// `xvs daemon`
#[derive(Debug, Clone, Args)]
#[command(after_help = "Examples:\n  xvs daemon\n  xvs daemon --config lab.toml --interface eth0 --mode native\n  \
                        xvs daemon --socket /run/xvs-b/xvs.sock --pin-dir /sys/fs/bpf/xvs-b --state-dir /var/lib/xvs-b\n\n\
                        Killing the daemon stops no traffic: what is applied stays in the kernel.")]
pub struct DaemonArgs {
    /// Configuration to apply at start
    #[arg(long, value_name = "FILE", default_value = "/etc/xvs/xvs.toml")]
    pub config: PathBuf,
    /// Interface to serve, besides those of the configuration; may be given several times
    #[arg(short, long = "interface", value_name = "NAME")]
    pub interfaces: Vec<String>,
    /// How to attach; auto takes native where the driver can
    #[arg(long, value_enum, default_value_t = ModeArg::Auto)]
    pub mode: ModeArg,
    /// Where the maps and links are pinned
    #[arg(long, value_name = "PATH", default_value = "/sys/fs/bpf/xvs")]
    pub pin_dir: PathBuf,
    /// Where the applied configuration is kept
    #[arg(long, value_name = "PATH", default_value = "/var/lib/xvs")]
    pub state_dir: PathBuf,
    /// Connections remembered over IPv4, and over IPv6 (16 million at most); none means the built-in size. Tables of another size take
    /// over what those that are there hold
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1024..=31_876_710))]
    pub connections: Option<u32>,
    /// Real servers over all services; none means the built-in size
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..=1 << 20))]
    pub reals: Option<u32>,
    /// Connections with address translation (nat, fullnat) remembered; none means the built-in size. Taken over likewise
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(64..=1 << 21))]
    pub translated: Option<u32>,
    /// What to log: error, warn, info, debug, trace, or a filter such as info,lb_userspace::net=debug
    #[arg(long, value_name = "FILTER", default_value = "info")]
    pub log: String,
}

/// How the XDP program is attached.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum ModeArg {
    /// Native, or generic with a warning where the driver cannot
    Auto,
    /// In the driver, or not at all
    Native,
    /// After the kernel made an skb: slower, works everywhere
    Generic,
}

/// `xvs detach`
#[derive(Debug, Clone, Args)]
#[command(after_help = "Examples:\n  xvs detach\n  xvs detach --pin-dir /sys/fs/bpf/xvs-b\n\n\
                        Packets go to the kernel from then on; connections and counters are forgotten.")]
pub struct DetachArgs {
    /// Where the maps and links are pinned
    #[arg(long, value_name = "PATH", default_value = "/sys/fs/bpf/xvs")]
    pub pin_dir: PathBuf,
}

/// Where a real server's or veth peer's links are pinned.
pub const HOST_PINS: &str = "/sys/fs/bpf/xvs-host";

/// `xvs realserver`
#[derive(Debug, Clone, Args)]
pub struct RealserverArgs {
    /// Where join records what it changed, for leave to undo
    #[arg(long, global = true, value_name = "PATH", default_value = "/var/lib/xvs")]
    pub state_dir: PathBuf,
    /// What to do
    #[command(subcommand)]
    pub command: RealserverCommand,
}

/// The verbs of `xvs realserver`.
#[derive(Debug, Clone, Subcommand)]
pub enum RealserverCommand {
    /// Make this machine answer for virtual addresses without announcing them
    #[command(after_help = "Examples:\n  xvs realserver join --vip 10.0.0.1\n  \
                            xvs realserver join --vip 10.0.0.1 --vip fd00::1 --tunnel --interface eth0")]
    Join(RealserverJoinArgs),
    /// Undo what join did
    #[command(after_help = "Examples:\n  xvs realserver leave")]
    Leave,
    /// Show what this machine answers for, and what stands in the way
    #[command(after_help = "Examples:\n  xvs realserver status\n  xvs realserver status -o json")]
    Status,
}

/// `xvs realserver join`
#[derive(Debug, Clone, Args)]
pub struct RealserverJoinArgs {
    /// Virtual address; may be given several times
    #[arg(long = "vip", value_name = "ADDRESS", required = true)]
    pub vips: Vec<IpAddr>,
    /// Unpack tunnelled packets, by an XDP program on the interfaces
    #[arg(long, requires = "interfaces")]
    pub tunnel: bool,
    /// UDP port that GUE packets arrive at
    #[arg(long, value_name = "PORT", default_value_t = DEFAULT_TUNNEL_PORT, value_parser = clap::value_parser!(u16).range(1..))]
    pub gue_port: u16,
    /// Interface packets come in by; may be given several times, needed with --tunnel
    #[arg(short, long = "interface", value_name = "NAME")]
    pub interfaces: Vec<String>,
}

/// `xvs veth-peer`
#[derive(Debug, Clone, Subcommand)]
pub enum VethPeerCommand {
    /// Attach a program that passes every packet: without one, a veth peer takes no redirected packets
    #[command(after_help = "Example:\n  xvs veth-peer attach veth-client")]
    Attach(VethPeerArgs),
    /// Detach it
    #[command(after_help = "Example:\n  xvs veth-peer detach veth-client")]
    Detach(VethPeerArgs),
}

/// `xvs veth-peer attach` and `detach`
#[derive(Debug, Clone, Args)]
pub struct VethPeerArgs {
    /// Interfaces
    #[arg(required = true, value_name = "INTERFACE")]
    pub interfaces: Vec<String>,
}

#[cfg(test)]
mod tests {
    use clap::Parser;

    use super::*;

    #[derive(Parser)]
    enum Verbs {
        Daemon(DaemonArgs),
        Realserver(RealserverArgs),
        #[command(subcommand)]
        VethPeer(VethPeerCommand),
    }

    fn parsed(line: &str) -> Result<Verbs, clap::Error> {
        Verbs::try_parse_from(std::iter::once("xvs").chain(line.split(' ')))
    }

    #[test]
    fn the_daemon_has_a_default_for_every_path() {
        let Ok(Verbs::Daemon(args)) = parsed("daemon -i eth0 -i eth1 --mode native") else { panic!("not a daemon") };
        assert_eq!((args.interfaces.len(), args.mode), (2, ModeArg::Native));
        assert_eq!(args.pin_dir, PathBuf::from("/sys/fs/bpf/xvs"));
    }

    #[test]
    fn joining_needs_an_address_and_a_tunnel_needs_an_interface() {
        assert!(parsed("realserver join").is_err());
        assert!(parsed("realserver join --vip 10.0.0.1 --tunnel").is_err());
        let Ok(Verbs::Realserver(args)) = parsed("realserver leave --state-dir /x") else { panic!("not a real") };
        assert!(
            matches!(args.command, RealserverCommand::Leave) && args.state_dir.as_path() == std::path::Path::new("/x")
        );
        let Ok(Verbs::VethPeer(VethPeerCommand::Attach(args))) = parsed("veth-peer attach a b") else {
            panic!("not attach")
        };
        assert_eq!(args.interfaces, ["a", "b"]);
    }
}
