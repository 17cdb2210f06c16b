//! Why a command failed: one line on standard error and one exit code.

use std::io::{self, Write};

use crate::{api::client::ClientError, model::Problem};

/// Why a command failed.
#[derive(Debug)]
pub enum CliError {
    /// The command line is wrong (2).
    Usage(String),
    /// A noun without a verb: its help, whole (2).
    Help(String),
    /// A configuration is wrong (2).
    Problems {
        /// The file as named, empty when it was no file.
        file: String,
        /// Everything that is wrong.
        problems: Vec<Problem>,
    },
    /// The same, already told as JSON on standard output (2).
    Told,
    /// The operation failed or what is applied refuses it (1).
    Failed(String),
    /// `xvs doctor` found something, and has told it on standard output (1).
    Found,
    /// The daemon is not reachable (3).
    Unreachable(String),
    /// `xvs ipvsadm` has said why, and has exit codes of its own.
    Ended(u8),
}

impl CliError {
    /// The process's exit code.
    pub fn exit_code(&self) -> u8 {
        match self {
            Self::Failed(_) | Self::Found => 1,
            Self::Usage(_) | Self::Help(_) | Self::Problems { .. } | Self::Told => 2,
            Self::Unreachable(_) => 3,
            Self::Ended(code) => *code,
        }
    }

    /// Says what happened.
    pub fn tell(&self, to: &mut impl Write) -> io::Result<()> {
        match self {
            Self::Usage(message) | Self::Failed(message) | Self::Unreachable(message) => {
                writeln!(to, "xvs: {}", in_one_line(message))
            }
            Self::Help(text) => write!(to, "{text}"),
            Self::Problems { file, problems } => {
                problems.iter().try_for_each(|problem| writeln!(to, "{}", problem_line(file, problem)))
            }
            Self::Told | Self::Found | Self::Ended(_) => Ok(()),
        }
    }
}

/// `FILE:LINE:COL: KEY: MESSAGE`, as compilers have it; without a file as any other error.
fn problem_line(file: &str, problem: &Problem) -> String {
    match (file.is_empty(), problem.line) {
        (true, _) => format!("xvs: {problem}"),
        (false, 0) => format!("{file}: {problem}"),
        (false, _) => format!("{file}:{problem}"),
    }
}

fn in_one_line(message: &str) -> String {
    message.split(['\n', '\r']).map(str::trim).filter(|line| !line.is_empty()).collect::<Vec<_>>().join(" ")
}

impl From<ClientError> for CliError {
    fn from(error: ClientError) -> Self {
        let message = error.to_string();
        match error {
            ClientError::Unreachable { .. } => Self::Unreachable(message),
            ClientError::Answer { status: 422, body } if !body.problems.is_empty() => {
                Self::Problems { file: String::new(), problems: body.problems }
            }
            // What the daemon calls a wrong request is wrong input here.
            ClientError::Answer { status: 400 | 413 | 422, .. } => Self::Usage(message),
            ClientError::Answer { .. } | ClientError::Garbled { .. } => Self::Failed(message),
        }
    }
}
