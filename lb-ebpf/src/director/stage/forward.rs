//! The way to the real: direct routing rewrites both MACs, a tunnel puts headers in front.
#![expect(unsafe_code, reason = "the interface that the frame came in by is read from the context")]

use aya_ebpf::bindings::{xdp_action, xdp_md};
use lb_common::abi::real::method;
use lb_common::abi::verdict::Verdict;
use lb_common::algo::hash;
use lb_common::wire::tunnel::overhead;
use lb_common::wire::{Packet, ethernet, plain};
use lb_ebpf::helpers;
use lb_ebpf::immediate::masked;
use lb_ebpf::packet::Frame;

use super::account;
use super::too_big::xvs_too_big;
use super::tunnel::{self, Stand};
use crate::family::Family;
use crate::maps::reals::{Chosen, Entry, Way};
use crate::pipeline::ActionNumber;

/// Sends the packet of `length` bytes to the real. Returns the verdict of a packet that goes; [`Verdict::Local`] of one for this host is
/// an end of its own.
#[inline(always)]
pub(crate) fn to_real<F: Family, const PLAIN: bool>(
    ctx: *mut xdp_md,
    frame: &Frame,
    length: u32,
    real: Chosen,
    flow_hash: u64,
    stand: Stand,
) -> Result<Verdict, Verdict> {
    let way = real.way;
    if !way.is_direct() {
        if way.method() == method::LOCAL {
            // The kernel has the virtual address, or its neighbours would not send packets for it here.
            account::carried(real.number, length);
            return Err(Verdict::Local);
        }
        if method::is_translated(way.method()) {
            // Translated before: a later fragment, or an ICMP error.
            return write_macs(frame, real.entry, way).map(|()| Verdict::Nat);
        }
        // Not known to the compiler but for plain packets: it would note at the tags already which branches are to be taken there.
        let at = if PLAIN { plain::OFFSET } else { masked::<0x1f>(stand.offset() as u32) as usize };
        return tunnel::into::<F>(ctx, real, length, hash::entropy(flow_hash), at);
    }
    if length > way.mtu() {
        return Err(Verdict::TooBig);
    }
    write_macs(frame, real.entry, way).map(|()| Verdict::Direct)
}

/// Tells the sender what fits the way to a real. Returns the verdict.
#[inline(always)]
pub(crate) fn too_big(ctx: *mut xdp_md, stand: Stand, way: Way) -> Verdict {
    tell_too_big(ctx, stand, way.mtu().saturating_sub(overhead(way.method())))
}

/// Tells the sender that packets of at most so many bytes fit. Returns the verdict.
#[inline(always)]
pub(crate) fn tell_too_big(ctx: *mut xdp_md, stand: Stand, fits: u32) -> Verdict {
    let number = xvs_too_big(ctx, stand.0, u64::from(fits));
    if number == Verdict::TooBigTold as u32 { Verdict::TooBigTold } else { Verdict::TooBig }
}

/// Counts a packet that was made ready for its real, and says what the kernel is to do with it.
#[inline(always)]
pub(crate) fn leave(ctx: *mut xdp_md, real: Chosen, length: u32, verdict: Verdict) -> ActionNumber {
    if came_in_by(ctx, real.entry.ifindex()) {
        account::forwarded(real.number, length, verdict);
        xdp_action::XDP_TX as ActionNumber
    } else {
        account::forwarded(real.number, length, verdict.redirected());
        helpers::redirect(real.entry.ifindex()) as ActionNumber
    }
}

/// The packet came in by this interface.
#[inline(always)]
pub(crate) fn came_in_by(ctx: *mut xdp_md, interface: u32) -> bool {
    // SAFETY: the context of the running program.
    unsafe { helpers::ingress(ctx) == interface }
}

/// Both MACs in two stores: 8 and 4 bytes.
#[inline(always)]
pub(crate) fn write_macs(frame: &Frame, real: Entry, way: Way) -> Result<(), Verdict> {
    let header = frame.view::<{ ethernet::HEADER }>(0).ok_or(Verdict::Truncated)?;
    header.set_u64::<0>(real.ethernet());
    header.set_low_u32::<8>(way.0);
    Ok(())
}
