//! SCTP (RFC 9260): the ports, and what the packet's first chunk does to its association.

use super::transport::Transport;
use super::{Packet, View};
use crate::abi::verdict::Verdict;
use crate::algo::sctp_state::{chunk, event};

/// Common header: ports, verification tag, checksum.
pub const HEADER: usize = 12;
/// Type, flags and length that each chunk begins with.
pub const CHUNK: usize = 4;
/// Common header and the begin of the first chunk: no packet is without one.
pub const LEAST: usize = HEADER + CHUNK;

/// Reads the headers at `offset`, of a packet with `length` bytes left from there by its IP header. The first chunk has to be whole.
#[inline(always)]
pub fn parse<P: Packet>(packet: &P, offset: usize, length: usize) -> Result<Transport, Verdict> {
    let view = packet.view::<LEAST>(offset).ok_or(Verdict::Truncated)?;
    let chunk = view.u16::<14>() as usize;
    if chunk < CHUNK || HEADER + chunk > length {
        return Err(Verdict::BadHeader);
    }
    Ok(Transport { ports: view.raw_u32::<0>(), flags: event_of(packet, view, offset, length) })
}

/// Reads the headers of a first fragment, of which `length` bytes are there; its first chunk may go on in others. None without all of
/// [`LEAST`].
#[inline(always)]
pub fn parse_first<P: Packet>(packet: &P, offset: usize, length: usize) -> Option<Transport> {
    let view = packet.view::<LEAST>(offset)?;
    (length >= LEAST && view.u16::<14>() as usize >= CHUNK)
        .then(|| Transport { ports: view.raw_u32::<0>(), flags: event_of(packet, view, offset, length) })
}

/// IPVS goes by the first chunk, but for an ABORT that a COOKIE ECHO or COOKIE ACK is bundled with: these two open, that one ends.
#[inline(always)]
fn event_of<P: Packet>(packet: &P, view: P::View<LEAST>, offset: usize, length: usize) -> u8 {
    let kind = view.u8::<12>();
    if kind == chunk::COOKIE_ECHO || kind == chunk::COOKIE_ACK {
        let chunk = view.u16::<14>() as usize;
        // Chunks begin at multiples of four bytes. The mask cuts what no frame of ours is as long as: the verifier wants a bound.
        let behind = HEADER + ((chunk + 3) & 0xffc);
        // The frame first: from the packet's length the compiler would know of the frame's, which the verifier does not.
        if let Some(next) = packet.view::<CHUNK>(offset + behind)
            && behind + CHUNK <= length
            && behind >= HEADER + chunk
            && next.u8::<0>() == chunk::ABORT
        {
            return event::ABORT;
        }
    }
    event::of_chunk(kind)
}

#[cfg(test)]
mod tests {
    use super::super::slice::Frame;
    use super::*;

    /// Ports 4000 and 80, a verification tag, no checksum, and the chunks.
    fn packet(chunks: &[u8]) -> Vec<u8> {
        [&[0x0f, 0xa0, 0, 80, 1, 2, 3, 4, 0, 0, 0, 0], chunks].concat()
    }

    fn event(chunks: &[u8]) -> Result<u8, Verdict> {
        let packet = packet(chunks);
        parse(&Frame(&packet), 0, packet.len()).map(|transport| transport.flags)
    }

    #[test]
    fn ports_and_the_first_chunk_are_read() {
        let packet = packet(&[1, 0, 0, 4, 7, 0, 0, 8, 0, 0, 0, 0]);
        let transport = parse(&Frame(&packet), 0, packet.len()).unwrap();
        assert_eq!((u16::from_be(transport.source_port()), u16::from_be(transport.destination_port())), (4000, 80));
        assert_eq!(transport.flags, event::INIT, "not the SHUTDOWN behind it");
        assert_eq!(parse_first(&Frame(&packet), 0, packet.len()), Some(transport));
    }

    #[test]
    fn lengths_that_lie_are_refused() {
        for (chunks, verdict) in [
            (&[0, 3, 0, 3, 0, 0, 0, 0][..], Verdict::BadHeader),
            (&[0, 3, 0, 0, 0, 0, 0, 0], Verdict::BadHeader),
            (&[0, 3, 0, 9, 0, 0, 0, 0], Verdict::BadHeader),
            (&[0, 3, 0xff, 0xff, 0, 0, 0, 0], Verdict::BadHeader),
            (&[0, 3, 0], Verdict::Truncated),
            (&[], Verdict::Truncated),
        ] {
            assert_eq!(event(chunks), Err(verdict), "{chunks:?}");
        }
        let padded = packet(&[0, 3, 0, 4, 0, 0, 0, 0]);
        for length in 0..LEAST {
            assert_eq!(parse(&Frame(&padded), 0, length), Err(Verdict::BadHeader), "{length} bytes by the IP header");
        }
    }

    #[test]
    fn an_abort_behind_a_cookie_counts() {
        const ABORT: [u8; 4] = [chunk::ABORT, 0, 0, 4];
        for (kind, opening) in [(chunk::COOKIE_ECHO, event::COOKIE_ECHO), (chunk::COOKIE_ACK, event::COOKIE_ACK)] {
            assert_eq!(event(&[kind, 0, 0, 4]), Ok(opening), "alone");
            assert_eq!(event(&[&[kind, 0, 0, 4][..], &ABORT].concat()), Ok(event::ABORT));
            assert_eq!(event(&[&[kind, 0, 0, 5, 9, 0, 0, 0][..], &ABORT].concat()), Ok(event::ABORT), "behind padding");
            assert_eq!(event(&[&[kind, 0, 0, 5, 9, 0, 0, 0][..], &ABORT[..3]].concat()), Ok(opening), "cut");
            assert_eq!(event(&[&[kind, 0, 0, 4, 0, 3, 0, 4][..], &ABORT].concat()), Ok(opening), "third");
            // In the frame, but behind the packet's end.
            let long = packet(&[&[kind, 0, 0, 4][..], &ABORT].concat());
            assert_eq!(parse(&Frame(&long), 0, 16).map(|transport| transport.flags), Ok(opening));
        }
        assert_eq!(event(&[&[9, 0, 0, 4][..], &ABORT].concat()), Ok(event::ERROR), "as IPVS: behind cookies only");
    }

    #[test]
    fn a_cookie_longer_than_any_frame_hides_nothing() {
        let mut chunks = vec![chunk::COOKIE_ECHO, 0, 0x10, 0x04];
        chunks.resize(0x1004, 0);
        chunks.extend([chunk::ABORT, 0, 0, 4]);
        assert_eq!(event(&chunks), Ok(event::COOKIE_ECHO));
    }

    #[test]
    fn a_first_fragment_needs_its_headers_only() {
        let data = packet(&[0, 3, 0x20, 0, 1, 2, 3, 4]);
        assert_eq!(parse(&Frame(&data), 0, data.len()), Err(Verdict::BadHeader), "as a whole packet");
        assert_eq!(parse_first(&Frame(&data), 0, data.len()).map(|transport| transport.flags), Some(event::DATA));
        assert_eq!(parse_first(&Frame(&data), 0, LEAST - 1), None);
        assert_eq!(parse_first(&Frame(&data[..LEAST - 1]), 0, LEAST - 1), None);
        assert_eq!(parse_first(&Frame(&packet(&[0, 3, 0, 3])), 0, LEAST), None);
    }
}
