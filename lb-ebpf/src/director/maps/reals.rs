//! Real servers and their connection counts.
#![expect(unsafe_code, reason = "map values are reached through raw pointers")]

use aya_ebpf::btf_maps::Array;
use aya_ebpf::macros::btf_map;
use lb_common::abi::real::{Load, Real};
use lb_common::abi::verdict::Verdict;
use lb_common::wire::tunnel::Ends;
use lb_ebpf::word;

use super::MMAPABLE;

#[btf_map]
static REALS: Array<Real, 2, MMAPABLE> = Array::new();
#[btf_map]
static LOADS: Array<u64, 2, MMAPABLE> = Array::new();

/// A real server. User space may rewrite its words while we read: each is loaded once.
#[inline(always)]
fn get(real: u32) -> Option<Entry> {
    REALS.get_ptr(real).map(Entry)
}

/// A real that a packet goes to, looked up once.
#[derive(Clone, Copy)]
pub(crate) struct Chosen {
    /// Its number.
    pub(crate) number: u32,
    /// Its value.
    pub(crate) entry: Entry,
}

impl Chosen {
    /// The real with this number.
    #[inline(always)]
    pub(crate) fn of(number: u32) -> Result<Self, Verdict> {
        Ok(Self { number, entry: get(number).ok_or(Verdict::Internal)? })
    }
}

/// A real's value in the map.
#[derive(Clone, Copy)]
pub(crate) struct Entry(*const Real);

impl Entry {
    /// Destination MAC in the low 48 bits, then the MTU.
    #[inline(always)]
    pub(crate) fn destination_word(self) -> u64 {
        // SAFETY: the first aligned word of a value that the map gave.
        unsafe { word::load(self.0.cast()) }
    }

    /// Source MAC in the low 48 bits, then method and disposition.
    #[inline(always)]
    pub(crate) fn source_word(self) -> u64 {
        // SAFETY: the second aligned word.
        unsafe { word::load(self.0.cast::<u64>().add(1)) }
    }

    /// Egress interface.
    #[inline(always)]
    pub(crate) fn ifindex(self) -> u32 {
        // SAFETY: the low half of the third aligned word.
        unsafe { word::load(self.0.cast::<u64>().add(2)) as u32 }
    }

    /// Word `at` of the value.
    #[inline(always)]
    fn word(self, at: usize) -> u64 {
        // SAFETY: callers name one of the eight aligned words of a value that the map gave.
        unsafe { word::load(self.0.cast::<u64>().add(at)) }
    }

    /// Bits of a tunnel's outer source that vary, raw.
    #[inline(always)]
    fn vary(self) -> u32 {
        (self.word(2) >> 32) as u32
    }

    /// The ends of an IPv4 tunnel.
    #[inline(always)]
    pub(crate) fn ends_v4(self) -> Ends<1> {
        Ends { source: [self.word(3) as u32], destination: [self.word(5) as u32], vary: self.vary() }
    }

    /// The ends of an IPv6 tunnel.
    #[inline(always)]
    pub(crate) fn ends_v6(self) -> Ends<4> {
        let words = |at: usize| {
            let (first, second) = (self.word(at), self.word(at + 1));
            [first as u32, (first >> 32) as u32, second as u32, (second >> 32) as u32]
        };
        Ends { source: words(3), destination: words(5), vary: self.vary() }
    }
}

/// Connections of a real now.
#[inline(always)]
pub(crate) fn load(real: u32) -> Load {
    match LOADS.get_ptr(real) {
        // SAFETY: an aligned word of the map.
        Some(load) => Load(unsafe { word::load(load) }),
        None => Load(0),
    }
}

/// Changes a real's connection counts by a sum of [`Load::unit`]s.
#[inline(always)]
pub(crate) fn add_load(real: u32, change: u64) {
    if let Some(load) = LOADS.get_ptr_mut(real) {
        // SAFETY: an aligned word of the map.
        unsafe { word::add(load, change) };
    }
}
