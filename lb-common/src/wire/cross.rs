//! From one family to the other (full NAT between an IPv4 client and an IPv6 real, and the reverse; RFC 7915): the new IP header, and
//! what the transport checksum changes by. The payload stays as it is, length and protocol mean the same in both pseudo headers.

use super::translate::Ports;
use super::{Editable, ipv4, ipv6, transport};
use crate::abi::verdict::Verdict;
use crate::algo::checksum::{self, Delta};

/// What both headers have in common.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Common {
    /// Type of service, traffic class.
    pub class: u8,
    /// Hops that are left, this one counted.
    pub hops: u8,
    /// TCP, UDP or SCTP.
    pub protocol: u8,
    /// Bytes behind the IP header.
    pub length: u16,
}

/// Sum of an address's words.
#[inline(always)]
const fn sum(words: [u64; 2]) -> u32 {
    checksum::add_u64(checksum::add_u64(0, words[0]), words[1])
}

/// What a checksum over IPv4 addresses is corrected by when IPv6 ones take their place.
#[inline(always)]
pub const fn delta_to_v6(old: [u32; 2], new: [[u64; 2]; 2]) -> Delta {
    Delta::NONE.u32(old[0], 0).u32(old[1], 0).added(sum(new[0])).added(sum(new[1]))
}

/// The reverse.
#[inline(always)]
pub const fn delta_to_v4(old: [[u64; 2]; 2], new: [u32; 2]) -> Delta {
    Delta::NONE.u128(old[0], [0; 2]).u128(old[1], [0; 2]).u32(0, new[0]).u32(0, new[1])
}

/// An IPv6 header as raw words.
#[inline(always)]
pub const fn header_v6(common: Common, source: [u64; 2], destination: [u64; 2]) -> [u64; 5] {
    let first = 6u32 << 28 | (common.class as u32) << 20;
    let second = (common.length as u32) << 16 | (common.protocol as u32) << 8 | common.hops as u32;
    let front = first.to_be() as u64 | (second.to_be() as u64) << 32;
    [front, source[0], source[1], destination[0], destination[1]]
}

/// An IPv4 header as raw words. Never to be fragmented: the director, which would have to know of fragments, says so to the client.
#[inline(always)]
pub const fn header_v4(common: Common, source: u32, destination: u32) -> [u32; 5] {
    let total = common.length as u32 + ipv4::HEADER as u32;
    let first = (0x45u32 << 24 | (common.class as u32) << 16 | total).to_be();
    let second = (ipv4::DONT_FRAGMENT.to_be() as u32).to_be();
    let third = (common.hops as u32) << 24 | (common.protocol as u32) << 16;
    let mut sum = checksum::add_u32(checksum::add_u32(0, first), second);
    sum = checksum::add_u32(sum, third.to_be());
    sum = checksum::add_u32(checksum::add_u32(sum, source), destination);
    let third = (third | u16::from_be(checksum::finish(sum)) as u32).to_be();
    [first, second, third, source, destination]
}

/// Rewrites ports and checksum of the segment at `offset`. UDP without a checksum is refused: IPv6 allows none, and to make one the whole
/// packet would have to be read. SCTP's covers no addresses.
#[inline(always)]
pub fn segment<P: Editable>(
    packet: &P,
    offset: usize,
    common: Common,
    ports: Ports,
    addresses: Delta,
) -> Result<(), Verdict> {
    let protocol = common.protocol;
    if protocol == transport::SCTP {
        return super::translate::sctp_ports(packet, offset, ports, u32::from(common.length), false);
    }
    if protocol == transport::UDP {
        let header = packet.edit::<{ transport::UDP_HEADER }>(offset).ok_or(Verdict::Truncated)?;
        if super::View::raw_u16::<6>(header) == 0 {
            return Err(Verdict::NatUnsuited);
        }
    }
    super::translate::transport(packet, offset, protocol, ports, addresses, false)
}

const _: () = assert!(ipv6::HEADER - ipv4::HEADER == 20);

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn headers_say_what_they_were_told(class: u8, hops: u8, protocol: u8, length in 0..65_000u16, source: u32, destination: u32) {
            let common = Common { class, hops, protocol, length };
            let words = header_v4(common, source, destination);
            prop_assert_eq!(checksum::finish(words.iter().fold(0, |sum, word| checksum::add_u32(sum, *word))), 0);
            let bytes: Vec<u8> = words.iter().flat_map(|word| word.to_ne_bytes()).collect();
            let total = length + 20;
            prop_assert_eq!(&bytes[..10], [&[0x45, class], &total.to_be_bytes()[..], &[0, 0, 0x40, 0, hops, protocol]].concat());
            let words = header_v6(common, [1, 2], [3, 4]);
            let bytes: Vec<u8> = words.iter().flat_map(|word| word.to_ne_bytes()).collect();
            prop_assert_eq!(&bytes[..2], [0x60 | class >> 4, class << 4]);
            prop_assert_eq!(&bytes[4..8], [&length.to_be_bytes()[..], &[protocol, hops]].concat());
        }

        #[test]
        fn there_and_back_is_the_same_checksum(checksum: u16, v4: [u32; 2], v6: [[u64; 2]; 2]) {
            let there = delta_to_v6(v4, v6).apply(checksum);
            let back = delta_to_v4(v6, v4).apply(there);
            prop_assert_eq!(u32::from(back) % 0xffff, u32::from(checksum) % 0xffff);
        }
    }
}
