//! Why the daemon did not do what it was asked.

use thiserror::Error;

use crate::model::Problem;

/// Why an [`Engine`](super::engine::Engine) refused or failed. Each has one HTTP status.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum EngineError {
    /// The configuration is wrong (422).
    #[error("{}", refused(.problems))]
    Refused {
        /// Everything that is wrong with it.
        problems: Vec<Problem>,
    },
    /// Somebody else was faster (409).
    #[error("revision {given} was expected but revision {current} is applied; plan again and retry")]
    StaleRevision {
        /// The revision the request named.
        given: u64,
        /// The revision that is applied.
        current: u64,
    },
    /// What the request names is not there (404).
    #[error("{what}")]
    NotFound {
        /// The sentence: `service tcp://10.0.0.1:80 does not exist`.
        what: String,
    },
    /// What the request makes is there already, or it excludes something that is (409).
    #[error("{what}")]
    Conflict {
        /// The sentence: `service tcp://10.0.0.1:80 exists already; ...`.
        what: String,
    },
    /// The daemon could not do it (500); what was applied before still is.
    #[error("{cause}")]
    Failed {
        /// Cause and way out, in one line.
        cause: String,
    },
}

/// One problem speaks for itself; of several the first is told, and how many there are.
fn refused(problems: &[Problem]) -> String {
    match problems {
        [] => "the configuration was refused".to_owned(),
        [only] => only.to_string(),
        [first, rest @ ..] => format!("{first} (and {} more)", rest.len()),
    }
}

impl From<crate::model::edit::EditError> for EngineError {
    fn from(error: crate::model::edit::EditError) -> Self {
        use crate::model::edit::EditError;

        let what = error.to_string();
        match error {
            EditError::NotFound { .. } => Self::NotFound { what },
            EditError::AlreadyExists { .. } => Self::Conflict { what },
            EditError::Empty { .. } => Self::Refused { problems: vec![Problem::unplaced("", what)] },
        }
    }
}
