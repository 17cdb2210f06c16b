//! All of a run: what is written as JSON, and what tables and plots are made from.

use std::path::Path;

use anyhow::Context as _;
use lb_tests::shipped;
use serde::{Deserialize, Serialize};

use super::measure::Row;
use super::opening::Opening;
use crate::machine::Machine;

/// A run.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(crate) struct Results {
    pub(crate) machine: Machine,
    pub(crate) repetitions: usize,
    pub(crate) rows: Vec<Row>,
    pub(crate) openings: Vec<Opening>,
    pub(crate) programs: Vec<Program>,
}

/// A program that is shipped.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Program {
    pub(crate) name: String,
    /// Instructions that the verifier walked.
    pub(crate) verified: u32,
    /// Instructions after the verifier's rewriting.
    pub(crate) translated: u32,
    /// Bytes of machine code.
    pub(crate) machine: u32,
    /// Bytes of stack on the deepest chain of calls.
    pub(crate) stack: u32,
}

impl Results {
    /// Of an earlier run.
    pub(crate) fn read(path: &Path) -> anyhow::Result<Self> {
        let text = std::fs::read_to_string(path).with_context(|| format!("cannot read {}", path.display()))?;
        serde_json::from_str(&text).with_context(|| format!("{} holds no run of this version", path.display()))
    }

    pub(crate) fn write(&self, path: &Path) -> anyhow::Result<()> {
        let text = self.json()?;
        std::fs::write(path, text).with_context(|| format!("cannot write {}", path.display()))
    }

    /// A row or figure a line, so that a later run's difference can be read.
    fn json(&self) -> anyhow::Result<String> {
        let list = |values: Vec<String>| format!("[\n    {}\n  ]", values.join(",\n    "));
        let lines = |values: Result<Vec<String>, _>| values.map(list);
        Ok(format!(
            "{{\n  \"machine\": {},\n  \"repetitions\": {},\n  \"rows\": {},\n  \"openings\": {},\n  \"programs\": {}\n}}\n",
            serde_json::to_string(&self.machine)?,
            self.repetitions,
            lines(self.rows.iter().map(serde_json::to_string).collect())?,
            lines(self.openings.iter().map(serde_json::to_string).collect())?,
            lines(self.programs.iter().map(serde_json::to_string).collect())?,
        ))
    }
}

/// Every program that is shipped.
pub(crate) fn programs() -> Vec<Program> {
    let all = shipped::all().into_iter();
    all.map(|shipped| Program {
        name: shipped.program.to_owned(),
        verified: shipped.size.verified,
        translated: shipped.size.translated,
        machine: shipped.size.machine,
        stack: shipped.chain.bytes,
    })
    .collect()
}
