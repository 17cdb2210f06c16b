//! The record of what was changed on this host: one file, one entry per network namespace.
//!
//! An entry is valid only in the boot that wrote it: nothing that `join` changes survives a reboot, so there is nothing
//! to undo afterwards, and namespace numbers start over.

use std::collections::BTreeMap;
use std::fs::{self, File};
use std::io::{self, Write};
use std::net::IpAddr;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use super::RealServerError;

const VERSION: u32 = 1;
const NAMESPACE: &str = "/proc/thread-self/ns/net";
const BOOT_ID: &str = "/proc/sys/kernel/random/boot_id";

#[derive(Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Content {
    version: u32,
    /// By inode number of the network namespace, in decimal.
    namespaces: BTreeMap<String, Entry>,
}

#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Entry {
    boot_id: String,
    changes: Record,
}

/// What was changed in one namespace.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Record {
    /// Virtual addresses that were put on `lo`.
    pub(super) vips: Vec<IpAddr>,
    /// Settings in the order in which they were changed.
    pub(super) sysctls: Vec<SysctlRecord>,
    /// Interfaces that a decapsulator was attached to.
    pub(super) decap: Vec<String>,
}

/// One changed setting.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct SysctlRecord {
    /// Path below `/proc/sys/net`.
    pub(super) key: String,
    /// The value that was found.
    pub(super) before: String,
    /// The value that was set.
    pub(super) set: String,
}

impl Record {
    pub(super) fn is_empty(&self) -> bool {
        self.vips.is_empty() && self.sysctls.is_empty() && self.decap.is_empty()
    }
}

/// The record's file, locked against other commands, seen from one namespace.
#[derive(Debug)]
pub(super) struct Store {
    path: PathBuf,
    namespace: String,
    boot_id: String,
    content: Content,
    // The lock is on the folder, so that no file stays behind for it.
    lock: File,
}

impl Store {
    /// Locks and reads the record; waits while another command holds it.
    pub(super) fn open(path: &Path) -> Result<Self, RealServerError> {
        let folder = path.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."));
        fs::create_dir_all(folder).map_err(|cause| file_error("create", folder, cause))?;
        let lock = File::open(folder).map_err(|cause| file_error("open", folder, cause))?;
        lock.lock().map_err(|cause| file_error("lock", folder, cause))?;

        let namespace = fs::metadata(NAMESPACE).map_err(|cause| file_error("read", Path::new(NAMESPACE), cause))?;
        let boot_id = fs::read_to_string(BOOT_ID).map_err(|cause| file_error("read", Path::new(BOOT_ID), cause))?;
        let boot_id = boot_id.trim().to_owned();
        let mut content = match fs::read(path) {
            Ok(bytes) => parse(path, &bytes)?,
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                Content { version: VERSION, namespaces: BTreeMap::new() }
            }
            Err(cause) => return Err(file_error("read", path, cause)),
        };
        content.namespaces.retain(|_, entry| entry.boot_id == boot_id);
        let namespace = namespace.ino().to_string();
        Ok(Self { path: path.to_owned(), namespace, boot_id, content, lock })
    }

    /// What was changed in this namespace.
    pub(super) fn record(&self) -> Record {
        self.content.namespaces.get(&self.namespace).map(|entry| entry.changes.clone()).unwrap_or_default()
    }

    /// Replaces the record of this namespace on disk, so that it survives a power cut: the new file is complete and
    /// synced before it takes the old one's name.
    pub(super) fn save(&mut self, record: &Record) -> Result<(), RealServerError> {
        if record.is_empty() {
            self.content.namespaces.remove(&self.namespace);
        } else {
            let entry = Entry { boot_id: self.boot_id.clone(), changes: record.clone() };
            self.content.namespaces.insert(self.namespace.clone(), entry);
        }
        let result = if self.content.namespaces.is_empty() { self.remove() } else { self.replace() };
        result.and_then(|()| self.lock.sync_all()).map_err(|cause| file_error("write", &self.path, cause))
    }

    fn remove(&self) -> io::Result<()> {
        match fs::remove_file(&self.path) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
            _ => Ok(()),
        }
    }

    fn replace(&self) -> io::Result<()> {
        let mut temporary = self.path.clone().into_os_string();
        temporary.push(".new");
        let mut file = File::create(&temporary)?;
        serde_json::to_writer_pretty(&mut file, &self.content)?;
        file.write_all(b"\n")?;
        file.sync_all()?;
        fs::rename(&temporary, &self.path)
    }
}

fn parse(path: &Path, bytes: &[u8]) -> Result<Content, RealServerError> {
    let unreadable = |cause: String| RealServerError::Record { path: path.to_owned(), cause };
    let content: Content = serde_json::from_slice(bytes).map_err(|error| unreadable(error.to_string()))?;
    if content.version == VERSION { Ok(content) } else { Err(unreadable(format!("version {}", content.version))) }
}

fn file_error(step: &'static str, path: &Path, cause: io::Error) -> RealServerError {
    RealServerError::File { step, path: path.to_owned(), cause }
}
