//! `cargo xtask bench [WHAT]`: what XVS costs, in runs that anyone can repeat. Without WHAT: nanoseconds a packet, beside baselines
//! built from kernel maps. README.md has the methods.

mod figures;
mod machine;
mod rows;
mod scale;

use clap::{Parser, Subcommand};

/// Measures XVS; needs root.
#[derive(Parser)]
#[command(name = "cargo xtask bench", args_conflicts_with_subcommands = true)]
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
    /// The control plane: starts, changes, listings and idling of a daemon with many services
    Scale(scale::Arguments),
}

fn main() -> anyhow::Result<()> {
    let arguments = Arguments::parse();
    match arguments.what.unwrap_or(What::Rows(arguments.rows)) {
        What::Rows(arguments) => rows::run(&arguments),
        What::Scale(arguments) => scale::run(&arguments),
    }
}
