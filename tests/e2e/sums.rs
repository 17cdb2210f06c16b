//! Checksums of tunnels' own headers, UDP's and GRE's, in captured packets: added up here, as a real's kernel would.

use lb_lab::plan::Family;

use crate::ways::{GRE, UDP, Way};

/// How many packets of a tunnel have a right checksum, a wrong one, none.
#[derive(Default)]
pub(crate) struct Sums {
    pub(crate) right: usize,
    pub(crate) wrong: usize,
    pub(crate) none: usize,
}

impl Sums {
    /// Of captured packets, which have to be this way's.
    pub(crate) fn of(packets: &[Vec<u8>], way: Way, outer: Family) -> Self {
        let mut sums = Self::default();
        for packet in packets {
            let (at, protocol) = if outer == Family::V4 { (20, packet[9]) } else { (40, packet[6]) };
            match way.protocol {
                Some(expected) => assert_eq!(protocol, expected, "{}", way.name),
                None => assert!(protocol == 4 || protocol == 41, "protocol {protocol} in {}", way.name),
            }
            let behind = &packet[at..];
            let addresses = if outer == Family::V4 { &packet[12..20] } else { &packet[8..40] };
            let sum = match protocol {
                UDP if behind[6..8] != [0, 0] => sum(addresses) + sum(behind) + behind.len() as u64 + u64::from(UDP),
                GRE if behind[0] & 0x80 != 0 => sum(behind),
                _ => {
                    sums.none += 1;
                    continue;
                }
            };
            // The ones' complement sum over everything with its checksum in place is a zero (RFC 1071), whose 16 bits are all set.
            if sum % 0xffff == 0 { sums.right += 1 } else { sums.wrong += 1 }
        }
        sums
    }
}

impl std::fmt::Display for Sums {
    fn fmt(&self, out: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self { right: 0, wrong: 0, none: 0 } => out.write_str("-"),
            Self { none: 0, .. } => write!(out, "{} right", self.right),
            Self { .. } => write!(out, "{} none", self.none),
        }
    }
}

/// Sum of 16-bit words; an odd byte at the end is the upper half of one.
fn sum(bytes: &[u8]) -> u64 {
    bytes.chunks(2).map(|word| u64::from(word[0]) << 8 | u64::from(*word.get(1).unwrap_or(&0))).sum()
}
