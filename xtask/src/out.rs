//! What goes to the terminal. A reader that has gone (a closed pipe) must not stop an orderly teardown, so write errors
//! are ignored here and nowhere else.

use std::io::{IsTerminal as _, Write as _};
use std::process::ExitCode;

use crate::interrupt::Interrupted;

/// One line on stdout.
pub(crate) fn line(text: impl std::fmt::Display) {
    let _ = writeln!(std::io::stdout(), "{text}");
}

/// One line on stderr.
pub(crate) fn warn(text: impl std::fmt::Display) {
    let _ = writeln!(std::io::stderr(), "xtask: {text}");
}

/// Whether somebody watches.
pub(crate) fn is_terminal() -> bool {
    std::io::stdout().is_terminal()
}

/// 0; 128 + signal after Ctrl-C and the like, as a shell has it; else 1 with one line that says why.
pub(crate) fn exit_code(outcome: anyhow::Result<()>) -> ExitCode {
    let Err(error) = outcome else { return ExitCode::SUCCESS };
    warn(format_args!("{error:#}"));
    match error.downcast_ref::<Interrupted>() {
        Some(Interrupted(signal)) => ExitCode::from(u8::try_from(128 + signal).unwrap_or(1)),
        None => ExitCode::FAILURE,
    }
}
