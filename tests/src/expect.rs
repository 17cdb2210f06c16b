//! What a forwarded frame must look like: written from RFC 2003, 2473, 4213, 6040, 791, 2784, 768 and the GUE draft, without the code
//! under test.
//!
//! Fields that carry the flow's hash (varying source bits, GUE's source port, IPv6 flow label, the identification of an IPv6 packet's
//! IPv4 tunnel) are taken from what came out; rows of their own say how these must behave.

use std::net::IpAddr;

use lb_common::abi::real::{Real, method};

use crate::packet::checksum;

/// An IP packet inside a frame.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Located {
    /// Where the IP header begins.
    pub offset: usize,
    /// 4 or 6.
    pub version: u8,
    /// Bytes of the packet, by its header.
    pub length: usize,
}

/// Finds the IP packet of a frame that has been forwarded, so is whole.
pub fn locate(frame: &[u8]) -> Located {
    let mut offset = 12;
    while matches!(frame[offset..offset + 2], [0x81, 0x00] | [0x88, 0xa8]) {
        offset += 4;
    }
    offset += 2;
    let version = frame[offset] >> 4;
    let field = |at: usize| usize::from(u16::from_be_bytes([frame[offset + at], frame[offset + at + 1]]));
    let length = if version == 4 { field(2) } else { field(4) + 40 };
    Located { offset, version, length }
}

/// The frame that must come out when `input` is sent to `real`, given the `output` that did.
pub fn forwarded(input: &[u8], real: &Real, output: &[u8]) -> Vec<u8> {
    let mut frame = input.to_vec();
    frame[..6].copy_from_slice(&real.destination_mac);
    frame[6..12].copy_from_slice(&real.source_mac);
    let inner = locate(input);
    let is_v4 = match real.method & !method::CHECKSUM {
        method::DIRECT => return frame,
        method::TUNNEL_V4 | method::GUE_V4 | method::GRE_V4 => true,
        _ => false,
    };
    let outer = [
        if is_v4 { outer_v4(input, inner, real, output) } else { outer_v6(input, inner, real, output) },
        shim(input, inner, real, output),
    ]
    .concat();
    let ethertype: [u8; 2] = if is_v4 { [0x08, 0x00] } else { [0x86, 0xdd] };
    frame[inner.offset - 2..inner.offset].copy_from_slice(&ethertype);
    frame.splice(inner.offset..inner.offset, outer);
    frame
}

/// Linux's `INET_ECN_encapsulate`: CE becomes ECT(0) outside.
fn outer_tos(tos: u8) -> u8 {
    if tos & 3 == 3 { tos & 0xfc | 2 } else { tos }
}

/// `base` with the bits of `vary` as they came out.
fn varied(base: &[u8], vary: u32, came: &[u8]) -> Vec<u8> {
    let vary = vary.to_ne_bytes();
    base.iter().zip(vary).zip(came).map(|((base, vary), came)| base | came & vary).collect()
}

fn outer_v4(input: &[u8], inner: Located, real: &Real, output: &[u8]) -> Vec<u8> {
    let header = &input[inner.offset..];
    let came = &output[inner.offset..inner.offset + 20];
    let (tos, ttl, protocol, identification, fragment) = if inner.version == 4 {
        (header[1], header[8], 4, [header[4], header[5]], header[6] & 0x40)
    } else {
        (header[0] << 4 | header[1] >> 4, header[7], 41, [came[4], came[5]], 0)
    };
    let mut outer = vec![0x45, outer_tos(tos)];
    let (protocol, between) = carried_as(real.method, protocol, is_summed(input, inner, real));
    outer.extend(((inner.length + between + 20) as u16).to_be_bytes());
    outer.extend(identification);
    outer.extend([fragment, 0, ttl, protocol, 0, 0]);
    outer.extend(varied(&real.tunnel_source[..4], real.vary_or_corrections, &came[12..16]));
    outer.extend(&real.address[..4]);
    let sum = checksum(&[&outer]);
    outer[10..12].copy_from_slice(&sum.to_be_bytes());
    outer
}

fn outer_v6(input: &[u8], inner: Located, real: &Real, output: &[u8]) -> Vec<u8> {
    let header = &input[inner.offset..];
    let came = &output[inner.offset..inner.offset + 40];
    let (tos, ttl, protocol) =
        if inner.version == 4 { (header[1], header[8], 4) } else { (header[0] << 4 | header[1] >> 4, header[7], 41) };
    let label = u32::from_be_bytes([0, came[1] & 0x0f, came[2], came[3]]);
    let mut outer = (6u32 << 28 | u32::from(outer_tos(tos)) << 20 | label).to_be_bytes().to_vec();
    let (protocol, between) = carried_as(real.method, protocol, is_summed(input, inner, real));
    outer.extend(((inner.length + between) as u16).to_be_bytes());
    outer.extend([protocol, ttl]);
    outer.extend(&real.tunnel_source[..12]);
    outer.extend(varied(&real.tunnel_source[12..], real.vary_or_corrections, &came[20..24]));
    outer.extend(&real.address);
    outer
}

/// Where a frame's addresses and hop count are: offsets in the IP header, and the addresses' length.
fn places(version: u8) -> (usize, usize, usize) {
    if version == 4 { (12, 4, 8) } else { (8, 16, 7) }
}

/// The frame's MACs and IP addresses, source and destination swapped.
fn turned_round(input: &[u8]) -> Vec<u8> {
    let ip = locate(input);
    let (at, length, _) = places(ip.version);
    let mut frame = input.to_vec();
    frame[..6].copy_from_slice(&input[6..12]);
    frame[6..12].copy_from_slice(&input[..6]);
    let at = ip.offset + at;
    frame[at..at + length].copy_from_slice(&input[at + length..at + 2 * length]);
    frame[at + length..at + 2 * length].copy_from_slice(&input[at..at + length]);
    frame
}

/// Writes the checksum of an ICMP message over its bytes (and for ICMPv6 a pseudo-header) at `transport`.
fn sum_icmp(frame: &mut [u8], ip: Located, transport: usize) {
    let end = ip.offset + ip.length;
    frame[transport + 2..transport + 4].copy_from_slice(&[0, 0]);
    let sum = if ip.version == 4 {
        checksum(&[&frame[transport..end]])
    } else {
        let length = ((end - transport) as u32).to_be_bytes();
        checksum(&[&frame[ip.offset + 8..ip.offset + 40], &length, &[0, 0, 0, 58], &frame[transport..end]])
    };
    frame[transport + 2..transport + 4].copy_from_slice(&sum.to_be_bytes());
}

/// RFC 792, RFC 4443 section 4.2: the request with another type, sent back.
pub fn echo_reply(input: &[u8]) -> Vec<u8> {
    let ip = locate(input);
    let mut frame = turned_round(input);
    frame[ip.offset + places(ip.version).2] = 64;
    let transport = if ip.version == 4 { ip.offset + usize::from(input[ip.offset] & 15) * 4 } else { ip.offset + 40 };
    frame[transport] = if ip.version == 4 { 0 } else { 129 };
    if ip.version == 4 {
        frame[ip.offset + 10..ip.offset + 12].copy_from_slice(&[0, 0]);
        let sum = checksum(&[&frame[ip.offset..transport]]);
        frame[ip.offset + 10..ip.offset + 12].copy_from_slice(&sum.to_be_bytes());
    }
    sum_icmp(&mut frame, ip, transport);
    frame
}

/// RFC 1191, RFC 4443 section 3.2: what goes back to the sender of a packet that does not fit. The MTU that it names is taken from what
/// came out.
pub fn too_big(input: &[u8], output: &[u8]) -> Vec<u8> {
    let ip = locate(input);
    let round = turned_round(input);
    let (at, length, _) = places(ip.version);
    let (from, to) = (&round[ip.offset + at..ip.offset + at + length], &round[ip.offset + at + length..][..length]);
    let (header, kind, quoted): (usize, [u8; 2], usize) =
        if ip.version == 4 { (20, [3, 4], 84) } else { (40, [2, 0], 248) };
    let transport = ip.offset + header;
    let mut packet = if ip.version == 4 {
        let mut header = vec![0x45, 0, 0, 8 + 20 + 84, 0, 0, 0, 0, 64, 1, 0, 0];
        header.extend([from, to].concat());
        let sum = checksum(&[&header]);
        header[10..12].copy_from_slice(&sum.to_be_bytes());
        header
    } else {
        [&[0x60, 0, 0, 0, 1, 0, 58, 64], from, to].concat()
    };
    packet.extend(kind);
    packet.extend([0, 0]);
    // IPv4 has the MTU in the last two of these four bytes, behind two that are zero (RFC 1191 section 4).
    let mtu = &output[transport + 4..transport + 8];
    assert!(ip.version == 6 || mtu[..2] == [0, 0], "unused bytes");
    packet.extend(mtu);
    packet.extend(&input[ip.offset..ip.offset + quoted]);
    let mut frame = [&round[..ip.offset], &packet].concat();
    let told = locate(&frame);
    sum_icmp(&mut frame, told, transport);
    frame
}

/// Protocol number in the outer header, and bytes between it and the packet.
fn carried_as(by: u8, protocol: u8, is_summed: bool) -> (u8, usize) {
    match by & !method::CHECKSUM {
        method::GUE_V4 | method::GUE_V6 => (17, 8),
        method::GRE_V4 | method::GRE_V6 => (47, if is_summed { 8 } else { 4 }),
        _ => (protocol, 0),
    }
}

/// The header between has a checksum: asked for, and the packet's own checksums say what it is.
fn is_summed(input: &[u8], inner: Located, real: &Real) -> bool {
    let header = &input[inner.offset..];
    let (protocol, transport, is_plain) = if inner.version == 4 {
        (header[9], 20, header[0] == 0x45 && header[6] & 0x3f == 0 && header[7] == 0)
    } else {
        (header[6], 40, true)
    };
    let is_known = match protocol {
        1 | 6 | 58 => true,
        17 => header[transport + 6..transport + 8] != [0, 0],
        _ => false,
    };
    real.method & method::CHECKSUM != 0 && is_plain && is_known
}

/// A plain packet with the checksums that its bytes want. The director believes those that came and reads no payload, so what it writes
/// fits this packet, not one that came damaged.
fn righted(packet: &[u8]) -> Vec<u8> {
    let mut packet = packet.to_vec();
    let (transport, protocol) = if packet[0] >> 4 == 4 { (20, packet[9]) } else { (40, packet[6]) };
    let at = transport
        + [(1, 2), (6, 16), (17, 6), (58, 2)].iter().find(|(known, _)| *known == protocol).expect("a checksum").1;
    packet[at..at + 2].copy_from_slice(&[0, 0]);
    let length = ((packet.len() - transport) as u32).to_be_bytes();
    let pseudo =
        [if transport == 20 { &packet[12..20] } else { &packet[8..40] }, &length, &[0, 0, 0, protocol]].concat();
    let sum = checksum(&[if protocol == 1 { &[] } else { &pseudo }, &packet[transport..]]);
    packet[at..at + 2].copy_from_slice(&if protocol == 17 && sum == 0 { 0xffff } else { sum }.to_be_bytes());
    if transport == 20 {
        packet[10..12].copy_from_slice(&[0, 0]);
        let sum = checksum(&[&packet[..20]]);
        packet[10..12].copy_from_slice(&sum.to_be_bytes());
    }
    packet
}

/// The UDP or GRE header in front of the packet, its checksum added up byte by byte.
fn shim(input: &[u8], inner: Located, real: &Real, output: &[u8]) -> Vec<u8> {
    let packet = &input[inner.offset..inner.offset + inner.length];
    let is_summed = is_summed(input, inner, real);
    let packet = &if is_summed { righted(packet) } else { packet.to_vec() };
    let by = real.method & !method::CHECKSUM;
    match by {
        method::GUE_V4 | method::GUE_V6 => {
            let outer = locate(output);
            let header = if by == method::GUE_V4 { 20 } else { 40 };
            let came = &output[outer.offset..outer.offset + header + 2];
            let source_port = u16::from_be_bytes([came[header], came[header + 1]]);
            assert!(source_port >= 0xc000, "a dynamic source port, not {source_port}");
            let addresses = if by == method::GUE_V4 { &came[12..20] } else { &came[8..40] };
            let length = (packet.len() as u16 + 8).to_be_bytes();
            let mut udp = [source_port.to_be_bytes(), real.tunnel_port.to_be_bytes(), length, [0, 0]].concat();
            if is_summed {
                let sum = checksum(&[addresses, &[0, 17], &length, &udp, packet]);
                udp[6..8].copy_from_slice(&if sum == 0 { 0xffff } else { sum }.to_be_bytes());
            }
            udp
        }
        method::GRE_V4 | method::GRE_V6 => {
            let ethertype: [u8; 2] = if inner.version == 4 { [0x08, 0x00] } else { [0x86, 0xdd] };
            if !is_summed {
                return [[0, 0], ethertype].concat();
            }
            let mut gre = [[0x80, 0], ethertype, [0, 0], [0, 0]].concat();
            let sum = checksum(&[&gre, packet]);
            gre[4..6].copy_from_slice(&sum.to_be_bytes());
            gre
        }
        _ => Vec::new(),
    }
}

/// Source address of a frame's outermost IP header.
pub fn source(frame: &[u8]) -> IpAddr {
    let ip = locate(frame);
    if ip.version == 4 {
        IpAddr::from(<[u8; 4]>::try_from(&frame[ip.offset + 12..ip.offset + 16]).expect("four bytes"))
    } else {
        IpAddr::from(<[u8; 16]>::try_from(&frame[ip.offset + 8..ip.offset + 24]).expect("sixteen bytes"))
    }
}
