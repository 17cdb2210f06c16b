//! What becomes of translated packets without ports of their own: later fragments (RFC 791, RFC 8200 section 4.5), and ICMP errors, with
//! the begin of the packet that they are about (RFC 3022 section 4.3, RFC 5508). Put together anew, as in [`crate::translated`].

use std::net::{IpAddr, SocketAddr};

use crate::expect::locate;
use crate::packet::checksum;
use crate::translated::{Ends, Parts, Translation, address, carried_over, header, header_checksum, octets};

/// What identifies the packet that a fragment is part of.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Whole {
    source: IpAddr,
    destination: IpAddr,
    /// IPv4: RFC 791 has it, RFC 8200 has not.
    protocol: u8,
    identification: u32,
}

/// What a packet is that goes to a real or comes from one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Shape {
    /// Whole, with ports.
    Ported,
    /// A first fragment, with ports.
    First(Whole),
    /// A later one.
    Later(Whole),
    /// An ICMP error about a packet with these ends, whose IP header begins here and whose ports stand there.
    Error {
        /// Ends of the packet inside.
        about: Ends,
        /// Where its IP header begins.
        inner: usize,
        /// Where its ports are.
        ports: usize,
    },
}

/// What the packet in a frame is.
pub fn shape(frame: &[u8]) -> Shape {
    let ip = locate(frame);
    let header = &frame[ip.offset..];
    let (at, length) = if ip.version == 4 { (12, 4) } else { (8, 16) };
    let [source, destination] = [at, at + length].map(|at| address(&header[at..at + length]));
    if ip.version == 4 {
        let word = u16::from_be_bytes([header[6], header[7]]);
        let identification = u32::from(u16::from_be_bytes([header[4], header[5]]));
        let whole = Whole { source, destination, protocol: header[9], identification };
        match (word & 0x2000 != 0, word & 0x1fff) {
            (false, 0) => {}
            (true, 0) => return Shape::First(whole),
            _ => return Shape::Later(whole),
        }
    } else if let Some(extension) = fragment_header(header) {
        let word = u16::from_be_bytes([extension[2], extension[3]]);
        let identification = u32::from_be_bytes([extension[4], extension[5], extension[6], extension[7]]);
        let whole = Whole { source, destination, protocol: 0, identification };
        match (word & 1 != 0, word & 0xfff8) {
            (false, 0) => {}
            (true, 0) => return Shape::First(whole),
            _ => return Shape::Later(whole),
        }
    }
    let parts = Parts::of(frame);
    if parts.protocol == 1 || parts.protocol == 58 { error(frame, parts) } else { Shape::Ported }
}

/// The fragment header, if it is among those that are there.
fn fragment_header(header: &[u8]) -> Option<&[u8]> {
    let (mut kind, mut at) = (header[6], 40);
    while matches!(kind, 0 | 43 | 51 | 60 | 135 | 139 | 140) {
        let length = usize::from(header[at + 1]);
        (kind, at) = (header[at], at + if kind == 51 { (length + 2) * 4 } else { (length + 1) * 8 });
    }
    (kind == 44).then(|| &header[at..at + 8])
}

fn error(frame: &[u8], parts: Parts) -> Shape {
    let inner = parts.transport + 8;
    // As a frame of its own, so that its headers are walked as any other's. It may be cut, its length is not.
    let ethertype: [u8; 2] = if parts.ip.version == 4 { [0x08, 0x00] } else { [0x86, 0xdd] };
    let quoted = [&[0; 12][..], &ethertype, &frame[inner..]].concat();
    let of_quoted = Parts::of(&quoted);
    Shape::Error { about: of_quoted.ends(&quoted), inner, ports: inner + of_quoted.transport - 14 }
}

/// A later fragment between other addresses: nothing else changes.
pub fn fragment(input: &[u8], link: [u8; 12], ends: [IpAddr; 2], output: &[u8]) -> Vec<u8> {
    let parts = Parts::of(input);
    let by = between(link, ends, parts.protocol);
    let header = header(input, parts, &by, output);
    [&link, &input[12..parts.ip.offset - 2], &header.ethertype, &header.bytes, &input[parts.transport..]].concat()
}

fn between(link: [u8; 12], [source, destination]: [IpAddr; 2], protocol: u8) -> Translation {
    let to = Ends { protocol, source: SocketAddr::new(source, 0), destination: SocketAddr::new(destination, 0) };
    Translation { link, to, option: Vec::new(), segment_limit: None }
}

/// The checksum that an ICMP message ought to have.
fn right(message: &[u8], protocol: u8, ends: [IpAddr; 2]) -> u16 {
    let bare = [&message[..2], &[0, 0], &message[4..]].concat();
    if protocol == 1 {
        return checksum(&[&bare]);
    }
    let length = (bare.len() as u32).to_be_bytes();
    checksum(&[&ends.map(octets).concat(), &length, &[0, 0, 0, 58], &bare])
}

/// An ICMP error between other addresses, about a packet that had the ends `about` on the other side. That one's transport checksum
/// stays: most errors are cut before the end of what it covers.
pub fn icmp_error(input: &[u8], link: [u8; 12], ends: [IpAddr; 2], about: Ends, output: &[u8]) -> Vec<u8> {
    let Shape::Error { inner, ports, .. } = shape(input) else { panic!("no error") };
    let parts = Parts::of(input);
    let outer = header(input, parts, &between(link, ends, parts.protocol), output);
    let old = parts.segment(input);
    let mut new = old.to_vec();
    let (inner, ports) = (inner - parts.transport, ports - parts.transport);
    let addresses = [octets(about.source.ip()), octets(about.destination.ip())].concat();
    if parts.ip.version == 4 {
        let came = |at: usize| u16::from_be_bytes([output[parts.transport + at], output[parts.transport + at + 1]]);
        let given = u16::from_be_bytes([old[inner + 10], old[inner + 11]]);
        new[inner + 12..inner + 20].copy_from_slice(&addresses);
        let sums = [&old[inner..ports], &new[inner..ports]].map(header_checksum);
        let sum = carried_over(given, sums[0], sums[1], came(inner + 10));
        new[inner + 10..inner + 12].copy_from_slice(&sum.to_be_bytes());
    } else {
        new[inner + 8..inner + 40].copy_from_slice(&addresses);
    }
    new[ports..ports + 2].copy_from_slice(&about.source.port().to_be_bytes());
    new[ports + 2..ports + 4].copy_from_slice(&about.destination.port().to_be_bytes());
    let given = u16::from_be_bytes([old[2], old[3]]);
    let came = u16::from_be_bytes([output[parts.transport + 2], output[parts.transport + 3]]);
    let before = [locate(input).offset + if parts.ip.version == 4 { 12 } else { 8 }; 2];
    let length = octets(ends[0]).len();
    let from = [before[0], before[1] + length].map(|at| address(&input[at..at + length]));
    let sum = carried_over(given, right(old, parts.protocol, from), right(&new, parts.protocol, ends), came);
    new[2..4].copy_from_slice(&sum.to_be_bytes());
    let behind = &input[parts.ip.offset + parts.ip.length..];
    [&link, &input[12..parts.ip.offset - 2], &outer.ethertype, &outer.bytes, &new[..], behind].concat()
}
