//! Translation of a plain packet by sums that were known before it came. All packets of a service that is one address and port lead to a
//! real's one address and port by the same change, and so do their checksums: a packet pays for two additions.
//!
//! A shortcut through [`super::translate`]: the same packet, or one that is as it was.

use super::translate::{HOP_V4, HOP_V6, one_hop_less};
use super::transport::{TCP, TCP_HEADER};
use super::{Edit, Editable, View, ipv4, ipv6, plain};
use crate::algo::checksum::Delta;

/// By how much the checksums of a packet change: of the IP header in the low half, with the hop that it has less, of the transport in the
/// high half. Neither is 0, which is the same as 65 535 in such a sum (RFC 1071).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Corrections(pub u32);

impl Corrections {
    /// Not the same for all packets.
    pub const NONE: Self = Self(0);

    /// Of packets to an IPv4 address and port that become packets to others, all raw.
    pub const fn v4(old: (u32, u16), new: (u32, u16)) -> Self {
        let address = Delta::NONE.u32(old.0, new.0);
        Self::of(address.less(HOP_V4), address.u16(old.1, new.1))
    }

    /// The same for IPv6, whose header has no checksum.
    pub const fn v6(old: ([u64; 2], u16), new: ([u64; 2], u16)) -> Self {
        let address = Delta::NONE.u128(old.0, new.0);
        Self::of(address, address.u16(old.1, new.1))
    }

    const fn of(header: Delta, transport: Delta) -> Self {
        Self(header.folded() as u32 | (transport.folded() as u32) << 16)
    }

    #[inline(always)]
    const fn header(self) -> u16 {
        self.0 as u16
    }

    #[inline(always)]
    const fn transport(self) -> u16 {
        (self.0 >> 16) as u16
    }
}

/// A checksum, corrected: 16 bits and 16 bits are 17, and folded once.
#[inline(always)]
const fn corrected(checksum: u16, by: u16) -> u16 {
    let sum = (checksum ^ 0xffff) as u32 + by as u32;
    !((sum + (sum >> 16)) as u16)
}

/// Makes the plain IPv4 packet one to `address` and `port`, raw. None, and nothing is changed: it is not long enough, or its hops are spent.
#[inline(always)]
pub fn v4<P: Editable>(packet: &P, protocol: u8, (address, port): (u32, u16), by: Corrections) -> Option<()> {
    let view = packet.edit::<{ plain::LENGTH_V4 }>(0)?;
    view.set_u16::<22>(one_hop_less(view.raw_u16::<22>(), HOP_V4)?);
    view.set_u16::<24>(corrected(view.raw_u16::<24>(), by.header()));
    view.set_u32::<30>(address);
    view.set_u16::<36>(port);
    transport::<_, _, { plain::PAYLOAD_V4 + 16 }, { plain::PAYLOAD_V4 + 6 }>(view, protocol, by, true);
    Some(())
}

/// The same for IPv6.
#[inline(always)]
pub fn v6<P: Editable>(packet: &P, protocol: u8, (address, port): ([u64; 2], u16), by: Corrections) -> Option<()> {
    let view = packet.edit::<{ plain::LENGTH_V6 }>(0)?;
    view.set_u16::<20>(one_hop_less(view.raw_u16::<20>(), HOP_V6)?);
    view.set_u64::<38, 42>(address[0]);
    view.set_u64::<46, 50>(address[1]);
    view.set_u16::<56>(port);
    transport::<_, _, { plain::PAYLOAD_V6 + 16 }, { plain::PAYLOAD_V6 + 6 }>(view, protocol, by, false);
    Some(())
}

/// Corrects the checksum that a TCP header has at `OF_TCP`, or a UDP header at `OF_UDP`.
#[inline(always)]
fn transport<E: Edit<N>, const N: usize, const OF_TCP: usize, const OF_UDP: usize>(
    view: E,
    protocol: u8,
    by: Corrections,
    may_lack_checksum: bool,
) {
    if protocol == TCP {
        view.set_u16::<OF_TCP>(corrected(view.raw_u16::<OF_TCP>(), by.transport()));
        return;
    }
    let checksum = view.raw_u16::<OF_UDP>();
    // RFC 768, RFC 8200: as in `translate`.
    if checksum != 0 || !may_lack_checksum {
        let corrected = corrected(checksum, by.transport());
        view.set_u16::<OF_UDP>(if corrected == 0 { 0xffff } else { corrected });
    }
}

const _: () = assert!(
    plain::PAYLOAD_V4 == plain::OFFSET + ipv4::HEADER
        && plain::PAYLOAD_V6 == plain::OFFSET + ipv6::HEADER
        && plain::LENGTH_V4 == plain::PAYLOAD_V4 + TCP_HEADER
        && plain::OFFSET == 14
);
