//! Ethernet II (IEEE 802.3) with 802.1Q and 802.1ad tags.

use super::{Packet, View};
use crate::abi::limits::MAX_VLAN_TAGS;
use crate::abi::verdict::Verdict;

/// Destination, source, EtherType.
pub const HEADER: usize = 14;
/// One VLAN tag.
pub const TAG: usize = 4;

/// IPv4.
pub const IPV4: u16 = 0x0800;
/// IPv6.
pub const IPV6: u16 = 0x86dd;
const VLAN: u16 = 0x8100;
const SERVICE_VLAN: u16 = 0x88a8;

/// Where the frame's payload begins and what it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Link {
    /// EtherType behind all tags.
    pub ethertype: u16,
    /// Offset of the payload: 14, 18 or 22.
    pub payload: usize,
}

/// Reads the Ethernet header and up to [`MAX_VLAN_TAGS`] tags.
#[inline(always)]
pub fn parse<P: Packet>(packet: &P) -> Result<Link, Verdict> {
    let header = packet.view::<HEADER>(0).ok_or(Verdict::Truncated)?;
    let mut link = Link { ethertype: header.u16::<12>(), payload: HEADER };
    let mut tags = 0;
    while is_tag(link.ethertype) {
        if tags == MAX_VLAN_TAGS {
            return Err(Verdict::TooManyHeaders);
        }
        let tag = packet.view::<TAG>(link.payload).ok_or(Verdict::Truncated)?;
        link = Link { ethertype: tag.u16::<2>(), payload: link.payload + TAG };
        tags += 1;
    }
    Ok(link)
}

#[inline(always)]
const fn is_tag(ethertype: u16) -> bool {
    matches!(ethertype, VLAN | SERVICE_VLAN)
}
