//! What is applied, kept over restarts and power cuts: a snapshot, written beside, synced, renamed; and a journal of the changes since.
//!
//! A change by edits costs a line of the journal, synced; a whole configuration costs a snapshot. See docs/adr/0018-journal.md.

use std::fs::{self, File};
use std::io::{BufWriter, Write as _};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::thread::JoinHandle;

use serde::{Deserialize, Serialize};

use super::DaemonError;
use super::journal::Journal;
use crate::model::edit::{self, Edit};
use crate::model::{ServiceSpec, Spec};

/// The applied configuration.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Saved {
    /// Goes up with every change.
    pub(super) revision: u64,
    /// What is applied.
    pub(super) spec: Spec,
    /// What the configuration file said when it was looked at last.
    pub(super) file: Option<Spec>,
}

/// The snapshot's shape.
#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Snapshot<S> {
    revision: u64,
    spec: S,
    /// None, too, when it says what is applied.
    file: Option<S>,
    #[serde(default)]
    file_is_spec: bool,
}

/// Where it is kept.
#[derive(Debug, Default)]
pub(super) struct Store {
    directory: PathBuf,
    journal: Option<Journal>,
    /// Bytes of the snapshot.
    snapshot: u64,
    /// What the snapshot says of the configuration file: the journal says nothing of it.
    file: Option<Spec>,
    /// A snapshot that is being written while changes go on, and its revision.
    compaction: Option<(u64, JoinHandle<std::io::Result<u64>>)>,
}

/// A journal shorter than this is never folded into a snapshot.
const SHORT: u64 = 1 << 20;

impl Store {
    pub(super) fn new(directory: &Path) -> Self {
        Self { directory: directory.to_owned(), journal: None, snapshot: 0, file: None, compaction: None }
    }

    fn path(&self) -> PathBuf {
        self.directory.join("applied.json")
    }

    /// Where the verifier's words go.
    pub(super) fn verifier_log(&self) -> PathBuf {
        self.directory.join("verifier.log")
    }

    /// What was applied last; an empty configuration of revision 0 when nothing was.
    pub(super) fn load(&mut self) -> Result<Saved, DaemonError> {
        let path = self.path();
        let failed = |error: &dyn std::fmt::Display| DaemonError::other(path.display().to_string(), error);
        let mut saved = match fs::read(&path) {
            Ok(bytes) => {
                self.snapshot = bytes.len() as u64;
                read(&bytes).map_err(|e| failed(&format!("{e}; remove it to start from the configuration file")))?
            }
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => Saved::default(),
            Err(error) => return Err(failed(&error)),
        };
        let (journal, changes) = Journal::open(&self.directory)?;
        let held = saved.revision;
        for change in changes.into_iter().filter(|change| change.revision > held) {
            let damaged = |cause: String| {
                DaemonError::other(
                    journal.path().display().to_string(),
                    format!("{cause}; remove it to start from what was applied before"),
                )
            };
            if change.revision != saved.revision + 1 {
                return Err(damaged(format!("revision {} follows {}", change.revision, saved.revision)));
            }
            for edit in change.edits {
                edit::apply(&mut saved.spec, edit).map_err(|e| damaged(e.to_string()))?;
            }
            saved.revision = change.revision;
        }
        self.journal = Some(journal);
        self.file.clone_from(&saved.file);
        Ok(saved)
    }

    /// Keeps one change by edits, on top of what is kept.
    pub(super) fn append(&mut self, saved: &Saved, edits: &[Edit]) -> std::io::Result<()> {
        if self.file != saved.file {
            self.stage(saved)?;
            return self.commit(saved);
        }
        self.finish(false)?;
        let Some(journal) = &mut self.journal else { return Err(std::io::Error::other("the journal is not open")) };
        journal.append(saved.revision, edits)?;
        if journal.length() > SHORT.max(self.snapshot / 4) && self.compaction.is_none() {
            let (saved, path) = (saved.clone(), self.path());
            let revision = saved.revision;
            let work = move || stage(&path, &saved).and_then(|length| commit(&path).map(|()| length));
            self.compaction = Some((revision, std::thread::Builder::new().name("snapshot".to_owned()).spawn(work)?));
        }
        Ok(())
    }

    /// Writes a whole configuration beside the one that is kept.
    pub(super) fn stage(&mut self, saved: &Saved) -> std::io::Result<()> {
        self.finish(true)?;
        fs::create_dir_all(&self.directory)?;
        self.snapshot = stage(&self.path(), saved)?;
        Ok(())
    }

    /// Makes the staged configuration the one that is kept.
    pub(super) fn commit(&mut self, saved: &Saved) -> std::io::Result<()> {
        commit(&self.path())?;
        self.file.clone_from(&saved.file);
        if let Some(Err(error)) = self.journal.as_mut().map(Journal::clear) {
            // Its lines are of earlier revisions: they are passed over.
            tracing::warn!("the journal of changes could not be emptied: {error}");
        }
        Ok(())
    }

    /// Takes up a snapshot that is finished, or waits for one: the journal keeps what came after it.
    fn finish(&mut self, wait: bool) -> std::io::Result<()> {
        let Some((revision, work)) = self.compaction.take_if(|(_, work)| wait || work.is_finished()) else {
            return Ok(());
        };
        match work.join().unwrap_or_else(|_| Err(std::io::Error::other("it panicked"))) {
            Ok(length) => {
                self.snapshot = length;
                self.journal.as_mut().map_or(Ok(()), |journal| journal.forget_until(revision))
            }
            Err(error) => {
                // All of it is in the journal still.
                tracing::warn!("a snapshot of the configuration could not be written: {error}");
                Ok(())
            }
        }
    }
}

fn beside(path: &Path) -> PathBuf {
    path.with_extension("json.new")
}

/// Writes and syncs; returns how many bytes.
fn stage(path: &Path, saved: &Saved) -> std::io::Result<u64> {
    let Saved { revision, spec, file } = saved;
    let file_is_spec = file.as_ref() == Some(spec);
    let file = file.as_ref().filter(|_| !file_is_spec);
    let mut out = BufWriter::with_capacity(1 << 20, File::create(beside(path))?);
    serde_json::to_writer(&mut out, &Snapshot { revision: *revision, spec, file, file_is_spec })?;
    out.write_all(b"\n")?;
    let file = out.into_inner().map_err(std::io::IntoInnerError::into_error)?;
    file.sync_all()?;
    Ok(file.metadata()?.len())
}

fn commit(path: &Path) -> std::io::Result<()> {
    fs::rename(beside(path), path)?;
    sync_directory(path)
}

/// A file's name is kept with its directory.
pub(super) fn sync_directory(of: &Path) -> std::io::Result<()> {
    of.parent().map_or(Ok(()), |directory| File::open(directory)?.sync_all())
}

fn read(bytes: &[u8]) -> serde_json::Result<Saved> {
    let Snapshot { revision, spec, file, file_is_spec } = serde_json::from_slice::<Snapshot<Spec>>(bytes)?;
    let file = if file_is_spec { Some(spec.clone()) } else { file.map(|file| sharing(file, &spec)) };
    Ok(Saved { revision, spec, file })
}

/// A Spec that shares the services with another one that it has as well.
pub(super) fn sharing(mut spec: Spec, other: &Spec) -> Spec {
    let known: std::collections::BTreeMap<_, &Arc<ServiceSpec>> =
        other.services.iter().map(|service| (service.key, service)).collect();
    for service in &mut spec.services {
        if let Some(same) = known.get(&service.key).filter(|same| **same == service) {
            *service = Arc::clone(same);
        }
    }
    spec
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::edit::{RealEdit, apply};
    use crate::model::parse::parse;

    fn first() -> Saved {
        let text = b"[[service]]\naddress = \"10.0.0.1:80\"\n[[service.real]]\naddress = \"10.0.1.1\"\n";
        let spec = parse(text).unwrap();
        Saved { revision: 1, file: Some(spec.clone()), spec }
    }

    fn weight(weight: u32) -> Edit {
        let (key, real) = ("10.0.0.1:80".parse().unwrap(), "10.0.1.1:80".parse().unwrap());
        Edit::EditReal(RealEdit { weight: Some(weight), ..RealEdit::new(key, real) })
    }

    /// A store with a snapshot of revision 1 and changes up to `last`; and what each revision is.
    fn written(directory: &Path, last: u64) -> (Store, Vec<Saved>) {
        let mut store = Store::new(directory);
        assert_eq!(store.load().unwrap(), Saved::default());
        let mut revisions = vec![Saved::default(), first()];
        store.stage(&revisions[1]).unwrap();
        store.commit(&revisions[1]).unwrap();
        for revision in 2..=last {
            let mut saved = revisions[revision as usize - 1].clone();
            let edit = weight(100 * revision as u32);
            apply(&mut saved.spec, edit.clone()).unwrap();
            saved.revision = revision;
            store.append(&saved, &[edit]).unwrap();
            revisions.push(saved);
        }
        (store, revisions)
    }

    fn loaded(directory: &Path) -> Saved {
        Store::new(directory).load().unwrap()
    }

    /// A power cut leaves any part of the last write.
    #[test]
    fn a_journal_cut_at_any_byte_holds_the_changes_before() {
        let directory = tempfile::tempdir().unwrap();
        let (_, revisions) = written(directory.path(), 5);
        let path = directory.path().join("applied.journal");
        let whole = fs::read(&path).unwrap();
        let ends: Vec<usize> =
            whole.iter().enumerate().filter(|(_, byte)| **byte == b'\n').map(|(at, _)| at + 1).collect();
        assert_eq!(ends.len(), 4, "one line a change");
        for cut in 0..=whole.len() {
            fs::write(&path, &whole[..cut]).unwrap();
            let done = ends.iter().filter(|end| **end <= cut).count();
            let mut store = Store::new(directory.path());
            let mut saved = store.load().unwrap();
            assert_eq!(saved, revisions[1 + done], "cut at byte {cut}");
            // And it goes on from there.
            let edit = weight(7);
            apply(&mut saved.spec, edit.clone()).unwrap();
            saved.revision += 1;
            store.append(&saved, &[edit]).unwrap();
            assert_eq!(loaded(directory.path()), saved, "cut at byte {cut}, and a change");
        }
    }

    /// What was synced does not change by a power cut: a wrong byte before the last line is damage, and told.
    #[test]
    fn a_damaged_journal_is_refused() {
        let directory = tempfile::tempdir().unwrap();
        written(directory.path(), 4);
        let path = directory.path().join("applied.journal");
        let whole = fs::read(&path).unwrap();
        let last = whole[..whole.len() - 1].iter().rposition(|byte| *byte == b'\n').unwrap();
        for at in 0..last {
            let mut damaged = whole.clone();
            damaged[at] ^= 1;
            fs::write(&path, damaged).unwrap();
            let error = Store::new(directory.path()).load().unwrap_err().to_string();
            assert!(error.contains("applied.journal"), "{error}");
        }
    }

    /// Killed between the snapshot and the end of the journal that it holds.
    #[test]
    fn lines_that_a_snapshot_holds_are_passed_over() {
        let directory = tempfile::tempdir().unwrap();
        let (mut store, revisions) = written(directory.path(), 4);
        let journal = fs::read(directory.path().join("applied.journal")).unwrap();
        let mut next = revisions[3].clone();
        next.revision = 5;
        next.spec.services.clear();
        store.stage(&next).unwrap();
        assert_eq!(loaded(directory.path()), revisions[4], "staged is not kept");
        store.commit(&next).unwrap();
        fs::write(directory.path().join("applied.journal"), journal).unwrap();
        assert_eq!(loaded(directory.path()), next);
    }

    #[test]
    fn a_long_journal_becomes_a_snapshot_while_changes_go_on() {
        let directory = tempfile::tempdir().unwrap();
        let (mut store, _) = written(directory.path(), 2);
        let mut saved = loaded(directory.path());
        let path = directory.path().join("applied.journal");
        let mut longest = 0;
        // Many edits in one change make the journal long soon.
        for round in 0..40u32 {
            let edits: Vec<Edit> = (0..500).map(|n| weight(round * 500 + n)).collect();
            edits.iter().for_each(|edit| apply(&mut saved.spec, edit.clone()).unwrap());
            saved.revision += 1;
            store.append(&saved, &edits).unwrap();
            longest = longest.max(fs::metadata(&path).unwrap().len());
            assert_eq!(loaded(directory.path()), saved);
        }
        store.finish(true).unwrap();
        assert_eq!(loaded(directory.path()), saved);
        assert!(longest > SHORT && fs::metadata(&path).unwrap().len() < longest, "{longest}");
    }

    /// Snapshots of versions before the journal have the file's Spec in full.
    #[test]
    fn an_older_snapshot_is_read() {
        let directory = tempfile::tempdir().unwrap();
        let saved = first();
        let json = serde_json::json!({ "revision": 1, "spec": saved.spec, "file": saved.file });
        fs::write(directory.path().join("applied.json"), json.to_string()).unwrap();
        let read = loaded(directory.path());
        assert_eq!(read, saved);
        assert!(Arc::ptr_eq(&read.spec.services[0], &read.file.unwrap().services[0]), "one copy in memory");
    }
}
