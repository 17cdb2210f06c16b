//! The reaper: a second process next to one that built a laboratory. It waits for the end of its stdin, a pipe whose other
//! end dies with the builder however that dies (kill -9 included), and removes what is left.

use std::io::{Read as _, Write as _};
use std::os::unix::process::CommandExt as _;
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use anyhow::Context as _;
use clap::Args;
use lb_lab::LabName;
use lb_lab::residue::{Residue, Scope};

/// Looks until nothing was found: a program that the killed builder had just started may still add something.
const ROUNDS: u32 = 10;
const PAUSE: Duration = Duration::from_millis(200);

/// What the builder says when it has removed everything itself; without a word the reaper looks twice.
const DONE: &str = "done";
/// What it says when the laboratory is to stay.
const KEEP: &str = "keep";

#[derive(Debug, Args)]
pub(crate) struct ReapArguments {
    /// The laboratory to remove
    lab: LabName,
}

pub(crate) fn run(arguments: &ReapArguments) -> anyhow::Result<()> {
    let mut last_words = String::new();
    let heard = std::io::stdin().read_to_string(&mut last_words);
    match heard.map(|_| last_words.as_str()) {
        Ok(KEEP) => Ok(()),
        Ok(DONE) => clean(arguments, true),
        _ => clean(arguments, false),
    }
}

/// Removes what is left; when the builder did not end in order, also what shows up a little later.
fn clean(arguments: &ReapArguments, orderly: bool) -> anyhow::Result<()> {
    let scope = Scope::Lab(arguments.lab.clone());
    let mut outcome = Ok(());
    for _ in 0..ROUNDS {
        let residue = Residue::find(&scope);
        if residue.is_empty() {
            if orderly || outcome.is_ok() && clean_twice(&scope) {
                return Ok(());
            }
        } else {
            outcome = residue.remove();
        }
        std::thread::sleep(PAUSE);
    }
    Ok(outcome?)
}

/// Whether nothing is there now and nothing is there a little later.
fn clean_twice(scope: &Scope) -> bool {
    std::thread::sleep(PAUSE);
    Residue::find(scope).is_empty()
}

/// The builder's end of it. Declare it before the laboratory, so that it is dropped after.
#[derive(Debug)]
pub(crate) struct Reaper {
    child: Child,
    last_words: &'static str,
}

impl Reaper {
    /// Starts the reaper for a laboratory that is about to be built.
    pub(crate) fn start(lab: &LabName) -> anyhow::Result<Self> {
        let own = std::env::current_exe().context("cannot find the running xtask")?;
        let child = Command::new(own)
            .args(["reap", lab.as_str()])
            .stdin(Stdio::piped())
            .stdout(Stdio::null())
            // Out of reach of Ctrl-C in the terminal.
            .process_group(0)
            .spawn()
            .context("cannot start the process that cleans up")?;
        Ok(Self { child, last_words: DONE })
    }

    /// Lets the laboratory stay.
    pub(crate) fn release(mut self) {
        self.last_words = KEEP;
    }
}

impl Drop for Reaper {
    fn drop(&mut self) {
        if let Some(mut stdin) = self.child.stdin.take() {
            let _ = stdin.write_all(self.last_words.as_bytes());
        }
        let _ = self.child.wait();
    }
}
