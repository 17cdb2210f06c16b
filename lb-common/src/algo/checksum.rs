//! The Internet checksum (RFC 1071), on 16-bit words as they stand in memory.
//!
//! One's-complement addition does not care about byte order, so raw words give a raw checksum: nothing is swapped.

/// Adds the two halves of a raw 32-bit header word.
#[inline(always)]
pub const fn add_u32(sum: u32, word: u32) -> u32 {
    sum + (word & 0xffff) + (word >> 16)
}

/// Adds the four quarters of a raw 64-bit header word.
#[inline(always)]
pub const fn add_u64(sum: u32, word: u64) -> u32 {
    add_u32(add_u32(sum, word as u32), (word >> 32) as u32)
}

/// Folds a sum of whole 32-bit words, each as one number: an addition a word, where [`add_u32`] takes four steps. Exact for sums
/// below 2^63.
#[inline(always)]
pub const fn fold(sum: u64) -> u32 {
    let sum = (sum & 0xffff_ffff) + (sum >> 32);
    ((sum & 0xffff) + (sum >> 16)) as u32
}

/// What takes a sum below 2^48 away when it is added: a multiple of 65 535, less the sum.
#[inline(always)]
pub const fn negative(sum: u64) -> u64 {
    (0xffff << 32) - sum
}

/// Folds the carries and complements. Exact for sums of up to 65 537 words.
#[inline(always)]
pub const fn finish(sum: u32) -> u16 {
    let sum = (sum & 0xffff) + (sum >> 16);
    let sum = (sum & 0xffff) + (sum >> 16);
    !(sum as u16)
}

/// A header's raw checksum after one of its raw words has changed (RFC 1624, equation 3).
#[inline(always)]
pub const fn replace(checksum: u16, old: u16, new: u16) -> u16 {
    finish((!checksum) as u32 + (!old) as u32 + new as u32)
}

/// What a checksum has to be corrected by when words under it change: a sum that is folded once, at the end (RFC 1624, equation 3).
/// Exact for up to 2^16 words.
#[derive(Clone, Copy, Debug, Default)]
pub struct Delta(u64);

impl Delta {
    /// Nothing has changed.
    pub const NONE: Self = Self(0);

    /// A raw 32-bit word has changed.
    #[inline(always)]
    pub const fn u32(self, old: u32, new: u32) -> Self {
        Self(self.0 + !old as u64 + new as u64)
    }

    /// A raw 16-bit word has changed.
    #[inline(always)]
    pub const fn u16(self, old: u16, new: u16) -> Self {
        Self(self.0 + !old as u64 + new as u64)
    }

    /// A raw 16-bit word has become less by `less`, which it was not less than.
    #[inline(always)]
    pub const fn less(self, less: u16) -> Self {
        // The complement of what it was and what it is, whatever that was.
        Self(self.0 + !less as u64)
    }

    /// Two raw 64-bit words have changed.
    #[inline(always)]
    pub const fn u128(self, old: [u64; 2], new: [u64; 2]) -> Self {
        let first = self.u32(old[0] as u32, new[0] as u32).u32((old[0] >> 32) as u32, (new[0] >> 32) as u32);
        first.u32(old[1] as u32, new[1] as u32).u32((old[1] >> 32) as u32, (new[1] >> 32) as u32)
    }

    /// Words of which `sum` is the sum have come in.
    #[inline(always)]
    pub const fn added(self, sum: u32) -> Self {
        Self(self.0 + sum as u64)
    }

    /// The same correction in 16 bits, never 0.
    pub const fn folded(self) -> u16 {
        match !self.apply(!0) {
            0 => !0,
            folded => folded,
        }
    }

    /// The raw checksum, corrected.
    #[inline(always)]
    pub const fn apply(self, checksum: u16) -> u16 {
        let sum = self.0 + !checksum as u64;
        // Below 2^32 + 2^16, then at most 0x1_fffe: whether or not there was a carry into bit 32, both halves are not all ones. So the
        // last carry makes no other.
        let sum = (sum & 0xffff_ffff) + (sum >> 32);
        let sum = (sum & 0xffff) + (sum >> 16);
        !((sum + (sum >> 16)) as u16)
    }
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

        #[test]
        fn whole_words_sum_up_to_the_same(words in prop::collection::vec(any::<u32>(), 1..20), taken in 0usize..20) {
            let whole = |words: &[u32]| words.iter().map(|&word| u64::from(word)).sum::<u64>();
            let by_halves = |words: &[u32]| finish(words.iter().fold(0, |sum, &word| add_u32(sum, word)));
            prop_assert_eq!(finish(fold(whole(&words))), by_halves(&words));
            let rest = &words[taken % words.len()..];
            // Of nothing but zeros there are two sums.
            prop_assume!(rest.iter().any(|&word| word != 0));
            let taken = &words[..taken % words.len()];
            prop_assert_eq!(finish(fold(whole(&words) + negative(whole(taken)))), by_halves(rest));
        }

        #[test]
        fn replacing_a_word_equals_summing_anew(words in prop::collection::vec(any::<u32>(), 1..10), new: u16) {
            // A header is never all zeros, where the two forms of zero would differ.
            let mut words = words;
            words[0] |= 0x4500_0000;
            let sum = |words: &[u32]| finish(words.iter().fold(0, |sum, &word| add_u32(sum, word)));
            let before = sum(&words);
            let old = words[words.len() - 1] as u16;
            let last = words.len() - 1;
            words[last] = (words[last] & 0xffff_0000) | u32::from(new);
            prop_assert_eq!(replace(before, old, new), sum(&words));
        }

        #[test]
        fn a_delta_equals_summing_anew(words in prop::collection::vec(any::<u32>(), 3..12), new: [u32; 2], half: u16) {
            let mut words = words;
            words[0] |= 0x4500_0000;
            let sum = |words: &[u32]| finish(words.iter().fold(0, |sum, &word| add_u32(sum, word)));
            let (before, last) = (sum(&words), words.len() - 1);
            let low = words[0] as u16;
            let delta = Delta::NONE.u32(words[last], new[0]).u32(words[last - 1], new[1]).u16(low, half);
            let half_less = Delta::NONE.u32(words[last], new[0]).u32(words[last - 1], new[1]).less(low & half);
            (words[last], words[last - 1]) = (new[0], new[1]);
            words[0] = words[0] & 0xffff_0000 | u32::from(half);
            prop_assert_eq!(delta.apply(before), sum(&words));
            words[0] = words[0] & 0xffff_0000 | u32::from(low - (low & half));
            prop_assert_eq!(half_less.apply(before), sum(&words));
        }
    }
}
