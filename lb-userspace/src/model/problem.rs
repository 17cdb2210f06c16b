//! One thing wrong with a configuration, and where.

use std::fmt;

use serde::{Deserialize, Serialize};

/// One thing wrong with a configuration.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct Problem {
    /// Line in the file, from 1; 0 when the Spec did not come from a text.
    pub line: usize,
    /// Column in the line, in characters from 1; 0 when the Spec did not come from a text.
    pub column: usize,
    /// Where in the configuration: `service[1].real[0].weight`. Indexes count from 0.
    pub key: String,
    /// What is wrong and what would be right, in one line.
    pub message: String,
}

impl Problem {
    /// A problem that has no place in a text (JSON, edits).
    pub fn unplaced(key: impl Into<String>, message: impl Into<String>) -> Self {
        Self { line: 0, column: 0, key: key.into(), message: message.into() }
    }
}

/// `LINE:COLUMN: KEY: MESSAGE`, without the place when there is none.
impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.line > 0 {
            write!(f, "{}:{}: ", self.line, self.column)?;
        }
        if !self.key.is_empty() {
            write!(f, "{}: ", self.key)?;
        }
        f.write_str(&self.message)
    }
}
