//! What a laboratory could leave behind: processes, network namespaces (and with them veth pairs), pins in bpffs and
//! temporary directories. The same code proves that nothing is left and removes what is.

use std::collections::BTreeSet;
use std::fs;
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};
use std::process::Command;

use crate::{LabError, LabName, name, netns, process, run};

/// Which laboratories are meant.
#[derive(Clone, Debug)]
pub enum Scope {
    /// One laboratory.
    Lab(LabName),
    /// Every laboratory on this machine.
    All,
}

/// What was found; empty means clean.
#[derive(Clone, Debug, Default, PartialEq, Eq, serde::Serialize)]
pub struct Residue {
    /// Pids, with their command lines.
    pub processes: Vec<(i32, String)>,
    /// Network namespaces by name.
    pub namespaces: Vec<String>,
    /// Links in the namespace of the caller whose name carries the prefix.
    pub links: Vec<String>,
    /// Entries of /sys/fs/bpf, and those below [`name::HOST_PINS`] that belong to the namespaces found.
    pub pins: Vec<PathBuf>,
    /// Entries of the temporary directory.
    pub directories: Vec<PathBuf>,
}

impl Residue {
    /// Looks for residue.
    pub fn find(scope: &Scope) -> Self {
        let (namespace_prefix, needle) = match scope {
            Scope::Lab(lab) => (lab.namespace_prefix(), format!("{}{lab}", name::PREFIX)),
            Scope::All => (name::PREFIX.to_owned(), name::PREFIX.to_owned()),
        };
        let ours = |entry: &str| match scope {
            Scope::Lab(_) => entry == needle,
            Scope::All => entry.starts_with(name::PREFIX),
        };
        let namespaces: Vec<_> = entries(Path::new(name::NETNS_DIR), |entry| entry.starts_with(&namespace_prefix));
        let mut pids: BTreeSet<i32> = process::by_command_line(&needle).into_iter().collect();
        for namespace in &namespaces {
            pids.extend(process::in_namespace(namespace));
        }
        Self {
            processes: pids.into_iter().map(|pid| (pid, process::describe(pid))).collect(),
            namespaces: namespaces.iter().filter_map(|path| Some(path.file_name()?.to_str()?.to_owned())).collect(),
            links: entries(Path::new("/sys/class/net"), |entry| entry.starts_with(name::PREFIX))
                .iter()
                .filter_map(|path| Some(path.file_name()?.to_str()?.to_owned()))
                .collect(),
            pins: [entries(Path::new(name::BPFFS), ours), host_pins(&namespaces)].concat(),
            directories: entries(&std::env::temp_dir(), ours),
        }
    }

    /// Whether nothing was found.
    pub fn is_empty(&self) -> bool {
        self.lines().is_empty()
    }

    /// One line for each thing found.
    pub fn lines(&self) -> Vec<String> {
        let Self { processes, namespaces, links, pins, directories } = self;
        let mut lines: Vec<String> = processes.iter().map(|(_, text)| format!("process {text}")).collect();
        lines.extend(namespaces.iter().map(|name| format!("network namespace {name}")));
        lines.extend(links.iter().map(|name| format!("link {name}")));
        lines.extend(pins.iter().map(|path| format!("pin {}", path.display())));
        lines.extend(directories.iter().map(|path| format!("directory {}", path.display())));
        lines
    }

    /// Removes what was found: first the processes, as they hold everything else. The first failure is returned after
    /// all removals were tried.
    pub fn remove(&self) -> Result<(), LabError> {
        let pids: Vec<i32> = self.processes.iter().map(|(pid, _)| *pid).collect();
        process::kill_and_wait(&pids, || {
            pids.iter().copied().filter(|pid| Path::new(&format!("/proc/{pid}/ns/net")).exists()).collect()
        });
        let mut outcome = Ok(());
        // Before their namespaces: afterwards nothing tells whose they are.
        for pin in &self.pins {
            outcome = outcome.and(remove_tree(pin));
        }
        // Only when nothing else is in it.
        let _ = fs::remove_dir(name::HOST_PINS);
        for namespace in &self.namespaces {
            outcome = outcome.and(netns::delete(namespace));
        }
        for link in &self.links {
            outcome = outcome.and(run::succeed(Command::new("ip").args(["link", "delete", link])).map(drop));
        }
        for path in &self.directories {
            outcome = outcome.and(remove_tree(path));
        }
        outcome
    }
}

/// Pins that reals and switch ports of these namespaces have left.
fn host_pins(namespaces: &[PathBuf]) -> Vec<PathBuf> {
    let numbers: Vec<String> =
        namespaces.iter().filter_map(|path| Some(fs::metadata(path).ok()?.ino().to_string())).collect();
    entries(Path::new(name::HOST_PINS), |entry| numbers.iter().any(|number| is_pin_of(entry, number)))
}

/// Whether a pin's name ends in a namespace's number.
fn is_pin_of(entry: &str, number: &str) -> bool {
    let entry = entry.strip_suffix("-vips").unwrap_or(entry);
    entry.strip_suffix(number).is_some_and(|rest| rest.ends_with('-'))
}

/// Ids of all XDP links the kernel holds, as far as bpftool is there to say; without it `None`. For comparing before and
/// after: a link that outlives a test suite was pinned somewhere or is held by a process.
pub fn xdp_links() -> Option<BTreeSet<u64>> {
    let output = run::output(Command::new("bpftool").args(["-j", "link", "show"])).ok()?;
    let links: Vec<serde_json::Value> = serde_json::from_slice(&output.stdout).ok()?;
    Some(links.iter().filter(|link| link["type"] == "xdp").filter_map(|link| link["id"].as_u64()).collect())
}

/// Removes a file or a directory tree; that it is gone already is fine.
pub fn remove_tree(path: &Path) -> Result<(), LabError> {
    let removed = if path.is_dir() { fs::remove_dir_all(path) } else { fs::remove_file(path) };
    match removed {
        Err(error) if error.kind() != std::io::ErrorKind::NotFound => {
            Err(LabError::io(format!("remove {}", path.display()))(error))
        }
        _ => Ok(()),
    }
}

/// Entries of a directory whose name passes, sorted; a directory that is not there has none.
fn entries(directory: &Path, wanted: impl Fn(&str) -> bool) -> Vec<PathBuf> {
    let Ok(read) = fs::read_dir(directory) else { return Vec::new() };
    let mut found: Vec<PathBuf> = read
        .filter_map(Result::ok)
        .filter(|entry| entry.file_name().to_str().is_some_and(&wanted))
        .map(|entry| entry.path())
        .collect();
    found.sort();
    found
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_pin_belongs_to_the_namespace_it_ends_in() {
        assert!(is_pin_of("xvs_pass-real1-0-6-4026532453", "4026532453"));
        assert!(is_pin_of("xvs_decap-eth0-2-4026532384-vips", "4026532384"));
        assert!(!is_pin_of("xvs_decap-eth0-2-4026532384", "026532384"));
        assert!(!is_pin_of("xvs_decap-eth0-2-4026532384", "4026532453"));
    }

    #[test]
    fn a_directory_of_a_laboratory_is_found_and_removed() {
        let lab = LabName::unique("residue").unwrap();
        let scope = Scope::Lab(lab.clone());
        assert!(Residue::find(&scope).is_empty());
        fs::create_dir(lab.directory()).unwrap();
        fs::write(lab.directory().join("file"), "x").unwrap();
        let residue = Residue::find(&scope);
        assert_eq!(residue.lines(), [format!("directory {}", lab.directory().display())]);
        residue.remove().unwrap();
        assert!(Residue::find(&scope).is_empty());
    }
}
