//! The command line: clap shapes, one file per noun, and what each prints.
//!
//! Every verb is one or two requests to the daemon, but for `check`, `man`, `completions` and those of `host`. Nothing here decides
//! about services: what is refused is refused by the daemon, with the sentence it says to every client.

pub mod args;
mod check;
mod config;
mod conn;
pub mod daemon_args;
mod director;
pub mod director_args;
mod doctor;
pub mod doctor_args;
mod documents;
mod error;
mod host;
mod mark;
pub mod mark_args;
mod output;
mod real;
pub mod real_args;
mod service;
pub mod service_args;
mod show;

use std::{
    ffi::OsString,
    io::{self, Write},
    path::Path,
    process::ExitCode,
};

use clap::{Parser, error::ErrorKind};

use self::{
    args::{Cli, Command, ConnCommand},
    output::Output,
};
pub use self::{documents::reference, error::CliError};
use crate::{
    api::{DEFAULT_SOCKET, client::Client},
    ipvsadm,
};

/// Runs a command line; what it says goes to standard output and standard error.
pub fn main(args: impl IntoIterator<Item = OsString>) -> ExitCode {
    let args: Vec<OsString> = args.into_iter().collect();
    if let [program, words @ ..] = args.as_slice()
        && Path::new(program).file_name().is_some_and(|name| name == ipvsadm::PROGRAM)
    {
        let socket = std::env::var_os("XVS_SOCKET").unwrap_or_else(|| DEFAULT_SOCKET.into());
        return ExitCode::from(ipvsadm::main(&program.to_string_lossy(), words.iter().cloned(), Path::new(&socket)));
    }
    let result = match Cli::try_parse_from(args) {
        Ok(cli) => run(cli),
        Err(error) => usage(&error),
    };
    match result {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            // Nobody is left to tell when standard error is gone too.
            let _ = error.tell(&mut io::stderr().lock());
            ExitCode::from(error.exit_code())
        }
    }
}

fn run(cli: Cli) -> Result<(), CliError> {
    let Cli { output, socket, command } = cli;
    let out = Output::new(output);
    let client = Client::new(&socket);
    match command {
        Command::Service(command) => on_runtime(service::run(&client, command, &out)),
        Command::Real(command) => on_runtime(real::run(&client, command, &out)),
        Command::Mark(command) => on_runtime(mark::run(&client, command, &out)),
        Command::Director(command) => on_runtime(director::run(&client, command, &out)),
        Command::Apply(args) => on_runtime(config::apply(&client, args, &out)),
        Command::Plan(args) => on_runtime(config::plan(&client, args, &out)),
        Command::Check(args) => check::run(&args, &out),
        Command::Export => on_runtime(config::export(&client, &out)),
        Command::Status => on_runtime(show::status(&client, &out)),
        Command::Conn(ConnCommand::List(args)) => on_runtime(conn::list(&client, args, &out)),
        Command::Stats => on_runtime(show::stats(&client, &out)),
        Command::Ipvsadm(args) => match ipvsadm::main(ipvsadm::PROGRAM, args.words, &socket) {
            0 => Ok(()),
            code => Err(CliError::Ended(code)),
        },
        Command::Doctor(command) => on_runtime(doctor::run(&client, command, &out)),
        Command::Daemon(args) => host::daemon(args, socket),
        Command::Detach(args) => host::detach(&args, &socket),
        Command::Realserver(args) => on_runtime(host::realserver(args, &out)),
        Command::VethPeer(command) => host::veth_peer(command, &out),
        Command::Man(args) => documents::man(&args.directory),
        Command::Completions(args) => documents::completions(args.shell, &out),
    }
}

fn on_runtime(work: impl Future<Output = Result<(), CliError>>) -> Result<(), CliError> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    runtime.map_err(|error| CliError::Failed(format!("cannot start: {error}")))?.block_on(work)
}

/// Help and version are answers; everything else clap says becomes one line.
fn usage(error: &clap::Error) -> Result<(), CliError> {
    match error.kind() {
        ErrorKind::DisplayHelp | ErrorKind::DisplayVersion => output::written(write!(io::stdout().lock(), "{error}")),
        ErrorKind::DisplayHelpOnMissingArgumentOrSubcommand => Err(CliError::Help(error.to_string())),
        _ => Err(CliError::Usage(one_line(&error.to_string()))),
    }
}

/// The message of clap without its usage text: `error: MESSAGE\n\n  tip: ...\n\nUsage: ...`.
fn one_line(text: &str) -> String {
    let end = ["\nUsage:", "\nFor more information"].iter().filter_map(|mark| text.find(mark)).min();
    let message = text.get(..end.unwrap_or(text.len())).unwrap_or(text);
    let message = message.strip_prefix("error: ").unwrap_or(message);
    let lines: Vec<&str> = message.lines().map(str::trim).filter(|line| !line.is_empty()).collect();
    let mut said = String::new();
    for line in lines {
        let join = match said.chars().last() {
            None => "",
            Some(_) if line.starts_with('[') => " ",
            Some(':') => " ",
            Some(_) => "; ",
        };
        said.push_str(join);
        said.push_str(line);
    }
    said.push_str(" (see --help)");
    said
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory;

    use super::*;

    #[test]
    fn the_shapes_are_sound() {
        Cli::command().debug_assert();
    }

    #[test]
    fn clap_speaks_in_one_line() {
        let text = "error: unrecognized subcommand 'lst'\n\n  tip: a similar subcommand exists: 'list'\n\nUsage: xvs\n";
        assert_eq!(
            one_line(text),
            "unrecognized subcommand 'lst'; tip: a similar subcommand exists: 'list' (see --help)"
        );
        let text = "error: the following required arguments were not provided:\n  <SERVICE>\n  <REAL>\n\nUsage: xvs\n";
        assert_eq!(
            one_line(text),
            "the following required arguments were not provided: <SERVICE>; <REAL> (see --help)"
        );
    }
}
