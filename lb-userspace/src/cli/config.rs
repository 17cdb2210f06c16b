//! `xvs apply`, `plan` and `export`, and the request behind every edit.

use std::{
    fs::File,
    io::{self, Read},
    path::Path,
};

use super::{
    CliError,
    args::{ApplyArgs, FileArgs},
    output::{Column, Output, table},
};
use crate::{
    api::{
        client::Client,
        types::{AppliedView, ChangeRequest, ChangeView, PlanView, SpecView},
    },
    model::{Edit, Problem, parse::MAX_BYTES},
};

pub(super) async fn apply(client: &Client, args: ApplyArgs, out: &Output) -> Result<(), CliError> {
    let ApplyArgs { file, if_revision } = args;
    let request = ChangeRequest { toml: Some(text(&file)?), if_revision, ..ChangeRequest::default() };
    let applied: AppliedView =
        client.post("/v1/apply", &request).await.map_err(|error| in_file(error.into(), &file))?;
    show_applied(&applied, out)
}

pub(super) async fn plan(client: &Client, args: FileArgs, out: &Output) -> Result<(), CliError> {
    let FileArgs { file } = args;
    let request = ChangeRequest { toml: Some(text(&file)?), ..ChangeRequest::default() };
    let plan: PlanView = client.post("/v1/plan", &request).await.map_err(|error| in_file(error.into(), &file))?;
    out.show(&plan, |plan| {
        let mut text = changes(&plan.changes, plan.more);
        for warning in &plan.warnings {
            text.push_str(&format!("warning: {warning}\n"));
        }
        match plan.changes.len() + plan.more as usize {
            0 => text.push_str(&format!("nothing to change in revision {}\n", plan.revision)),
            count => text.push_str(&format!("{} to revision {}\n", counted(count, "change"), plan.revision)),
        }
        text
    })
}

pub(super) async fn export(client: &Client, out: &Output) -> Result<(), CliError> {
    match out.is_json() {
        true => out.show(&client.get::<SpecView>("/v1/spec").await?, |_| String::new()),
        false => out.text(&client.get_text("/v1/spec.toml").await?),
    }
}

/// Makes one edit.
pub(super) async fn change(
    client: &Client,
    edit: Edit,
    if_revision: Option<u64>,
    out: &Output,
) -> Result<(), CliError> {
    change_all(client, vec![edit], if_revision, out).await
}

/// Makes edits, all or none.
pub(super) async fn change_all(
    client: &Client,
    edits: Vec<Edit>,
    if_revision: Option<u64>,
    out: &Output,
) -> Result<(), CliError> {
    let request = ChangeRequest { edits: Some(edits), if_revision, ..ChangeRequest::default() };
    show_applied(&client.post("/v1/apply", &request).await?, out)
}

fn show_applied(applied: &AppliedView, out: &Output) -> Result<(), CliError> {
    out.show(applied, |applied| {
        let mut text = changes(&applied.changes, applied.more);
        match applied.changes.len() + applied.more as usize {
            0 => text.push_str(&format!("nothing changed, revision {}\n", applied.revision)),
            count => text.push_str(&format!("{}, now revision {}\n", counted(count, "change"), applied.revision)),
        }
        text
    })
}

fn changes(changes: &[ChangeView], more: u64) -> String {
    if changes.is_empty() {
        return String::new();
    }
    let columns = [Column::Left("ACTION"), Column::Left("TARGET"), Column::Left("DETAIL")];
    let rows =
        changes.iter().map(|change| vec![change.action.to_string(), change.target.clone(), change.detail.clone()]);
    let mut text = table(&columns, rows);
    if more > 0 {
        text.push_str(&format!("{more} more are not listed\n"));
    }
    text
}

/// `1 change`, `2 changes`
pub(super) fn counted(count: usize, what: &str) -> String {
    match count {
        1 => format!("1 {what}"),
        _ => format!("{count} {what}s"),
    }
}

/// Words separated by commas, `-` for none.
pub(super) fn joined<T: ToString>(words: &[T]) -> String {
    match words {
        [] => "-".to_owned(),
        _ => words.iter().map(ToString::to_string).collect::<Vec<_>>().join(","),
    }
}

/// Problems of a text that came from a file are told as that file's.
fn in_file(error: CliError, path: &Path) -> CliError {
    match error {
        CliError::Problems { problems, .. } => CliError::Problems { file: shown(path), problems },
        other => other,
    }
}

/// A file's name in messages.
pub(super) fn shown(path: &Path) -> String {
    match path.as_os_str() == "-" {
        true => "(standard input)".to_owned(),
        false => path.display().to_string(),
    }
}

/// Reads a file or standard input, never more than a configuration may have.
pub(super) fn bytes(path: &Path) -> Result<Vec<u8>, CliError> {
    let mut bytes = Vec::new();
    // One byte too many is enough for the parser to refuse the size; /dev/zero would never end.
    let limit = MAX_BYTES as u64 + 1;
    let read = match path.as_os_str() == "-" {
        true => io::stdin().lock().take(limit).read_to_end(&mut bytes),
        false => File::open(path).and_then(|file| file.take(limit).read_to_end(&mut bytes)),
    };
    read.map_err(|error| CliError::Usage(format!("cannot read {}: {error}", shown(path))))?;
    Ok(bytes)
}

/// As [`bytes`], for sending: JSON carries no bytes that are not text.
fn text(path: &Path) -> Result<String, CliError> {
    let bytes = bytes(path)?;
    let refused = |problems: Vec<Problem>| CliError::Problems { file: shown(path), problems };
    if bytes.len() > MAX_BYTES || std::str::from_utf8(&bytes).is_err() {
        return Err(refused(crate::model::parse::parse(&bytes).err().unwrap_or_default()));
    }
    String::from_utf8(bytes).map_err(|error| CliError::Usage(format!("cannot read {}: {error}", shown(path))))
}
