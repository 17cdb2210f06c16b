//! The shortest way to a real, which nearly every packet takes: a plain one, of a connection that stays as it is, by direct routing,
//! IP in IP, GUE or NAT. Nothing is written but the packet and its counters, and once a second the connection's stamp.
//!
//! A shortcut: what it sends would be sent alike by the stages behind it, which take all that it leaves.

use aya_ebpf::bindings::xdp_md;
use lb_common::abi::real::{disposition, method};
use lb_common::abi::verdict::Verdict;
use lb_common::algo::tcp_state;
use lb_common::table::{Found, Slot};
use lb_common::wire::parse::Flow;
use lb_common::wire::plain;
use lb_common::wire::readdress::Corrections;
use lb_common::wire::tunnel::overhead;
use lb_ebpf::packet::Frame;

use super::tie::Occasion;
use super::{forward, tunnel};
use crate::family::{Family, SlotOf};
use crate::maps::reals::Chosen;
use crate::pipeline::ActionNumber;

/// Sends the packet to its real. None: it is as it was.
#[inline(always)]
pub(crate) fn send<F: Family>(
    ctx: *mut xdp_md,
    packet: &Frame,
    flow: &Flow<F::Header>,
    found: &Found<SlotOf<F>>,
    hash: u64,
    now: u32,
) -> Result<Option<ActionNumber>, Verdict> {
    let turn = tcp_state::turn(flow.transport.flags);
    if found.meta.unsteadiness(now) | u64::from(turn) != 0 && (turn != 0 || !is_stamped::<F>(found, hash, now)) {
        return Ok(None);
    }
    let real = Chosen::of_connection(found.meta);
    let length = F::length(&flow.ip);
    let fits_within = |mtu, more| mtu <= u64::from(u16::MAX) && u64::from(length + more) <= mtu;
    let fits = |mtu| fits_within(mtu, 0);
    if fits(real.way.mtu_by(method::DIRECT)) {
        forward::write_macs(packet, real.entry, real.way)?;
        return Ok(Some(forward::leave(ctx, real, length, Verdict::Direct)));
    }
    if fits(real.way.mtu_by(method::NAT)) && real.entry.corrections() != Corrections::NONE {
        let Some(()) = F::readdress(packet, &flow.ip, real.entry) else { return Ok(None) };
        forward::write_macs(packet, real.entry, real.way)?;
        return Ok(Some(forward::leave(ctx, real, length, Verdict::Nat)));
    }
    if fits_within(real.way.mtu_by(method::TUNNEL_V4), overhead(method::TUNNEL_V4)) {
        tunnel::in_ip::<F>(ctx, real, hash, plain::OFFSET)?;
        return Ok(Some(forward::leave(ctx, real, length, Verdict::Tunnel)));
    }
    if fits_within(real.way.mtu_by(method::GUE_V4), overhead(method::GUE_V4)) {
        tunnel::in_gue::<F>(ctx, real, length, hash, plain::OFFSET)?;
        return Ok(Some(forward::leave(ctx, real, length, Verdict::Tunnel)));
    }
    Ok(None)
}

/// Stamps a connection that was not seen in this tick yet, if nothing else is to be done for it. With a million flows most packets are the
/// first of their tick.
#[inline(always)]
fn is_stamped<F: Family>(found: &Found<SlotOf<F>>, hash: u64, now: u32) -> bool {
    let way = Chosen::of_connection(found.meta).way;
    let is_ours = way.is_direct()
        || matches!(way.method(), method::TUNNEL_V4 | method::GUE_V4)
        || (way.method() == method::NAT && !Occasion::first(found.meta.last_seen(), now, hash).is_due());
    if !is_ours || !found.meta.is_open() || way.disposition() != disposition::FORWARD {
        return false;
    }
    // A lost race leaves the stamp to the winner.
    found.slot.exchange(found.meta, found.meta.seen(now));
    true
}
