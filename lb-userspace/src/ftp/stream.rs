//! One direction's bytes as lines: each byte is read once, in order, however it was cut into segments and sent again.
//!
//! Only a line whose begin was seen counts. Were every segment's begin taken for a line's, text that a client can make a server
//! repeat (a file's name, say) would be a reply of its own once it is cut at the right place.

/// Longest line that is read, line end included. The longest of interest, `EPRT` with an IPv6 address, takes 62 bytes; a reply has
/// a text besides. Memory of a direction that never ends its line.
const MAX_LINE: usize = 512;

/// Bytes from one sequence number to another, negative when the other lies before.
pub(super) const fn distance(from: u32, to: u32) -> i32 {
    to.wrapping_sub(from) as i32
}

/// A line whose begin and end were seen.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Line {
    /// Sequence number of its first byte, as its sender counts.
    pub(super) start: u32,
    /// Without the line end.
    pub(super) text: Vec<u8>,
}

/// What a segment brought that was not seen before.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Fresh {
    /// Sequence number of the first byte that is new.
    pub(super) from: u32,
    /// Bytes before it are missing.
    pub(super) gap: bool,
    /// The lines that it ends.
    pub(super) lines: Vec<Line>,
}

/// The state between segments.
#[derive(Debug)]
pub(super) struct Lines {
    /// Sequence number behind the last byte seen; none before the first.
    end: Option<u32>,
    /// The begin of the line that goes on at `end`.
    partial: Vec<u8>,
    /// The line that goes on at `end` is not read: its begin was not seen, or it is too long.
    lost: bool,
    /// How far ahead of `end` a segment may begin.
    reach: i32,
}

impl Lines {
    /// Nothing seen. The first segment is taken to begin a line: a connection is followed from its first data on, and after a restart
    /// of the daemon a control connection most likely rests between two lines.
    pub(super) const fn new(reach: i32) -> Self {
        Self { end: None, partial: Vec::new(), lost: false, reach }
    }

    /// Takes in a segment. What was seen before, or lies farther ahead than the window may reach, brings nothing.
    pub(super) fn take(&mut self, seq: u32, payload: &[u8]) -> Fresh {
        if payload.is_empty() {
            return Fresh::default();
        }
        let end = *self.end.get_or_insert(seq);
        let ahead = distance(end, seq);
        let known = if ahead < 0 { ahead.unsigned_abs() as usize } else { 0 };
        if ahead > self.reach || known >= payload.len() {
            return Fresh::default();
        }
        if ahead > 0 {
            self.partial.clear();
            self.lost = true;
        }
        self.end = Some(seq.wrapping_add(payload.len() as u32));
        let from = seq.wrapping_add(known as u32);
        let mut at = from;
        let mut lines = Vec::new();
        for piece in payload[known..].split_inclusive(|&byte| byte == b'\n') {
            at = at.wrapping_add(piece.len() as u32);
            lines.extend(self.add(piece, at));
        }
        Fresh { from, gap: ahead > 0, lines }
    }

    /// Adds a piece of one line, which ends at `at`; gives the line if the piece ends it.
    fn add(&mut self, piece: &[u8], at: u32) -> Option<Line> {
        if self.lost || self.partial.len() + piece.len() > MAX_LINE {
            self.partial.clear();
            self.lost = !piece.ends_with(b"\n");
            return None;
        }
        self.partial.extend_from_slice(piece);
        let text = self.partial.strip_suffix(b"\n")?;
        let text = text.strip_suffix(b"\r").unwrap_or(text).to_vec();
        let start = at.wrapping_sub(self.partial.len() as u32);
        self.partial.clear();
        Some(Line { start, text })
    }

    /// The sender goes on at this sequence number, as far as is known: who does not follow the connection does not know it.
    pub(super) fn continues_at(&self, seq: u32) -> bool {
        self.end.is_none_or(|end| end == seq)
    }

    /// Sequence number behind the last byte seen.
    pub(super) const fn end(&self) -> Option<u32> {
        self.end
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn lines() -> Lines {
        Lines::new(65_535)
    }

    fn texts(fresh: &Fresh) -> Vec<&str> {
        fresh.lines.iter().map(|line| std::str::from_utf8(&line.text).unwrap()).collect()
    }

    #[test]
    fn a_line_may_come_in_pieces_and_a_segment_may_hold_several() {
        let mut lines = lines();
        assert_eq!(texts(&lines.take(100, b"USER x\r\nPA")), ["USER x"]);
        let fresh = lines.take(110, b"SV\r\nNOOP\n");
        assert_eq!(texts(&fresh), ["PASV", "NOOP"]);
        assert_eq!((fresh.from, fresh.lines[0].start, fresh.lines[1].start), (110, 108, 114));
    }

    #[test]
    fn what_was_seen_is_not_read_again() {
        let mut lines = lines();
        lines.take(100, b"USER x\r\n");
        assert_eq!(lines.take(100, b"USER x\r\n"), Fresh::default());
        let longer = lines.take(100, b"USER x\r\nPASV\r\n");
        assert_eq!((texts(&longer), longer.from), (vec!["PASV"], 108));
        assert_eq!(lines.take(50, b"x"), Fresh::default());
    }

    #[test]
    fn behind_a_gap_the_first_line_has_no_known_begin() {
        let mut lines = lines();
        lines.take(100, b"USER x\r\n");
        let fresh = lines.take(120, b"PORT 1\r\nPASV\r\n");
        assert_eq!((texts(&fresh), fresh.gap), (vec!["PASV"], true));
        assert_eq!(lines.take(108, b"PASS secret\r\n"), Fresh::default(), "what fills the gap has been overtaken");
    }

    #[test]
    fn a_segment_out_of_reach_moves_nothing() {
        let mut lines = lines();
        lines.take(100, b"USER x\r\n");
        assert_eq!(lines.take(108 + 65_536, b"QUIT\r\n"), Fresh::default());
        assert_eq!(texts(&lines.take(108, b"PASV\r\n")), ["PASV"]);
    }

    #[test]
    fn a_line_that_is_too_long_is_passed_over() {
        let mut lines = lines();
        let mut text = vec![b'x'; 600];
        text.extend(b"\r\nPASV\r\n");
        assert_eq!(texts(&lines.take(0, &text)), ["PASV"]);
        for n in 0..600 {
            lines.take(608 + n, b"y");
        }
        assert!(lines.partial.len() <= MAX_LINE);
        assert_eq!(texts(&lines.take(1208, b"\nPASV\r\n")), ["PASV"]);
    }

    proptest! {
        /// However a text is cut, sent again and overlapped, its lines are the same.
        #[test]
        fn cutting_changes_nothing(
            text in "([a-z ]{0,12}\r?\n){1,12}",
            start: u32,
            cuts in prop::collection::vec((0usize..40, 0usize..20), 1..40),
        ) {
            let mut whole = lines();
            let expected = whole.take(start, text.as_bytes()).lines;
            let mut lines = lines();
            let (mut at, mut found) = (0, Vec::new());
            for (length, back) in cuts.into_iter().chain([(text.len(), 0)]) {
                let from = at - back.min(at);
                let to = (at + length).min(text.len());
                found.extend(lines.take(start.wrapping_add(from as u32), &text.as_bytes()[from..to]).lines);
                at = at.max(to);
            }
            prop_assert_eq!(found, expected);
        }
    }
}
