//! The unix socket the daemon listens on: who may talk to it, and that there is only one daemon behind it.
//!
//! Three fences, each enough alone: the directory is not writable by others, the socket has mode 0600, and a
//! peer whose uid is neither root's nor the daemon's is turned away by `SO_PEERCRED` (unix(7)).
//!
//! A lock file next to the socket says whether a daemon lives: the kernel drops a `flock` when its holder dies
//! in whatever way, so a socket file without the lock is a leftover and is replaced. The lock file itself is
//! never removed: a second daemon could hold the removed one while a third makes a new one.

use std::{
    fs::{self, File, Permissions, TryLockError},
    io::{self, Read, Seek, Write},
    os::unix::fs::{DirBuilderExt, FileTypeExt, MetadataExt, OpenOptionsExt, PermissionsExt},
    path::{Path, PathBuf},
    time::Duration,
};

use axum::serve::Listener;
use nix::unistd::geteuid;
use thiserror::Error;
use tokio::net::{UnixListener, UnixStream};

/// Why the daemon cannot listen.
#[derive(Debug, Error)]
pub enum SocketError {
    /// Another daemon holds the lock.
    #[error("daemon already running (pid {pid}) behind {}; stop it or give this one another --socket", path.display())]
    Running {
        /// What the lock file says; `unknown` when it says nothing.
        pid: String,
        /// The socket.
        path: PathBuf,
    },
    /// Others could replace the socket.
    #[error("{}: {why}; chmod 700 it, chown it to uid {uid} or give another --socket", path.display())]
    OpenDirectory {
        /// The socket's directory.
        path: PathBuf,
        /// What is wrong with it.
        why: String,
        /// The daemon's uid.
        uid: u32,
    },
    /// Something else has the name.
    #[error("{} is there and is not a socket; remove it or give another --socket", .0.display())]
    NotASocket(PathBuf),
    /// The kernel refused.
    #[error("cannot {what} {}: {cause}", path.display())]
    Io {
        /// The step.
        what: &'static str,
        /// The file of that step.
        path: PathBuf,
        /// The kernel's word.
        cause: io::Error,
    },
}

/// A socket listened on; the file goes when this is dropped, the lock when the process ends.
#[derive(Debug)]
pub struct Socket {
    listener: UnixListener,
    path: PathBuf,
    uid: u32,
    /// Held open: closing it gives up the lock.
    _lock: File,
}

impl Socket {
    /// Takes the lock and listens. Must be called in a tokio runtime.
    pub fn bind(path: &Path) -> Result<Self, SocketError> {
        let uid = geteuid().as_raw();
        let directory = match path.parent() {
            Some(parent) if !parent.as_os_str().is_empty() => parent,
            _ => Path::new("."),
        };
        private_directory(directory, uid)?;
        let lock = take_lock(path)?;
        match fs::symlink_metadata(path) {
            Ok(known) if !known.file_type().is_socket() => return Err(SocketError::NotASocket(path.to_owned())),
            Ok(_) => fs::remove_file(path).map_err(failed("remove the stale", path))?,
            Err(error) if error.kind() == io::ErrorKind::NotFound => {}
            Err(error) => return Err(failed("look at", path)(error)),
        }
        let listener = UnixListener::bind(path).map_err(failed("listen on", path))?;
        fs::set_permissions(path, Permissions::from_mode(0o600)).map_err(failed("chmod", path))?;
        Ok(Self { listener, path: path.to_owned(), uid, _lock: lock })
    }
}

fn failed(what: &'static str, path: &Path) -> impl Fn(io::Error) -> SocketError {
    move |cause| SocketError::Io { what, path: path.to_owned(), cause }
}

fn private_directory(directory: &Path, uid: u32) -> Result<(), SocketError> {
    let made = fs::DirBuilder::new().recursive(true).mode(0o700).create(directory);
    made.map_err(failed("make the directory", directory))?;
    let known = fs::metadata(directory).map_err(failed("look at", directory))?;
    let why = match (known.uid(), known.mode() & 0o022) {
        (owner, _) if owner != uid && owner != 0 => format!("the socket's directory belongs to uid {owner}"),
        (_, 0) => return Ok(()),
        _ => format!("others can write to the socket's directory (mode {:o})", known.mode() & 0o7777),
    };
    Err(SocketError::OpenDirectory { path: directory.to_owned(), why, uid })
}

fn take_lock(socket: &Path) -> Result<File, SocketError> {
    let mut name = socket.as_os_str().to_owned();
    name.push(".lock");
    let path = PathBuf::from(name);
    let options = File::options().read(true).write(true).create(true).truncate(false).mode(0o600).open(&path);
    let mut lock = options.map_err(failed("open the lock", &path))?;
    match lock.try_lock() {
        Ok(()) => {}
        Err(TryLockError::WouldBlock) => {
            let mut pid = String::new();
            // Whoever holds the lock wrote it; without it the message is only less helpful.
            let _ = lock.take(16).read_to_string(&mut pid);
            let pid = pid.trim().parse::<u32>().map_or_else(|_| "unknown".to_owned(), |pid| pid.to_string());
            return Err(SocketError::Running { pid, path: socket.to_owned() });
        }
        Err(TryLockError::Error(cause)) => return Err(failed("lock", &path)(cause)),
    }
    let write = lock.set_len(0).and_then(|()| lock.rewind()).and_then(|()| writeln!(lock, "{}", std::process::id()));
    write.map_err(failed("write", &path))?;
    Ok(lock)
}

// === impl Socket ===

impl Listener for Socket {
    type Io = UnixStream;
    type Addr = PathBuf;

    async fn accept(&mut self) -> (UnixStream, PathBuf) {
        loop {
            match self.listener.accept().await {
                Ok((stream, _)) if self.admits(&stream) => return (stream, self.path.clone()),
                Ok(_) => {}
                Err(error) => {
                    tracing::warn!(%error, "cannot accept on the socket");
                    // Out of descriptors, most likely: give others time to close theirs.
                    tokio::time::sleep(Duration::from_millis(100)).await;
                }
            }
        }
    }

    fn local_addr(&self) -> io::Result<PathBuf> {
        Ok(self.path.clone())
    }
}

impl Socket {
    fn admits(&self, stream: &UnixStream) -> bool {
        match stream.peer_cred() {
            Ok(peer) if admitted(peer.uid(), self.uid) => true,
            Ok(peer) => {
                tracing::warn!(
                    uid = peer.uid(),
                    pid = peer.pid(),
                    "turned a peer away: not root and not the daemon's user"
                );
                false
            }
            Err(error) => {
                tracing::warn!(%error, "turned a peer away: its user is not known");
                false
            }
        }
    }
}

impl Drop for Socket {
    fn drop(&mut self) {
        if let Err(error) = fs::remove_file(&self.path) {
            tracing::warn!(%error, path = %self.path.display(), "cannot remove the socket");
        }
    }
}

fn admitted(peer: u32, own: u32) -> bool {
    peer == 0 || peer == own
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_root_and_the_daemons_user_are_admitted() {
        assert!(admitted(0, 0) && admitted(0, 990) && admitted(990, 990));
        assert!(!admitted(1000, 0) && !admitted(1000, 990));
    }
}
