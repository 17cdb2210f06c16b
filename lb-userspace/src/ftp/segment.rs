//! A TCP segment in its IP packet: read with every length and checksum checked, and sealed again after changes.
//!
//! Headers are read by [`lb_common::wire`], as the datapath reads them, and changed where they stand: options, extension headers and
//! flags that nobody here knows stay as they are. Checksums are checked first, because new ones would make a damaged packet look
//! whole, and its text would be believed.

use std::net::{IpAddr, SocketAddr};

use lb_common::abi::verdict::Verdict;
use lb_common::algo::checksum;
use lb_common::algo::tcp_state::flag;
use lb_common::wire::parse::{self, Parsed};
use lb_common::wire::slice::Frame;
use lb_common::wire::transport::{TCP, TCP_HEADER, Transport};
use lb_common::wire::{Packet as _, View as _, ipv4, ipv6};
use thiserror::Error;

use super::{Direction, Translation};

/// Why a packet is not translated: it has to be dropped.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
pub enum Refused {
    /// A header ends too early or lies about its length.
    #[error("a header does not hold what it says: {}", .0.name())]
    Header(Verdict),
    /// Another protocol, or a fragment.
    #[error("not a whole TCP segment")]
    NotTcp,
    /// It was damaged on its way, or left a network card that leaves checksums to others.
    #[error("a checksum is wrong")]
    Checksum,
    /// Its addresses or ports are not those of the connection.
    #[error("a packet of another connection")]
    OtherFlow,
    /// It came longer than the way onwards takes.
    #[error("{length} bytes where {mtu} fit")]
    TooLong {
        /// Its length from the IP header on.
        length: usize,
        /// What fits.
        mtu: u16,
    },
    /// It speaks of numbers from before a change that an earlier daemon has made: where they belong nobody knows any more.
    #[error("numbers that an earlier daemon moved")]
    Lost,
    /// All places for control connections are taken by others.
    #[error("too many FTP control connections")]
    TableFull,
}

/// A segment whose lengths and checksums are right and that belongs to the connection.
#[derive(Clone, Copy, Debug)]
pub struct Segment<'a> {
    /// The packet from the IP header on, without what Ethernet pads.
    pub(super) packet: &'a [u8],
    /// Where the TCP header begins.
    pub(super) transport: usize,
    /// Where the data begins.
    pub(super) data: usize,
    /// Sequence number.
    pub(super) seq: u32,
    /// Acknowledgement number; it counts only with its flag.
    pub(super) ack: u32,
    /// Flags.
    pub(super) flags: u8,
    /// Longest packet that its way onwards takes.
    pub(super) mtu: u16,
}

impl<'a> Segment<'a> {
    /// Reads a packet that begins with its IP header; `mtu` is that of its way onwards.
    pub fn read(packet: &'a [u8], translation: &Translation, direction: Direction, mtu: u16) -> Result<Self, Refused> {
        let (Ip { transport, total, .. }, ends) = headers(packet)?;
        let tcp = Frame(packet).view::<TCP_HEADER>(transport).ok_or(Refused::Header(Verdict::Truncated))?;
        let packet = &packet[..total];
        if checksums(packet, transport) != (0, 0) {
            return Err(Refused::Checksum);
        }
        if ends != translation.ends(direction)[0] {
            return Err(Refused::OtherFlow);
        }
        if total > usize::from(mtu) {
            return Err(Refused::TooLong { length: total, mtu });
        }
        Ok(Self {
            packet,
            transport,
            data: transport + usize::from(tcp.u8::<12>() >> 4) * 4,
            seq: u32::from_be(tcp.raw_u32::<4>()),
            ack: u32::from_be(tcp.raw_u32::<8>()),
            flags: tcp.u8::<13>(),
            mtu,
        })
    }

    /// What it carries.
    pub fn payload(&self) -> &'a [u8] {
        &self.packet[self.data..]
    }

    /// All of these flags are set.
    pub(super) const fn has(&self, flags: u8) -> bool {
        self.flags & flags == flags
    }

    /// Sequence number of the first byte that it carries: SYN has one of its own.
    pub(super) const fn data_seq(&self) -> u32 {
        self.seq.wrapping_add(self.has(flag::SYN) as u32)
    }
}

/// Source and destination of a TCP packet that begins with its IP header.
pub fn ends(packet: &[u8]) -> Result<(SocketAddr, SocketAddr), Refused> {
    headers(packet).map(|(_, ends)| ends)
}

/// The packet has a SYN: the connection, if there is one on its ports, is another from now on.
pub(super) fn opens(packet: &[u8]) -> bool {
    let flags = headers(packet).ok().and_then(|(ip, _)| packet.get(ip.transport + 13));
    flags.is_some_and(|flags| flags & flag::SYN != 0)
}

fn headers(packet: &[u8]) -> Result<(Ip, (SocketAddr, SocketAddr)), Refused> {
    let frame = Frame(packet);
    let parsed = match packet.first().map_or(0, |byte| byte >> 4) {
        4 => parse::v4(&frame, 0).map(|parsed| of_v4(&parsed)),
        6 => parse::v6(&frame, 0).map(|parsed| of_v6(&parsed)),
        _ => Err(Verdict::BadHeader),
    };
    let ip = match parsed {
        Ok(ip) => ip.ok_or(Refused::NotTcp)?,
        Err(Verdict::NotTransport) => return Err(Refused::NotTcp),
        Err(verdict) => return Err(Refused::Header(verdict)),
    };
    let tcp = frame.view::<TCP_HEADER>(ip.transport).ok_or(Refused::Header(Verdict::Truncated))?;
    let ends = (SocketAddr::new(ip.source, tcp.u16::<0>()), SocketAddr::new(ip.destination, tcp.u16::<2>()));
    Ok((ip, ends))
}

/// What both families have.
struct Ip {
    source: IpAddr,
    destination: IpAddr,
    transport: usize,
    total: usize,
}

fn of_v4(parsed: &Parsed<ipv4::Header>) -> Option<Ip> {
    let (ip, _) = tcp(parsed, |ip| ip.protocol)?;
    let [source, destination] = [ip.source, ip.destination].map(|raw| IpAddr::from(raw.to_ne_bytes()));
    Some(Ip { source, destination, transport: ip.payload, total: ip.total_length as usize })
}

fn of_v6(parsed: &Parsed<ipv6::Header>) -> Option<Ip> {
    let (ip, _) = tcp(parsed, |ip| ip.protocol)?;
    let [source, destination] = [ip.source, ip.destination].map(|[first, second]| {
        IpAddr::from((u128::from(u64::from_be(first)) << 64 | u128::from(u64::from_be(second))).to_be_bytes())
    });
    Some(Ip { source, destination, transport: ip.payload, total: ip.total_length as usize })
}

fn tcp<H: Copy>(parsed: &Parsed<H>, protocol: impl Fn(&H) -> u8) -> Option<(H, Transport)> {
    match parsed {
        Parsed::Flow(flow) if protocol(&flow.ip) == TCP => Some((flow.ip, flow.transport)),
        Parsed::Flow(_) | Parsed::FirstFragment(_) | Parsed::Unbalanced(_) => None,
    }
}

/// Raw checksums of the IPv4 header (0 with IPv6, which has none) and of the TCP segment, over what stands there: 0 where it is right,
/// and what has to be written where it says 0.
fn checksums(packet: &[u8], transport: usize) -> (u16, u16) {
    let is_v4 = packet[0] >> 4 == 4;
    let (header, addresses) = if is_v4 { (&packet[..transport], &packet[12..20]) } else { (&[][..], &packet[8..40]) };
    let segment = &packet[transport..];
    // Of the length's two 16-bit words the upper one is 0: no packet is longer than 65 575 bytes less its header.
    let pseudo = sum(addresses) + u32::from(u16::from(TCP).to_be()) + u32::from((segment.len() as u16).to_be());
    (if is_v4 { checksum::finish(sum(header)) } else { 0 }, checksum::finish(pseudo + sum(segment)))
}

/// Adds up raw words; the last byte of an odd number has a zero behind it (RFC 1071, section 4.1).
fn sum(bytes: &[u8]) -> u32 {
    let (words, rest) = bytes.as_chunks::<2>();
    let last = rest.first().map_or(0, |&byte| u16::from_ne_bytes([byte, 0]));
    words.iter().map(|&word| u32::from(u16::from_ne_bytes(word))).sum::<u32>() + u32::from(last)
}

/// Writes a packet's length and checksums.
pub(super) fn seal(packet: &mut [u8], transport: usize) {
    let check = transport + 16..transport + 18;
    packet[check.clone()].fill(0);
    if packet[0] >> 4 == 4 {
        let length = packet.len() as u16;
        packet[2..4].copy_from_slice(&length.to_be_bytes());
        packet[10..12].fill(0);
    } else {
        let length = (packet.len() - ipv6::HEADER) as u16;
        packet[4..6].copy_from_slice(&length.to_be_bytes());
    }
    let (header, segment) = checksums(packet, transport);
    if packet[0] >> 4 == 4 {
        packet[10..12].copy_from_slice(&header.to_ne_bytes());
    }
    packet[check].copy_from_slice(&segment.to_ne_bytes());
}
