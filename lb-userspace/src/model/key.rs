//! How a service and a real server are written: `tcp://10.0.0.1:80`, `udp://[fd00::1]:53`, `mark://1`, `10.0.1.1:80`.
//!
//! An IPv6 service address must stand in brackets: `fd00::1:80` is itself an address, and taking it for one
//! would quietly serve another VIP than the operator meant.

use std::{
    fmt,
    net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr},
    str::FromStr,
};

use serde::{Deserialize, Deserializer, Serialize, Serializer};
use thiserror::Error;

use super::{
    mark::Destination,
    word::{Protocol, WordError},
};

/// What identifies a virtual service. Ordered by protocol, address, port.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ServiceKey {
    /// Transport protocol; `mark` for what the rules of a mark match.
    pub protocol: Protocol,
    /// The virtual IP address. Of a mark: its number as an address of the family that is served, 0.0.0.1 or ::1.
    pub address: IpAddr,
    /// Port in host byte order; 0 means any port.
    pub port: u16,
}

/// A text that is no service or real server.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum KeyError {
    /// `tcpp://...`
    #[error(transparent)]
    Protocol(#[from] WordError),
    /// `fd00::1`, or `fd00::1:80`: which of the two was meant?
    #[error("{0}: an IPv6 address stands in brackets here: [{0}] or [{0}]:80")]
    Brackets(String),
    /// Not an address at all.
    #[error("{text:?} is not {expected}")]
    Address {
        /// The text as given.
        text: String,
        /// The shape expected.
        expected: &'static str,
    },
    /// The part behind the colon.
    #[error("{0:?} is not a port; a number from 0 to 65535, 0 or none at all means any port")]
    Port(String),
    /// `10.0.0.0/24:80`, `10.0.0.1:80-90`
    #[error(
        "{text}: a service has one address, and one port or any. For a prefix or a range of ports give them a mark \
         (`xvs mark add 1 {protocol} {text}`) and make a service of the mark (`mark://1`)"
    )]
    Several {
        /// The protocol.
        protocol: Protocol,
        /// The prefix or range as given.
        text: String,
    },
    /// The part behind `mark://`.
    #[error("{0:?} is not a mark; a number from 1 to 4294967295")]
    Mark(String),
}

/// The scheme of a mark's service for IPv6; for IPv4 it is the protocol's word.
const MARK_V6: &str = "mark6";

impl ServiceKey {
    /// Reads `ADDRESS[:PORT]`, as TOML's `address` has it.
    /// For protocol `mark` the text is its number, and the family IPv4.
    pub fn with_protocol(protocol: Protocol, text: &str) -> Result<Self, KeyError> {
        if protocol == Protocol::Mark {
            return Ok(Self::of_mark(mark_number(text)?, false));
        }
        if is_several(text) {
            return Err(KeyError::Several { protocol, text: text.to_owned() });
        }
        if text.parse::<Ipv6Addr>().is_ok() {
            return Err(KeyError::Brackets(text.to_owned()));
        }
        let (address, port) = split(text, "an address such as 10.0.0.1:80 or [fd00::1]:443")?;
        Ok(Self { protocol, address, port: port.unwrap_or(0) })
    }

    /// The service of a mark: what its rules match of one family.
    pub fn of_mark(mark: u32, is_ipv6: bool) -> Self {
        let address = match is_ipv6 {
            true => Ipv6Addr::from_bits(mark.into()).into(),
            false => Ipv4Addr::from_bits(mark).into(),
        };
        Self { protocol: Protocol::Mark, address, port: 0 }
    }

    /// The mark, when it is a mark's service.
    pub fn mark(&self) -> Option<u32> {
        (self.protocol == Protocol::Mark).then(|| match self.address {
            IpAddr::V4(v4) => v4.to_bits(),
            IpAddr::V6(v6) => v6.to_bits() as u32,
        })
    }

    /// `10.0.0.1:80`, as TOML's `address` has it.
    pub fn endpoint(&self) -> SocketAddr {
        SocketAddr::new(self.address, self.port)
    }
}

/// Reads a real server: `10.0.1.1`, `10.0.1.1:80`, `fd00::11`, `[fd00::11]:80`. No port means the service's.
pub fn parse_real(text: &str) -> Result<(IpAddr, Option<u16>), KeyError> {
    match text.parse::<Ipv6Addr>() {
        Ok(address) => Ok((address.into(), None)),
        Err(_) => split(text, "an address such as 10.0.1.1 or fd00::11"),
    }
}

/// The number of a mark.
pub(super) fn mark_number(text: &str) -> Result<u32, KeyError> {
    let digits = text.bytes().all(|digit| digit.is_ascii_digit());
    text.parse().ok().filter(|mark| digits && *mark > 0).ok_or_else(|| KeyError::Mark(text.to_owned()))
}

/// Is it a prefix or a range of ports, as the rules of marks have them?
fn is_several(text: &str) -> bool {
    let is_range = text.rsplit_once(':').is_some_and(|(_, ports)| ports.contains('-'));
    (text.contains('/') || is_range) && text.parse::<Destination>().is_ok()
}

fn split(text: &str, expected: &'static str) -> Result<(IpAddr, Option<u16>), KeyError> {
    let wrong = || KeyError::Address { text: text.to_owned(), expected };
    let (address, rest) = match text.strip_prefix('[') {
        Some(inner) => {
            let (inside, rest) = inner.split_once(']').ok_or_else(wrong)?;
            (IpAddr::V6(inside.parse().map_err(|_| wrong())?), rest)
        }
        None => {
            let end = text.find(':').unwrap_or(text.len());
            let (outside, rest) = text.split_at(end);
            (IpAddr::V4(outside.parse().map_err(|_| wrong())?), rest)
        }
    };
    match rest.strip_prefix(':') {
        None if rest.is_empty() => Ok((address, None)),
        None => Err(wrong()),
        // `u16::from_str` would take "+80".
        Some(port) if port.bytes().all(|digit| digit.is_ascii_digit()) => {
            port.parse().map(|port| (address, Some(port))).map_err(|_| KeyError::Port(port.to_owned()))
        }
        Some(port) => Err(KeyError::Port(port.to_owned())),
    }
}

impl fmt::Display for ServiceKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match (self.mark(), self.address) {
            (None, _) => f.pad(&format!("{}://{}", self.protocol, self.endpoint())),
            (Some(mark), IpAddr::V4(_)) => f.pad(&format!("{}://{mark}", self.protocol)),
            (Some(mark), IpAddr::V6(_)) => f.pad(&format!("{MARK_V6}://{mark}")),
        }
    }
}

/// `[PROTOCOL://]ADDRESS[:PORT]`, `mark://N` or `mark6://N`; the protocol is tcp when none is said.
impl FromStr for ServiceKey {
    type Err = KeyError;

    fn from_str(text: &str) -> Result<Self, KeyError> {
        match text.split_once("://") {
            Some((MARK_V6, rest)) => Ok(Self::of_mark(mark_number(rest)?, true)),
            Some((protocol, rest)) => Self::with_protocol(protocol.parse()?, rest),
            None => Self::with_protocol(Protocol::Tcp, text),
        }
    }
}

impl Serialize for ServiceKey {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for ServiceKey {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        String::deserialize(deserializer)?.parse().map_err(serde::de::Error::custom)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn key(text: &str) -> Result<String, String> {
        text.parse::<ServiceKey>().map(|key| key.to_string()).map_err(|error| error.to_string())
    }

    #[test]
    fn scheme_and_port_are_optional_on_input_only() {
        assert_eq!(key("10.0.0.1:80").as_deref(), Ok("tcp://10.0.0.1:80"));
        assert_eq!(key("10.0.0.1").as_deref(), Ok("tcp://10.0.0.1:0"));
        assert_eq!(key("udp://[fd00::1]:53").as_deref(), Ok("udp://[fd00::1]:53"));
        assert_eq!(key("udp://[FD00::1]").as_deref(), Ok("udp://[fd00::1]:0"));
        assert_eq!(key("sctp://10.0.0.1:3868").as_deref(), Ok("sctp://10.0.0.1:3868"));
    }

    #[test]
    fn a_mark_has_a_service_for_each_family() {
        let (one, other) = (ServiceKey::of_mark(1, false), ServiceKey::of_mark(u32::MAX, true));
        assert_eq!((one.to_string(), one.address, one.mark()), ("mark://1".to_owned(), [0, 0, 0, 1].into(), Some(1)));
        assert_eq!((other.to_string(), other.mark()), ("mark6://4294967295".to_owned(), Some(u32::MAX)));
        assert_eq!(other.address, "::ffff:ffff".parse::<IpAddr>().unwrap());
        assert_eq!([key("mark://7"), key("mark6://7")], ["mark://7", "mark6://7"].map(|text| Ok(text.to_owned())));
        assert_eq!("tcp://10.0.0.1:80".parse::<ServiceKey>().unwrap().mark(), None);
    }

    #[test]
    fn a_prefix_or_a_range_is_sent_to_the_marks() {
        assert_eq!(
            key("udp://10.0.0.0/24:53").unwrap_err(),
            "10.0.0.0/24:53: a service has one address, and one port or any. For a prefix or a range of ports give them \
             a mark (`xvs mark add 1 udp 10.0.0.0/24:53`) and make a service of the mark (`mark://1`)"
        );
        for text in ["10.0.0.1:80-90", "[fd00::/64]:53", "[fd00::1]:53-54", "10.0.0.0/8"] {
            assert!(key(text).unwrap_err().contains("give them a mark"), "{text}");
        }
    }

    #[test]
    fn a_bare_ipv6_service_is_refused_because_it_may_hold_a_port() {
        let error = key("fd00::1:80").unwrap_err();
        assert!(error.contains("[fd00::1:80]"), "{error}");
    }

    #[test]
    fn wrong_keys_say_what_is_wrong() {
        for (text, part) in [
            ("", "is not an address"),
            ("example.org:80", "is not an address"),
            ("10.0.0.1:", "is not a port"),
            ("10.0.0.1:65536", "is not a port"),
            ("10.0.0.1:+80", "is not a port"),
            ("10.0.0.1:80:81", "is not a port"),
            ("[10.0.0.1]:80", "is not an address"),
            ("[fd00::1", "is not an address"),
            ("[fd00::1]80", "is not an address"),
            ("http://10.0.0.1:80", "unknown protocol"),
            ("mark://0", "is not a mark"),
            ("mark://+1", "is not a mark"),
            ("mark6://4294967296", "is not a mark"),
            ("mark://10.0.0.1:80", "is not a mark"),
            ("10.0.0.1/99:80", "is not an address"),
        ] {
            let error = key(text).unwrap_err();
            assert!(error.contains(part), "{text}: {error}");
        }
    }

    #[test]
    fn a_real_may_be_a_bare_ipv6_address() {
        assert_eq!(parse_real("fd00::11"), Ok(("fd00::11".parse().unwrap(), None)));
        assert_eq!(parse_real("[fd00::11]:80"), Ok(("fd00::11".parse().unwrap(), Some(80))));
        assert_eq!(parse_real("10.0.1.1:80"), Ok(("10.0.1.1".parse().unwrap(), Some(80))));
    }

    proptest! {
        #[test]
        fn every_key_reads_back(protocol in prop::sample::select(Protocol::ALL), address: IpAddr, port: u16) {
            let key = match protocol {
                Protocol::Mark => ServiceKey::of_mark(u32::from(port) + 1, address.is_ipv6()),
                _ => ServiceKey { protocol, address, port },
            };
            prop_assert_eq!(key.to_string().parse(), Ok(key));
        }

        #[test]
        fn no_text_panics(text in ".*") {
            let _ = text.parse::<ServiceKey>();
            let _ = parse_real(&text);
        }
    }
}
