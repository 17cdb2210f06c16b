//! A command line to a [`Command`], or what ipvsadm 1.31 says of it, in the order in which it looks at things.

use super::{
    args::{ScanError, Scanner, Tag},
    command::{Columns, Command, List, Listing},
    failure::Failure,
    line::{Line, timeout},
    names::Names,
    options::{self, Rules},
};

/// Reads a command line without the program's name.
pub(super) fn parse(program: &str, words: Vec<String>, names: &impl Names) -> Result<Command, Failure> {
    if words.is_empty() {
        let what = Listing::Services(Columns::Plain);
        return Ok(Command::List(List { what, service: None, numeric: false, exact: false, nosort: false }));
    }
    let mut scanner = Scanner::new(words);
    let (command, rules) = match scanner.next() {
        Ok(Some((Tag::Help, _))) => return Ok(Command::Help),
        Ok(Some((Tag::Version, _))) => return Ok(Command::Version),
        Ok(Some((tag, value))) => {
            if matches!(tag, Tag::StartDaemon | Tag::StopDaemon) {
                daemon_role(tag, value.as_deref())?;
            }
            (tag, rules(tag).ok_or_else(|| Failure::try_help(program))?)
        }
        Ok(None) | Err(_) => return Err(Failure::try_help(program)),
    };
    let mut line = Line::new(names);
    loop {
        match scanner.next() {
            Ok(Some((tag, value))) => line.option(tag, value, scanner.word())?,
            Ok(None) => break,
            Err(ScanError { word, what }) => return Err(Failure::unscanned(format!("{word}: {what}"))),
        }
    }
    let timeouts = if command == Tag::Set { timeouts(&mut scanner)? } else { [0; 3] };
    if let Some(word) = scanner.left_over() {
        return Err(Failure::usage(format!("unexpected argument {word}")));
    }
    line.finish(command, rules, timeouts)
}

/// The rules of a command; none when the option is no command.
fn rules(tag: Tag) -> Option<&'static Rules> {
    Some(match tag {
        Tag::AddService => &options::ADD_SERVICE,
        Tag::EditService => &options::EDIT_SERVICE,
        Tag::DeleteService => &options::DELETE_SERVICE,
        Tag::Clear => &options::CLEAR,
        Tag::Zero => &options::ZERO,
        Tag::Restore => &options::RESTORE,
        Tag::Save => &options::SAVE,
        Tag::AddServer => &options::ADD_SERVER,
        Tag::EditServer => &options::EDIT_SERVER,
        Tag::DeleteServer => &options::DELETE_SERVER,
        Tag::List | Tag::ListToo => &options::LISTING,
        Tag::Set => &options::SET,
        Tag::StartDaemon => &options::START_DAEMON,
        Tag::StopDaemon => &options::STOP_DAEMON,
        _ => return None,
    })
}

fn daemon_role(tag: Tag, role: Option<&str>) -> Result<(), Failure> {
    match (role, tag) {
        (Some("master" | "backup"), _) => Ok(()),
        (_, Tag::StartDaemon) => Err(Failure::usage("illegal start-daemon parameter specified")),
        _ => Err(Failure::usage("illegal start_daemon specified")),
    }
}

fn timeouts(scanner: &mut Scanner) -> Result<[u32; 3], Failure> {
    let mut word = || scanner.left_over().ok_or_else(|| Failure::usage("--set option requires 3 timeout values"));
    let words = [word()?, word()?, word()?];
    let mut values = [0; 3];
    for (value, word) in values.iter_mut().zip(&words) {
        *value = timeout(word, 0)?;
    }
    Ok(values)
}

#[cfg(test)]
mod tests;
