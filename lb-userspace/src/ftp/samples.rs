//! Packets for tests, built and read by etherparse: another code than the one under test.

use std::net::{IpAddr, SocketAddr};

use etherparse::checksum::Sum16BitWords;
use etherparse::{
    IpHeaders, Ipv4Extensions, Ipv4Header, Ipv6Extensions, Ipv6Header, Ipv6RawExtHeader, NetSlice, PacketBuilder,
    SlicedPacket, TcpHeader, TcpOptions, TransportSlice, ip_number,
};

use super::{Direction, Translation};

pub(super) const FIN: u8 = 0x01;
pub(super) const SYN: u8 = 0x02;
pub(super) const RST: u8 = 0x04;
pub(super) const PSH: u8 = 0x08;
pub(super) const ACK: u8 = 0x10;
pub(super) const URG: u8 = 0x20;

/// 192.0.2.7:4000 to 198.51.100.100:21, which is 10.0.0.11:21: the VIP's text is 5 bytes longer.
pub(super) fn v4() -> Translation {
    translation("192.0.2.7:4000", "198.51.100.100:21", "10.0.0.11:21")
}

pub(super) fn v6() -> Translation {
    translation("[2001:db8:c::7]:4000", "[2001:db8::100]:21", "[fd00::11]:21")
}

pub(super) fn translation(client: &str, vip: &str, real: &str) -> Translation {
    let [client, vip, real] = [client, vip, real].map(|end| end.parse().unwrap());
    Translation::new(client, vip, real).unwrap()
}

/// A segment to be, or that was read.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Tcp {
    pub(super) seq: u32,
    pub(super) ack: u32,
    pub(super) flags: u8,
    pub(super) urgent: u16,
    pub(super) options: Vec<u8>,
    pub(super) payload: Vec<u8>,
}

/// Data with ACK and PSH.
pub(super) fn data(seq: u32, ack: u32, text: &str) -> Tcp {
    Tcp { seq, ack, flags: ACK | PSH, payload: text.as_bytes().to_vec(), ..Tcp::default() }
}

/// A packet as it comes to the director, with plain IP headers.
pub(super) fn packet(translation: &Translation, direction: Direction, tcp: &Tcp) -> Vec<u8> {
    let [(source, destination), _] = translation.ends(direction);
    between(ip(source.ip(), destination.ip(), &[]), source.port(), destination.port(), tcp)
}

/// IP headers; `options` are the options of IPv4's (a multiple of four bytes), or what follows the first two bytes of a hop-by-hop
/// header of IPv6 (eight bytes times a number, and six).
pub(super) fn ip(source: IpAddr, destination: IpAddr, options: &[u8]) -> IpHeaders {
    match (source, destination) {
        (IpAddr::V4(source), IpAddr::V4(destination)) => {
            let mut header = Ipv4Header::new(0, 61, ip_number::TCP, source.octets(), destination.octets()).unwrap();
            header.options = options.try_into().unwrap();
            header.identification = 0x1234;
            header.dont_fragment = true;
            IpHeaders::Ipv4(header, Ipv4Extensions::default())
        }
        (IpAddr::V6(source), IpAddr::V6(destination)) => {
            let header = Ipv6Header {
                source: source.octets(),
                destination: destination.octets(),
                hop_limit: 61,
                ..Default::default()
            };
            let mut extensions = Ipv6Extensions::default();
            if !options.is_empty() {
                extensions.hop_by_hop_options = Some(Ipv6RawExtHeader::new_raw(ip_number::TCP, options).unwrap());
            }
            IpHeaders::Ipv6(header, extensions)
        }
        _ => panic!("two families"),
    }
}

pub(super) fn between(ip: IpHeaders, source: u16, destination: u16, tcp: &Tcp) -> Vec<u8> {
    let has = |flag| tcp.flags & flag != 0;
    let header = TcpHeader {
        acknowledgment_number: tcp.ack,
        fin: has(FIN),
        syn: has(SYN),
        rst: has(RST),
        psh: has(PSH),
        ack: has(ACK),
        urg: has(URG),
        urgent_pointer: tcp.urgent,
        options: TcpOptions::try_from_slice(&tcp.options).unwrap(),
        ..TcpHeader::new(source, destination, tcp.seq, 64_000)
    };
    let builder = PacketBuilder::ip(ip).tcp_header(header);
    let mut packet = Vec::new();
    builder.write(&mut packet, &tcp.payload).unwrap();
    packet
}

/// Source, destination and segment of a packet. Panics unless all of its lengths and checksums are right.
pub(super) fn read(packet: &[u8]) -> (SocketAddr, SocketAddr, Tcp) {
    let sliced = SlicedPacket::from_ip(packet).unwrap();
    let Some(TransportSlice::Tcp(tcp)) = sliced.transport else { panic!("not TCP") };
    let (source, destination): (IpAddr, IpAddr) = match sliced.net.unwrap() {
        NetSlice::Ipv4(ip) => {
            let header = ip.header();
            assert_eq!(usize::from(header.total_len()), packet.len());
            // Over the bytes as they stand: etherparse's own header has no place for the reserved flag.
            assert_eq!(Sum16BitWords::new().add_slice(header.slice()).ones_complement(), 0);
            let checksum = tcp.calc_checksum_ipv4(header.source(), header.destination()).unwrap();
            assert_eq!(tcp.checksum(), checksum);
            (header.source_addr().into(), header.destination_addr().into())
        }
        NetSlice::Ipv6(ip) => {
            let header = ip.header();
            assert_eq!(usize::from(header.payload_length()) + 40, packet.len());
            let checksum = tcp.calc_checksum_ipv6(header.source(), header.destination()).unwrap();
            assert_eq!(tcp.checksum(), checksum);
            (header.source_addr().into(), header.destination_addr().into())
        }
        NetSlice::Arp(_) => panic!("ARP"),
    };
    let flags = tcp.slice()[13];
    let read = Tcp {
        seq: tcp.sequence_number(),
        ack: tcp.acknowledgment_number(),
        flags,
        urgent: tcp.urgent_pointer(),
        options: tcp.options().to_vec(),
        payload: tcp.payload().to_vec(),
    };
    (SocketAddr::new(source, tcp.source_port()), SocketAddr::new(destination, tcp.destination_port()), read)
}
