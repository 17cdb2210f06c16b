//! Addresses with a prefix, and ranges of ports: how they stand in the tables of service addresses.
//!
//! A *shape* is a number of leading bits of the address and of the port. User space cuts each rule into blocks of such shapes and enters
//! each block under its masked address and port; a packet without exact match is looked up once for each shape that is in use, the
//! most specific first. Each address takes a few lookups at most, whatever the number of rules.

/// Shapes of each family that may be in use at once.
pub const SHAPES: usize = 32;
/// Leading bits of a port that name a single one.
pub const WHOLE_PORT: u32 = 16;

/// Shapes in use: of IPv4, then of IPv6, the most specific first; 0 ends the list.
#[repr(C, align(64))]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Shapes {
    /// IPv4's.
    pub v4: [u32; SHAPES],
    /// IPv6's.
    pub v6: [u32; SHAPES],
}

impl Default for Shapes {
    fn default() -> Self {
        Self { v4: [0; SHAPES], v6: [0; SHAPES] }
    }
}

/// One shape, never 0. A greater number is more specific: the address counts before the port.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Shape(pub u32);

impl Shape {
    /// So many leading bits of the address and of the port.
    #[inline(always)]
    pub const fn new(prefix: u32, port_bits: u32) -> Self {
        Self(1 << 31 | prefix << 8 | port_bits)
    }

    /// Leading bits of the address.
    #[inline(always)]
    pub const fn prefix(self) -> u32 {
        self.0 >> 8 & 0xff
    }

    /// Leading bits of the port.
    #[inline(always)]
    pub const fn port_bits(self) -> u32 {
        self.0 & 0x1f
    }

    /// The port in a key of this shape, in host order: its leading bits. The first bit after them is set, so that no two blocks of one
    /// address look alike.
    #[inline(always)]
    pub const fn port(self, port: u16) -> u16 {
        let bits = self.port_bits();
        if bits >= WHOLE_PORT {
            return port;
        }
        let lowest = 0x8000u32 >> bits;
        (port as u32 & !(lowest * 2 - 1) | lowest) as u16
    }

    /// Bits of [`super::service::key_v4`] that tell a key of this shape from an exact address.
    #[inline(always)]
    pub const fn tag_v4(self) -> u64 {
        (self.prefix() as u64 + 1) << 56 | if self.port_bits() < WHOLE_PORT { 1 << 63 } else { 0 }
    }

    /// The same for [`super::service::key_v6_tail`].
    #[inline(always)]
    pub const fn tag_v6(self) -> u64 {
        (self.prefix() as u64 + 1) << 24 | if self.port_bits() < WHOLE_PORT { 1 << 32 } else { 0 }
    }
}

/// The leading `bits` of a 64-bit word in host order.
#[inline(always)]
pub const fn mask_64(bits: u32) -> u64 {
    if bits == 0 {
        0
    } else if bits >= 64 {
        !0
    } else {
        !0 << (64 - bits)
    }
}

/// Cuts ports from `first` to `last` into blocks: for each its first port and its leading bits.
#[cfg(any(test, feature = "user"))]
pub fn blocks(first: u16, last: u16) -> Vec<(u16, u32)> {
    let (mut at, end) = (u32::from(first), u32::from(last) + 1);
    let mut blocks = Vec::new();
    while at < end {
        // As large as its beginning is aligned, and as fits.
        let aligned = if at == 0 { WHOLE_PORT } else { at.trailing_zeros().min(WHOLE_PORT) };
        let size = aligned.min(31 - (end - at).leading_zeros());
        blocks.push((at as u16, WHOLE_PORT - size));
        at += 1 << size;
    }
    blocks
}

const _: () = assert!(size_of::<Shapes>() == 256);

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn a_longer_prefix_counts_before_a_narrower_range() {
        let mut shapes = [Shape::new(24, 16), Shape::new(32, 0), Shape::new(32, 9), Shape::new(0, 16)];
        shapes.sort_by(|a, b| b.cmp(a));
        assert_eq!(shapes, [Shape::new(32, 9), Shape::new(32, 0), Shape::new(24, 16), Shape::new(0, 16)]);
    }

    #[test]
    fn masks_and_tags() {
        assert_eq!([0, 1, 63, 64].map(mask_64), [0, 1 << 63, !1, !0]);
        assert_eq!((Shape::new(128, 0).prefix(), Shape::new(128, 0).port_bits()), (128, 0));
        assert_ne!(Shape::new(24, 16).tag_v4(), Shape::new(24, 15).tag_v4());
        assert_eq!(Shape::new(32, 0).tag_v4(), 1 << 63 | 33 << 56);
        assert_eq!(Shape::new(128, 16).tag_v6(), 129 << 24);
    }

    proptest! {
        #[test]
        fn blocks_cover_a_range_and_nothing_else(a: u16, b: u16, port: u16) {
            let (first, last) = (a.min(b), a.max(b));
            let found: Vec<_> = blocks(first, last)
                .into_iter()
                .filter(|(start, bits)| Shape::new(32, *bits).port(port) == Shape::new(32, *bits).port(*start))
                .collect();
            prop_assert_eq!(found.len(), usize::from((first..=last).contains(&port)));
            prop_assert!(blocks(first, last).len() <= 30);
        }
    }
}
