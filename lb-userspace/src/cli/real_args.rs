//! The shapes of `xvs real`.

use std::net::{IpAddr, SocketAddr};

use clap::{Args, Subcommand};

use super::args::words;
use super::service_args::ServiceListArgs;
use crate::model::{Method, ServiceKey, key::parse_real};

/// `xvs real`
#[derive(Debug, Subcommand)]
pub enum RealCommand {
    /// Add a real server to a service
    #[command(after_help = "Examples:\n  xvs real add tcp://10.0.0.1:80 10.0.1.1 --weight 5\n  \
                            xvs real add 10.0.0.1:80 fd00::11 --method tunnel\n  \
                            xvs real add mark://1 10.0.1.1 --upper-threshold 1000")]
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
    /// Share of new connections, 0 to 2147483647; 0 drains [default when added: 1]
    #[arg(short, long, value_name = "N", value_parser = clap::value_parser!(u32).range(0..=2_147_483_647))]
    pub weight: Option<u32>,
    /// Connections from which on it gets no new ones; 0 means no limit [default when added: 0]
    #[arg(long, value_name = "N")]
    pub upper_threshold: Option<u32>,
    /// Connections below which it gets new ones again; 0 means three quarters of the upper threshold
    #[arg(long, value_name = "N")]
    pub lower_threshold: Option<u32>,
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

fn real_address(text: &str) -> Result<RealAddress, String> {
    let (address, port) = parse_real(text).map_err(|error| error.to_string())?;
    Ok(RealAddress { address, port })
}
