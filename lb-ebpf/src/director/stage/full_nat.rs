//! Full NAT on the way in: the packet leaves from one of the director's own addresses, to a real of either family. Out of line: it reads
//! the connection's reply record, which has both ends.
#![expect(unsafe_code, reason = "global functions need names of their own in the object")]

use aya_ebpf::bindings::xdp_md;
use lb_common::abi::counters::VERDICT_SLOTS;
use lb_common::abi::real::option;
use lb_common::abi::reply::{Ends, Place};
use lb_common::abi::verdict::Verdict;
use lb_common::algo::tcp_state::flag;
use lb_common::table::Slot;
use lb_common::wire::translate::{Change, Ports};
use lb_common::wire::transport::{TCP, TCP_HEADER};
use lb_common::wire::{Packet, View};
use lb_ebpf::immediate::masked;

use super::connection::{self, Located};
use super::nat::{self, By};
use super::tunnel::Stand;
use super::{cross, fragment, packet, service, toa};
use crate::family::{Family, V4, V6};
use crate::maps::reals::Chosen;
use crate::maps::replies::{self, RecordAt, Row};

/// What is left to do for a packet: above every verdict, with the number of the record's row. The pipeline goes on with it, and not the
/// functions here, of which one could not call the next with the stack that there is.
mod left {
    /// [`nat::translate_any`](super::nat::translate_any).
    pub(super) const ANY: u32 = 1 << 31;
    /// [`xvs_full_nat_across`](super::xvs_full_nat_across).
    pub(super) const ACROSS: u32 = 1 << 30;
    /// Translated; [`toa::xvs_toa`](super::toa::xvs_toa) writes the client's address into it.
    pub(super) const TELL: u32 = 1 << 29;
}

/// Translates the packet for its real.
#[inline(always)]
pub(crate) fn translate<F: Family>(ctx: *mut xdp_md, stand: Stand) -> Result<(), Verdict> {
    let number = if F::IS_V6 { xvs_full_nat_v6(ctx, stand.0) } else { xvs_full_nat_v4(ctx, stand.0) };
    let row = number & (left::TELL - 1);
    if number & left::ANY != 0 {
        return nat::translate_any(ctx, stand, By::to_real(Row::of(row)));
    }
    if number & left::TELL != 0 {
        toa::xvs_toa(ctx, stand.0, row.into());
        return Ok(());
    }
    let number = if number & left::ACROSS != 0 { xvs_full_nat_across(ctx, stand.0, row.into()) } else { number };
    match Verdict::of(masked::<{ VERDICT_SLOTS - 1 }>(number)) {
        Some(Verdict::Nat) => Ok(()),
        Some(verdict) => Err(verdict),
        None => Err(Verdict::Internal),
    }
}

/// Makes a packet of the other family of the one at `stand`, by the record in `row`. Returns the number of the verdict.
#[unsafe(no_mangle)]
#[inline(never)]
pub extern "C" fn xvs_full_nat_across(ctx: *mut xdp_md, stand: u64, row: u64) -> u32 {
    let (stand, record) = (Stand(stand), Row::of(row as u32).record());
    let (source, destination) = (record.destination(), record.source());
    let new = Ends(record.ends()).ports().rotate_left(16);
    let result = if stand.is_v6() {
        super::flow::<V6>(ctx, stand).and_then(|flow| {
            let ports = Ports { old: flow.transport.ports, new };
            cross::to_v4(ctx, stand, V4::address(source), V4::address(destination), ports)
        })
    } else {
        super::flow::<V4>(ctx, stand).and_then(|flow| {
            let ports = Ports { old: flow.transport.ports, new };
            cross::to_v6(ctx, stand, source, destination, ports)
        })
    };
    super::number(result.map(|()| Verdict::Nat as u32))
}

/// Translates the IPv4 packet at `stand`. Returns the number of the verdict, or what is [`left`] with a row.
#[unsafe(no_mangle)]
#[inline(never)]
pub extern "C" fn xvs_full_nat_v4(ctx: *mut xdp_md, stand: u64) -> u32 {
    super::number(run::<V4>(ctx, Stand(stand)))
}

/// The same for IPv6.
#[unsafe(no_mangle)]
#[inline(never)]
pub extern "C" fn xvs_full_nat_v6(ctx: *mut xdp_md, stand: u64) -> u32 {
    super::number(run::<V6>(ctx, Stand(stand)))
}

#[inline(always)]
fn run<F: Family>(ctx: *mut xdp_md, stand: Stand) -> Result<u32, Verdict> {
    let flow = super::flow::<F>(ctx, stand)?;
    let frame = packet(ctx);
    let place = service::lookup_again::<F>(&flow).ok_or(Verdict::NotAService)?.place::<F>(&flow);
    let Located { found, index } = connection::locate(&place).ok_or(Verdict::TableFull)?;
    // The connection's tie was made or looked at with its first packet, and is again about once a second.
    let row = Row::of(replies::tie::<F>(index).checked_sub(1).ok_or(Verdict::NatFull)?);
    let (word, record) = (row.word(), row.record());
    let is_ours = word.is_live()
        && word.place() == Place::new(index, F::IS_V6)
        && record.is_of(found.meta)
        && found.slot.key_is(F::key_of(record.key()));
    if !is_ours {
        return Err(Verdict::NatFull);
    }
    let ends = Ends(record.ends());
    let ports = Ports { old: flow.transport.ports, new: ends.ports().rotate_left(16) };
    let (source, destination) = (record.destination(), record.source());
    if ends.is_v6() != F::IS_V6 {
        return Ok(left::ACROSS | row.number());
    }
    if F::is_fragment(&flow.ip) {
        fragment::remember_here::<F>(&frame, stand, found.meta.real(), row);
    }
    let change =
        Change { source: Some(F::address(source)), destination: Some(F::address(destination)), ports: Some(ports) };
    let protocol = F::protocol(&flow.ip);
    // A first fragment with an option more would reach into the next one.
    let tells = protocol == TCP
        && !F::is_fragment(&flow.ip)
        && Chosen::of_connection(found.meta).entry.end().options() & option::TOA != 0
        && is_first_data::<F>(&frame, F::payload(&flow.ip), flow.transport.flags, record);
    let Some(ip) = F::plain(&frame, stand.offset(), &flow.ip) else { return Ok(left::ANY | row.number()) };
    F::translate(&frame, stand.offset(), &ip, &change)?;
    Ok(if tells { left::TELL | row.number() } else { Verdict::Nat as u32 })
}

/// The client has not got any data yet: all its packets but the SYN carry its address, so that the real sees one of them.
#[inline(always)]
fn is_first_data<F: Family>(frame: &lb_ebpf::packet::Frame, payload: usize, flags: u8, record: RecordAt) -> bool {
    if flags & (flag::SYN | flag::RST) != 0 || flags & flag::ACK == 0 {
        return false;
    }
    let Some(header) = frame.view::<TCP_HEADER>(payload) else { return false };
    record.first_acknowledgement() == toa::known(header.raw_u32::<8>())
}
