//! The configuration file: read at start, and looked at again only when it is another one.

use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};

use super::{DEFAULT_CONFIG, DaemonError};
use crate::model::{Spec, parse};

/// Where it is, and which one was read last.
#[derive(Debug)]
pub(super) struct ConfigFile {
    path: PathBuf,
    read: Option<Mark>,
}

/// What tells one file from another without reading it: device, inode, size, and nanoseconds of its last change.
type Mark = (u64, u64, u64, i64, i64);

impl ConfigFile {
    pub(super) fn new(path: &Path) -> Self {
        Self { path: path.to_owned(), read: None }
    }

    pub(super) fn path(&self) -> &Path {
        &self.path
    }

    /// It has been changed, and says this now.
    pub(super) fn says(&mut self, spec: &Spec) -> bool {
        if self.read == self.mark() {
            return false;
        }
        let says = self.read().ok().flatten().as_ref() == Some(spec);
        if !says {
            self.read = None;
        }
        says
    }

    fn mark(&self) -> Option<Mark> {
        let file = std::fs::metadata(&self.path).ok()?;
        Some((file.dev(), file.ino(), file.size(), file.mtime(), file.mtime_nsec()))
    }

    /// What it says; None when the usual one is not there.
    pub(super) fn read(&mut self) -> Result<Option<Spec>, DaemonError> {
        let mark = self.mark();
        let bytes = match std::fs::read(&self.path) {
            Ok(bytes) => bytes,
            Err(error) if error.kind() == std::io::ErrorKind::NotFound && self.path == Path::new(DEFAULT_CONFIG) => {
                return Ok(None);
            }
            Err(error) => return Err(DaemonError::other(self.path.display().to_string(), error)),
        };
        let problems = |problems| DaemonError::Config { file: self.path.clone(), problems };
        let spec = parse::parse(&bytes).map_err(problems)?;
        self.read = mark;
        Ok(Some(spec))
    }
}
