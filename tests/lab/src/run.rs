//! Running programs and waiting for facts: every failure names the command line and what the program said.

use std::process::{Command, Output, Stdio};
use std::time::{Duration, Instant};

use crate::LabError;

/// How long between two looks at a fact that is awaited.
const POLL: Duration = Duration::from_millis(20);

/// Runs a command to its end and returns its output, whatever its exit code.
pub fn output(command: &mut Command) -> Result<Output, LabError> {
    command.stdin(Stdio::null()).output().map_err(|cause| LabError::Spawn { command: line(command), cause })
}

/// Runs a command that must succeed and returns its stdout.
pub fn succeed(command: &mut Command) -> Result<String, LabError> {
    let output = output(command)?;
    if !output.status.success() {
        return Err(failure(command, &output));
    }
    Ok(String::from_utf8_lossy(&output.stdout).into_owned())
}

/// The error for a command that ended badly.
pub fn failure(command: &Command, output: &Output) -> LabError {
    let said = if output.stderr.is_empty() { &output.stdout } else { &output.stderr };
    LabError::Command {
        command: line(command),
        status: output.status.to_string(),
        output: String::from_utf8_lossy(said).trim().replace('\n', "; "),
    }
}

/// A command's line as an operator would type it (no quoting: for messages only).
pub fn line(command: &Command) -> String {
    std::iter::once(command.get_program())
        .chain(command.get_args())
        .map(|word| word.to_string_lossy())
        .collect::<Vec<_>>()
        .join(" ")
}

/// Looks every 20 ms until `look` returns a value; its `Err` text says what was seen last.
pub fn wait_for<T>(what: &str, limit: Duration, mut look: impl FnMut() -> Result<T, String>) -> Result<T, LabError> {
    let start = Instant::now();
    loop {
        match look() {
            Ok(value) => return Ok(value),
            Err(last) if start.elapsed() >= limit => {
                return Err(LabError::Timeout { what: what.to_owned(), seconds: limit.as_secs(), last });
            }
            Err(_) => std::thread::sleep(POLL),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_failed_command_names_itself_and_its_words() {
        let error = succeed(Command::new("sh").args(["-c", "echo lost >&2; exit 3"])).unwrap_err();
        let text = error.to_string();
        assert!(text.contains("sh -c") && text.contains("lost") && text.contains('3'), "{text}");
    }

    #[test]
    fn a_missing_program_points_to_setup() {
        let text = succeed(&mut Command::new("/no/such/program")).unwrap_err().to_string();
        assert!(text.contains("/no/such/program") && text.contains("xtask setup"), "{text}");
    }

    #[test]
    fn waiting_in_vain_says_what_was_seen_last() {
        let text = wait_for::<()>("rain", Duration::ZERO, || Err("sun".into())).unwrap_err().to_string();
        assert_eq!(text, "rain did not happen within 0 s: sun");
    }
}
