//! `ipvsadm` 1.31: its grammar, its listings, its errors and exit codes, for scripts that know nothing of XVS.
//!
//! ```text
//! words -> args (popt) -> parse + options (what goes with what) -> Command
//! Change  -> decide (the kernel's checks, on a copy of the Spec) -> edits -> session -> POST /v1/apply
//! listing -> run -> GET /v1/services ... -> list (pure text)
//! ```
//!
//! It is a client as any other: all it knows it asks the daemon for. docs/reference/ipvsadm.md is its reference.

mod address;
mod args;
mod command;
mod decide;
mod failure;
mod flags;
mod help;
mod line;
mod list;
mod names;
mod numbers;
mod options;
mod parse;
mod restore;
mod run;
mod session;

use std::{
    ffi::OsString,
    io::{self, Read},
    path::Path,
};

use crate::api::client::Client;

/// Name of the program, which the binary may be called by.
pub const PROGRAM: &str = "ipvsadm";

/// Runs a command line and returns the exit code. `program` is how messages name it, `words` what stands behind it.
pub fn main(program: &str, words: impl IntoIterator<Item = OsString>, socket: &Path) -> u8 {
    let words = words.into_iter().map(|word| word.to_string_lossy().into_owned()).collect();
    let (client, names) = (Client::new(socket), names::SystemNames::load());
    let (mut out, mut err) = (io::stdout().lock(), io::stderr().lock());
    let mut runner = run::Runner { client: &client, names: &names, program, out: &mut out, err: &mut err };
    match tokio::runtime::Builder::new_current_thread().enable_all().build() {
        Ok(runtime) => runtime.block_on(runner.line(words, input)),
        Err(error) => runner.tell(&failure::Failure::unreachable(error)),
    }
}

/// Standard input, whole.
fn input() -> String {
    let mut bytes = Vec::new();
    // What could be read counts, as it does for a pipe that ends early.
    let _ = io::stdin().lock().read_to_end(&mut bytes);
    String::from_utf8_lossy(&bytes).into_owned()
}
