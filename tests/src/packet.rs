//! Builds frames: Ethernet, up to any number of tags, IPv4 or IPv6, TCP, UDP, SCTP, ICMP or raw bytes. All lengths and checksums are right
//! unless a test spoils them afterwards.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use crc::{CRC_32_ISCSI, Crc};

/// TCP's FIN.
pub const FIN: u8 = 0x01;
/// TCP's SYN.
pub const SYN: u8 = 0x02;
/// TCP's RST.
pub const RST: u8 = 0x04;
/// TCP's ACK.
pub const ACK: u8 = 0x10;

/// MAC that frames are sent to: the director's.
pub const DIRECTOR_MAC: [u8; 6] = [0x02, 0, 0, 0, 0, 0x01];
/// MAC that frames come from: the router's.
pub const ROUTER_MAC: [u8; 6] = [0x02, 0, 0, 0, 0, 0xfe];

/// A frame to be.
#[derive(Clone, Debug)]
pub struct Packet {
    source: IpAddr,
    destination: IpAddr,
    tags: Vec<[u8; 4]>,
    tos: u8,
    ttl: u8,
    identification: u16,
    fragment_word: u16,
    options: Vec<u8>,
    extensions: Vec<(u8, Vec<u8>)>,
    protocol: u8,
    transport: Vec<u8>,
    payload: Vec<u8>,
}

/// The Internet checksum of RFC 1071, byte by byte.
pub fn checksum(parts: &[&[u8]]) -> u16 {
    let bytes: Vec<u8> = parts.concat();
    let mut sum: u64 = 0;
    for pair in bytes.chunks(2) {
        sum += u64::from(pair[0]) << 8 | u64::from(pair.get(1).copied().unwrap_or(0));
    }
    while sum >> 16 != 0 {
        sum = (sum & 0xffff) + (sum >> 16);
    }
    !(sum as u16)
}

fn octets(address: IpAddr) -> Vec<u8> {
    match address {
        IpAddr::V4(address) => address.octets().to_vec(),
        IpAddr::V6(address) => address.octets().to_vec(),
    }
}

impl Packet {
    /// A packet between two addresses of one family, so far without a transport header.
    pub fn new(source: impl Into<IpAddr>, destination: impl Into<IpAddr>) -> Self {
        Self {
            source: source.into(),
            destination: destination.into(),
            tags: Vec::new(),
            tos: 0,
            ttl: 64,
            identification: 0x1234,
            fragment_word: 0x4000,
            options: Vec::new(),
            extensions: Vec::new(),
            protocol: 255,
            transport: Vec::new(),
            payload: Vec::new(),
        }
    }

    /// An IPv4 packet between addresses in text.
    pub fn v4(source: &str, destination: &str) -> Self {
        Self::new(
            source.parse::<Ipv4Addr>().expect("an IPv4 address"),
            destination.parse::<Ipv4Addr>().expect("an IPv4 address"),
        )
    }

    /// An IPv6 packet between addresses in text.
    pub fn v6(source: &str, destination: &str) -> Self {
        Self::new(
            source.parse::<Ipv6Addr>().expect("an IPv6 address"),
            destination.parse::<Ipv6Addr>().expect("an IPv6 address"),
        )
    }

    /// TCP with these flags and no options.
    pub fn tcp(mut self, source: u16, destination: u16, flags: u8) -> Self {
        self.protocol = 6;
        self.transport = [
            &source.to_be_bytes()[..],
            &destination.to_be_bytes(),
            &[0, 0, 0, 1, 0, 0, 0, 0, 0x50, flags, 0xff, 0xff, 0, 0, 0, 0],
        ]
        .concat();
        self
    }

    /// Options behind the TCP header: a multiple of four bytes.
    pub fn tcp_options(mut self, options: &[u8]) -> Self {
        self.transport.extend_from_slice(options);
        self.transport[12] = (self.transport.len() as u8 / 4) << 4;
        self
    }

    /// UDP.
    pub fn udp(mut self, source: u16, destination: u16) -> Self {
        self.protocol = 17;
        self.transport = [source.to_be_bytes(), destination.to_be_bytes(), [0, 0], [0, 0]].concat();
        self
    }

    /// SCTP with these chunks ([`chunk`]).
    pub fn sctp(mut self, source: u16, destination: u16, chunks: &[&[u8]]) -> Self {
        self.protocol = 132;
        self.transport =
            [&source.to_be_bytes()[..], &destination.to_be_bytes(), &[0xda, 0x7a, 0, 1, 0, 0, 0, 0], &chunks.concat()]
                .concat();
        self
    }

    /// ICMP or ICMPv6, as the family has it, with 4 bytes of zeros behind type, code and checksum.
    pub fn icmp(mut self, kind: u8, code: u8) -> Self {
        self.protocol = if self.source.is_ipv4() { 1 } else { 58 };
        self.transport = vec![kind, code, 0, 0, 0, 0, 0, 0];
        self
    }

    /// Another protocol with these bytes behind the IP header.
    pub fn raw(mut self, protocol: u8, bytes: &[u8]) -> Self {
        self.protocol = protocol;
        self.transport = bytes.to_vec();
        self
    }

    /// Data behind the transport header.
    pub fn payload(mut self, bytes: &[u8]) -> Self {
        self.payload = bytes.to_vec();
        self
    }

    /// As many bytes of data that the whole IP packet has this length.
    pub fn length(mut self, total: usize) -> Self {
        let header = self.build().len() - self.ip_offset() - self.payload.len();
        self.payload = (0..total - header).map(|n| n as u8).collect();
        self
    }

    /// One more 802.1Q tag, inside those that are there.
    pub fn vlan(self, id: u16) -> Self {
        self.tag(0x8100, id)
    }

    /// One more tag of any kind, inside those that are there.
    pub fn tag(mut self, tpid: u16, tci: u16) -> Self {
        let (tpid, tci) = (tpid.to_be_bytes(), tci.to_be_bytes());
        self.tags.push([tpid[0], tpid[1], tci[0], tci[1]]);
        self
    }

    /// Type of service or traffic class.
    pub fn tos(mut self, tos: u8) -> Self {
        self.tos = tos;
        self
    }

    /// Time to live or hop limit.
    pub fn ttl(mut self, ttl: u8) -> Self {
        self.ttl = ttl;
        self
    }

    /// IPv4 identification.
    pub fn identification(mut self, identification: u16) -> Self {
        self.identification = identification;
        self
    }

    /// IPv4's word of flags and fragment offset.
    pub fn fragment_word(mut self, word: u16) -> Self {
        self.fragment_word = word;
        self
    }

    /// IPv4 options: a multiple of four bytes.
    pub fn options(mut self, options: &[u8]) -> Self {
        self.options = options.to_vec();
        self
    }

    /// One more IPv6 extension header, behind those that are there, without its first byte (the next header).
    pub fn extension(mut self, kind: u8, rest: &[u8]) -> Self {
        self.extensions.push((kind, rest.to_vec()));
        self
    }

    /// Where the IP header begins.
    pub fn ip_offset(&self) -> usize {
        14 + 4 * self.tags.len()
    }

    /// Where the transport header begins.
    pub fn transport_offset(&self) -> usize {
        self.build().len() - self.payload.len() - self.transport.len()
    }

    /// The frame.
    pub fn build(&self) -> Vec<u8> {
        let mut frame = [DIRECTOR_MAC, ROUTER_MAC].concat();
        frame.extend(self.tags.iter().flatten());
        let transport = self.finish_transport();
        match (self.source, self.destination) {
            (IpAddr::V4(_), IpAddr::V4(_)) => {
                frame.extend([0x08, 0x00]);
                frame.extend(self.ipv4_header(transport.len()));
            }
            _ => {
                frame.extend([0x86, 0xdd]);
                frame.extend(self.ipv6_headers(transport.len()));
            }
        }
        frame.extend(transport);
        frame
    }

    fn ipv4_header(&self, behind: usize) -> Vec<u8> {
        let length = 20 + self.options.len();
        let mut header = vec![0x40 | (length / 4) as u8, self.tos];
        header.extend(((length + behind) as u16).to_be_bytes());
        header.extend(self.identification.to_be_bytes());
        header.extend(self.fragment_word.to_be_bytes());
        header.extend([self.ttl, self.protocol, 0, 0]);
        header.extend(octets(self.source));
        header.extend(octets(self.destination));
        header.extend(&self.options);
        let sum = checksum(&[&header]);
        header[10..12].copy_from_slice(&sum.to_be_bytes());
        header
    }

    fn ipv6_headers(&self, behind: usize) -> Vec<u8> {
        let mut kinds: Vec<u8> = self.extensions.iter().map(|(kind, _)| *kind).collect();
        kinds.push(self.protocol);
        let extensions: Vec<u8> = self
            .extensions
            .iter()
            .zip(&kinds[1..])
            .flat_map(|((_, rest), next)| [&[*next][..], rest].concat())
            .collect();
        let mut header = (0x6000_0000 | u32::from(self.tos) << 20 | 0xabcde).to_be_bytes().to_vec();
        header.extend(((extensions.len() + behind) as u16).to_be_bytes());
        header.extend([kinds[0], self.ttl]);
        header.extend(octets(self.source));
        header.extend(octets(self.destination));
        header.extend(extensions);
        header
    }

    fn finish_transport(&self) -> Vec<u8> {
        let mut transport = [&self.transport[..], &self.payload].concat();
        let length = transport.len();
        if self.protocol == 132 && length >= 12 {
            // RFC 9260 appendix A: the lowest byte first.
            let sum = Crc::<u32>::new(&CRC_32_ISCSI).checksum(&transport);
            transport[8..12].copy_from_slice(&sum.to_le_bytes());
        }
        let checksum_at = match self.protocol {
            6 => 16,
            17 => 6,
            1 | 58 => 2,
            _ => return transport,
        };
        if length < checksum_at + 2 {
            return transport;
        }
        if self.protocol == 17 {
            transport[4..6].copy_from_slice(&(length as u16).to_be_bytes());
        }
        let pseudo = [
            octets(self.source),
            octets(self.destination),
            (length as u32).to_be_bytes().to_vec(),
            vec![0, 0, 0, self.protocol],
        ]
        .concat();
        let parts: &[&[u8]] = if self.protocol == 1 { &[&transport] } else { &[&pseudo, &transport] };
        let sum = checksum(parts);
        transport[checksum_at..checksum_at + 2].copy_from_slice(&sum.to_be_bytes());
        transport
    }
}

/// An SCTP chunk of a type, padded to a multiple of four bytes (RFC 9260 section 3.2).
pub fn chunk(kind: u8, value: &[u8]) -> Vec<u8> {
    let length = (4 + value.len() as u16).to_be_bytes();
    let mut chunk = [&[kind, 0][..], &length, value].concat();
    chunk.resize(chunk.len().next_multiple_of(4), 0);
    chunk
}

/// The first `length` bytes of a frame.
pub fn cut(frame: &[u8], length: usize) -> Vec<u8> {
    frame[..length].to_vec()
}

/// A frame with some bytes replaced.
pub fn spoil(frame: &[u8], at: usize, bytes: &[u8]) -> Vec<u8> {
    let mut frame = frame.to_vec();
    frame[at..at + bytes.len()].copy_from_slice(bytes);
    frame
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The example header of RFC 1071's companion literature: its checksum is 0xb861.
    #[test]
    fn checksum_of_a_known_header() {
        let header = [0x45, 0, 0, 0x73, 0, 0, 0x40, 0, 0x40, 0x11, 0, 0, 0xc0, 0xa8, 0, 1, 0xc0, 0xa8, 0, 0xc7];
        assert_eq!(checksum(&[&header]), 0xb861);
    }

    #[test]
    fn a_frame_is_as_long_as_asked() {
        let packet = Packet::v4("10.0.0.1", "10.0.0.2").vlan(5).tcp(1, 2, ACK).length(1500);
        assert_eq!(packet.build().len(), 1500 + 18);
        assert_eq!(packet.transport_offset(), 38);
    }
}
