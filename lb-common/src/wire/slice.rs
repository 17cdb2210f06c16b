//! A frame in a byte slice: what host tests, property tests and the fuzzer parse.

use super::{Packet, View};

/// A frame in memory.
#[derive(Clone, Copy, Debug)]
pub struct Frame<'a>(pub &'a [u8]);

/// N bytes of it.
#[derive(Clone, Copy, Debug)]
pub struct Bytes<'a, const N: usize>(&'a [u8; N]);

impl<'a> Packet for Frame<'a> {
    type View<const N: usize> = Bytes<'a, N>;

    fn view<const N: usize>(&self, offset: usize) -> Option<Bytes<'a, N>> {
        self.0.get(offset..)?.first_chunk().map(Bytes)
    }

    fn remaining(&self, offset: usize) -> usize {
        self.0.len().saturating_sub(offset)
    }
}

impl<const N: usize> View<N> for Bytes<'_, N> {
    fn u8<const O: usize>(self) -> u8 {
        const { assert!(O < N) };
        self.0[O]
    }
    fn raw_u16<const O: usize>(self) -> u16 {
        const { assert!(O + 2 <= N) };
        u16::from_ne_bytes([self.0[O], self.0[O + 1]])
    }
    fn raw_u32<const O: usize>(self) -> u32 {
        const { assert!(O + 4 <= N) };
        u32::from_ne_bytes([self.0[O], self.0[O + 1], self.0[O + 2], self.0[O + 3]])
    }
}
