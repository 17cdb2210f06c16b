//! What commands print: tables for people, the API's JSON for programs.
//!
//! All of standard output goes through [`written`]: a reader that went away (`xvs conn list | head`) is success.

mod table;

use std::io::{self, Write};

use serde::Serialize;

pub(super) use self::table::{Column, table};
use super::{args::Format, error::CliError};
use crate::api::client::Client;

/// Where and how a command prints.
pub(super) struct Output {
    format: Format,
}

impl Output {
    pub(super) fn new(format: Format) -> Self {
        Self { format }
    }

    pub(super) fn is_json(&self) -> bool {
        self.format == Format::Json
    }

    /// Prints a view: as JSON, or as the text made of it.
    pub(super) fn show<T: Serialize>(&self, view: &T, text: impl FnOnce(&T) -> String) -> Result<(), CliError> {
        match self.format {
            Format::Table => self.text(&text(view)),
            Format::Json => {
                let json = serde_json::to_string_pretty(view);
                self.text(&format!("{}\n", json.map_err(|error| CliError::Failed(error.to_string()))?))
            }
        }
    }

    /// Prints an answer of the API as it is, while it comes.
    pub(super) async fn copy(&self, client: &Client, path_and_query: &str) -> Result<(), CliError> {
        let mut stdout = io::stdout().lock();
        let copied = client.copy(path_and_query, |part| stdout.write_all(part)).await?;
        written(copied.and_then(|()| stdout.flush()))
    }

    /// Prints a text as it is.
    #[expect(clippy::unused_self, reason = "printing is the output's, even where no format is chosen")]
    pub(super) fn text(&self, text: &str) -> Result<(), CliError> {
        let mut stdout = io::stdout().lock();
        written(stdout.write_all(text.as_bytes()).and_then(|()| stdout.flush()))
    }
}

/// The result of writing to standard output.
pub(super) fn written(result: io::Result<()>) -> Result<(), CliError> {
    match result {
        Err(error) if error.kind() != io::ErrorKind::BrokenPipe => {
            Err(CliError::Failed(format!("cannot write to standard output: {error}")))
        }
        _ => Ok(()),
    }
}
