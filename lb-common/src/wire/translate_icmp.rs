//! Translation of an ICMP error: its own addresses, and the begin of the packet that it is about, as that went over the other side's
//! network (RFC 3022 section 4.3, RFC 5508). The embedded transport checksum stays: most errors carry too little to have one, and nobody
//! looks at it; IPVS leaves it, too.

use super::translate::{Change, Ports, v4_header, v6_header};
use super::{Edit, Editable, View, ipv4, ipv6};
use crate::abi::verdict::Verdict;
use crate::algo::checksum::Delta;

/// The packet inside an error, in its own direction: the reverse of the error's.
#[derive(Clone, Copy, Debug)]
pub struct Embedded<A> {
    /// Where its IP header begins.
    pub offset: usize,
    /// Where its ports are.
    pub ports_offset: usize,
    /// Addresses in the packet, source first.
    pub old: [A; 2],
    /// As they become.
    pub new: [A; 2],
    /// Ports before and after.
    pub ports: Ports,
}

/// Translates the ICMP error at `at`, whose header is `ip`.
#[inline(always)]
pub fn v4<P: Editable>(
    packet: &P,
    at: usize,
    ip: &ipv4::Header,
    change: &Change<u32>,
    embedded: &Embedded<u32>,
) -> Result<(), Verdict> {
    let icmp = packet.edit::<8>(ip.payload).ok_or(Verdict::Truncated)?;
    let inner = packet.edit::<{ ipv4::HEADER }>(embedded.offset).ok_or(Verdict::IcmpMalformed)?;
    let ports = packet.edit::<4>(embedded.ports_offset).ok_or(Verdict::IcmpMalformed)?;
    v4_header(packet, at, ip, change)?;
    let addresses = Delta::NONE.u32(embedded.old[0], embedded.new[0]).u32(embedded.old[1], embedded.new[1]);
    // The embedded header's checksum makes up for its addresses, so that the error's own does not notice them.
    inner.set_u16::<10>(addresses.apply(inner.raw_u16::<10>()));
    inner.set_u32::<12>(embedded.new[0]);
    inner.set_u32::<16>(embedded.new[1]);
    ports.set_u32::<0>(embedded.ports.new);
    let delta = Delta::NONE.u32(embedded.ports.old, embedded.ports.new);
    icmp.set_u16::<2>(delta.apply(icmp.raw_u16::<2>()));
    Ok(())
}

/// The same for ICMPv6, whose checksum covers all addresses.
#[inline(always)]
pub fn v6<P: Editable>(
    packet: &P,
    at: usize,
    ip: &ipv6::Header,
    change: &Change<[u64; 2]>,
    embedded: &Embedded<[u64; 2]>,
) -> Result<(), Verdict> {
    let icmp = packet.edit::<8>(ip.payload).ok_or(Verdict::Truncated)?;
    let inner = packet.edit::<{ ipv6::HEADER }>(embedded.offset).ok_or(Verdict::IcmpMalformed)?;
    let ports = packet.edit::<4>(embedded.ports_offset).ok_or(Verdict::IcmpMalformed)?;
    let outer = v6_header(packet, at, ip, change)?;
    inner.set_u64::<8, 12>(embedded.new[0][0]);
    inner.set_u64::<16, 20>(embedded.new[0][1]);
    inner.set_u64::<24, 28>(embedded.new[1][0]);
    inner.set_u64::<32, 36>(embedded.new[1][1]);
    ports.set_u32::<0>(embedded.ports.new);
    let delta = outer
        .u128(embedded.old[0], embedded.new[0])
        .u128(embedded.old[1], embedded.new[1])
        .u32(embedded.ports.old, embedded.ports.new);
    icmp.set_u16::<2>(delta.apply(icmp.raw_u16::<2>()));
    Ok(())
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::super::slice::Draft;
    use super::*;
    use crate::algo::checksum::{add_u32, finish};

    fn sum(bytes: &[u8]) -> u16 {
        finish(bytes.chunks(4).fold(0, |sum, word| {
            let mut padded = [0; 4];
            padded[..word.len()].copy_from_slice(word);
            add_u32(sum, u32::from_ne_bytes(padded))
        }))
    }

    fn raw(bytes: &[u8]) -> u32 {
        u32::from_ne_bytes(bytes[..4].try_into().unwrap())
    }

    fn header_v4(protocol: u8, length: u16, source: [u8; 4], destination: [u8; 4]) -> Vec<u8> {
        let mut header = vec![0x45, 0];
        header.extend(length.to_be_bytes());
        header.extend([0, 1, 0x40, 0, 64, protocol, 0, 0]);
        header.extend(source);
        header.extend(destination);
        let checksum = sum(&header);
        header[10..12].copy_from_slice(&checksum.to_ne_bytes());
        header
    }

    proptest! {
        #[test]
        fn v4_stays_valid_inside_and_outside(
            old: [[u8; 4]; 4], new: [[u8; 4]; 4], ports: [u8; 4], becomes: [u8; 4],
        ) {
            let mut packet = header_v4(1, 56, old[0], old[1]);
            let mut icmp = vec![3, 4, 0, 0, 0, 0, 5, 0];
            icmp.extend(header_v4(6, 1500, old[2], old[3]));
            icmp.extend(ports);
            icmp.extend([1, 2, 3, 4]);
            let checksum = sum(&icmp);
            icmp[2..4].copy_from_slice(&checksum.to_ne_bytes());
            packet.extend(icmp);
            let ip = ipv4::parse(&super::super::slice::Frame(&packet), 0).unwrap();
            let change = Change { source: Some(raw(&new[0])), destination: Some(raw(&new[1])), ports: None };
            let embedded = Embedded {
                offset: 28, ports_offset: 48, old: [raw(&old[2]), raw(&old[3])], new: [raw(&new[2]), raw(&new[3])],
                ports: Ports { old: raw(&ports), new: raw(&becomes) },
            };
            v4(&Draft::new(&mut packet), 0, &ip, &change, &embedded).unwrap();
            prop_assert_eq!((sum(&packet[..20]), sum(&packet[20..]), sum(&packet[28..48])), (0, 0, 0));
            prop_assert_eq!(&packet[12..20], new[..2].concat());
            prop_assert_eq!(&packet[40..48], new[2..].concat());
            prop_assert_eq!((&packet[48..52], packet[8]), (&becomes[..], 63));
        }

        #[test]
        fn v6_stays_valid(old: [[u8; 16]; 4], new: [[u8; 16]; 4], ports: [u8; 4], becomes: [u8; 4]) {
            let words = |bytes: &[u8; 16]| [0, 8].map(|at| u64::from_ne_bytes(bytes[at..at + 8].try_into().unwrap()));
            let pseudo = |packet: &[u8]| {
                let mut bytes = packet[8..40].to_vec();
                bytes.extend([0, 0, 0, packet[5], 0, 0, 0, 58]);
                bytes.extend(&packet[40..]);
                sum(&bytes)
            };
            let mut packet = vec![0x60, 0, 0, 0, 0, 56, 58, 64];
            packet.extend(old[..2].concat());
            packet.extend([2, 0, 0, 0, 0, 0, 5, 0]);
            packet.extend([0x60, 0, 0, 0, 5, 0, 17, 60]);
            packet.extend(old[2..].concat());
            packet.extend(ports);
            packet.extend([0; 4]);
            let checksum = pseudo(&packet);
            packet[42..44].copy_from_slice(&checksum.to_ne_bytes());
            let ip = ipv6::parse(&super::super::slice::Frame(&packet), 0).unwrap();
            let change = Change { source: Some(words(&new[0])), destination: Some(words(&new[1])), ports: None };
            let embedded = Embedded {
                offset: 48, ports_offset: 88, old: [words(&old[2]), words(&old[3])], new: [words(&new[2]), words(&new[3])],
                ports: Ports { old: raw(&ports), new: raw(&becomes) },
            };
            v6(&Draft::new(&mut packet), 0, &ip, &change, &embedded).unwrap();
            prop_assert_eq!(pseudo(&packet), 0);
            prop_assert_eq!(&packet[8..40], new[..2].concat());
            prop_assert_eq!(&packet[56..88], new[2..].concat());
            prop_assert_eq!((&packet[88..92], packet[7]), (&becomes[..], 63));
        }
    }
}
