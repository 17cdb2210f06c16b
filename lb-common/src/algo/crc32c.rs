//! The checksum of SCTP (CRC32c, RFC 9260 appendix A) of a packet whose ports change, without reading the packet.
//!
//! A CRC is linear over GF(2): that of the changed packet differs by the CRC of the change alone, which is zeros but for its first four
//! bytes, the ports. Read as a polynomial, with a remainder's highest bit for x^0 as the CRC's reflected bits have it, the ports move up by
//! 8 places for each byte of the packet: their change times x^(8 * length), modulo the CRC's polynomial.

/// CRC32c's polynomial, reflected.
const POLYNOMIAL: u32 = 0x82f6_3b78;
/// x^0.
const ONE: u32 = 1 << 31;

/// What the datapath reads: 3 kB, read-only data of the eBPF object.
struct Tables {
    /// A byte's worth of remainder, moved up by 8 places: the table of the usual CRC, byte by byte.
    byte: [u32; 256],
    /// x^(8 * n) and x^(8 * 256 * n), n below 256: a length in two bytes takes two products.
    shift: [[u32; 256]; 2],
}

static TABLES: Tables = {
    let mut tables = Tables { byte: [0; 256], shift: [[ONE; 256]; 2] };
    let mut n = 0;
    while n < 256 {
        tables.byte[n] = by_a_byte(n as u32);
        n += 1;
    }
    let mut step = by_a_byte(ONE);
    let mut half = 0;
    while half < 2 {
        let mut n = 1;
        while n < 256 {
            tables.shift[half][n] = tables.product(tables.shift[half][n - 1], step);
            n += 1;
        }
        step = tables.product(tables.shift[half][255], step);
        half += 1;
    }
    tables
};

/// Times x^8.
const fn by_a_byte(mut value: u32) -> u32 {
    let mut bit = 0;
    while bit < 8 {
        value = (value >> 1) ^ if value & 1 == 1 { POLYNOMIAL } else { 0 };
        bit += 1;
    }
    value
}

/// Product of two polynomials, not reduced. An ordinary multiplication would carry; of factors with every fourth bit only, at most eight
/// ones meet in a place, and their sum's carries end in the three places above it, which are masked away. No branch: the verifier walks
/// one path.
#[inline(always)]
const fn carryless(a: u32, b: u32) -> u64 {
    const EVERY_FOURTH: u64 = 0x1111_1111_1111_1111;
    let (a, b) = (a as u64, b as u64);
    let mut product = 0;
    let mut place = 0;
    while place < 4 {
        let mut sum = 0;
        let mut from = 0;
        while from < 4 {
            sum ^= (a & (EVERY_FOURTH << from)).wrapping_mul(b & (EVERY_FOURTH << ((place + 4 - from) & 3)));
            from += 1;
        }
        product |= sum & (EVERY_FOURTH << place);
        place += 1;
    }
    product
}

impl Tables {
    /// Product modulo the polynomial.
    #[inline(always)]
    const fn product(&self, a: u32, b: u32) -> u32 {
        // Bit n of a factor is x^(31 - n), so bit n of the shifted product is x^(63 - n): x^0 to x^31 above, what is to be reduced below.
        let product = carryless(a, b) << 1;
        let mut rest = product as u32;
        let mut byte = 0;
        while byte < 4 {
            rest = (rest >> 8) ^ self.byte[(rest & 0xff) as usize];
            byte += 1;
        }
        (product >> 32) as u32 ^ rest
    }
}

/// The checksum of an SCTP packet after its ports have changed. All are raw: the checksum and both ports, source port first, as they stand
/// in memory. `sctp_length` is the packet's length from its ports to its end, padding of chunks included, in bytes, at most 65 535.
///
/// A checksum that was wrong stays wrong. One that was left out (0, RFC 9653) becomes a wrong one: it is left out inside of DTLS only, which
/// is no SCTP to us.
#[inline(always)]
pub fn replace_ports(checksum: u32, old_ports: u32, new_ports: u32, sctp_length: u32) -> u32 {
    // The checksum stands in the packet with its lowest byte first, and the ports' first byte goes first into it.
    let mut change = (old_ports ^ new_ports).to_le();
    change = TABLES.product(change, TABLES.shift[0][(sctp_length & 0xff) as usize]);
    if sctp_length > 0xff {
        change = TABLES.product(change, TABLES.shift[1][((sctp_length >> 8) & 0xff) as usize]);
    }
    checksum ^ change.to_le()
}

#[cfg(test)]
mod tests {
    use crc::{CRC_32_ISCSI, Crc};
    use proptest::prelude::*;

    use super::*;

    /// The whole packet added up, its checksum's place counting as zeros: raw.
    fn checksum(packet: &[u8]) -> u32 {
        let crc = Crc::<u32>::new(&CRC_32_ISCSI);
        let mut digest = crc.digest();
        digest.update(&packet[..8]);
        digest.update(&[0; 4]);
        digest.update(&packet[12..]);
        u32::from_ne_bytes(digest.finalize().to_le_bytes())
    }

    fn replaced(packet: &[u8], ports: [u8; 4]) -> (u32, u32) {
        let old = u32::from_ne_bytes([packet[0], packet[1], packet[2], packet[3]]);
        let told = replace_ports(checksum(packet), old, u32::from_ne_bytes(ports), packet.len() as u32);
        let mut changed = packet.to_vec();
        changed[..4].copy_from_slice(&ports);
        (told, checksum(&changed))
    }

    #[test]
    fn every_length_up_to_a_jumbo_frame() {
        let packet: Vec<u8> = (0..9216u32).map(|n| (n * 167) as u8).collect();
        for length in 12..packet.len() {
            let (told, summed) = replaced(&packet[..length], [1, 2, 3, 4]);
            assert_eq!(told, summed, "{length} bytes");
        }
    }

    #[test]
    fn the_longest_packet() {
        let (told, summed) = replaced(&[0x5a; 0xffff], [0xff, 0, 0, 1]);
        assert_eq!(told, summed);
    }

    proptest! {
        #[test]
        fn equals_the_packet_added_up_anew(packet in prop::collection::vec(any::<u8>(), 12..2000), ports: [u8; 4]) {
            let (told, summed) = replaced(&packet, ports);
            prop_assert_eq!(told, summed);
        }

        #[test]
        fn the_same_ports_change_nothing(checksum: u32, ports: u32, length in 0u32..=0xffff) {
            prop_assert_eq!(replace_ports(checksum, ports, ports, length), checksum);
        }
    }
}
