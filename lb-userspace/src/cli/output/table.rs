//! Aligned columns without borders: they survive `grep`, `awk` and copying into a mail.

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
    let headings = columns.iter().map(|column| match column {
        Column::Left(name) | Column::Right(name) => (*name).to_owned(),
    });
    let lines: Vec<Vec<String>> = std::iter::once(headings.collect()).chain(rows).collect();
    let mut widths = vec![0; columns.len()];
    for line in &lines {
        for (width, cell) in widths.iter_mut().zip(line) {
            *width = (*width).max(cell.chars().count());
        }
    }
    let mut text = String::new();
    // Never wrapped to the terminal: a wrapped row is two lines to every tool behind a pipe.
    for line in &lines {
        for ((cell, column), width) in line.iter().zip(columns).zip(&widths) {
            match column {
                Column::Left(_) => text.push_str(&format!("{cell:<width$}  ")),
                Column::Right(_) => text.push_str(&format!("{cell:>width$}  ")),
            }
        }
        text.truncate(text.trim_end_matches(' ').len());
        text.push('\n');
    }
    text
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
