//! The shapes of `xvs director`.

use clap::{Args, Subcommand};

/// `xvs director`
#[derive(Debug, Subcommand)]
pub enum DirectorCommand {
    /// Change settings; what is not named stays
    #[command(after_help = "Examples:\n  xvs director edit --timeout-tcp 3600 --timeout-udp 60\n  \
                            xvs director edit --expire-nodest-conn true")]
    Edit(DirectorEditArgs),
    /// Show the settings
    #[command(after_help = "Examples:\n  xvs director show\n  xvs director show -o json")]
    Show,
}

/// `xvs director edit`
#[derive(Debug, Args)]
pub struct DirectorEditArgs {
    /// Seconds that an idle TCP connection or SCTP association is remembered
    #[arg(long, value_name = "SECONDS")]
    pub timeout_tcp: Option<u32>,
    /// Seconds that a TCP connection is remembered after a FIN
    #[arg(long, value_name = "SECONDS")]
    pub timeout_tcp_fin: Option<u32>,
    /// Seconds that an idle UDP conversation is remembered
    #[arg(long, value_name = "SECONDS")]
    pub timeout_udp: Option<u32>,
    /// Take a TCP connection whose first packet seen is not a SYN
    #[arg(long, value_name = "true|false")]
    pub sloppy_tcp: Option<bool>,
    /// Take an SCTP association whose first packet seen is not an INIT
    #[arg(long, value_name = "true|false")]
    pub sloppy_sctp: Option<bool>,
    /// Reset connections whose real was removed; otherwise their packets are dropped
    #[arg(long, value_name = "true|false")]
    pub expire_nodest_conn: Option<bool>,
    /// Forget what persistence remembered of a real when its weight becomes 0
    #[arg(long, value_name = "true|false")]
    pub expire_quiescent_template: Option<bool>,
    /// When a SYN of an ended connection is scheduled anew: 0 never, 1 in TIME_WAIT, 2 and 3 in FIN_WAIT too
    #[arg(long, value_name = "0..3", value_parser = clap::value_parser!(u32).range(0..=3))]
    pub conn_reuse_mode: Option<u32>,
}
