//! Rules that give packets a mark: `tcp 10.0.0.0/24:8000-8100`.
//!
//! With IPVS it is netfilter that marks packets; XDP runs before it, so the rules are our own. A service of a
//! mark then takes what its rules match, whatever the port and address: several ports under one persistence, a
//! prefix, a range of ports.

use std::{
    fmt,
    net::{IpAddr, Ipv4Addr, Ipv6Addr},
    str::FromStr,
};

use serde::{Deserialize, Deserializer, Serialize, Serializer};

use super::{ports::PortRange, word::Protocol};

/// One rule: packets of this protocol to these addresses and ports have this mark.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(from = "Flat", into = "Flat")]
pub struct MarkRule {
    /// The mark, from 1.
    pub mark: u32,
    /// Transport protocol: TCP, UDP or SCTP.
    pub protocol: Protocol,
    /// First address of the prefix; its host bits are zero.
    pub address: IpAddr,
    /// Bits of the address that count: 32 or 128 for one address.
    pub prefix: u8,
    /// Ports in host byte order; none means any.
    pub ports: Option<PortRange>,
}

/// What a rule matches but for the protocol: `10.0.0.1`, `10.0.0.0/24:80`, `[fd00::/64]:8000-8100`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Destination {
    /// See [`MarkRule::address`].
    pub address: IpAddr,
    /// See [`MarkRule::prefix`].
    pub prefix: u8,
    /// See [`MarkRule::ports`].
    pub ports: Option<PortRange>,
}

/// The JSON shape: as TOML has it.
#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Flat {
    mark: u32,
    #[serde(default)]
    protocol: Protocol,
    address: Destination,
}

impl MarkRule {
    /// A rule of its parts.
    pub fn new(mark: u32, protocol: Protocol, destination: Destination) -> Self {
        let Destination { address, prefix, ports } = destination;
        Self { mark, protocol, address, prefix, ports }
    }

    /// What it matches but for the protocol.
    pub fn destination(&self) -> Destination {
        Destination { address: self.address, prefix: self.prefix, ports: self.ports }
    }

    /// Do the two match exactly the same packets?
    pub fn matches_same(&self, other: &Self) -> bool {
        self.protocol == other.protocol && self.destination() == other.destination()
    }

    /// Is this address one of the rule's?
    pub fn covers(&self, address: IpAddr) -> bool {
        address.is_ipv4() == self.address.is_ipv4()
            && network(address, self.prefix) == network(self.address, self.prefix)
    }

    /// Does it match exactly one address?
    pub fn is_single(&self) -> bool {
        self.prefix >= width(self.address)
    }
}

/// Bits of an address.
pub fn width(address: IpAddr) -> u8 {
    if address.is_ipv4() { 32 } else { 128 }
}

/// The address without the bits beyond the prefix.
pub fn network(address: IpAddr, prefix: u8) -> IpAddr {
    match address {
        IpAddr::V4(v4) => {
            let mask = u32::MAX.checked_shl(32 - u32::from(prefix.min(32))).unwrap_or(0);
            Ipv4Addr::from_bits(v4.to_bits() & mask).into()
        }
        IpAddr::V6(v6) => {
            let mask = u128::MAX.checked_shl(128 - u32::from(prefix.min(128))).unwrap_or(0);
            Ipv6Addr::from_bits(v6.to_bits() & mask).into()
        }
    }
}

/// `tcp 10.0.0.0/24:80`: what it matches, without the mark.
impl fmt::Display for MarkRule {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(&format!("{} {}", self.protocol, self.destination()))
    }
}

impl From<Flat> for MarkRule {
    fn from(Flat { mark, protocol, address }: Flat) -> Self {
        Self::new(mark, protocol, address)
    }
}

impl From<MarkRule> for Flat {
    fn from(rule: MarkRule) -> Self {
        Self { mark: rule.mark, protocol: rule.protocol, address: rule.destination() }
    }
}

impl fmt::Display for Destination {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { address, prefix, ports } = self;
        let prefix = if *prefix == width(*address) { String::new() } else { format!("/{prefix}") };
        match address {
            IpAddr::V4(v4) => write!(f, "{v4}{prefix}")?,
            IpAddr::V6(v6) => write!(f, "[{v6}{prefix}]")?,
        }
        match ports {
            None => Ok(()),
            Some(ports) if ports.count() == 1 => write!(f, ":{}", ports.first()),
            Some(ports) => write!(f, ":{ports}"),
        }
    }
}

impl FromStr for Destination {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let wrong =
            || format!("{text:?} is not a destination such as 10.0.0.1:80, 10.0.0.0/24:8000-8100 or [fd00::/64]:53");
        if text.split('/').next().is_some_and(|address| address.parse::<Ipv6Addr>().is_ok()) {
            return Err(format!("{text}: an IPv6 address stands in brackets here: [{text}] or [{text}]:80"));
        }
        let (inside, rest) = match text.strip_prefix('[') {
            Some(inner) => inner.split_once(']').ok_or_else(wrong)?,
            None => text.split_at(text.find(':').unwrap_or(text.len())),
        };
        let (address, prefix) = match inside.split_once('/') {
            Some((address, prefix)) => (address, Some(prefix)),
            None => (inside, None),
        };
        let address: IpAddr = address.parse().map_err(|_| wrong())?;
        if address.is_ipv6() != text.starts_with('[') {
            return Err(wrong());
        }
        let bits = width(address);
        let prefix = match prefix {
            None => bits,
            Some(digits) => {
                let plain = digits.bytes().all(|byte| byte.is_ascii_digit());
                let prefix = digits.parse().ok().filter(|prefix| plain && *prefix <= bits);
                prefix.ok_or_else(|| format!("{digits:?} in {text:?} is not a prefix length; from 0 to {bits}"))?
            }
        };
        let ports = match rest.strip_prefix(':') {
            None if rest.is_empty() => None,
            None => return Err(wrong()),
            Some(ports) => Some(ports_of(ports)?),
        };
        Ok(Self { address, prefix, ports })
    }
}

/// `80` or `8000-8100`.
fn ports_of(text: &str) -> Result<PortRange, String> {
    if text == "0" {
        return Err("0 is no port here; leave the port out for any port".to_owned());
    }
    let (first, last) = text.split_once('-').unwrap_or((text, text));
    let port = |text: &str| {
        let digits = !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
        text.parse::<u16>().ok().filter(|_| digits)
    };
    let range = match (port(first), port(last)) {
        (Some(first), Some(last)) if first > last => {
            return Err(format!("{text:?} is a range of ports that runs backwards; write {last}-{first}"));
        }
        (Some(first), Some(last)) => PortRange::new(first, last),
        _ => None,
    };
    range.ok_or_else(|| format!("{text:?} is not a port or range of ports within 1-65535, such as 80 or 8000-8100"))
}

impl Serialize for Destination {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for Destination {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        String::deserialize(deserializer)?.parse().map_err(serde::de::Error::custom)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn a_destination_is_written_shortest() {
        for (text, back) in [
            ("10.0.0.1", "10.0.0.1"),
            ("10.0.0.1/32:80-80", "10.0.0.1:80"),
            ("10.0.0.0/24:8000-8100", "10.0.0.0/24:8000-8100"),
            ("[FD00::/64]:53", "[fd00::/64]:53"),
            ("[fd00::1/128]", "[fd00::1]"),
            ("0.0.0.0/0:80", "0.0.0.0/0:80"),
        ] {
            assert_eq!(text.parse::<Destination>().unwrap().to_string(), back);
        }
    }

    #[test]
    fn wrong_destinations_say_what_is_wrong() {
        for (text, part) in [
            ("", "is not a destination"),
            ("www:80", "is not a destination"),
            ("[10.0.0.1]:80", "is not a destination"),
            ("[fd00::1]80", "is not a destination"),
            ("[fd00::1", "is not a destination"),
            ("fd00::1:80", "stands in brackets"),
            ("fd00::/64", "stands in brackets"),
            ("10.0.0.0/33", "is not a prefix length; from 0 to 32"),
            ("10.0.0.0/+8", "is not a prefix length"),
            ("[fd00::/129]", "is not a prefix length; from 0 to 128"),
            ("10.0.0.1:", "is not a port or range"),
            ("10.0.0.1:0", "leave the port out for any port"),
            ("10.0.0.1:0-5", "is not a port or range"),
            ("10.0.0.1:5-4", "runs backwards; write 4-5"),
            ("10.0.0.1:1-65536", "is not a port or range"),
            ("10.0.0.1:80:81", "is not a port or range"),
        ] {
            let error = text.parse::<Destination>().unwrap_err();
            assert!(error.contains(part), "{text}: {error}");
        }
    }

    #[test]
    fn json_is_as_toml_has_it() {
        let text = r#"{"mark":7,"protocol":"udp","address":"10.0.0.0/24:53"}"#;
        let rule: MarkRule = serde_json::from_str(text).unwrap();
        assert_eq!((rule.mark, rule.prefix, rule.to_string().as_str()), (7, 24, "udp 10.0.0.0/24:53"));
        assert_eq!(serde_json::to_string(&rule).unwrap(), text);
        assert!(serde_json::from_str::<MarkRule>(r#"{"mark":7,"address":"10.0.0.1","port":80}"#).is_err());
    }

    #[test]
    fn a_prefix_covers_its_addresses_and_no_other() {
        let rule = MarkRule::new(1, Protocol::Tcp, "10.0.0.0/24:80".parse().unwrap());
        let covers = |text: &str| rule.covers(text.parse().unwrap());
        assert!(covers("10.0.0.0") && covers("10.0.0.255") && !covers("10.0.1.0") && !covers("::a00:0"));
        let all = MarkRule::new(1, Protocol::Tcp, "0.0.0.0/0".parse().unwrap());
        assert!(all.covers([255, 255, 255, 255].into()) && !all.is_single() && !all.covers(Ipv6Addr::LOCALHOST.into()));
    }

    proptest! {
        #[test]
        fn no_text_panics(text in ".*") {
            let _ = text.parse::<Destination>();
        }

        #[test]
        fn a_network_has_no_bits_beyond_its_prefix(address: IpAddr, prefix in 0..=128u8) {
            let (base, prefix) = (network(address, prefix), prefix.min(width(address)));
            prop_assert_eq!(network(base, prefix), base);
            let rule = MarkRule::new(1, Protocol::Udp, Destination { address: base, prefix, ports: None });
            prop_assert!(rule.covers(address));
            prop_assert_eq!(rule.destination().to_string().parse(), Ok(rule.destination()));
        }
    }
}
