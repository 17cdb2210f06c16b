//! What the API and command-line tests share: an engine in memory behind a real server on a real socket.

#![expect(dead_code, reason = "each test binary uses its part")]

pub(crate) mod fake;

use std::{
    fs,
    os::unix::fs::PermissionsExt,
    path::{Path, PathBuf},
    process::{Command, Output, Stdio},
};

use lb_userspace::api::{server, socket::Socket};
use tempfile::TempDir;
use tokio::{runtime::Runtime, sync::oneshot, task::JoinHandle};

use self::fake::Fake;

/// A daemon in this process, in its own directory.
pub(crate) struct Daemon {
    pub(crate) engine: Fake,
    pub(crate) directory: TempDir,
    runtime: Runtime,
    stop: Option<oneshot::Sender<()>>,
    task: Option<JoinHandle<std::io::Result<()>>>,
}

impl Daemon {
    pub(crate) fn start() -> Self {
        let directory = private_directory();
        let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap();
        let engine = Fake::default();
        let (stop, stopped) = oneshot::channel::<()>();
        let path = directory.path().join("xvs.sock");
        let socket = runtime.block_on(async { Socket::bind(&path) }).unwrap();
        let serve = server::serve(socket, engine.clone(), async {
            let _ = stopped.await;
        });
        let task = runtime.spawn(serve);
        Self { engine, directory, runtime, stop: Some(stop), task: Some(task) }
    }

    pub(crate) fn socket(&self) -> PathBuf {
        self.directory.path().join("xvs.sock")
    }

    /// Writes a file next to the socket.
    pub(crate) fn file(&self, name: &str, text: impl AsRef<[u8]>) -> String {
        let path = self.directory.path().join(name);
        fs::write(&path, text).unwrap();
        path.display().to_string()
    }

    /// Runs `xvs` against this daemon.
    pub(crate) fn xvs(&self, args: &[&str]) -> Ran {
        xvs(&self.socket(), args)
    }

    /// Asks the server to end and waits for it.
    pub(crate) fn stop(&mut self) {
        drop(self.stop.take());
        if let Some(task) = self.task.take() {
            self.runtime.block_on(task).unwrap().unwrap();
        }
    }
}

/// A directory as the daemon wants it.
pub(crate) fn private_directory() -> TempDir {
    let directory = tempfile::tempdir().unwrap();
    fs::set_permissions(directory.path(), fs::Permissions::from_mode(0o700)).unwrap();
    directory
}

/// What a run of `xvs` left.
#[derive(Debug)]
pub(crate) struct Ran {
    pub(crate) code: i32,
    pub(crate) out: String,
    pub(crate) err: String,
}

impl Ran {
    /// The standard output of a success.
    #[track_caller]
    pub(crate) fn good(self) -> String {
        assert_eq!((self.code, self.err.as_str()), (0, ""), "{self:?}");
        self.out
    }

    /// Checks a failure: its code, one line on standard error, nothing on standard output.
    #[track_caller]
    pub(crate) fn bad(self, code: i32, part: &str) {
        assert_eq!((self.code, self.out.as_str()), (code, ""), "{self:?}");
        assert_eq!(self.err.lines().count(), 1, "{self:?}");
        assert!(self.err.starts_with("xvs: ") && self.err.contains(part), "{part:?} in {self:?}");
    }
}

pub(crate) fn command(socket: &Path) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_xvs"));
    command.env("XVS_SOCKET", socket).stdin(Stdio::null());
    command
}

pub(crate) fn xvs(socket: &Path, args: &[&str]) -> Ran {
    ran(command(socket).args(args).output().unwrap())
}

pub(crate) fn ran(output: Output) -> Ran {
    let text = |bytes| String::from_utf8(bytes).unwrap();
    Ran { code: output.status.code().unwrap_or(-1), out: text(output.stdout), err: text(output.stderr) }
}
