//! A frame in a byte slice: what host tests, property tests and the fuzzer parse, and what user space rewrites.

use core::cell::Cell;

use super::{Edit, Editable, Packet, View};

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

/// A frame in memory that may be changed.
#[derive(Clone, Copy, Debug)]
pub struct Draft<'a>(&'a [Cell<u8>]);

/// N bytes of it.
#[derive(Clone, Copy, Debug)]
pub struct Cells<'a, const N: usize>(&'a [Cell<u8>; N]);

impl<'a> Draft<'a> {
    /// The frame in these bytes.
    pub fn new(bytes: &'a mut [u8]) -> Self {
        Self(Cell::from_mut(bytes).as_slice_of_cells())
    }
}

impl<'a> Packet for Draft<'a> {
    type View<const N: usize> = Cells<'a, N>;

    fn view<const N: usize>(&self, offset: usize) -> Option<Cells<'a, N>> {
        self.0.get(offset..)?.first_chunk().map(Cells)
    }

    fn remaining(&self, offset: usize) -> usize {
        self.0.len().saturating_sub(offset)
    }
}

impl<'a> Editable for Draft<'a> {
    type Edit<const N: usize> = Cells<'a, N>;

    fn edit<const N: usize>(&self, offset: usize) -> Option<Cells<'a, N>> {
        self.view(offset)
    }
}

impl<const N: usize> View<N> for Cells<'_, N> {
    fn u8<const O: usize>(self) -> u8 {
        const { assert!(O < N) };
        self.0[O].get()
    }
    fn raw_u16<const O: usize>(self) -> u16 {
        const { assert!(O + 2 <= N) };
        u16::from_ne_bytes([self.0[O].get(), self.0[O + 1].get()])
    }
    fn raw_u32<const O: usize>(self) -> u32 {
        const { assert!(O + 4 <= N) };
        u32::from_ne_bytes([0, 1, 2, 3].map(|byte| self.0[O + byte].get()))
    }
}

impl<const N: usize> Edit<N> for Cells<'_, N> {
    fn set_u16<const O: usize>(self, value: u16) {
        const { assert!(O + 2 <= N) };
        for (cell, byte) in self.0[O..].iter().zip(value.to_ne_bytes()) {
            cell.set(byte);
        }
    }
    fn set_u32<const O: usize>(self, value: u32) {
        const { assert!(O + 4 <= N) };
        for (cell, byte) in self.0[O..].iter().zip(value.to_ne_bytes()) {
            cell.set(byte);
        }
    }
}
