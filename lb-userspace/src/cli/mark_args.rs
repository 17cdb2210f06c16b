//! The shapes of `xvs mark`.

use clap::{Args, Subcommand};

/// `xvs mark`
#[derive(Debug, Subcommand)]
pub enum MarkCommand {
    /// Add rules to a mark, all or none
    #[command(
        after_help = "Examples:\n  xvs mark add 1 tcp 10.0.0.1:80 tcp 10.0.0.1:443   (both ports under one service: mark://1)\n  \
                            xvs mark add 2 tcp 10.0.0.0/24:8000-8100 udp '[fd00::/64]:53' sctp 10.0.0.9"
    )]
    Add(MarkRulesArgs),
    /// Take rules from a mark, all or none
    #[command(visible_alias = "rm", after_help = "Example:\n  xvs mark remove 1 tcp 10.0.0.1:443")]
    Remove(MarkRulesArgs),
    /// List the rules of marks
    #[command(visible_alias = "ls", after_help = "Examples:\n  xvs mark list\n  xvs mark list 1 -o json")]
    List(MarkListArgs),
}

/// `xvs mark add` and `remove`
#[derive(Debug, Args)]
pub struct MarkRulesArgs {
    /// The mark
    #[arg(value_name = "MARK", value_parser = clap::value_parser!(u32).range(1..))]
    pub mark: u32,
    /// Rules: each a protocol (tcp, udp, sctp) and what it goes to: an address or prefix, and a port, a range of them or none for any
    #[arg(value_names = ["PROTOCOL", "ADDRESS[/PREFIX][:PORT[-PORT]]"], num_args = 2.., required = true)]
    pub rules: Vec<String>,
}

/// `xvs mark list`
#[derive(Debug, Args)]
pub struct MarkListArgs {
    /// Only of this mark
    #[arg(value_name = "MARK", value_parser = clap::value_parser!(u32).range(1..))]
    pub mark: Option<u32>,
}
