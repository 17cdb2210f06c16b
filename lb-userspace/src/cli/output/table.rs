//! Aligned columns without borders: they survive `grep`, `awk` and copying into a mail.

use comfy_table::{CellAlignment, ContentArrangement, Table, presets};

/// A column's heading and alignment.
#[derive(Clone, Copy)]
pub(in crate::cli) enum Column {
    /// Words, from the left.
    Left(&'static str),
    /// Numbers, to the right.
    Right(&'static str),
}

/// Lays out rows under their headings; every line ends in a line end and in no space.
pub(in crate::cli) fn table(columns: &[Column], rows: impl IntoIterator<Item = Vec<String>>) -> String {
    let mut table = Table::new();
    // Never wrapped to the terminal: a wrapped row is two lines to every tool behind a pipe.
    table.load_preset(presets::NOTHING).set_content_arrangement(ContentArrangement::Disabled);
    table.set_header(columns.iter().map(|column| match column {
        Column::Left(name) | Column::Right(name) => *name,
    }));
    table.add_rows(rows);
    for (column, layout) in columns.iter().zip(table.column_iter_mut()) {
        layout.set_padding((0, 2));
        layout.set_cell_alignment(match column {
            Column::Left(_) => CellAlignment::Left,
            Column::Right(_) => CellAlignment::Right,
        });
    }
    table.lines().map(|line| format!("{}\n", line.trim_end())).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn columns_are_aligned_and_lines_end_clean() {
        let rows = [["tcp://10.0.0.1:80", "5", ""], ["udp://[fd00::1]:53", "12345", "x"]];
        let rows = rows.map(|row| row.map(str::to_owned).to_vec());
        let text = table(&[Column::Left("SERVICE"), Column::Right("PACKETS"), Column::Left("NOTE")], rows);
        assert_eq!(
            text,
            "SERVICE             PACKETS  NOTE\n\
             tcp://10.0.0.1:80         5\n\
             udp://[fd00::1]:53    12345  x\n"
        );
    }
}
