//! A client's commands that speak of data connections (RFC 959, RFC 2428).

use std::net::{IpAddr, Ipv4Addr, SocketAddr};

/// What a line asks for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Command {
    /// `PASV`: the server is to listen.
    Passive,
    /// `EPSV`, with the family it wants: 1 or 2, or none for that of the control connection.
    ExtendedPassive(Option<u8>),
    /// `EPSV ALL`: no other command for data connections will follow; the server holds the client to it.
    ExtendedPassiveAll,
    /// `PORT` or `EPRT`: the server is to connect to this.
    Active(SocketAddr),
}

/// Reads a line without its end. None for all other commands, and for those that are not exactly as the RFCs write them.
pub(super) fn parse(line: &[u8]) -> Option<Command> {
    let line = std::str::from_utf8(line).ok()?.trim_ascii_end();
    let (verb, argument) = line.split_once(' ').unwrap_or((line, ""));
    let argument = argument.trim_ascii_start();
    match verb.to_ascii_uppercase().as_str() {
        "PASV" if argument.is_empty() => Some(Command::Passive),
        "EPSV" => match argument {
            "" => Some(Command::ExtendedPassive(None)),
            "1" => Some(Command::ExtendedPassive(Some(1))),
            "2" => Some(Command::ExtendedPassive(Some(2))),
            all if all.eq_ignore_ascii_case("ALL") => Some(Command::ExtendedPassiveAll),
            _ => None,
        },
        "PORT" => {
            let (end, length) = host_port(argument)?;
            (length == argument.len()).then_some(Command::Active(end))
        }
        "EPRT" => extended(argument).map(Command::Active),
        _ => None,
    }
}

/// `h1,h2,h3,h4,p1,p2` at the begin of a text, and its length.
pub(super) fn host_port(text: &str) -> Option<(SocketAddr, usize)> {
    let length = text.find(|c: char| !c.is_ascii_digit() && c != ',').unwrap_or(text.len());
    let mut numbers = text[..length].split(',').map(number);
    let mut next = || numbers.next().flatten();
    let host = Ipv4Addr::new(next()?, next()?, next()?, next()?);
    let port = u16::from_be_bytes([next()?, next()?]);
    numbers.next().is_none().then_some((SocketAddr::new(host.into(), port), length))
}

/// One of the six numbers: decimal, leading zeros allowed.
fn number(digits: &str) -> Option<u8> {
    if digits.len() > 3 { None } else { digits.parse().ok() }
}

/// `|1|132.235.1.2|6275|` or `|2|1080::8:800:200C:417A|5282|`, with any delimiter that cannot be part of an address.
fn extended(argument: &str) -> Option<SocketAddr> {
    let delimiter = argument.chars().next().filter(|c| is_delimiter(*c) && !matches!(c, '.' | ':'))?;
    let mut fields = argument[1..].split(delimiter);
    let (family, address, port) = (fields.next()?, fields.next()?, fields.next()?);
    if fields.next() != Some("") || fields.next().is_some() {
        return None;
    }
    let address = address.parse().ok()?;
    match (family, address) {
        ("1", IpAddr::V4(_)) | ("2", IpAddr::V6(_)) => Some(SocketAddr::new(address, self::port(port)?)),
        _ => None,
    }
}

/// RFC 2428 allows 33 to 126; a letter or digit could be taken for a part of what it delimits.
pub(super) const fn is_delimiter(c: char) -> bool {
    c.is_ascii_punctuation()
}

/// A port in decimal. No sign, which Rust's own parser takes.
pub(super) fn port(digits: &str) -> Option<u16> {
    digits.bytes().all(|byte| byte.is_ascii_digit()).then(|| digits.parse().ok())?
}

#[cfg(test)]
mod tests {
    use super::*;

    fn active(end: &str) -> Option<Command> {
        Some(Command::Active(end.parse().unwrap()))
    }

    #[test]
    fn commands_in_any_case() {
        assert_eq!(parse(b"PASV"), Some(Command::Passive));
        assert_eq!(parse(b"pasv  "), Some(Command::Passive));
        assert_eq!(parse(b"Epsv"), Some(Command::ExtendedPassive(None)));
        assert_eq!(parse(b"EPSV 1"), Some(Command::ExtendedPassive(Some(1))));
        assert_eq!(parse(b"EPSV  2"), Some(Command::ExtendedPassive(Some(2))));
        assert_eq!(parse(b"EPSV all"), Some(Command::ExtendedPassiveAll));
        assert_eq!(parse(b"port 192,0,2,7,19,137"), active("192.0.2.7:5001"));
        assert_eq!(parse(b"PORT   192,000,002,07,0,21 "), active("192.0.2.7:21"));
        assert_eq!(parse(b"EPRT |1|132.235.1.2|6275|"), active("132.235.1.2:6275"));
        assert_eq!(parse(b"EPRT |2|1080::8:800:200C:417A|5282|"), active("[1080::8:800:200c:417a]:5282"));
        assert_eq!(parse(b"eprt !2!::1!5282!"), active("[::1]:5282"));
    }

    #[test]
    fn what_is_not_exactly_one_is_none() {
        for line in [
            "",
            " PASV",
            "XPASV",
            "PASV x",
            "PASVX",
            "EPSV 3",
            "EPSV 12",
            "NOOP",
            "PORT",
            "PORT ",
            "PORT 1,2,3,4,5",
            "PORT 1,2,3,4,5,6,7",
            "PORT 256,2,3,4,5,6",
            "PORT 1,2,3,4,5,6x",
            "PORT 1,2,3,4,5,",
            "PORT +1,2,3,4,5,6",
            "PORT 0001,2,3,4,5,6",
            "PORT 1, 2,3,4,5,6",
            "EPRT",
            "EPRT |1|1.2.3.4|80",
            "EPRT |1|1.2.3.4|80||",
            "EPRT |2|1.2.3.4|80|",
            "EPRT |1|::1|80|",
            "EPRT ||1.2.3.4|80|",
            "EPRT |1|1.2.3.4|65536|",
            "EPRT |1|1.2.3.4|+80|",
            "EPRT |1|1.2.3.4||",
            "EPRT 111.2.3.41801",
            "EPRT :2:::1:80:",
            "EPRT é1é1.2.3.4é80é",
            "EPRT .1.1.2.3.4.80.",
            "RETR PASV",
            "STOR PORT 1,2,3,4,5,6",
        ] {
            assert_eq!(parse(line.as_bytes()), None, "{line}");
        }
        // What a telnet client sends before an urgent ABOR.
        assert_eq!(parse(b"\xff\xf4\xff\xf2ABOR"), None);
    }
}
