//! Reads one table of a TOML document, key by key, and notes what is wrong instead of stopping.
//!
//! The keys a caller asks for are the keys that exist: what is left over at [`Section::finish`] is unknown, and
//! the suggestion for a typo comes from the same list. So the set of keys is written once, where they are read.

use std::{cell::RefCell, str::FromStr};

use toml_edit::{Array, Item, Table, TableLike, Value};

use crate::model::validate::out_of_range;

/// A value that could not be read.
#[derive(Debug)]
pub(super) struct Unread {
    pub(super) offset: usize,
    pub(super) key: String,
    pub(super) message: String,
}

/// Collects what could not be read.
#[derive(Debug, Default)]
pub(super) struct Report(RefCell<Vec<Unread>>);

impl Report {
    pub(super) fn into_inner(self) -> Vec<Unread> {
        self.0.into_inner()
    }

    fn say(&self, offset: usize, key: String, message: String) {
        self.0.borrow_mut().push(Unread { offset, key, message });
    }
}

/// One table, with its path and where it starts.
pub(super) struct Section<'a> {
    report: &'a Report,
    table: &'a dyn TableLike,
    path: String,
    offset: usize,
    asked: Vec<&'static str>,
}

impl<'a> Section<'a> {
    pub(super) fn root(report: &'a Report, table: &'a Table) -> Self {
        Self { report, table, path: String::new(), offset: 0, asked: Vec::new() }
    }

    /// The path of a key in this table: `service[1].address`.
    fn path_of(&self, key: &str) -> String {
        match self.path.is_empty() {
            true => key.to_owned(),
            false => format!("{}.{key}", self.path),
        }
    }

    fn say(&self, offset: usize, key: &str, message: impl Into<String>) {
        self.report.say(offset, self.path_of(key), message.into());
    }

    fn item(&mut self, key: &'static str) -> Option<(&'a Item, usize)> {
        if !self.asked.contains(&key) {
            self.asked.push(key);
        }
        let (name, item) = self.table.get_key_value(key)?;
        let span = item.span().or_else(|| name.span());
        Some((item, span.map_or(self.offset, |span| span.start)))
    }

    fn wrong_type(&self, key: &str, offset: usize, expected: &str, item: &Item) {
        self.say(offset, key, format!("expected {expected}, found {}", with_article(item.type_name())));
    }

    /// Notes that a key must be there.
    pub(super) fn missing(&self, key: &str, example: &str) {
        self.say(self.offset, key, format!("missing; write for example {key} = {example}"));
    }

    /// Notes that a key may not be there, if it is.
    pub(super) fn refuse(&mut self, key: &'static str, message: &str) {
        if let Some((_, offset)) = self.item(key) {
            self.say(offset, key, message);
        }
    }

    /// Is there such a key, of whatever type?
    pub(super) fn has(&self, key: &str) -> bool {
        self.table.contains_key(key)
    }

    /// Is the value of this key a string?
    pub(super) fn is_text(&self, key: &str) -> bool {
        self.table.get(key).is_some_and(Item::is_str)
    }

    pub(super) fn boolean(&mut self, key: &'static str) -> Option<bool> {
        let (item, offset) = self.item(key)?;
        let value = item.as_bool();
        if value.is_none() {
            self.wrong_type(key, offset, "true or false", item);
        }
        value
    }

    /// A number that fits `T`. Narrower ranges are for `validate`, which gets the number.
    pub(super) fn number<T: TryFrom<i64>>(&mut self, key: &'static str, low: i64, high: i64) -> Option<T> {
        let (item, offset) = self.item(key)?;
        let Some(number) = item.as_integer() else {
            self.wrong_type(key, offset, "a whole number", item);
            return None;
        };
        let fits = T::try_from(number).ok();
        if fits.is_none() {
            self.say(offset, key, out_of_range(number, &(low..=high)));
        }
        fits
    }

    pub(super) fn text(&mut self, key: &'static str) -> Option<String> {
        self.read(key, |text| Ok::<_, String>(text.to_owned()))
    }

    /// A string that parses.
    pub(super) fn word<T: FromStr<Err: ToString>>(&mut self, key: &'static str) -> Option<T> {
        self.read(key, str::parse)
    }

    /// A string that `parse` takes.
    pub(super) fn read<T, E: ToString>(
        &mut self,
        key: &'static str,
        parse: impl FnOnce(&str) -> Result<T, E>,
    ) -> Option<T> {
        let (item, offset) = self.item(key)?;
        let Some(text) = item.as_str() else {
            self.wrong_type(key, offset, "a string", item);
            return None;
        };
        parse(text).map_err(|error| self.say(offset, key, error.to_string())).ok()
    }

    /// A list of strings that `parse` takes. One that does not parse keeps its place, as `filler`, so that the
    /// indexes of later problems are those of the file.
    pub(super) fn list<T: Clone, E: ToString>(
        &mut self,
        key: &'static str,
        filler: &T,
        parse: impl Fn(&str) -> Result<T, E>,
    ) -> Option<Vec<T>> {
        let (item, offset) = self.item(key)?;
        let Some(array) = item.as_array() else {
            self.wrong_type(key, offset, "a list of strings", item);
            return None;
        };
        let read = |(index, value): (usize, &Value)| {
            let at = value.span().map_or(offset, |span| span.start);
            let name = format!("{key}[{index}]");
            let Some(text) = value.as_str() else {
                self.say(at, &name, format!("expected a string, found {}", with_article(value.type_name())));
                return filler.clone();
            };
            parse(text).unwrap_or_else(|error| {
                self.say(at, &name, error.to_string());
                filler.clone()
            })
        };
        Some(array.iter().enumerate().map(read).collect())
    }

    pub(super) fn section(&mut self, key: &'static str) -> Option<Self> {
        let (item, offset) = self.item(key)?;
        let Some(table) = item.as_table_like() else {
            self.wrong_type(key, offset, "a table", item);
            return None;
        };
        Some(self.inner(self.path_of(key), table, offset))
    }

    /// `[[key]]` tables, or a list of inline ones.
    pub(super) fn sections(&mut self, key: &'static str) -> Vec<Self> {
        let Some((item, offset)) = self.item(key) else { return Vec::new() };
        let path = self.path_of(key);
        match item {
            Item::ArrayOfTables(tables) => tables
                .iter()
                .enumerate()
                .map(|(index, table)| {
                    let offset = table.span().map_or(offset, |span| span.start);
                    self.inner(format!("{path}[{index}]"), table, offset)
                })
                .collect(),
            Item::Value(Value::Array(array)) if array.iter().all(Value::is_inline_table) => {
                self.inline_sections(&path, array, offset)
            }
            Item::Table(_) | Item::Value(Value::InlineTable(_)) => {
                self.say(offset, key, format!("is a list; write [[{}]]", unindexed(&path)));
                Vec::new()
            }
            Item::None | Item::Value(_) => {
                self.wrong_type(key, offset, "a list of tables", item);
                Vec::new()
            }
        }
    }

    fn inline_sections(&self, path: &str, array: &'a Array, offset: usize) -> Vec<Self> {
        let tables = array.iter().filter_map(|value| Some((value.as_inline_table()?, value.span())));
        tables
            .enumerate()
            .map(|(index, (table, span))| {
                self.inner(format!("{path}[{index}]"), table, span.map_or(offset, |span| span.start))
            })
            .collect()
    }

    fn inner(&self, path: String, table: &'a dyn TableLike, offset: usize) -> Self {
        Self { report: self.report, table, path, offset, asked: Vec::new() }
    }

    /// Notes every key nobody asked for.
    pub(super) fn finish(self) {
        for (name, item) in self.table.iter().filter(|(name, _)| !self.asked.contains(name)) {
            let key = self.table.get_key_value(name).and_then(|(key, _)| key.span());
            let offset = key.or_else(|| item.span()).map_or(self.offset, |span| span.start);
            // Quoted keys may hold anything, line ends and terminal escapes too.
            let shown = name.escape_debug().to_string();
            let message = match nearest(name, &self.asked) {
                Some(known) => format!("unknown key; did you mean {known}?"),
                None => format!("unknown key; known here: {}", self.asked.join(", ")),
            };
            self.say(offset, &shown, message);
        }
    }
}

/// `service[1].real` -> `service.real`, as headers are written.
fn unindexed(path: &str) -> String {
    path.split('.').map(|part| part.split('[').next().unwrap_or(part)).collect::<Vec<_>>().join(".")
}

fn with_article(name: &str) -> String {
    match name.starts_with(['a', 'e', 'i', 'o', 'u']) {
        true => format!("an {name}"),
        false => format!("a {name}"),
    }
}

/// The known key a typo is nearest to: one that differs in no more than a third of its letters.
fn nearest<'k>(name: &str, known: &[&'k str]) -> Option<&'k str> {
    // Longer than any key by far: not a typo, and the distance would cost its square.
    if name.len() > 64 {
        return None;
    }
    known
        .iter()
        .map(|key| (distance(name, key), *key))
        .min()
        .filter(|(distance, key)| *distance <= key.len().max(3) / 3)
        .map(|(_, key)| key)
}

/// Levenshtein distance over characters, upper and lower case being the same and `-` being `_`.
fn distance(one: &str, other: &str) -> usize {
    let fold = |c: char| if c == '-' { '_' } else { c.to_ascii_lowercase() };
    let other: Vec<char> = other.chars().map(fold).collect();
    let mut row: Vec<usize> = (0..=other.len()).collect();
    for (i, a) in one.chars().map(fold).enumerate() {
        let mut diagonal = i;
        let mut left = i + 1;
        for (j, b) in other.iter().enumerate() {
            let above = row[j + 1];
            let next = (diagonal + usize::from(a != *b)).min(above + 1).min(left + 1);
            row[j] = left;
            diagonal = above;
            left = next;
        }
        row[other.len()] = left;
    }
    row[other.len()]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_distance_counts_letters_to_change() {
        for (one, other, expected) in
            [("", "", 0), ("a", "", 1), ("", "abc", 3), ("kitten", "sitting", 3), ("Wieght", "weight", 2)]
        {
            assert_eq!(distance(one, other), expected, "{one} {other}");
            assert_eq!(distance(other, one), expected, "{other} {one}");
        }
    }

    #[test]
    fn only_a_near_key_is_suggested() {
        let known = ["address", "weight", "method"];
        assert_eq!(nearest("wieght", &known), Some("weight"));
        assert_eq!(nearest("adress", &known), Some("address"));
        assert_eq!(nearest("persistence", &known), None);
    }
}
