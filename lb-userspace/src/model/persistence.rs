//! Persistence: clients that stay with one real, alone or by network.

use std::{
    fmt,
    net::{IpAddr, Ipv4Addr},
    str::FromStr,
};

use serde::{Deserialize, Deserializer, Serialize, Serializer};

/// Seconds of a persistence that says none: what ipvsadm takes for a bare `-p` (its manual page says 300).
pub const DEFAULT_PERSISTENCE_SECONDS: u32 = 360;

/// All connections of a client go to the real that its first one went to.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Persistence {
    /// How long the real is remembered after the client's last connection began, in seconds; it lives on while connections do.
    #[serde(default = "default_seconds")]
    pub timeout: u32,
    /// Clients of one network count as one; none means each address for itself.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub netmask: Option<Netmask>,
}

/// Which bits of a client's address count. IPVS has a mask for IPv4 and a prefix for IPv6, and so have we.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Netmask {
    /// `255.255.255.0`. Like IPVS it may have holes; not 0.0.0.0.
    V4(Ipv4Addr),
    /// `/64`: 1 to 128 bits.
    V6(u8),
}

fn default_seconds() -> u32 {
    DEFAULT_PERSISTENCE_SECONDS
}

impl Default for Persistence {
    fn default() -> Self {
        Self { timeout: DEFAULT_PERSISTENCE_SECONDS, netmask: None }
    }
}

impl Netmask {
    /// Is it one for this family of clients?
    pub fn fits(self, address: IpAddr) -> bool {
        matches!((self, address), (Self::V4(_), IpAddr::V4(_)) | (Self::V6(_), IpAddr::V6(_)))
    }

    /// Is it of leading bits alone?
    pub fn is_contiguous(self) -> bool {
        match self {
            Self::V4(mask) => mask.to_bits().leading_ones() + mask.to_bits().trailing_zeros() == 32,
            Self::V6(_) => true,
        }
    }

    /// Does it tell all clients from each other, as no netmask does?
    pub fn is_whole(self) -> bool {
        matches!(self, Self::V4(Ipv4Addr::BROADCAST) | Self::V6(128))
    }
}

impl fmt::Display for Netmask {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::V4(mask) => write!(f, "{mask}"),
            Self::V6(prefix) => write!(f, "/{prefix}"),
        }
    }
}

/// `255.255.255.0`, `/64` or `64`.
impl FromStr for Netmask {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let wrong = || format!("{text:?} is not a netmask: 255.255.255.0 for IPv4, /64 for IPv6 (/1 to /128)");
        if let Ok(mask) = text.parse::<Ipv4Addr>() {
            return if mask.is_unspecified() { Err(wrong()) } else { Ok(Self::V4(mask)) };
        }
        let prefix = text.strip_prefix('/').unwrap_or(text);
        // `parse` would take a plus sign.
        let digits = prefix.bytes().all(|byte| byte.is_ascii_digit());
        prefix.parse().ok().filter(|bits| digits && (1..=128).contains(bits)).map(Self::V6).ok_or_else(wrong)
    }
}

impl Serialize for Netmask {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for Netmask {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        String::deserialize(deserializer)?.parse().map_err(serde::de::Error::custom)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_mask_is_one_of_ipv4_or_a_prefix_of_ipv6() {
        for (text, back) in [("255.255.255.0", "255.255.255.0"), ("/64", "/64"), ("128", "/128"), ("1", "/1")] {
            assert_eq!(text.parse::<Netmask>().unwrap().to_string(), back);
        }
        for wrong in ["", "/", "0.0.0.0", "/0", "/129", "+64", "ffff::", "255.255.255"] {
            assert!(wrong.parse::<Netmask>().unwrap_err().contains("is not a netmask"), "{wrong}");
        }
    }

    #[test]
    fn json_fills_the_timeout() {
        assert_eq!(serde_json::from_str::<Persistence>("{}").unwrap(), Persistence::default());
        let text = r#"{"timeout":60,"netmask":"/64"}"#;
        assert_eq!(serde_json::to_string(&serde_json::from_str::<Persistence>(text).unwrap()).unwrap(), text);
    }
}
