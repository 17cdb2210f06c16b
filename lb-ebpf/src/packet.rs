//! The frame under an XDP program: the only code that makes pointers from a context.
//!
//! Loads and stores go through inline assembly: header fields are not aligned to their size in memory, which Rust's own loads would
//! split into bytes, while BPF on x86-64 takes them as they are.
#![expect(unsafe_code, reason = "packet memory is reached through raw pointers, each checked against the frame's end")]

use core::arch::asm;

use aya_ebpf::bindings::xdp_md;
use lb_common::abi::verdict::Verdict;
use lb_common::wire::{Edit, Editable, Packet, View};

use crate::immediate::{apart, masked};

/// A frame between the two pointers of its context.
#[derive(Clone, Copy)]
pub struct Frame {
    start: usize,
    end: usize,
}

/// N bytes inside a frame.
#[derive(Clone, Copy)]
pub struct Window<const N: usize>(usize);

// === impl Frame ===

impl Frame {
    /// The frame of a context, as it is now: a helper that moves the frame's head makes earlier ones void.
    ///
    /// # Safety
    /// `ctx` must be the context that the kernel gave to the running program.
    #[inline(always)]
    pub unsafe fn new(ctx: *mut xdp_md) -> Self {
        // SAFETY: the caller's promise.
        let (start, end) = unsafe { ((*ctx).data as usize, (*ctx).data_end as usize) };
        Self { start, end }
    }
}

impl Packet for Frame {
    type View<const N: usize> = Window<N>;

    #[inline(always)]
    fn view<const N: usize>(&self, offset: usize) -> Option<Window<N>> {
        let start = self.start + offset;
        if start + N > self.end {
            apart();
            None
        } else {
            Some(Window(start))
        }
    }

    // One comparison of addresses. Both numbers are far below what could wrap, but kernel 6.1 does not know it of a length whose bytes
    // were turned round.
    #[inline(always)]
    fn holds(&self, offset: usize, length: usize) -> bool {
        self.start + offset + masked::<0x1_ffff>(length as u32) as usize <= self.end
    }

    #[inline(always)]
    fn bad_header(&self) -> Verdict {
        apart();
        Verdict::BadHeader
    }

    #[inline(always)]
    fn remaining(&self, offset: usize) -> usize {
        (self.end - self.start).saturating_sub(offset)
    }
}

impl Editable for Frame {
    type Edit<const N: usize> = Window<N>;

    #[inline(always)]
    fn edit<const N: usize>(&self, offset: usize) -> Option<Window<N>> {
        self.view(offset)
    }
}

// === impl Window ===

macro_rules! load {
    ($window:expr, $offset:expr, $type:literal, $most:expr) => {{
        let value: u64;
        // SAFETY: the window's N bytes lie inside the frame, and the offset and width lie inside N (asserted beside each use).
        // The kernel's verifier proves the same for the loaded program.
        unsafe {
            asm!(
                concat!("{value} = *(", $type, " *)({start} + {offset})"),
                value = lateout(reg) value,
                start = in(reg) $window.0,
                offset = const $offset,
                options(readonly, nostack),
            );
            // BPF loads clear the upper bits; the compiler would clear them once more.
            core::hint::assert_unchecked(value <= $most);
        }
        value
    }};
}

macro_rules! store {
    ($window:expr, $offset:expr, $type:literal, $value:expr) => {
        // SAFETY: as for loads; XDP gives the program exclusive write access to the frame while it runs.
        unsafe {
            asm!(
                concat!("*(", $type, " *)({start} + {offset}) = {value}"),
                value = in(reg) u64::from($value),
                start = in(reg) $window.0,
                offset = const $offset,
                options(nostack),
            );
        }
    };
}

/// Turns round the two bytes of a value. The instruction clears the upper bits; the compiler's own is followed by one that does it again.
#[inline(always)]
fn be16(value: u16) -> u16 {
    let mut value = u64::from(value);
    // SAFETY: changes the register it is given, nothing else.
    unsafe {
        asm!("{value} = be16 {value}", value = inout(reg) value, options(pure, nomem, nostack));
        core::hint::assert_unchecked(value <= 0xffff);
    }
    value as u16
}

impl<const N: usize> View<N> for Window<N> {
    #[inline(always)]
    fn u8<const O: usize>(self) -> u8 {
        const { assert!(O < N) };
        load!(self, O, "u8", 0xff) as u8
    }

    #[inline(always)]
    fn raw_u16<const O: usize>(self) -> u16 {
        const { assert!(O + 2 <= N) };
        load!(self, O, "u16", 0xffff) as u16
    }

    #[inline(always)]
    fn u16<const O: usize>(self) -> u16 {
        be16(self.raw_u16::<O>())
    }

    #[inline(always)]
    fn raw_u32<const O: usize>(self) -> u32 {
        const { assert!(O + 4 <= N) };
        load!(self, O, "u32", 0xffff_ffff) as u32
    }

    #[inline(always)]
    fn raw_u64<const O: usize, const P: usize>(self) -> u64 {
        const { assert!(P == O + 4 && O + 8 <= N) };
        load!(self, O, "u64", u64::MAX)
    }
}

impl<const N: usize> Edit<N> for Window<N> {
    #[inline(always)]
    fn set_u16<const O: usize>(self, value: u16) {
        const { assert!(O + 2 <= N) };
        store!(self, O, "u16", value);
    }

    #[inline(always)]
    fn set_u32<const O: usize>(self, value: u32) {
        const { assert!(O + 4 <= N) };
        store!(self, O, "u32", value);
    }

    #[inline(always)]
    fn set_u64<const O: usize, const P: usize>(self, value: u64) {
        const { assert!(P == O + 4 && O + 8 <= N) };
        store!(self, O, "u64", value);
    }
}

impl<const N: usize> Window<N> {
    /// Sum of its 16-bit words, as they stand in memory, folded to at most 17 bits. N is a multiple of four, 512 at most.
    #[inline(always)]
    pub fn sum(self) -> u32 {
        const { assert!(N.is_multiple_of(4) && N <= 512) };
        // SAFETY: the window's N bytes lie inside the frame; nothing else is read.
        let sum = unsafe {
            aya_ebpf::helpers::generated::bpf_csum_diff(core::ptr::null_mut(), 0, self.0 as *mut u32, N as u32, 0)
        } as u32;
        (sum & 0xffff) + (sum >> 16)
    }

    /// Stores two bytes at `O` as they are in memory.
    #[inline(always)]
    pub fn set_u16<const O: usize>(self, value: u16) {
        const { assert!(O + 2 <= N) };
        store!(self, O, "u16", value);
    }

    /// Stores four bytes at `O` as they are in memory.
    #[inline(always)]
    pub fn set_u32<const O: usize>(self, value: u32) {
        const { assert!(O + 4 <= N) };
        store!(self, O, "u32", value);
    }

    /// Stores the lower four bytes of a word at `O` as they are in memory.
    #[inline(always)]
    pub fn set_low_u32<const O: usize>(self, word: u64) {
        const { assert!(O + 4 <= N) };
        store!(self, O, "u32", word);
    }

    /// Stores eight bytes at `O` as they are in memory.
    #[inline(always)]
    pub fn set_u64<const O: usize>(self, value: u64) {
        const { assert!(O + 8 <= N) };
        store!(self, O, "u64", value);
    }
}
