//! The shapes of `xvs doctor`. No logic.

use clap::{Args, Subcommand};

use crate::doctor::mtu::USUAL_PACKET;
use crate::model::ServiceKey;

/// `xvs doctor`
#[derive(Debug, Clone, Subcommand)]
pub enum DoctorCommand {
    /// Do the clients' packets fit the ways to the real servers, and what to set if not
    #[command(after_help = "Examples:\n  xvs doctor mtu\n  xvs doctor mtu tcp://10.0.0.1:80 --packet 9000\n  \
                            xvs doctor mtu -o json | jq '.reals[] | select(.result == \"too-long\")'\n\n\
                            The exit code is 0 when packets of that size get to every real server, or when TCP is kept from \
                            sending them (clamp_mss), and 1 when they do not or the way to one is not known.")]
    Mtu(DoctorMtuArgs),
}

/// `xvs doctor mtu`
#[derive(Debug, Clone, Args)]
pub struct DoctorMtuArgs {
    /// Only this service
    #[arg(value_name = "SERVICE")]
    pub key: Option<ServiceKey>,
    /// Size of the clients' largest packets in bytes, from the IP header on
    #[arg(long, value_name = "BYTES", default_value_t = USUAL_PACKET, value_parser = clap::value_parser!(u32).range(576..=65_535))]
    pub packet: u32,
}
