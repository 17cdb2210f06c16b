//! What a translated packet must look like, from RFC 3022, 7915, 1624 and 9260: put together anew from the packet that came in, its checksums
//! added up over all bytes, without the code under test.

use std::net::{IpAddr, SocketAddr};

use crate::expect::{Located, locate};
use crc::{CRC_32_ISCSI, Crc};

use crate::packet::{Packet, checksum, chunk};

/// Protocol number of TCP.
pub const TCP: u8 = 6;
/// Protocol number of UDP.
pub const UDP: u8 = 17;

/// Protocol number of SCTP.
pub const SCTP: u8 = 132;

/// Both ends of a TCP, UDP or SCTP packet.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Ends {
    /// Transport protocol number.
    pub protocol: u8,
    /// Source address and port.
    pub source: SocketAddr,
    /// Destination address and port.
    pub destination: SocketAddr,
}

/// What becomes of a packet.
#[derive(Clone, Debug)]
pub struct Translation {
    /// Destination and source MAC.
    pub link: [u8; 12],
    /// Its ends, of either family.
    pub to: Ends,
    /// Bytes that come in right behind the fixed TCP header: a multiple of four.
    pub option: Vec<u8>,
    /// The most that its segment size option may say.
    pub segment_limit: Option<u16>,
}

/// A TCP, UDP or SCTP packet inside a frame.
#[derive(Clone, Copy, Debug)]
pub struct Parts {
    /// The IP packet.
    pub ip: Located,
    /// Transport protocol number.
    pub protocol: u8,
    /// Where the transport header begins.
    pub transport: usize,
}

impl Ends {
    /// The same with source and destination swapped.
    pub fn reversed(self) -> Self {
        Self { source: self.destination, destination: self.source, ..self }
    }
}

impl Parts {
    /// Of a frame that is whole.
    pub fn of(frame: &[u8]) -> Self {
        let ip = locate(frame);
        let header = &frame[ip.offset..];
        if ip.version == 4 {
            return Self { ip, protocol: header[9], transport: ip.offset + usize::from(header[0] & 15) * 4 };
        }
        let (mut protocol, mut at) = (header[6], 40);
        // RFC 8200 section 4: in units of eight bytes, but for the fragment header (whose second byte is zero) and AH (RFC 4302).
        while matches!(protocol, 0 | 43 | 44 | 51 | 60 | 135 | 139 | 140) {
            let length = usize::from(header[at + 1]);
            let bytes = match protocol {
                44 => 8,
                51 => (length + 2) * 4,
                _ => (length + 1) * 8,
            };
            protocol = header[at];
            at += bytes;
        }
        Self { ip, protocol, transport: ip.offset + at }
    }

    /// Its transport header and data.
    pub fn segment(self, frame: &[u8]) -> &[u8] {
        &frame[self.transport..self.ip.offset + self.ip.length]
    }

    /// Its addresses and ports.
    pub fn ends(self, frame: &[u8]) -> Ends {
        let (at, length) = if self.ip.version == 4 { (self.ip.offset + 12, 4) } else { (self.ip.offset + 8, 16) };
        let port = |at: usize| u16::from_be_bytes([frame[at], frame[at + 1]]);
        Ends {
            protocol: self.protocol,
            source: SocketAddr::new(address(&frame[at..at + length]), port(self.transport)),
            destination: SocketAddr::new(address(&frame[at + length..at + 2 * length]), port(self.transport + 2)),
        }
    }
}

/// Ends of the TCP or UDP packet in a frame.
pub fn ends(frame: &[u8]) -> Ends {
    Parts::of(frame).ends(frame)
}

/// What a real sends back that got this frame: with these flags, if it is TCP, or a chunk of this type, if it is SCTP.
pub fn answer(frame: &[u8], flags: u8) -> Packet {
    let Ends { protocol, source, destination } = ends(frame);
    let packet = Packet::new(destination.ip(), source.ip()).mac(frame[..6].try_into().expect("six bytes"));
    match protocol {
        UDP => packet.udp(destination.port(), source.port()),
        SCTP => packet.sctp(destination.port(), source.port(), &[&chunk(flags, &[0x5a; 17])]),
        _ => packet.tcp(destination.port(), source.port(), flags),
    }
}

pub(crate) fn address(bytes: &[u8]) -> IpAddr {
    match <[u8; 4]>::try_from(bytes) {
        Ok(bytes) => bytes.into(),
        Err(_) => <[u8; 16]>::try_from(bytes).expect("sixteen bytes").into(),
    }
}

pub(crate) fn octets(address: IpAddr) -> Vec<u8> {
    match address {
        IpAddr::V4(address) => address.octets().to_vec(),
        IpAddr::V6(address) => address.octets().to_vec(),
    }
}

/// The checksum that a segment ought to have between these ends.
fn right(segment: &[u8], ends: &Ends) -> u16 {
    let mut segment = segment.to_vec();
    let at = checksum_at(ends.protocol);
    segment[at..at + 2].fill(0);
    if ends.protocol == UDP {
        // The header's own length counts, which may be less than what is there.
        segment.truncate(usize::from(u16::from_be_bytes([segment[4], segment[5]])));
    }
    let length = (segment.len() as u32).to_be_bytes();
    let addresses = [octets(ends.source.ip()), octets(ends.destination.ip())].concat();
    match checksum(&[&addresses, &length, &[0, 0, 0, ends.protocol], &segment]) {
        0 if ends.protocol == UDP => 0xffff,
        sum => sum,
    }
}

fn checksum_at(protocol: u8) -> usize {
    match protocol {
        UDP => 6,
        SCTP => 8,
        _ => 16,
    }
}

/// RFC 1624: a checksum that was right is right, a wrong one as wrong as it was. 0 and 0xffff are the same number, so of a wrong one
/// either will do: `came` is what did.
pub(crate) fn carried_over(given: u16, right_before: u16, right_after: u16, came: u16) -> u16 {
    if given == right_before {
        return right_after;
    }
    let error = (u32::from(given) + 0xffff - u32::from(right_before)) % 0xffff;
    let wanted = ((u32::from(right_after) + error) % 0xffff) as u16;
    if came % 0xffff == wanted { came } else { wanted }
}

/// The same of SCTP: as the sender would have it, if the one that came is right, otherwise as wrong (a CRC is linear).
fn carried_over_crc(old: &[u8], new: &[u8]) -> [u8; 4] {
    let crc = |segment: &[u8]| {
        let zeroed = [&segment[..8], &[0; 4], &segment[12..]].concat();
        Crc::<u32>::new(&CRC_32_ISCSI).checksum(&zeroed).to_le_bytes()
    };
    let (before, after) = (crc(old), crc(new));
    std::array::from_fn(|byte| old[8 + byte] ^ before[byte] ^ after[byte])
}

/// A packet's transport checksum is the right one.
pub fn is_right(frame: &[u8]) -> bool {
    let parts = Parts::of(frame);
    if parts.protocol == SCTP {
        let segment = parts.segment(frame);
        let right = Crc::<u32>::new(&CRC_32_ISCSI).checksum(&[&segment[..8], &[0; 4], &segment[12..]].concat());
        return segment[8..12] == right.to_le_bytes();
    }
    let (segment, at) = (parts.segment(frame), checksum_at(parts.protocol));
    let given = u16::from_be_bytes([segment[at], segment[at + 1]]);
    given % 0xffff == right(segment, &parts.ends(frame)) % 0xffff
}

/// The frame that must come out when `input` is translated, given the `output` that did.
pub fn translated(input: &[u8], by: &Translation, output: &[u8]) -> Vec<u8> {
    let parts = Parts::of(input);
    let from = parts.ends(input);
    let segment = parts.segment(input);
    let header = header(input, parts, by, output);
    let mut new = segment.to_vec();
    new[..2].copy_from_slice(&by.to.source.port().to_be_bytes());
    new[2..4].copy_from_slice(&by.to.destination.port().to_be_bytes());
    if let Some(limit) = by.segment_limit {
        cut_segment_size(&mut new, limit);
    }
    if !by.option.is_empty() {
        new.splice(20..20, by.option.iter().copied());
        new[12] += (by.option.len() as u8 / 4) << 4;
    }
    let at = checksum_at(parts.protocol);
    let given = u16::from_be_bytes([segment[at], segment[at + 1]]);
    let before = [&by.link[..], &input[12..parts.ip.offset - 2], &header.ethertype, &header.bytes].concat();
    if parts.protocol == SCTP {
        let sum = carried_over_crc(segment, &new);
        new[8..12].copy_from_slice(&sum);
    } else if parts.protocol != UDP || given != 0 || parts.ip.version == 6 {
        let came = output.get(before.len() + at..before.len() + at + 2).map_or(0, |b| u16::from_be_bytes([b[0], b[1]]));
        let sum = carried_over(given, right(segment, &from), right(&new, &by.to), came);
        new[at..at + 2].copy_from_slice(&sum.to_be_bytes());
    }
    // Ethernet may have padded the frame.
    [&before, &new[..], &input[parts.ip.offset + parts.ip.length..]].concat()
}

pub(crate) struct Header {
    pub(crate) ethertype: [u8; 2],
    pub(crate) bytes: Vec<u8>,
}

/// The IP header and what extends it, between the new ends.
pub(crate) fn header(input: &[u8], parts: Parts, by: &Translation, output: &[u8]) -> Header {
    let old = &input[parts.ip.offset..parts.transport];
    let length = parts.ip.length - old.len() + by.option.len();
    let addresses = [octets(by.to.source.ip()), octets(by.to.destination.ip())].concat();
    let (class, hops) =
        if parts.ip.version == 4 { (old[1], old[8] - 1) } else { (old[0] << 4 | old[1] >> 4, old[7] - 1) };
    if by.to.source.is_ipv6() {
        let mut bytes = if parts.ip.version == 6 { old.to_vec() } else { vec![0; 40] };
        if parts.ip.version == 4 {
            // RFC 7915 section 4.1: no flow label.
            bytes[..4].copy_from_slice(&(6 << 28 | u32::from(class) << 20).to_be_bytes());
            bytes[6] = parts.protocol;
        }
        let length = (length + bytes.len() - 40) as u16;
        bytes[4..6].copy_from_slice(&length.to_be_bytes());
        bytes[7] = hops;
        bytes[8..40].copy_from_slice(&addresses);
        return Header { ethertype: [0x86, 0xdd], bytes };
    }
    let mut bytes = if parts.ip.version == 4 { old.to_vec() } else { vec![0; 20] };
    if parts.ip.version == 6 {
        // RFC 7915 section 5.1, without identification: "don't fragment".
        bytes[..2].copy_from_slice(&[0x45, class]);
        bytes[6] = 0x40;
        bytes[9] = parts.protocol;
    }
    let total = (length + bytes.len()) as u16;
    let given = u16::from_be_bytes([bytes[10], bytes[11]]);
    let right_before = header_checksum(&bytes);
    bytes[2..4].copy_from_slice(&total.to_be_bytes());
    bytes[8] = hops;
    bytes[12..20].copy_from_slice(&addresses);
    let mut sum = header_checksum(&bytes);
    if parts.ip.version == 4 {
        let at = parts.ip.offset + 10;
        sum = carried_over(given, right_before, sum, u16::from_be_bytes([output[at], output[at + 1]]));
    }
    bytes[10..12].copy_from_slice(&sum.to_be_bytes());
    Header { ethertype: [0x08, 0x00], bytes }
}

pub(crate) fn header_checksum(header: &[u8]) -> u16 {
    checksum(&[&header[..10], &header[12..]])
}

/// RFC 9293 section 3.2: kind 2, length 4; no-operations may stand anywhere.
fn cut_segment_size(segment: &mut [u8], limit: u16) {
    let end = usize::from(segment[12] >> 4) * 4;
    let mut at = 20;
    while at + 4 <= end && segment[at] != 0 {
        if segment[at..at + 2] == [2, 4] {
            let said = u16::from_be_bytes([segment[at + 2], segment[at + 3]]);
            segment[at + 2..at + 4].copy_from_slice(&said.min(limit).to_be_bytes());
            return;
        }
        // A length below 2 is none (RFC 9293 section 3.1): what follows is anything.
        match (segment[at], segment[at + 1]) {
            (1, _) => at += 1,
            (_, 0 | 1) => return,
            (_, length) => at += usize::from(length),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::packet::{Packet, SYN};

    #[test]
    fn ends_behind_headers_of_every_length() {
        let (client, service) = ("[2001:db8::7]:4000".parse().unwrap(), "[fd00::100]:80".parse().unwrap());
        let eight = [0, 1, 4, 0, 0, 0, 0];
        let frame = Packet::v6("2001:db8::7", "fd00::100")
            .vlan(5)
            .extension(0, &eight)
            .extension(51, &[4; 23])
            .tcp(4000, 80, SYN)
            .build();
        assert_eq!(ends(&frame), Ends { protocol: TCP, source: client, destination: service });
        assert!(is_right(&frame));
        let frame = Packet::v4("192.0.2.7", "10.0.0.100").options(&[1; 8]).udp(4000, 53).payload(b"odd").build();
        assert_eq!(ends(&frame).destination, "10.0.0.100:53".parse().unwrap());
        assert!(is_right(&frame));
        assert_eq!(ends(&frame).reversed().source.port(), 53);
    }

    #[test]
    fn a_wrong_checksum_stays_as_wrong() {
        assert_eq!(carried_over(7, 7, 9, 1), 9);
        assert_eq!(carried_over(8, 7, 9, 10), 10);
        assert_eq!(carried_over(8, 7, 9, 11), 10, "what ought to have come");
        assert_eq!(carried_over(0, 0xfffe, 0xfffe, 0xffff), 0xffff, "either zero");
    }
}
