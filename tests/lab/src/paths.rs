//! Where things are in this working copy.

use std::path::{Path, PathBuf};

use crate::LabError;

/// The root of the workspace.
pub fn workspace() -> PathBuf {
    // tests/lab -> tests -> root
    let here = Path::new(env!("CARGO_MANIFEST_DIR"));
    here.ancestors().nth(2).unwrap_or(here).to_path_buf()
}

/// Where cargo puts what it builds.
pub fn target() -> PathBuf {
    std::env::var_os("CARGO_TARGET_DIR").map_or_else(|| workspace().join("target"), |dir| workspace().join(dir))
}

/// The `xvs` binary under test: the one `XVS_BIN` names, else the release build of this working copy.
pub fn xvs() -> Result<PathBuf, LabError> {
    let path = std::env::var_os("XVS_BIN").map_or_else(|| target().join("release/xvs"), PathBuf::from);
    // Absolute, as it is run from other directories too.
    match path.canonicalize() {
        Ok(absolute) if absolute.is_file() => Ok(absolute),
        _ => Err(LabError::NoBinary(path.display().to_string())),
    }
}
