//! A server's replies that open data connections: 227 (RFC 959, RFC 1123), 229 (RFC 2428), and 234, which ends all reading (RFC 4217).
//!
//! A reply of several lines is passed over from its first line (`227-`) to its last (`227 `): its inner lines may say anything, and
//! clients do not agree on which of them counts.

use std::net::SocketAddr;
use std::ops::Range;

use super::command::{host_port, is_delimiter, port};

/// What a reply of one line means.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Reply {
    /// 227: the server listens here, says the part `text` of the line.
    Passive {
        /// Where in the line address and port stand: `h1,h2,h3,h4,p1,p2`.
        text: Range<usize>,
        /// What stands there.
        end: SocketAddr,
    },
    /// 229: the server listens on this port.
    ExtendedPassive(u16),
    /// 234: TLS begins.
    Encrypted,
}

/// Tells replies from the inner lines of long ones.
#[derive(Debug)]
pub(super) struct Replies {
    /// Code of the long reply that has begun.
    inside: Option<[u8; 3]>,
}

impl Replies {
    /// No long reply has begun.
    pub(super) const fn new() -> Self {
        Self { inside: None }
    }

    /// Lines are missing: whether a long reply has begun or ended is not known. That none goes on is the better guess: with the other,
    /// nothing would be read any more.
    pub(super) fn lost(&mut self) {
        self.inside = None;
    }

    /// Reads the next line, without its end.
    pub(super) fn next(&mut self, line: &[u8]) -> Option<Reply> {
        let (code, rest) = line.split_first_chunk::<3>()?;
        if !code.iter().all(u8::is_ascii_digit) {
            return None;
        }
        let is_last = rest.is_empty() || rest[0] == b' ';
        if let Some(inside) = self.inside {
            if inside == *code && is_last {
                self.inside = None;
            }
            return None;
        }
        if rest.first() == Some(&b'-') {
            self.inside = Some(*code);
        }
        if !is_last {
            return None;
        }
        match code {
            b"227" => passive(line),
            b"229" => extended_passive(rest).map(Reply::ExtendedPassive),
            b"234" => Some(Reply::Encrypted),
            _ => None,
        }
    }
}

/// RFC 1123, 4.1.2.6: nothing about the text is certain but the six numbers, parentheses included. The first six in a row count.
fn passive(line: &[u8]) -> Option<Reply> {
    let is_part = |byte: u8| byte.is_ascii_digit() || byte == b',';
    (4..line.len()).filter(|&at| line[at].is_ascii_digit() && !is_part(line[at - 1])).find_map(|at| {
        let length = line[at..].iter().position(|&byte| !is_part(byte)).unwrap_or(line.len() - at);
        let (end, length) = host_port(std::str::from_utf8(&line[at..at + length]).ok()?)?;
        Some(Reply::Passive { text: at..at + length, end })
    })
}

/// `(|||6446|)` behind any text. Family and address have to be empty (RFC 2428, section 3).
fn extended_passive(rest: &[u8]) -> Option<u16> {
    let open = rest.iter().position(|&byte| byte == b'(')?;
    let fields = std::str::from_utf8(&rest[open + 1..]).ok()?;
    let delimiter = fields.chars().next().filter(|&c| is_delimiter(c))?;
    let mut fields = fields.split(delimiter);
    let empty = [fields.next()?, fields.next()?, fields.next()?];
    let port = port(fields.next()?)?;
    (empty == [""; 3] && fields.next()?.starts_with(')')).then_some(port)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn one(line: &str) -> Option<Reply> {
        Replies::new().next(line.as_bytes())
    }

    #[test]
    fn the_forms_of_227() {
        for line in [
            "227 Entering Passive Mode (10,0,0,11,195,80).",
            "227 Entering Passive Mode 10,0,0,11,195,80",
            "227 =10,0,0,11,195,80",
            "227 10,0,0,11,195,80",
            "227 Passiv, Server v2 (010,0,0,11,195,080) bereit 1,2",
            "227 Mode é [10,0,0,11,195,80]",
        ] {
            let Some(Reply::Passive { text, end }) = one(line) else { panic!("{line}") };
            assert_eq!(end, "10.0.0.11:50000".parse().unwrap(), "{line}");
            assert_eq!(host_port(&line[text.clone()]), Some((end, text.len())), "{line}");
        }
        for line in [
            "227",
            "227 ",
            "227 Entering Passive Mode",
            "227 (10,0,0,11,195)",
            "227 (10,0,0,11,195,80,1)",
            "227 (10,0,0,256,195,80)",
            "227 (10, 0, 0, 11, 195, 80)",
            "227x(10,0,0,11,195,80)",
            "2270 (10,0,0,11,195,80)",
            "127 (10,0,0,11,195,80)",
            " 227 (10,0,0,11,195,80)",
            "227-(10,0,0,11,195,80)",
            "227 (,10,0,0,11,195,80)",
        ] {
            assert_eq!(one(line), None, "{line}");
        }
    }

    #[test]
    fn the_forms_of_229() {
        for line in ["229 Entering Extended Passive Mode (|||6446|)", "229 (!!!6446!) ok", "229 x(|||06446|)"] {
            assert_eq!(one(line), Some(Reply::ExtendedPassive(6446)), "{line}");
        }
        for line in [
            "229",
            "229 |||6446|",
            "229 (|||6446)",
            "229 (|1|10.0.0.11|6446|)",
            "229 (|||65536|)",
            "229 (||||)",
            "229 (1116446)",
            "229-(|||6446|)",
            "229 (",
            "229 (|||+1|)",
        ] {
            assert_eq!(one(line), None, "{line}");
        }
    }

    #[test]
    fn no_line_of_a_long_reply_counts() {
        let mut replies = Replies::new();
        let passive = b"227 Entering Passive Mode (10,0,0,11,195,80)";
        for line in [&b"250-Welcome"[..], passive, b"229 (|||22|)", b"250-more", b"2500 x", b"234 x", b"250 End"] {
            assert_eq!(replies.next(line), None);
        }
        assert!(replies.next(passive).is_some());
        for line in [&b"227-Entering"[..], passive] {
            assert_eq!(replies.next(line), None, "the last line of a long 227");
        }
        assert_eq!(replies.next(b"234 AUTH TLS OK."), Some(Reply::Encrypted));
        replies.next(b"220-");
        replies.lost();
        assert!(replies.next(passive).is_some());
    }

    proptest! {
        #[test]
        fn no_line_makes_it_panic_or_point_outside(line in prop::collection::vec(any::<u8>(), 0..80), code in 0usize..3) {
            let line = [[&b"227 "[..], b"229 (", b""][code], &line[..]].concat();
            if let Some(Reply::Passive { text, .. }) = Replies::new().next(&line) {
                prop_assert!(text.start >= 4 && text.end <= line.len());
            }
        }

        #[test]
        fn any_text_around_the_numbers(before in "[A-Za-z(=\\[ .]{0,30}", host: [u8; 4], p: [u8; 2], after in "([).\\] ][ -~]{0,20})?") {
            let [a, b, c, d] = host;
            let line = format!("227 {before}{a},{b},{c},{d},{},{}{after}", p[0], p[1]);
            let expected = SocketAddr::new(host.into(), u16::from_be_bytes(p));
            let is_expected = matches!(one(&line), Some(Reply::Passive { end, .. }) if end == expected);
            prop_assert!(is_expected, "{}", line);
        }
    }
}
