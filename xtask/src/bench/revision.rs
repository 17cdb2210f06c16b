//! Another revision's benchmark: built in a working tree of its own, which is removed whatever happens. The program stays, so that the
//! next comparison with the same revision needs no build, and so do compiled dependencies, for other revisions.

use std::fs::{self, File, TryLockError};
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use anyhow::{Context as _, bail};

use super::{BINARY, child};
use crate::interrupt::Interrupt;
use crate::{out, setup};

/// A revision and its benchmark.
pub(super) struct Revision {
    /// As it was asked for.
    pub(super) name: String,
    /// First digits of its commit.
    pub(super) commit: String,
    /// Its benchmark.
    pub(super) binary: PathBuf,
}

/// Where comparisons keep what they built, below a target directory; nobody else may while one does.
pub(super) struct Place {
    directory: PathBuf,
    /// Locked until the comparison ends.
    lock: File,
}

impl Place {
    pub(super) fn take(target: &Path) -> anyhow::Result<Self> {
        let directory = target.join("bench");
        fs::create_dir_all(&directory).with_context(|| directory.display().to_string())?;
        let lock = directory.join("lock");
        let file = File::create(&lock).with_context(|| lock.display().to_string())?;
        match file.try_lock() {
            Ok(()) => Ok(Self { directory, lock: file }),
            Err(TryLockError::WouldBlock) => bail!("another comparison runs in {}", directory.display()),
            Err(TryLockError::Error(error)) => Err(error).with_context(|| lock.display().to_string()),
        }
    }

    /// A file of this comparison.
    pub(super) fn file(&self, name: &str) -> PathBuf {
        self.directory.join(name)
    }

    /// The benchmark of a revision of the repository at `root`.
    pub(super) fn build(&self, root: &Path, name: &str, interrupt: &Interrupt) -> anyhow::Result<Revision> {
        let commit = resolve(root, name)?;
        let directory = self.directory.join(&commit);
        let revision = Revision { name: name.to_owned(), binary: directory.join(BINARY), commit };
        if revision.binary.is_file() {
            return Ok(revision);
        }
        out::line(format_args!("building {name} ({})", revision.commit));
        let tree = Tree::new(root, self.directory.join("tree"), &revision.commit)?;
        let target = self.directory.join("build");
        // Its own toolchain file decides, not the toolchain that runs us.
        let mut command = Command::new("cargo");
        command.args(["build", "--release", "--quiet", "--locked", "-p", BINARY]).current_dir(&tree.path);
        command.env("CARGO_TARGET_DIR", &target).env_remove("RUSTUP_TOOLCHAIN");
        let status = child::run(&mut command, interrupt)?;
        if !status.success() {
            bail!("{name} did not build ({status}); cargo's messages are above");
        }
        fs::create_dir_all(&directory)?;
        // By another name first: a copy that was cut short must not look like a program.
        let whole = directory.join("copy");
        fs::copy(target.join("release").join(BINARY), &whole).context("copying the benchmark")?;
        fs::rename(&whole, &revision.binary)?;
        Ok(revision)
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        // Closing would do, but for a program that is just being started and still has the file.
        let _ = self.lock.unlock();
    }
}

/// First digits of the commit that a revision names, if it has a benchmark.
fn resolve(root: &Path, name: &str) -> anyhow::Result<String> {
    let commit = format!("{name}^{{commit}}");
    let output = git(root, &["rev-parse", "--verify", "--quiet", "--short=12", "--end-of-options", &commit])?;
    if !output.status.success() {
        bail!("`{name}` is no revision of this repository; `git log --oneline` and `git tag` list what is");
    }
    let commit = String::from_utf8_lossy(&output.stdout).trim().to_owned();
    if !git(root, &["cat-file", "-e", &format!("{commit}:benches/Cargo.toml")])?.status.success() {
        bail!("{name} ({commit}) has no benchmark yet");
    }
    Ok(commit)
}

/// A working tree that goes when its value does.
struct Tree {
    root: PathBuf,
    path: PathBuf,
}

impl Tree {
    fn new(root: &Path, path: PathBuf, commit: &str) -> anyhow::Result<Self> {
        let tree = Self { root: root.to_owned(), path };
        // One that is there is a killed comparison's: the lock is ours.
        tree.remove();
        let path = tree.path.to_string_lossy().into_owned();
        let output = git(root, &["worktree", "add", "--quiet", "--detach", "--force", &path, commit])?;
        if !output.status.success() {
            bail!("git cannot lay out {commit}: {}", setup::cause(&output));
        }
        Ok(tree)
    }

    fn remove(&self) {
        if self.path.exists()
            && let Err(error) = fs::remove_dir_all(&self.path)
        {
            out::warn(format_args!("cannot remove {}: {error}", self.path.display()));
        }
        // Git's own note of it.
        if let Err(error) = git(&self.root, &["worktree", "prune"]) {
            out::warn(format_args!("{error:#}"));
        }
    }
}

impl Drop for Tree {
    fn drop(&mut self) {
        self.remove();
    }
}

fn git(root: &Path, arguments: &[&str]) -> anyhow::Result<Output> {
    Command::new("git").arg("-C").arg(root).args(arguments).output().context("cannot run git")
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A repository with two commits, of which the second has a benchmark.
    fn repository(test: &str) -> PathBuf {
        let root = std::env::temp_dir().join(format!("xtask-{test}-{}", std::process::id()));
        let _ = fs::remove_dir_all(&root);
        fs::create_dir_all(root.join("benches")).unwrap();
        let ours = |arguments: &[&str]| {
            let own = ["-c", "user.name=t", "-c", "user.email=t@localhost", "-c", "commit.gpgsign=false"];
            let output = git(&root, &[&own, arguments].concat()).unwrap();
            assert!(output.status.success(), "{arguments:?}: {}", setup::cause(&output));
        };
        ours(&["init", "--quiet"]);
        ours(&["commit", "--quiet", "--allow-empty", "-m", "first"]);
        fs::write(root.join("benches/Cargo.toml"), "").unwrap();
        ours(&["add", "."]);
        ours(&["commit", "--quiet", "-m", "second"]);
        root
    }

    fn trees(root: &Path) -> usize {
        String::from_utf8_lossy(&git(root, &["worktree", "list"]).unwrap().stdout).lines().count()
    }

    #[test]
    fn revisions_that_do_not_help_are_refused_by_name() {
        let root = repository("resolve");
        assert_eq!(resolve(&root, "HEAD").unwrap().len(), 12);
        let refused = |name| resolve(&root, name).unwrap_err().to_string();
        assert!(refused("nonsense").starts_with("`nonsense` is no revision"));
        assert!(refused("--help").starts_with("`--help` is no revision"));
        assert!(refused("HEAD~1").contains("has no benchmark"));
        fs::remove_dir_all(root).unwrap();
    }

    #[test]
    fn a_tree_goes_with_its_value_and_a_killed_ones_is_replaced() {
        let root = repository("tree");
        let commit = resolve(&root, "HEAD").unwrap();
        let path = root.join("target/tree");
        let killed = Tree::new(&root, path.clone(), &commit).unwrap();
        assert!(path.join("benches/Cargo.toml").is_file());
        assert_eq!(trees(&root), 2);
        std::mem::forget(killed);
        drop(Tree::new(&root, path.clone(), &commit).unwrap());
        assert!(!path.exists());
        assert_eq!(trees(&root), 1);
        fs::remove_dir_all(root).unwrap();
    }

    #[test]
    fn one_comparison_at_a_time() {
        let target = std::env::temp_dir().join(format!("xtask-lock-{}", std::process::id()));
        let first = Place::take(&target).unwrap();
        assert!(Place::take(&target).is_err_and(|error| error.to_string().starts_with("another comparison")));
        drop(first);
        assert!(Place::take(&target).is_ok());
        fs::remove_dir_all(target).unwrap();
    }
}
