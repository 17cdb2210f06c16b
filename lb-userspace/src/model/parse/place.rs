//! From a key path or a byte offset to line and column.

use toml_edit::{Item, Table, TableLike, Value};

/// Where the lines of a text start.
pub(super) struct Lines<'a> {
    text: &'a str,
    starts: Vec<usize>,
}

impl<'a> Lines<'a> {
    pub(super) fn new(text: &'a str) -> Self {
        let ends = text.bytes().enumerate().filter(|(_, byte)| *byte == b'\n').map(|(at, _)| at + 1);
        Self { text, starts: std::iter::once(0).chain(ends).collect() }
    }

    /// Line and column of a byte offset, both from 1; the column counts characters.
    pub(super) fn place(&self, offset: usize) -> (usize, usize) {
        let line = self.starts.partition_point(|start| *start <= offset);
        let start = self.starts.get(line.saturating_sub(1)).copied().unwrap_or(0);
        let column = self.text.get(start..offset).map_or(0, |before| before.chars().count());
        (line.max(1), column + 1)
    }
}

/// Byte offset of the value under a key path such as `service[1].real[0].weight`; of the nearest table above
/// it when the key itself is not there, 0 when nothing is.
pub(super) fn offset_of(root: &Table, path: &str) -> usize {
    let mut found = 0;
    let mut here: Option<Node<'_>> = Some(Node::Table(root));
    for part in path.split('.') {
        let (name, indexes) = part.split_once('[').unwrap_or((part, ""));
        let Some(next) = here.and_then(|node| node.get(name)) else { return found };
        found = next.offset().unwrap_or(found);
        here = Some(next);
        for index in indexes.split('[').filter(|index| !index.is_empty()) {
            let index = index.trim_end_matches(']').parse().ok();
            let Some(next) = index.and_then(|index| here.and_then(|node| node.at(index))) else { return found };
            found = next.offset().unwrap_or(found);
            here = Some(next);
        }
    }
    found
}

/// A place in a document: TOML has two kinds of table and two kinds of list of tables.
#[derive(Clone, Copy)]
enum Node<'a> {
    Table(&'a Table),
    Item(&'a Item),
    Value(&'a Value),
}

impl<'a> Node<'a> {
    fn get(self, name: &str) -> Option<Self> {
        let table: &dyn TableLike = match self {
            Node::Table(table) => table,
            Node::Item(item) => item.as_table_like()?,
            Node::Value(value) => value.as_inline_table()?,
        };
        table.get(name).map(Node::Item)
    }

    fn at(self, index: usize) -> Option<Self> {
        match self {
            Node::Table(_) => None,
            Node::Item(Item::ArrayOfTables(tables)) => tables.get(index).map(Node::Table),
            Node::Item(item) => item.as_array()?.get(index).map(Node::Value),
            Node::Value(value) => value.as_array()?.get(index).map(Node::Value),
        }
    }

    fn offset(self) -> Option<usize> {
        match self {
            Node::Table(table) => table.span(),
            Node::Item(item) => item.span(),
            Node::Value(value) => value.span(),
        }
        .map(|span| span.start)
    }
}
