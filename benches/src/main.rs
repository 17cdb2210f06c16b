//! `cargo xtask bench [WHAT]`: what XVS costs, in runs that anyone can repeat. Without WHAT: nanoseconds a packet, beside baselines
//! built from kernel maps. README.md has the methods.

mod cores;
mod figures;
mod flood;
mod machine;
mod rows;
mod scale;
mod traffic;
mod wire;
mod wrapped;

use clap::{Parser, Subcommand};

/// Measures XVS; needs root.
#[derive(Parser)]
#[command(name = "cargo xtask bench", args_conflicts_with_subcommands = true)]
#[group(skip)]
struct Arguments {
    #[command(subcommand)]
    what: Option<What>,
    #[command(flatten)]
    rows: rows::Arguments,
}

#[derive(Subcommand)]
enum What {
    /// Nanoseconds a packet costs in the program, net of the harness; the default
    Rows(rows::Arguments),
    /// Write tables and plots of an earlier run of the rows into docs/performance.md and docs/performance/
    Write(rows::WriteArguments),
    /// Packets a second through veth pairs, beside a bare forwarder and the kernel's own work
    Wire(wire::Arguments),
    /// What a SYN flood does to established connections
    Flood(flood::Arguments),
    /// What two cores cost each other
    Cores(cores::Arguments),
    /// The control plane: starts, changes, listings and idling of a daemon with many services
    Scale(scale::Arguments),
}

fn main() -> anyhow::Result<()> {
    let arguments = Arguments::parse();
    match arguments.what.unwrap_or(What::Rows(arguments.rows)) {
        What::Rows(arguments) => rows::run(&arguments),
        What::Write(arguments) => rows::write(&arguments),
        What::Wire(arguments) => wire::run(&arguments),
        What::Flood(arguments) => flood::run(&arguments),
        What::Cores(arguments) => cores::run(&arguments),
        What::Scale(arguments) => scale::run(&arguments),
    }
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory as _;

    use super::*;

    #[test]
    fn options_stand_with_and_without_a_subcommand() {
        Arguments::command().debug_assert();
        let parsed = Arguments::try_parse_from(["bench", "--filter", "ipip", "--repetitions", "3"]);
        assert!(parsed.is_ok_and(|arguments| arguments.what.is_none()));
        assert!(Arguments::try_parse_from(["bench", "rows", "--filter", "ipip"]).is_ok());
        assert!(Arguments::try_parse_from(["bench", "--filter", "ipip", "--write"]).is_err());
    }
}
