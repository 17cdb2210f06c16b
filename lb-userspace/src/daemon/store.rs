//! What is applied, kept over restarts and power cuts: written beside, synced, renamed.

use std::fs::{self, File};
use std::io::Write as _;
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use super::DaemonError;
use crate::model::Spec;

/// The applied configuration.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Saved {
    /// Goes up with every change.
    pub(super) revision: u64,
    /// What is applied.
    pub(super) spec: Spec,
    /// What the configuration file said when it was looked at last.
    pub(super) file: Option<Spec>,
}

/// Where it is kept.
#[derive(Debug, Clone)]
pub(super) struct Store {
    directory: PathBuf,
}

impl Store {
    pub(super) fn new(directory: &Path) -> Self {
        Self { directory: directory.to_owned() }
    }

    fn path(&self) -> PathBuf {
        self.directory.join("applied.json")
    }

    /// Where the verifier's words go.
    pub(super) fn verifier_log(&self) -> PathBuf {
        self.directory.join("verifier.log")
    }

    /// What was applied last; an empty configuration of revision 0 when nothing was.
    pub(super) fn load(&self) -> Result<Saved, DaemonError> {
        let path = self.path();
        let bytes = match fs::read(&path) {
            Ok(bytes) => bytes,
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(Saved::default()),
            Err(error) => return Err(DaemonError::other(path.display().to_string(), error)),
        };
        serde_json::from_slice(&bytes).map_err(|e| {
            DaemonError::other(
                path.display().to_string(),
                format!("{e}; remove it to start from the configuration file"),
            )
        })
    }

    /// Keeps what is applied.
    pub(super) fn save(&self, saved: &Saved) -> std::io::Result<()> {
        fs::create_dir_all(&self.directory)?;
        let beside = self.directory.join("applied.json.new");
        let mut file = File::create(&beside)?;
        file.write_all(&serde_json::to_vec_pretty(saved)?)?;
        file.sync_all()?;
        fs::rename(&beside, self.path())?;
        File::open(&self.directory)?.sync_all()
    }
}
