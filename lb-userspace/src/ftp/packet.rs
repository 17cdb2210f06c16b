//! One packet through the director: addresses, ports, numbers and text as the other side has to see them.
//!
//! Nearly always one packet comes of one. A reply that the longer address lifts above the MTU becomes two: were it refused, its sender
//! would send the same again and again, for only a path MTU message makes it send less, and none is due for a packet that fitted when
//! it came. A packet that came too long is refused: that is for the datapath, which tells its sender.

use std::net::{IpAddr, SocketAddr};

use lb_common::algo::tcp_state::flag;
use lb_common::wire::transport::TCP_HEADER;

use super::adjust::Edits;
use super::expect::Expectation;
use super::segment::{Segment, seal};
use super::session::Session;
use super::{Direction, Notice, Translation};

const PUSH: u8 = 0x08;
const URGENT: u8 = 0x20;

/// Option kinds (RFC 9293, section 3.1; RFC 2018, section 3).
const END_OF_OPTIONS: u8 = 0;
const NO_OPERATION: u8 = 1;
const SACK: u8 = 5;

/// What comes of a packet.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Translated {
    /// What to send, from the IP header on, in this order.
    pub packets: Vec<Vec<u8>>,
    /// Data connections that may come from now on.
    pub expectations: Vec<Expectation>,
    /// What else was learnt.
    pub notices: Vec<Notice>,
}

/// Translates one packet of a control connection.
pub fn translate(
    segment: &Segment<'_>,
    translation: &Translation,
    direction: Direction,
    session: &mut Session,
) -> Translated {
    let found = session.read(direction, segment.data_seq(), segment.payload(), translation);
    let [_, leaves] = translation.ends(direction);
    let mut head = segment.packet[..segment.data].to_vec();
    write_ends(&mut head, segment.transport, leaves);
    let edits = session.edits();
    let packets = match direction {
        _ if edits.is_empty() => pieces(&head, segment, segment.seq, segment.payload()),
        Direction::FromClient => {
            let tcp = &mut head[segment.transport..];
            if segment.has(flag::ACK) {
                tcp[8..12].copy_from_slice(&edits.to_sender(segment.ack).to_be_bytes());
            }
            selective(&mut tcp[TCP_HEADER..], edits);
            pieces(&head, segment, segment.seq, segment.payload())
        }
        Direction::FromReal => {
            let seq = edits.to_receiver(segment.seq);
            let tcp = &mut head[segment.transport..];
            if segment.has(URGENT) {
                let urgent = segment.seq.wrapping_add(u16::from_be_bytes([tcp[18], tcp[19]]).into());
                let ahead = edits.to_receiver(urgent).wrapping_sub(seq).min(u16::MAX.into()) as u16;
                tcp[18..20].copy_from_slice(&ahead.to_be_bytes());
            }
            pieces(&head, segment, seq, &edits.apply(segment.data_seq(), segment.payload()))
        }
    };
    Translated { packets, expectations: found.expectations, notices: found.notices }
}

fn write_ends(head: &mut [u8], transport: usize, (source, destination): (SocketAddr, SocketAddr)) {
    match (source.ip(), destination.ip()) {
        (IpAddr::V4(source), IpAddr::V4(destination)) => {
            head[12..16].copy_from_slice(&source.octets());
            head[16..20].copy_from_slice(&destination.octets());
        }
        (IpAddr::V6(source), IpAddr::V6(destination)) => {
            head[8..24].copy_from_slice(&source.octets());
            head[24..40].copy_from_slice(&destination.octets());
        }
        // `Translation::new` makes no such pair.
        (IpAddr::V4(_), IpAddr::V6(_)) | (IpAddr::V6(_), IpAddr::V4(_)) => {}
    }
    head[transport..transport + 2].copy_from_slice(&source.port().to_be_bytes());
    head[transport + 2..transport + 4].copy_from_slice(&destination.port().to_be_bytes());
}

/// Rewrites the blocks of a SACK option from the receiver's count to the sender's. A block inside a replaced text can cover no whole
/// byte of the old one: it is left out, and no-operations fill its place.
fn selective(mut options: &mut [u8], edits: &Edits) {
    loop {
        options = match *options {
            [NO_OPERATION, ref mut rest @ ..] => rest,
            [kind, length, ..] if kind != END_OF_OPTIONS && (2..=options.len()).contains(&length.into()) => {
                let (option, rest) = options.split_at_mut(length.into());
                if kind == SACK {
                    blocks(option, edits);
                }
                rest
            }
            // The end, or a length that lies: nobody reads on behind it.
            _ => return,
        };
    }
}

fn blocks(option: &mut [u8], edits: &Edits) {
    let (old, rest) = option[2..].as_chunks::<8>();
    if !rest.is_empty() {
        return;
    }
    let number = |bytes: &[u8]| bytes.iter().fold(0, |number: u32, &byte| number << 8 | u32::from(byte));
    let edges =
        old.iter().map(|block| (edits.to_sender_from(number(&block[..4])), edits.to_sender(number(&block[4..]))));
    let covers = |&(left, right): &(u32, u32)| super::stream::distance(left, right) > 0;
    let new: Vec<u8> =
        edges.filter(covers).flat_map(|(left, right)| [left.to_be_bytes(), right.to_be_bytes()]).flatten().collect();
    // Without any block the option goes, too.
    let length = if new.is_empty() { 0 } else { 2 + new.len() };
    option[length..].fill(NO_OPERATION);
    if length > 0 {
        option[1] = length as u8;
        option[2..length].copy_from_slice(&new);
    }
}

/// The packets that carry this data with that header.
fn pieces(head: &[u8], segment: &Segment<'_>, seq: u32, data: &[u8]) -> Vec<Vec<u8>> {
    let room = usize::from(segment.mtu).saturating_sub(head.len()).max(1);
    let last = data.len().saturating_sub(1) / room;
    let piece = |n: usize| {
        let text = &data[n * room..((n + 1) * room).min(data.len())];
        let mut packet = [head, text].concat();
        let tcp = &mut packet[segment.transport..];
        tcp[4..8].copy_from_slice(&seq.wrapping_add((n * room) as u32).to_be_bytes());
        // The end and its hurry belong to the last piece, the urgent pointer to the first, from whose begin it counts.
        tcp[13] &= !if n < last { flag::FIN | PUSH } else { 0 };
        tcp[13] &= !if n > 0 { URGENT } else { 0 };
        if n > 0 && packet[0] >> 4 == 4 {
            // Far from the numbers that the real gives out next, lest fragments of two packets be mixed (RFC 6864).
            packet[4] ^= 0x80;
        }
        seal(&mut packet, segment.transport);
        packet
    };
    (0..=last).map(piece).collect()
}
