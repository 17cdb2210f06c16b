//! The changes since the last snapshot: a line each, with its checksum, synced before the change is answered.
//!
//! A line is `CRC32C JSON`, the sum in eight hexadecimal digits over the JSON. A power cut leaves a part of the last line only, for every
//! line is synced before the next is written. That part is cut off at the next start; anything else that is wrong is damage, and told.

use std::fs::{self, File, OpenOptions};
use std::io::{Read as _, Seek as _, SeekFrom, Write as _};
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use super::DaemonError;
use super::store::sync_directory;
use crate::model::Edit;

/// A line.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Change {
    /// The revision that it made.
    pub(super) revision: u64,
    /// What it was.
    pub(super) edits: Vec<Edit>,
}

/// The open file.
#[derive(Debug)]
pub(super) struct Journal {
    path: PathBuf,
    file: File,
    /// Bytes of whole lines.
    length: u64,
    /// A part of a line stands behind them, which could not be taken away.
    is_torn: bool,
}

impl Journal {
    /// Opens or makes it, and reads what it holds.
    pub(super) fn open(directory: &Path) -> Result<(Self, Vec<Change>), DaemonError> {
        let path = directory.join("applied.journal");
        let failed = |error: std::io::Error| DaemonError::other(path.display().to_string(), error);
        fs::create_dir_all(directory).map_err(failed)?;
        let mut file =
            OpenOptions::new().read(true).write(true).create(true).truncate(false).open(&path).map_err(failed)?;
        let mut bytes = Vec::new();
        file.read_to_end(&mut bytes).map_err(failed)?;
        let (changes, length) = lines(&bytes).map_err(|at| {
            let cause = format!("is damaged at byte {at}; remove it to start from what was applied before its changes");
            DaemonError::other(path.display().to_string(), cause)
        })?;
        file.set_len(length as u64).map_err(failed)?;
        file.seek(SeekFrom::End(0)).map_err(failed)?;
        sync_directory(&path).map_err(failed)?;
        Ok((Self { path, file, length: length as u64, is_torn: false }, changes))
    }

    pub(super) fn path(&self) -> &Path {
        &self.path
    }

    /// Bytes of it.
    pub(super) fn length(&self) -> u64 {
        self.length
    }

    /// Adds a line; it is on the disk when this returns. If that fails nothing was added.
    pub(super) fn append(&mut self, revision: u64, edits: &[Edit]) -> std::io::Result<()> {
        #[derive(Serialize)]
        struct Line<'a> {
            revision: u64,
            edits: &'a [Edit],
        }
        let line = line(&serde_json::to_vec(&Line { revision, edits })?);
        if self.is_torn {
            self.cut(self.length)?;
        }
        self.is_torn = true;
        if let Err(error) = self.file.write_all(&line).and_then(|()| self.file.sync_data()) {
            // If this fails, too, the next change tries again before it writes.
            let _ = self.cut(self.length);
            return Err(error);
        }
        self.is_torn = false;
        self.length += line.len() as u64;
        Ok(())
    }

    /// Empties it.
    pub(super) fn clear(&mut self) -> std::io::Result<()> {
        self.cut(0)?;
        self.length = 0;
        Ok(())
    }

    fn cut(&mut self, length: u64) -> std::io::Result<()> {
        self.file.set_len(length)?;
        self.file.seek(SeekFrom::Start(length))?;
        self.is_torn = false;
        Ok(())
    }

    /// Drops the lines of this revision and before, which a snapshot holds.
    pub(super) fn forget_until(&mut self, revision: u64) -> std::io::Result<()> {
        let bytes = fs::read(&self.path)?;
        let (changes, _) = lines(&bytes).map_err(|at| std::io::Error::other(format!("damaged at byte {at}")))?;
        let beside = self.path.with_extension("journal.new");
        let mut file = OpenOptions::new().read(true).write(true).create(true).truncate(true).open(&beside)?;
        let mut length = 0;
        for change in changes.iter().filter(|change| change.revision > revision) {
            let line = line(&serde_json::to_vec(change)?);
            file.write_all(&line)?;
            length += line.len() as u64;
        }
        file.sync_all()?;
        fs::rename(&beside, &self.path)?;
        sync_directory(&self.path)?;
        (self.file, self.length, self.is_torn) = (file, length, false);
        Ok(())
    }
}

/// CRC32c, byte by byte (RFC 9260, appendix A).
fn crc32c(bytes: &[u8]) -> u32 {
    const TABLE: [u32; 256] = {
        let mut table = [0; 256];
        let mut byte = 0;
        while byte < 256 {
            let (mut value, mut bit) = (byte as u32, 0);
            while bit < 8 {
                value = (value >> 1) ^ if value & 1 == 1 { 0x82f6_3b78 } else { 0 };
                bit += 1;
            }
            table[byte] = value;
            byte += 1;
        }
        table
    };
    !bytes.iter().fold(u32::MAX, |sum, byte| (sum >> 8) ^ TABLE[usize::from(sum as u8 ^ byte)])
}

fn line(json: &[u8]) -> Vec<u8> {
    let mut line = format!("{:08x} ", crc32c(json)).into_bytes();
    line.extend_from_slice(json);
    line.push(b'\n');
    line
}

/// The changes of a journal, and how many bytes of whole lines it has. The error is where a line is wrong that has been synced.
fn lines(bytes: &[u8]) -> Result<(Vec<Change>, usize), usize> {
    let (mut changes, mut at) = (Vec::new(), 0);
    while let Some(length) = bytes[at..].iter().position(|byte| *byte == b'\n') {
        let Some(change) = read(&bytes[at..at + length]) else {
            // The last write may have got the end of its line to the disk, and not all of what is before.
            return if at + length + 1 == bytes.len() { Ok((changes, at)) } else { Err(at) };
        };
        changes.push(change);
        at += length + 1;
    }
    Ok((changes, at))
}

fn read(line: &[u8]) -> Option<Change> {
    let (sum, json) = (line.get(..8)?, line.get(9..)?);
    let sum = u32::from_str_radix(std::str::from_utf8(sum).ok()?, 16).ok()?;
    (line[8] == b' ' && crc32c(json) == sum).then(|| serde_json::from_slice(json).ok()).flatten()
}

#[cfg(test)]
mod tests {
    use super::crc32c;

    /// The check value of CRC-32/ISCSI.
    #[test]
    fn the_sum_is_the_usual_one() {
        assert_eq!((crc32c(b"123456789"), crc32c(b"")), (0xe306_9283, 0));
    }
}
