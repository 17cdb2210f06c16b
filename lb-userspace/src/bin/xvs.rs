//! `xvs`: parse, run, exit code.

use std::process::ExitCode;

fn main() -> ExitCode {
    lb_userspace::cli::main(std::env::args_os())
}
