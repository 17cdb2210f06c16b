//! The fixed words of a configuration: protocols, schedulers, forwarding methods.
//!
//! One table per enum gives parsing, printing, JSON and the message for a wrong word, so that TOML, JSON and
//! the command line refuse the same word with the same sentence. Words that LVS knows and this version does
//! not serve are refused as such: silently taking another scheduler would change how traffic is spread.

use lb_common::wire::transport::{SCTP, TCP, UDP};
use thiserror::Error;

/// A word that is not one of those expected.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum WordError {
    /// A word LVS knows.
    #[error("{kind} {word} is not in this version; one of {expected}")]
    NotInThisVersion {
        /// What the word would have named.
        kind: &'static str,
        /// The word as given.
        word: String,
        /// The words this version serves.
        expected: String,
    },
    /// A word nobody knows.
    #[error("unknown {kind} {word:?}; one of {expected}")]
    Unknown {
        /// What the word would have named.
        kind: &'static str,
        /// The word as given.
        word: String,
        /// The words this version serves.
        expected: String,
    },
}

impl WordError {
    pub(crate) fn new(kind: &'static str, word: &str, all: &[&str], later: &[&str]) -> Self {
        let (word, expected) = (word.to_owned(), all.join(", "));
        match later.contains(&word.as_str()) {
            true => Self::NotInThisVersion { kind, word, expected },
            false => Self::Unknown { kind, word, expected },
        }
    }
}

/// An enum whose variants are words: `ALL`, `as_str`, `Display`, `FromStr`, serde as that word.
macro_rules! words {
    (
        $(#[$meta:meta])* $name:ident, $kind:literal, later [$($later:literal),*];
        $($(#[$variant_meta:meta])* $variant:ident = $word:literal),+ $(,)?
    ) => {
        $(#[$meta])*
        #[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub enum $name { $($(#[$variant_meta])* $variant),+ }

        impl $name {
            /// Every value, in the order messages list them.
            pub const ALL: &'static [Self] = &[$(Self::$variant),+];

            /// The word in TOML, JSON and on the command line.
            pub fn as_str(self) -> &'static str {
                match self { $(Self::$variant => $word),+ }
            }
        }

        impl std::fmt::Display for $name {
            fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                // `pad` and not `write_str`: tables align words by width.
                f.pad(self.as_str())
            }
        }

        impl std::str::FromStr for $name {
            type Err = $crate::model::word::WordError;

            fn from_str(word: &str) -> Result<Self, Self::Err> {
                match word {
                    $($word => Ok(Self::$variant),)+
                    _ => Err($crate::model::word::WordError::new($kind, word, &[$($word),+], &[$($later),*])),
                }
            }
        }

        impl serde::Serialize for $name {
            fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
                serializer.serialize_str(self.as_str())
            }
        }

        impl<'de> serde::Deserialize<'de> for $name {
            fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
                let word = <String as serde::Deserialize>::deserialize(deserializer)?;
                word.parse().map_err(serde::de::Error::custom)
            }
        }
    };
}
pub(crate) use words;

words! {
    /// Transport protocol of a service.
    #[derive(Default)]
    Protocol, "protocol", later [];
    /// TCP (RFC 9293).
    #[default]
    Tcp = "tcp",
    /// UDP (RFC 768).
    Udp = "udp",
    /// SCTP (RFC 9260).
    Sctp = "sctp",
    /// No protocol: what the rules of a mark match.
    Mark = "mark",
}

words! {
    /// How a new connection's real server is chosen.
    #[derive(Default)]
    Scheduler, "scheduler", later [];
    /// Round robin; weight 0 excludes.
    Rr = "rr",
    /// Weighted round robin.
    Wrr = "wrr",
    /// Least connections.
    Lc = "lc",
    /// Weighted least connections; what LVS takes when nothing is said.
    #[default]
    Wlc = "wlc",
    /// Source hashing.
    Sh = "sh",
    /// Maglev hashing.
    Mh = "mh",
    /// Destination hashing.
    Dh = "dh",
    /// Shortest expected delay.
    Sed = "sed",
    /// Never queue: an idle real first, otherwise as `sed`.
    Nq = "nq",
    /// Failover: the heaviest real.
    Fo = "fo",
    /// Overflow: the heaviest real until it has as many active connections as weight.
    Ovf = "ovf",
    /// Locality-based least connections: one real for each destination address.
    Lblc = "lblc",
    /// The same with a set of reals for each destination address.
    Lblcr = "lblcr",
    /// Two chosen by chance, of which the less loaded one.
    Twos = "twos",
}

words! {
    /// A scheduler's option.
    SchedulerFlag, "scheduler flag", later [];
    /// `sh`: hash the source port too.
    ShPort = "sh-port",
    /// `sh`: take the next real when the hashed one does not serve.
    ShFallback = "sh-fallback",
    /// `mh`: hash the source port too.
    MhPort = "mh-port",
    /// `mh`: take the next real when the hashed one does not serve.
    MhFallback = "mh-fallback",
    /// IPVS's first flag; `sh` and `mh` know it as `-fallback`, the others keep it and it means nothing.
    Flag1 = "flag-1",
    /// IPVS's second flag; `sh` and `mh` know it as `-port`.
    Flag2 = "flag-2",
    /// IPVS's third flag; no scheduler knows it.
    Flag3 = "flag-3",
    /// Ours: UDP conversations count as active connections for the scheduler; IPVS counts them as inactive.
    UdpActive = "udp-active",
}

words! {
    /// How a packet gets to its real server.
    #[derive(Default)]
    Method, "forwarding method", later ["masq", "masquerade", "local"];
    /// Direct routing: the MAC address is rewritten, the packet stays as it is.
    #[default]
    Direct = "direct",
    /// IP in IP (RFC 2003, RFC 2473): the packet travels inside another.
    Tunnel = "tunnel",
    /// GUE: the packet travels behind a UDP header (IP in UDP, variant 1).
    Gue = "gue",
    /// GRE (RFC 2784, RFC 7676).
    Gre = "gre",
    /// NAT: the destination becomes the real's address and port; answers come back through the director.
    Nat = "nat",
    /// Full NAT: besides, the source becomes an address of the director's.
    FullNat = "fullnat",
}

impl Method {
    /// Address translation: the real may have another port than the service.
    pub fn is_translated(self) -> bool {
        matches!(self, Self::Nat | Self::FullNat)
    }
}

words! {
    /// A protocol whose connections announce further ones in their text.
    Helper, "helper", later [];
    /// FTP (RFC 959, RFC 2428): control connections go through the daemon.
    Ftp = "ftp",
}

words! {
    /// What becomes of a real's connections when its health check fails.
    #[derive(Default)]
    OnRealDown, "on_real_down policy", later [];
    /// They stay with it.
    #[default]
    Keep = "keep",
    /// Their packets are dropped.
    Drop = "drop",
    /// Their next packet is scheduled anew.
    Reschedule = "reschedule",
}

words! {
    /// Address family: what a mark's service serves, which has no address to tell it.
    #[derive(Default)]
    Family, "address family", later [];
    /// IPv4.
    #[default]
    Ipv4 = "ipv4",
    /// IPv6.
    Ipv6 = "ipv6",
}

impl Protocol {
    /// Its number (IANA); none for a mark.
    pub fn number(self) -> Option<u8> {
        match self {
            Self::Tcp => Some(TCP),
            Self::Udp => Some(UDP),
            Self::Sctp => Some(SCTP),
            Self::Mark => None,
        }
    }

    /// The one with this number.
    pub fn of_number(number: u8) -> Option<Self> {
        Self::ALL.iter().copied().find(|protocol| protocol.number() == Some(number))
    }
}

impl SchedulerFlag {
    /// The one scheduler that knows this flag; none when it is for several.
    pub fn scheduler(self) -> Option<Scheduler> {
        match self {
            Self::ShPort | Self::ShFallback => Some(Scheduler::Sh),
            Self::MhPort | Self::MhFallback => Some(Scheduler::Mh),
            Self::Flag1 | Self::Flag2 | Self::Flag3 | Self::UdpActive => None,
        }
    }

    /// The name this scheduler has for the flag: `flag-1` of `sh` is `sh-fallback`. What is stored is that name.
    pub fn named_by(self, scheduler: Scheduler) -> Self {
        match (scheduler, self) {
            (Scheduler::Sh, Self::Flag1) => Self::ShFallback,
            (Scheduler::Sh, Self::Flag2) => Self::ShPort,
            (Scheduler::Mh, Self::Flag1) => Self::MhFallback,
            (Scheduler::Mh, Self::Flag2) => Self::MhPort,
            (_, flag) => flag,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_word_of_lvs_is_refused_as_not_in_this_version() {
        let error = "masq".parse::<Method>().unwrap_err().to_string();
        assert_eq!(
            error,
            "forwarding method masq is not in this version; one of direct, tunnel, gue, gre, nat, fullnat"
        );
    }

    #[test]
    fn a_wrong_word_lists_the_right_ones() {
        let error = "TCP".parse::<Protocol>().unwrap_err().to_string();
        assert_eq!(error, "unknown protocol \"TCP\"; one of tcp, udp, sctp, mark");
    }

    #[test]
    fn a_general_flag_has_the_name_its_scheduler_gives() {
        use SchedulerFlag::{Flag1, Flag2, Flag3, MhFallback, MhPort, ShFallback, ShPort};
        let named = |scheduler| [Flag1, Flag2, Flag3].map(|flag| flag.named_by(scheduler));
        assert_eq!(named(Scheduler::Sh), [ShFallback, ShPort, Flag3]);
        assert_eq!(named(Scheduler::Mh), [MhFallback, MhPort, Flag3]);
        assert_eq!(named(Scheduler::Wlc), [Flag1, Flag2, Flag3]);
    }

    #[test]
    fn every_word_reads_back() {
        for scheduler in Scheduler::ALL {
            assert_eq!(scheduler.as_str().parse(), Ok(*scheduler));
        }
        assert_eq!(Scheduler::ALL.len(), 14, "those of IPVS");
        for flag in SchedulerFlag::ALL {
            assert_eq!(flag.as_str().parse(), Ok(*flag));
        }
    }
}
