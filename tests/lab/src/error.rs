//! What can go wrong while a laboratory is built, used or removed.

use std::io;

/// One line each: the thing, the cause, the way out.
#[derive(Debug, thiserror::Error)]
pub enum LabError {
    /// A laboratory name that could not be used in paths and namespace names.
    #[error("laboratory name `{0}`: use 1 to 24 lower-case letters, digits and `-`")]
    Name(String),
    /// A program could not be started at all.
    #[error("cannot start `{command}`: {cause} (run `cargo xtask setup`)")]
    Spawn {
        /// The command line.
        command: String,
        /// Why the kernel refused.
        cause: io::Error,
    },
    /// A program ended with an error.
    #[error("`{command}` failed ({status}): {output}")]
    Command {
        /// The command line.
        command: String,
        /// Exit code or signal.
        status: String,
        /// What it wrote to stderr, or to stdout when stderr is empty; one line.
        output: String,
    },
    /// A file, directory or socket operation failed.
    #[error("{what}: {cause}")]
    Io {
        /// What was tried, with the path.
        what: String,
        /// Why it failed.
        cause: io::Error,
    },
    /// Something did not happen in time.
    #[error("{what} did not happen within {seconds} s: {last}")]
    Timeout {
        /// What was awaited.
        what: String,
        /// How long, in seconds.
        seconds: u64,
        /// What was seen last.
        last: String,
    },
    /// A program answered something that was not expected.
    #[error("{what}: {answer}")]
    Answer {
        /// What was asked.
        what: String,
        /// What came back.
        answer: String,
    },
    /// The plan has no such host.
    #[error("topology `{topology}` has no host `{host}`")]
    NoHost {
        /// Name of the topology.
        topology: String,
        /// The host asked for.
        host: String,
    },
    /// The `xvs` binary is not where it should be.
    #[error("no xvs binary at {0}: build it with `cargo build --release -p lb-userspace`, or name one in XVS_BIN")]
    NoBinary(String),
}

impl LabError {
    /// An [`LabError::Io`] with what was tried.
    pub fn io(what: impl Into<String>) -> impl FnOnce(io::Error) -> Self {
        let what = what.into();
        move |cause| Self::Io { what, cause }
    }
}
