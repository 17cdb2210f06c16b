//! The answer of a real behind address translation: it comes from the real's address and leaves from the service's.
//!
//! A packet that is for no service is looked up in the reply table by its own ends. Both directions drive the connection's state.

use aya_ebpf::bindings::{xdp_action, xdp_md};
use lb_common::abi::connection::Meta;
use lb_common::abi::reply::Ends;
use lb_common::abi::verdict::Verdict;
use lb_common::algo::state::{self, Direction};
use lb_common::algo::tcp_state;
use lb_common::table::{Found, Slot};
use lb_common::wire::parse::Flow;
use lb_common::wire::translate::{Change, Ports};
use lb_common::wire::{Packet, ethernet};
use lb_ebpf::packet::Frame;

use super::{account, connection, forward, nat};
use crate::family::Family;
use crate::maps::replies::{self, RecordAt, Row};
use crate::maps::{limits, settings};

/// An answer's row, and what was read of its connection.
pub(crate) struct Answered {
    pub(crate) row: Row,
    pub(crate) record: RecordAt,
    word: replies::Word,
}

impl Answered {
    /// Nobody has written the record since it was found.
    #[inline(always)]
    pub(crate) fn is_current(&self) -> bool {
        self.row.word() == self.word
    }
}

/// The record of answers with these ends.
#[inline(always)]
pub(crate) fn find<F: Family>(source: F::Address, destination: F::Address, ends: Ends) -> Option<Answered> {
    let hash = F::ends_hash(source, destination, ends);
    let rows = replies::rows(hash);
    let mut way = 0;
    while way < replies::Rows::COUNT {
        let row = rows.row(way);
        let word = row.word();
        if word.has_tag(hash) {
            let record = row.record();
            if record.ends() == ends.0 && F::has_addresses(record, source, destination) {
                let row = Row::of(limits::forgotten(u64::from(row.number())) as u32);
                return Some(Answered { row, record: row.record(), word: replies::Word(limits::forgotten(word.0)) });
            }
        }
        way += 1;
    }
    None
}

/// Sends the packet on if it is an answer. The verdict of one that is not: no service's.
#[inline(always)]
pub(crate) fn send<F: Family>(
    ctx: *mut xdp_md,
    frame: &Frame,
    flow: &Flow<F::Header>,
    offset: usize,
) -> Result<u32, Verdict> {
    if !settings::has_replies() {
        return Err(Verdict::NotAService);
    }
    let ends = Ends::new(flow.transport.ports, F::protocol(&flow.ip), F::IS_V6);
    let (source, destination) = (F::source(&flow.ip), F::destination(&flow.ip));
    let answered = find::<F>(source, destination, ends).ok_or(Verdict::NotAService)?;
    let (record, place) = (answered.record, answered.word.place());
    if place.is_v6() != F::IS_V6 {
        return Err(Verdict::NatUnsuited);
    }
    let slot = F::slot(place.index());
    let key = F::key_of(record.key());
    let meta = slot.meta();
    if !record.is_of(meta) || !slot.key_is(key) {
        return Err(Verdict::NotAService);
    }
    let length = F::length(&flow.ip);
    if u64::from(length) > record.mtu() {
        return Err(Verdict::TooBig);
    }
    advance::<F>(flow, &Found { slot, meta });
    let (client, ports) = F::client_end(key);
    let change = Change {
        source: Some(F::address(record.virtual_address())),
        destination: Some(client),
        ports: Some(Ports { old: flow.transport.ports, new: ports.rotate_left(16) }),
    };
    let link = [record.link_0(), record.link_1()];
    if !answered.is_current() {
        return Err(Verdict::NotAService);
    }
    let header = frame.view::<{ ethernet::HEADER }>(0).ok_or(Verdict::Truncated)?;
    nat::rewrite::<F>(frame, offset, &flow.ip, &change)?;
    header.set_u64::<0>(link[0]);
    header.set_low_u32::<8>(link[1]);
    let (real, egress) = (u64::from(meta.real()) & settings::real_mask(), (link[1] >> 32) as u32);
    if forward::came_in_by(ctx, egress) {
        account::answered(real, length, Verdict::Reply);
        Ok(xdp_action::XDP_TX)
    } else {
        account::answered(real, length, Verdict::ReplyRedirect);
        Ok(lb_ebpf::helpers::redirect(egress))
    }
}

/// What an answer changes of its connection: the state by the table for output, the stamp once a second.
#[inline(always)]
fn advance<F: Family>(flow: &Flow<F::Header>, found: &Found<crate::family::SlotOf<F>>) {
    let (now, meta): (u32, Meta) = (settings::now(), found.meta);
    if meta.is_steady(now) && !tcp_state::is_turn(flow.transport.flags) {
        return;
    }
    let state = meta.state();
    let next = state::next(F::protocol(&flow.ip), Direction::Output, state, flow.transport.flags);
    if next as u8 != state as u8 || meta.last_seen() != now {
        connection::update::<F>(found, state, next, now);
    }
}
