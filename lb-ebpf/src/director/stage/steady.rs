//! The shortest way to a real, which nearly every packet takes: a plain one, of a connection that was seen in this tick and stays as it is,
//! by direct routing or NAT. Nothing is written but the packet and its counters.
//!
//! A shortcut: what it sends would be sent alike by the stages behind it, which take all that it leaves.

use aya_ebpf::bindings::xdp_md;
use lb_common::abi::connection::Meta;
use lb_common::abi::real::method;
use lb_common::abi::verdict::Verdict;
use lb_common::algo::tcp_state;
use lb_common::wire::parse::Flow;
use lb_common::wire::readdress::Corrections;
use lb_ebpf::packet::Frame;

use super::forward;
use crate::family::Family;
use crate::maps::reals::Chosen;
use crate::pipeline::ActionNumber;

/// Sends the packet to its real. None: it is as it was.
#[inline(always)]
pub(crate) fn send<F: Family>(
    ctx: *mut xdp_md,
    packet: &Frame,
    flow: &Flow<F::Header>,
    connection: Meta,
    now: u32,
) -> Option<ActionNumber> {
    let changes = connection.unsteadiness(now) | u64::from(tcp_state::turn(flow.transport.flags));
    if changes != 0 {
        return None;
    }
    let real = Chosen::of_connection(connection);
    let length = F::length(&flow.ip);
    let fits = |mtu| mtu <= u64::from(u16::MAX) && u64::from(length) <= mtu;
    if fits(real.way.mtu_by(method::DIRECT)) {
        forward::write_macs(packet, real.entry, real.way).ok()?;
        return Some(forward::leave(ctx, real, length, Verdict::Direct));
    }
    if fits(real.way.mtu_by(method::NAT)) && real.entry.corrections() != Corrections::NONE {
        F::readdress(packet, &flow.ip, real.entry)?;
        forward::write_macs(packet, real.entry, real.way).ok()?;
        return Some(forward::leave(ctx, real, length, Verdict::Nat));
    }
    None
}
