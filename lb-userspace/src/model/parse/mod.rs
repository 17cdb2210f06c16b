//! TOML to Spec, with every error at once and where it stands.
//!
//! Three steps: the text becomes a TOML document with positions, [`shape`] walks it into a Spec and notes what
//! could not be read, [`validate`](super::validate) judges the rest. A Spec comes out only when nothing at all
//! was wrong. Any bytes may come in: what is too large, too deep or not UTF-8 is one clear error.

mod place;
mod plain;
mod reader;
mod shape;

use std::collections::BTreeSet;

use toml_edit::Document;

use self::place::{Lines, offset_of};
use super::{
    problem::Problem,
    spec::Spec,
    validate::{self, Finding},
};

/// Bytes of a configuration: 10 000 services with a hundred reals each are 60 MB; more is a mistake or an attack.
pub const MAX_BYTES: usize = 128 * 1024 * 1024;
/// Problems told at once. Nobody reads more, and 128 MiB can hold millions.
const MAX_PROBLEMS: usize = 1000;

/// Reads a configuration. The problems come sorted by line.
pub fn parse(bytes: &[u8]) -> Result<Spec, Vec<Problem>> {
    if bytes.len() > MAX_BYTES {
        let message = format!("the configuration has {} bytes; at most {MAX_BYTES} (128 MiB)", bytes.len());
        return Err(vec![Problem::unplaced("", message)]);
    }
    let text = std::str::from_utf8(bytes).map_err(|error| vec![not_utf8(bytes, error.valid_up_to())])?;
    match plain::parse(text) {
        Some(spec) => Ok(spec),
        None => parse_document(text),
    }
}

fn parse_document(text: &str) -> Result<Spec, Vec<Problem>> {
    let lines = Lines::new(text);
    let document = Document::parse(text).map_err(|error| {
        let (line, column) = lines.place(error.span().map_or(text.len(), |span| span.start));
        // Some of the parser's messages have several lines.
        let message = format!("not TOML: {}", error.message().trim().replace('\n', ", "));
        vec![Problem { line, column, key: String::new(), message }]
    })?;

    let (spec, unread) = shape::read(document.as_table());
    let broken: BTreeSet<String> = unread.iter().map(|problem| problem.key.clone()).collect();
    let mut problems: Vec<(usize, String, String)> =
        unread.into_iter().map(|problem| (problem.offset, problem.key, problem.message)).collect();
    for Finding { key, mut message, first } in validate::findings(&spec, &broken) {
        if let Some(first) = first {
            let (line, _) = lines.place(offset_of(document.as_table(), &first));
            message.push_str(&format!(" (line {line})"));
        }
        problems.push((offset_of(document.as_table(), &key), key, message));
    }
    match problems.is_empty() {
        true => Ok(spec),
        false => Err(placed(problems, &lines)),
    }
}

fn placed(mut problems: Vec<(usize, String, String)>, lines: &Lines<'_>) -> Vec<Problem> {
    problems.sort();
    let more = problems.len().saturating_sub(MAX_PROBLEMS);
    problems.truncate(MAX_PROBLEMS);
    let mut told: Vec<Problem> = problems
        .into_iter()
        .map(|(offset, key, message)| {
            let (line, column) = lines.place(offset);
            Problem { line, column, key, message }
        })
        .collect();
    if more > 0 {
        let (line, column) = told.last().map_or((0, 0), |last| (last.line, last.column));
        told.push(Problem { line, column, key: String::new(), message: format!("{more} more problems follow") });
    }
    told
}

fn not_utf8(bytes: &[u8], valid_up_to: usize) -> Problem {
    let readable = bytes.get(..valid_up_to).and_then(|bytes| std::str::from_utf8(bytes).ok()).unwrap_or_default();
    let (line, column) = Lines::new(readable).place(valid_up_to);
    let message = "not TOML: this byte is not UTF-8; save the file as UTF-8".to_owned();
    Problem { line, column, key: String::new(), message }
}

#[cfg(test)]
mod lvs_rows;
#[cfg(test)]
mod tests;
