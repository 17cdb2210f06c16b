//! Chores of this working copy: `cargo xtask VERB`. One file per verb; this one only parses and dispatches.

mod bench;
mod cargo;
mod demo;
mod interrupt;
mod kernel;
mod lab;
mod out;
mod reap;
mod root;
mod scene;
mod setup;
mod test;

use std::process::ExitCode;

use clap::{Parser, Subcommand};

#[derive(Debug, Parser)]
#[command(name = "cargo xtask", about = "Build, try and test XVS on this machine")]
struct Arguments {
    #[command(subcommand)]
    verb: Verb,
}

#[derive(Debug, Subcommand)]
enum Verb {
    /// Install what building and testing need; changes nothing that is there already
    Setup,
    /// Balance real traffic between three real servers in network namespaces and show who got what
    Demo(demo::DemoArguments),
    /// Build a network with a running director to play with, show it, or remove it
    Lab(lab::LabArguments),
    /// Measure nanoseconds per packet beside baselines
    Bench(bench::BenchArguments),
    /// Check format and lints and run every test; or the tests that depend on the kernel, under others
    Test(test::TestArguments),
    /// Remove a laboratory once stdin ends (the demo starts this next to itself, in case it is killed)
    #[command(hide = true)]
    Reap(reap::ReapArguments),
}

fn main() -> ExitCode {
    let outcome = match Arguments::parse().verb {
        Verb::Setup => setup::run(),
        Verb::Demo(arguments) => demo::run(&arguments),
        Verb::Lab(arguments) => lab::run(&arguments),
        Verb::Bench(arguments) => bench::run(&arguments),
        Verb::Test(arguments) => test::run(&arguments),
        Verb::Reap(arguments) => reap::run(&arguments),
    };
    out::exit_code(outcome)
}
