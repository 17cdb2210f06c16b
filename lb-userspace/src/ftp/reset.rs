//! The end of a control connection that cannot be translated any more: a reset for both sides, so that neither waits for the other.
//!
//! Who has sent the packet says in it which number it expects next. The other side's is not known: its reset has a number in its window,
//! which it answers by one that says it (RFC 5961, section 3.2), and that packet is answered in turn.

use std::net::{IpAddr, SocketAddr};

use lb_common::algo::tcp_state::flag;
use lb_common::wire::transport::{TCP, TCP_HEADER};
use lb_common::wire::{ipv4, ipv6};

use super::segment::{Segment, seal};
use super::{Direction, Translation};

/// Hop count: what Linux begins with.
const HOPS: u8 = 64;

/// Packets that end a connection, from the IP header on.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Resets {
    /// For the sender of the packet that could not be translated.
    pub back: Vec<u8>,
    /// For the side that it was on its way to.
    pub onwards: Vec<u8>,
}

/// Both, for a segment; `received` is a number that the client expects soon.
pub(super) fn resets(segment: &Segment<'_>, translation: &Translation, direction: Direction, received: u32) -> Resets {
    let [(source, destination), onwards] = translation.ends(direction);
    let next = match direction {
        // Nobody changes the client's numbers.
        Direction::FromClient => segment.seq,
        Direction::FromReal => received,
    };
    Resets { back: reset(destination, source, segment.ack), onwards: reset(onwards.0, onwards.1, next) }
}

fn reset(source: SocketAddr, destination: SocketAddr, seq: u32) -> Vec<u8> {
    let mut packet = match (source.ip(), destination.ip()) {
        (IpAddr::V4(source), IpAddr::V4(destination)) => {
            let mut header = vec![0; ipv4::HEADER];
            (header[0], header[8], header[9]) = (0x45, HOPS, TCP);
            header[12..16].copy_from_slice(&source.octets());
            header[16..20].copy_from_slice(&destination.octets());
            header
        }
        (IpAddr::V6(source), IpAddr::V6(destination)) => {
            let mut header = vec![0; ipv6::HEADER];
            (header[0], header[6], header[7]) = (0x60, TCP, HOPS);
            header[8..24].copy_from_slice(&source.octets());
            header[24..40].copy_from_slice(&destination.octets());
            header
        }
        // `Translation::new` makes no such pair.
        (IpAddr::V4(_), IpAddr::V6(_)) | (IpAddr::V6(_), IpAddr::V4(_)) => return Vec::new(),
    };
    let transport = packet.len();
    packet.resize(transport + TCP_HEADER, 0);
    let tcp = &mut packet[transport..];
    tcp[..2].copy_from_slice(&source.port().to_be_bytes());
    tcp[2..4].copy_from_slice(&destination.port().to_be_bytes());
    tcp[4..8].copy_from_slice(&seq.to_be_bytes());
    (tcp[12], tcp[13]) = ((TCP_HEADER as u8 / 4) << 4, flag::RST);
    seal(&mut packet, transport);
    packet
}
