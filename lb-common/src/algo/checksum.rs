//! The Internet checksum (RFC 1071), on 16-bit words as they stand in memory.
//!
//! One's-complement addition does not care about byte order, so raw words give a raw checksum: nothing is swapped.

/// Adds the two halves of a raw 32-bit header word.
#[inline(always)]
pub const fn add_u32(sum: u32, word: u32) -> u32 {
    sum + (word & 0xffff) + (word >> 16)
}

/// Folds the carries and complements. Exact for sums of up to 65 537 words.
#[inline(always)]
pub const fn finish(sum: u32) -> u16 {
    let sum = (sum & 0xffff) + (sum >> 16);
    let sum = (sum & 0xffff) + (sum >> 16);
    !(sum as u16)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// RFC 1071 section 4.1, byte by byte in network order.
    fn reference(bytes: &[u8]) -> u16 {
        let mut sum: u64 = bytes.chunks(2).map(|pair| u64::from(u16::from_be_bytes([pair[0], pair[1]]))).sum();
        while sum > 0xffff {
            sum = (sum & 0xffff) + (sum >> 16);
        }
        !(sum as u16)
    }

    proptest! {
        #[test]
        fn equals_the_reference(words in prop::collection::vec(any::<u32>(), 0..20)) {
            let bytes: Vec<u8> = words.iter().flat_map(|w| w.to_ne_bytes()).collect();
            let raw = finish(words.iter().fold(0, |sum, &word| add_u32(sum, word)));
            prop_assert_eq!(u16::from_be_bytes(raw.to_ne_bytes()), reference(&bytes));
        }
    }
}
