//! How a service and a real server are written: `tcp://10.0.0.1:80`, `udp://[fd00::1]:53`, `10.0.1.1:80`.
//!
//! An IPv6 service address must stand in brackets: `fd00::1:80` is itself an address, and taking it for one
//! would quietly serve another VIP than the operator meant.

use std::{
    fmt,
    net::{IpAddr, Ipv6Addr, SocketAddr},
    str::FromStr,
};

use serde::{Deserialize, Deserializer, Serialize, Serializer};
use thiserror::Error;

use super::word::{Protocol, WordError};

/// What identifies a virtual service. Ordered by protocol, address, port.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ServiceKey {
    /// Transport protocol.
    pub protocol: Protocol,
    /// The virtual IP address.
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
}

impl ServiceKey {
    /// Reads `ADDRESS[:PORT]`, as TOML's `address` has it.
    pub fn with_protocol(protocol: Protocol, text: &str) -> Result<Self, KeyError> {
        if text.parse::<Ipv6Addr>().is_ok() {
            return Err(KeyError::Brackets(text.to_owned()));
        }
        let (address, port) = split(text, "an address such as 10.0.0.1:80 or [fd00::1]:443")?;
        Ok(Self { protocol, address, port: port.unwrap_or(0) })
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
        f.pad(&format!("{}://{}", self.protocol, self.endpoint()))
    }
}

/// `[PROTOCOL://]ADDRESS[:PORT]`; the protocol is tcp when none is said.
impl FromStr for ServiceKey {
    type Err = KeyError;

    fn from_str(text: &str) -> Result<Self, KeyError> {
        match text.split_once("://") {
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
            let key = ServiceKey { protocol, address, port };
            prop_assert_eq!(key.to_string().parse(), Ok(key));
        }

        #[test]
        fn no_text_panics(text in ".*") {
            let _ = text.parse::<ServiceKey>();
            let _ = parse_real(&text);
        }
    }
}
