//! The test binaries that run in a guest, built here: a guest has no cargo to wait for, and emulation would take an hour.

use std::path::PathBuf;
use std::process::Stdio;

use anyhow::{Context as _, bail};
use serde_json::Value;

use crate::cargo;

/// The tests that depend on the kernel: what the verifier takes, and every packet row.
const TARGETS: [&str; 2] = ["verifier", "rows"];

/// A test binary.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Test {
    pub(super) name: String,
    pub(super) path: PathBuf,
}

/// Builds them, with cargo's progress on stderr.
pub(super) fn tests() -> anyhow::Result<Vec<Test>> {
    let mut command =
        cargo::command(&["test", "-p", "lb-tests", "--no-run", "--message-format=json-render-diagnostics"]);
    for target in TARGETS {
        command.args(["--test", target]);
    }
    let output = command.stderr(Stdio::inherit()).output().context("cannot run cargo")?;
    if !output.status.success() {
        bail!("the tests did not build ({}); cargo's messages are above", output.status);
    }
    let built = String::from_utf8_lossy(&output.stdout);
    TARGETS.iter().map(|name| executable(&built, name)).collect()
}

/// The executable of a test target in cargo's messages, one JSON object a line.
fn executable(messages: &str, name: &str) -> anyhow::Result<Test> {
    let is_it = |message: &Value| message["target"]["name"] == name && message["target"]["kind"][0] == "test";
    let message = messages.lines().filter_map(|line| serde_json::from_str::<Value>(line).ok()).find(is_it);
    let path = message.as_ref().and_then(|message| message["executable"].as_str());
    let path = path.with_context(|| format!("cargo built no test binary {name}"))?;
    Ok(Test { name: name.to_owned(), path: path.into() })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_test_target_is_taken_not_the_library_of_its_name() {
        let messages = r#"{"reason":"compiler-artifact","target":{"kind":["lib"],"name":"rows"},"executable":"/t/lib"}
{"reason":"compiler-artifact","target":{"kind":["test"],"name":"rows"},"executable":"/t/rows-1"}
not json"#;
        assert_eq!(executable(messages, "rows").unwrap(), Test { name: "rows".into(), path: "/t/rows-1".into() });
        assert!(executable(messages, "verifier").is_err());
    }
}
