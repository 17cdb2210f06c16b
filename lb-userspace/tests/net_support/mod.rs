//! Network namespaces for the `net_*` tests: made by the test, removed on drop (so also when a test panics).

use std::fs::File;
use std::future::Future;
use std::process::Command;
use std::sync::atomic::{AtomicU32, Ordering};

use nix::sched::{CloneFlags, setns};

static NEXT: AtomicU32 = AtomicU32::new(0);

/// A network namespace with `lo` up.
pub(crate) struct Netns {
    pub(crate) name: String,
}

impl Netns {
    /// Makes one, or says why not and gives `None` when the test does not run as root.
    pub(crate) fn new(tag: &str) -> Option<Self> {
        if !nix::unistd::geteuid().is_root() {
            eprintln!("skipped: network namespaces need root");
            return None;
        }
        let name = format!("xvsn-{}-{}-{tag}", std::process::id(), NEXT.fetch_add(1, Ordering::Relaxed));
        command("ip", &["netns", "add", &name]);
        let netns = Self { name };
        netns.ip("link set lo up");
        Some(netns)
    }

    /// `ip -n NAME ARGUMENTS`; panics if it fails.
    pub(crate) fn ip(&self, arguments: &str) -> String {
        let mut all = vec!["-n", &self.name];
        all.extend(arguments.split_whitespace());
        command("ip", &all)
    }

    /// Joins this namespace's `own` and `other`'s `peer` by a veth pair, both up.
    pub(crate) fn veth(&self, own: &str, other: &Netns, peer: &str) {
        self.ip(&format!("link add {own} type veth peer name {peer} netns {}", other.name));
        self.ip(&format!("link set {own} up"));
        other.ip(&format!("link set {peer} up"));
    }

    /// Runs a future on a thread of its own inside the namespace, with a current-thread runtime.
    pub(crate) fn run<T: Send, F: Future<Output = T>>(&self, work: impl FnOnce() -> F + Send) -> T {
        std::thread::scope(|scope| {
            let worker = scope.spawn(|| {
                let file = File::open(format!("/run/netns/{}", self.name)).expect("open the namespace");
                setns(file, CloneFlags::CLONE_NEWNET).expect("enter the namespace");
                let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("runtime");
                runtime.block_on(async { work().await })
            });
            worker.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic))
        })
    }
}

impl Drop for Netns {
    fn drop(&mut self) {
        let _ = Command::new("ip").args(["netns", "del", &self.name]).status();
    }
}

/// Runs a command and gives its output; panics with its error if it fails.
pub(crate) fn command(program: &str, arguments: &[&str]) -> String {
    let output = Command::new(program).args(arguments).output().expect(program);
    let stderr = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{program} {arguments:?}: {stderr}");
    String::from_utf8(output.stdout).expect("UTF-8")
}
