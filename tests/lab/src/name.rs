//! Names: every namespace, pin directory and temporary directory of a laboratory is derived from its name here, so that
//! two laboratories never meet and leftovers can be found by prefix.

use std::fmt;
use std::path::PathBuf;
use std::str::FromStr;
use std::sync::atomic::{AtomicU32, Ordering};

use crate::LabError;

/// What everything a laboratory creates starts with.
pub const PREFIX: &str = "xvs-lab-";
/// Where BPF objects are pinned.
pub const BPFFS: &str = "/sys/fs/bpf";
/// Where `xvs realserver` and `xvs veth-peer` pin the links of a host, whatever its namespace: the names end in the number
/// of the namespace, or in that and `-vips`.
pub const HOST_PINS: &str = "/sys/fs/bpf/xvs-host";
/// Where `ip netns` keeps its handles.
pub const NETNS_DIR: &str = "/run/netns";
/// Between laboratory and host in a namespace's name: not allowed in a laboratory name, so `demo` never matches `demo-2`.
const SEPARATOR: char = '.';

static NEXT: AtomicU32 = AtomicU32::new(0);

/// The name of one laboratory: 1 to 24 lower-case letters, digits and `-`.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct LabName(String);

impl LabName {
    /// A name no other laboratory on this machine has: the topic, this process and a counter.
    pub fn unique(topic: &str) -> Result<Self, LabError> {
        let n = NEXT.fetch_add(1, Ordering::Relaxed);
        format!("{topic}-{}-{n}", std::process::id()).parse()
    }

    /// Name of the namespace of `host`, as `ip netns` lists it.
    pub fn namespace(&self, host: &str) -> String {
        format!("{}{host}", self.namespace_prefix())
    }

    /// What the names of all namespaces of this laboratory start with.
    pub fn namespace_prefix(&self) -> String {
        format!("{PREFIX}{}{SEPARATOR}", self.0)
    }

    /// Where this laboratory keeps configuration, logs, sockets and state.
    pub fn directory(&self) -> PathBuf {
        std::env::temp_dir().join(format!("{PREFIX}{}", self.0))
    }

    /// Where its director pins maps and links.
    pub fn pin_directory(&self) -> PathBuf {
        PathBuf::from(BPFFS).join(format!("{PREFIX}{}", self.0))
    }

    /// The name itself.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl FromStr for LabName {
    type Err = LabError;

    fn from_str(text: &str) -> Result<Self, LabError> {
        let allowed = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '-';
        if text.is_empty() || text.len() > 24 || !text.chars().all(allowed) {
            return Err(LabError::Name(text.to_owned()));
        }
        Ok(Self(text.to_owned()))
    }
}

impl fmt::Display for LabName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_that_would_break_a_path_are_refused() {
        for bad in ["", "a/b", "a.b", "Demo", "a b", "aaaaaaaaaaaaaaaaaaaaaaaaa"] {
            assert!(bad.parse::<LabName>().is_err(), "{bad:?} was accepted");
        }
    }

    #[test]
    fn one_laboratory_does_not_claim_the_namespaces_of_another() {
        let demo: LabName = "demo".parse().unwrap();
        let second: LabName = "demo-2".parse().unwrap();
        assert!(demo.namespace("client").starts_with(&demo.namespace_prefix()));
        assert!(!second.namespace("client").starts_with(&demo.namespace_prefix()));
    }

    #[test]
    fn unique_names_differ() {
        assert_ne!(LabName::unique("t").unwrap(), LabName::unique("t").unwrap());
    }
}
