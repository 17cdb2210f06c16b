//! The largest segment that a SYN announces (RFC 9293 section 3.7.1), cut to what fits the ways between client and real. For translated
//! connections, whose SYNs pass the director in both directions.
#![expect(unsafe_code, reason = "a global function needs a name of its own in the object")]

use aya_ebpf::bindings::xdp_md;
use lb_common::algo::checksum::Delta;
use lb_common::algo::tcp_state::flag;
use lb_common::wire::parse::Flow;
use lb_common::wire::transport::{TCP, TCP_HEADER};
use lb_common::wire::{Packet, View, ipv4, ipv6};

use super::packet;
use super::tunnel::Stand;
use crate::family::{Family, V4, V6};

/// Options that are looked at: as many as stand before the one in any SYN that is seen.
const OPTIONS: usize = 8;
const END: u8 = 0;
const NOTHING: u8 = 1;
const LARGEST_SEGMENT: u8 = 2;

/// Cuts the option of the TCP packet at `stand` to what fits into `mtu` bytes with the IP header. Returns 0.
#[unsafe(no_mangle)]
#[inline(never)]
pub extern "C" fn xvs_clamp(ctx: *mut xdp_md, stand: u64, mtu: u64) -> u32 {
    let stand = Stand(stand);
    if stand.is_v6() {
        clamp::<V6>(ctx, stand, (mtu as u32).saturating_sub((ipv6::HEADER + TCP_HEADER) as u32));
    } else {
        clamp::<V4>(ctx, stand, (mtu as u32).saturating_sub((ipv4::HEADER + TCP_HEADER) as u32));
    }
    0
}

#[inline(always)]
fn clamp<F: Family>(ctx: *mut xdp_md, stand: Stand, limit: u32) -> Option<()> {
    let Flow { ip, transport } = super::flow::<F>(ctx, stand).ok()?;
    let frame = packet(ctx);
    if F::protocol(&ip) != TCP || transport.flags & flag::SYN == 0 {
        return None;
    }
    let tcp = F::payload(&ip);
    let header = frame.view::<TCP_HEADER>(tcp)?;
    let end = usize::from(header.u8::<12>() >> 4) * 4;
    let mut at = TCP_HEADER;
    let mut looked_at = 0;
    while looked_at < OPTIONS && at + 4 <= end {
        // An option's place has six bits: the mask is for the verifier.
        let option = frame.view::<4>(tcp + (at & 0x3f))?;
        match option.u8::<0>() {
            END => return None,
            NOTHING => at += 1,
            LARGEST_SEGMENT if option.u8::<1>() == 4 => {
                let old = option.raw_u16::<2>();
                if u32::from(u16::from_be(old)) > limit {
                    let new = (limit as u16).to_be();
                    option.set_u16::<2>(new);
                    // At an odd place the two bytes belong to two of the words that are summed.
                    let (old, new) =
                        if at.is_multiple_of(2) { (old, new) } else { (old.swap_bytes(), new.swap_bytes()) };
                    header.set_u16::<16>(Delta::NONE.u16(old, new).apply(header.raw_u16::<16>()));
                }
                return Some(());
            }
            _ => {
                let length = usize::from(option.u8::<1>());
                if length < 2 {
                    return None;
                }
                at += length;
            }
        }
        looked_at += 1;
    }
    None
}
