//! Numbers and addresses as C's library reads them: `strtol` in base 10 and `inet_aton`.

use std::net::Ipv4Addr;

/// A decimal number of this range: blanks before it and a sign are fine, anything behind it is not.
pub(super) fn number(text: &str, low: i64, high: i64) -> Option<i64> {
    let digits = text.trim_start_matches(|c: char| c.is_ascii_whitespace() || c == '\x0b');
    let unsigned = digits.strip_prefix(['+', '-']).unwrap_or(digits);
    let plain = !unsigned.is_empty() && unsigned.bytes().all(|byte| byte.is_ascii_digit());
    digits.parse().ok().filter(|number| plain && (low..=high).contains(number))
}

/// The IPv4 address in all its old ways of writing: `10.1` is 10.0.0.1, and parts may be octal or hexadecimal. A blank ends it.
pub(super) fn ipv4(text: &str) -> Option<Ipv4Addr> {
    let text = text.split(|c: char| c.is_ascii_whitespace() || c == '\x0b').next()?;
    let parts: Vec<u32> = text.split('.').map(part).collect::<Option<_>>()?;
    let (last, front) = parts.split_last()?;
    // The last part fills the bytes that the others leave.
    let room = 32 - 8 * u32::try_from(front.len()).ok().filter(|count| *count < 4)?;
    if front.iter().any(|part| *part > 255) || u64::from(*last) >> room != 0 {
        return None;
    }
    let mut bits = *last;
    for (index, part) in front.iter().enumerate() {
        bits |= part << (24 - 8 * index);
    }
    Some(Ipv4Addr::from_bits(bits))
}

/// `0x1f`, `017` or `15`.
fn part(text: &str) -> Option<u32> {
    let (digits, base) = match text.strip_prefix("0x").or_else(|| text.strip_prefix("0X")) {
        Some(digits) => (digits, 16),
        None if text.len() > 1 && text.starts_with('0') => (text, 8),
        None => (text, 10),
    };
    let plain = digits.chars().all(|digit| digit.is_digit(base));
    u32::from_str_radix(digits, base).ok().filter(|_| plain)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_number_is_what_strtol_reads_whole() {
        for (text, value) in [("5", 5), ("010", 10), ("+5", 5), (" 5", 5), ("-1", -1), ("\t7", 7)] {
            assert_eq!(number(text, -10, 100), Some(value), "{text:?}");
        }
        for text in ["", "x", "5x", "0x10", "5 ", "+", "- 1", "101", "99999999999999999999"] {
            assert_eq!(number(text, -10, 100), None, "{text:?}");
        }
    }

    #[test]
    fn an_address_is_what_inet_aton_reads() {
        for (text, address) in [
            ("1.2.3.4", [1, 2, 3, 4]),
            ("1.2.3", [1, 2, 0, 3]),
            ("1.258", [1, 0, 1, 2]),
            ("1", [0, 0, 0, 1]),
            ("0x01020304", [1, 2, 3, 4]),
            ("010.1.1.1", [8, 1, 1, 1]),
            ("1.2.3.4 x", [1, 2, 3, 4]),
            ("0", [0, 0, 0, 0]),
        ] {
            assert_eq!(ipv4(text), Some(address.into()), "{text:?}");
        }
        for text in ["", " 1.2.3.4", "1.2.3.256", "1.2.3.4.5", "1..2", "08", "1.2.65536", "localhost", "+1", "0x"] {
            assert_eq!(ipv4(text), None, "{text:?}");
        }
    }
}
