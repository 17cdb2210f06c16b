//! `-R`: lines of commands.
//!
//! A line that the kernel would refuse is told and the next one runs; one whose options are wrong ends the restore, after what came
//! before it. The exit code is that of the last line. A word `ipvsadm` counts for nothing, wherever it stands.

use super::{command::Command, names::Names, parse::parse, run::Runner, session::Session};

/// Runs the lines; returns the exit code.
pub(super) async fn restore<N: Names>(runner: &mut Runner<'_, N>, input: &str) -> u8 {
    let mut session = Session::new(runner.client);
    let mut last = 0;
    for line in input.lines() {
        let words: Vec<String> =
            line.split_ascii_whitespace().filter(|word| *word != "ipvsadm").map(str::to_owned).collect();
        if words.is_empty() {
            continue;
        }
        let result = match parse(runner.program, words, runner.names) {
            Ok(Command::Change(change)) => session.change(change).await,
            Ok(command) => {
                flush(runner, &mut session).await;
                let ends = matches!(command, Command::Help | Command::Version);
                let result = runner.command(command).await;
                if ends {
                    return result.map_or_else(|failure| runner.tell(&failure), |()| 0);
                }
                result
            }
            Err(failure) => Err(failure),
        };
        last = match result {
            Ok(()) => 0,
            Err(failure) if failure.is_final => {
                flush(runner, &mut session).await;
                return runner.tell(&failure);
            }
            Err(failure) => runner.tell(&failure),
        };
    }
    let sent = flush(runner, &mut session).await;
    if last == 0 { sent } else { last }
}

/// Sends what is pending and tells what was refused; returns the last change's exit code.
async fn flush<N: Names>(runner: &mut Runner<'_, N>, session: &mut Session<'_>) -> u8 {
    let results = session.flush().await;
    results.into_iter().map(|result| result.map_or_else(|failure| runner.tell(&failure), |()| 0)).last().unwrap_or(0)
}
