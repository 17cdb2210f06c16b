//! The answer of a real behind address translation: it comes from the real's address and leaves from the service's.
//!
//! A packet that is for no service is looked up in the reply table by its own ends. Both directions drive the connection's state.
#![expect(unsafe_code, reason = "global functions need names of their own in the object")]

use aya_ebpf::bindings::xdp_md;
use lb_common::abi::connection::State;
use lb_common::abi::fragment::handed;
use lb_common::abi::reply::Ends;
use lb_common::abi::verdict::Verdict;
use lb_common::algo::state::{self, Direction};
use lb_common::algo::tcp_state::{self, flag};
use lb_common::table::{Found, Slot};
use lb_common::wire::parse::Flow;
use lb_common::wire::translate::{Change, Ports};
use lb_common::wire::transport::{TCP, TCP_HEADER};
use lb_common::wire::{Packet, View, ethernet};
use lb_ebpf::helpers;

use super::clamp::xvs_clamp;
use super::nat::By;
use super::tunnel::Stand;
use super::{account, connection, cross, forward, fragment, nat, packet, toa};
use crate::family::{Family, SlotOf, V4, V6};
use crate::maps::replies::{self, RecordAt, Row};
use crate::maps::{limits, settings};

/// An answer's row, and what was read of its connection.
pub(crate) struct Answered {
    pub(crate) row: Row,
    pub(crate) record: RecordAt,
    word: replies::Word,
}

impl Answered {
    /// The client is of this family.
    #[inline(always)]
    pub(crate) fn is_of_family(&self, is_v6: bool) -> bool {
        self.word.place().is_v6() == is_v6
    }

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

/// Sends the packet on if it is an answer. Returns the verdict that its life ends with; that of one that is no answer: no service's.
#[inline(always)]
pub(crate) fn send<F: Family>(
    ctx: *mut xdp_md,
    flow: &Flow<F::Header>,
    stand: Stand,
    is_first_fragment: bool,
) -> Verdict {
    if !settings::has_replies() {
        return Verdict::NotAService;
    }
    let ends = Ends::new(flow.transport.ports, F::protocol(&flow.ip), F::IS_V6);
    let Some(answered) = find::<F>(F::source(&flow.ip), F::destination(&flow.ip), ends) else {
        // While connections move to other tables an answer may be unknown. The kernel would send it to its client as it is.
        let may_be_one = settings::get().moving != 0 && !state::is_opening(F::protocol(&flow.ip), flow.transport.flags);
        return if may_be_one { Verdict::Moving } else { Verdict::NotAService };
    };
    if answered.word.place().is_v6() != F::IS_V6 {
        return send_across(ctx, stand, answered.row, F::length(&flow.ip), flow.transport.flags);
    }
    let Some(answer) = of_connection::<F>(&answered) else {
        // A connection that moves between its buckets has its new place here before it leaves the old one: the packet comes again.
        return if answered.is_current() { Verdict::NotAService } else { Verdict::NatFull };
    };
    advance::<F>(ctx, flow, &answer, stand);
    if F::length(&flow.ip) > answer.mtu {
        // Nothing fits where the daemon's helper has to see every packet.
        return match answer.mtu {
            0 => nat::hand_over(ctx, &packet(ctx), handed::FROM_REAL),
            mtu => forward::tell_too_big(ctx, stand, mtu),
        };
    }
    if is_first_fragment {
        fragment::remember_answer(ctx, stand, answer.row);
    }
    let change = Change {
        source: Some(answer.service),
        destination: Some(answer.client),
        ports: Some(Ports { old: flow.transport.ports, new: answer.ports }),
    };
    match nat::rewrite::<F>(ctx, stand, &flow.ip, &change, By::answer(answer.row)) {
        Ok(()) => answer.leave(ctx, F::length(&flow.ip)),
        Err(verdict) => verdict,
    }
}

/// What is known of an answer whose client is of family `C`.
pub(crate) struct Answer<C: Family> {
    pub(crate) found: Found<SlotOf<C>>,
    pub(crate) service: C::Address,
    pub(crate) client: C::Address,
    /// As the client gets them.
    pub(crate) ports: u32,
    mtu: u32,
    row: Row,
}

impl<C: Family> Answer<C> {
    /// [`leave`], unless the record has become another's meanwhile. The way is read here and not with the rest: two words less to keep.
    #[inline(always)]
    pub(crate) fn leave(&self, ctx: *mut xdp_md, length: u32) -> Verdict {
        let record = self.row.record();
        let way = [record.link_0(), record.link_1()];
        if record.is_of(self.found.meta) { leave(ctx, way, self.found.meta.real(), length) } else { Verdict::NatFull }
    }
}

/// The connection of an answer; None when it is over, or the record has become another's.
#[inline(always)]
pub(crate) fn of_connection<C: Family>(answered: &Answered) -> Option<Answer<C>> {
    let record = answered.record;
    let slot = C::slot(answered.word.place().index());
    let key = C::key_of(record.key());
    let meta = slot.meta();
    if !record.is_of(meta) || !slot.key_is(key) {
        return None;
    }
    let (client, ports) = C::client_of(record.key());
    let answer = Answer {
        found: Found { slot, meta },
        service: C::address(record.virtual_address()),
        client,
        ports: ports.rotate_left(16),
        mtu: record.mtu() as u32,
        row: answered.row,
    };
    answered.is_current().then_some(answer)
}

/// Sends on a later fragment of an answer, whose packet's record is in `row`. Returns the verdict that its life ends with.
#[inline(always)]
pub(crate) fn send_fragment<F: Family>(ctx: *mut xdp_md, stand: Stand, ip: &F::Header, row: Row) -> Verdict {
    let record = row.record();
    // The row may have become another's since the first fragment.
    if Ends(record.ends()).is_v6() != F::IS_V6 || !F::has_addresses(record, F::source(ip), F::destination(ip)) {
        return Verdict::NotAService;
    }
    if row.word().place().is_v6() != F::IS_V6 {
        return Verdict::NatUnsuited;
    }
    if F::length(ip) > record.mtu() as u32 {
        return Verdict::TooBig;
    }
    let (client, _) = F::client_of(record.key());
    let change = Change { source: Some(F::address(record.virtual_address())), destination: Some(client), ports: None };
    match F::translate(&packet(ctx), stand.offset(), ip, &change) {
        Ok(()) => leave(ctx, [record.link_0(), record.link_1()], record.real(), F::length(ip)),
        Err(verdict) => verdict,
    }
}

/// Writes both MACs, counts, and says which way the answer goes.
#[inline(always)]
pub(crate) fn leave(ctx: *mut xdp_md, link: [u64; 2], real: u32, length: u32) -> Verdict {
    let Some(header) = packet(ctx).view::<{ ethernet::HEADER }>(0) else { return Verdict::Truncated };
    header.set_u64::<0>(link[0]);
    header.set_low_u32::<8>(link[1]);
    account::answered(u64::from(real) & settings::real_mask(), length);
    let egress = (link[1] >> 32) as u32;
    if forward::came_in_by(ctx, egress) {
        return Verdict::Reply;
    }
    helpers::redirect(egress);
    Verdict::ReplyRedirect
}

/// The answer's client is of the other family.
#[inline(always)]
fn send_across(ctx: *mut xdp_md, stand: Stand, row: Row, length: u32, flags: u8) -> Verdict {
    let mtu = row.record().mtu() as u32;
    let fits = if stand.is_v6() { mtu + cross::GROWTH } else { mtu.saturating_sub(cross::GROWTH) };
    if length > fits {
        return forward::tell_too_big(ctx, stand, fits);
    }
    let number = xvs_across(ctx, stand.0, u64::from(row.number()));
    if number != Verdict::Reply as u32 {
        return super::verdict(number);
    }
    let record = row.record();
    if flags & flag::SYN != 0 {
        // It is the client's family's by now, and looked at once more as such: another protocol's event has the bit, too.
        let translated = Stand::new(stand.offset(), !stand.is_v6());
        let limit = nat::segment_limit(record, mtu, translated.is_v6());
        if limit != 0 {
            xvs_clamp(ctx, translated.0, u64::from(limit));
        }
    }
    leave(ctx, [record.link_0(), record.link_1()], record.real(), length)
}

/// Translates the answer at `stand`, whose record is in a row, for a client of the other family. Returns the number of the verdict.
#[unsafe(no_mangle)]
#[inline(never)]
pub extern "C" fn xvs_across(ctx: *mut xdp_md, stand: u64, row: u64) -> u32 {
    let (stand, row) = (Stand(stand), Row::of(row as u32));
    let result = if stand.is_v6() { across::<V6, V4>(ctx, stand, row) } else { across::<V4, V6>(ctx, stand, row) };
    super::number(result.map(|()| Verdict::Reply as u32))
}

#[inline(always)]
fn across<F: Family, C: Family>(ctx: *mut xdp_md, stand: Stand, row: Row) -> Result<(), Verdict> {
    let flow = super::flow::<F>(ctx, stand)?;
    let answered = Answered { row, record: row.record(), word: row.word() };
    let answer = of_connection::<C>(&answered).ok_or(Verdict::NotAService)?;
    advance_across::<F, C>(&flow, &answer);
    let ports = Ports { old: flow.transport.ports, new: answer.ports };
    let (service, client) = (C::words(answer.service), C::words(answer.client));
    if C::IS_V6 {
        cross::to_v6(ctx, stand, service, client, ports)
    } else {
        cross::to_v4(ctx, stand, V4::address(service), V4::address(client), ports)
    }
}

/// What an answer changes of its connection: the state by the table for output, the stamp once a second. A SYN's announcements are noted
/// and cut.
#[inline(always)]
fn advance<F: Family>(ctx: *mut xdp_md, flow: &Flow<F::Header>, answer: &Answer<F>, stand: Stand) {
    let now = settings::now();
    if answer.found.meta.is_steady(now) && !tcp_state::is_turn(flow.transport.flags) {
        return;
    }
    advance_across::<F, F>(flow, answer);
    if F::protocol(&flow.ip) == TCP && flow.transport.flags & flag::SYN != 0 {
        xvs_answered_syn(ctx, stand.0, answer.row.number().into());
    }
}

#[inline(always)]
fn advance_across<F: Family, C: Family>(flow: &Flow<F::Header>, answer: &Answer<C>) {
    let (now, meta) = (settings::now(), answer.found.meta);
    let state = meta.state();
    let next = state::next(F::protocol(&flow.ip), Direction::Output, state, flow.transport.flags);
    if next as u8 == state as u8 {
        let is_of_datagrams = matches!(state, State::Udp);
        if meta.last_seen() == now || settings::watch().keeps_stamp(now, meta.idle(now), is_of_datagrams) {
            return;
        }
    }
    connection::update::<C>(&answer.found, state, next, now);
}

/// Notes with what acknowledgement the client will answer a SYN, and cuts what the SYN announces. Returns 0.
#[unsafe(no_mangle)]
#[inline(never)]
pub extern "C" fn xvs_answered_syn(ctx: *mut xdp_md, stand: u64, row: u64) -> u32 {
    let record = Row::of(row as u32).record();
    let at = Stand(stand);
    let sequence = if at.is_v6() { sequence::<V6>(ctx, at) } else { sequence::<V4>(ctx, at) };
    if let Some(sequence) = sequence {
        record.set_first_acknowledgement(toa::known(u32::from_be(sequence).wrapping_add(1).to_be()));
    }
    let limit = nat::segment_limit(record, record.mtu() as u32, at.is_v6());
    if limit != 0 {
        xvs_clamp(ctx, stand, u64::from(limit));
    }
    0
}

/// Sequence number of a TCP packet, raw.
#[inline(always)]
fn sequence<F: Family>(ctx: *mut xdp_md, stand: Stand) -> Option<u32> {
    let flow = super::flow::<F>(ctx, stand).ok()?;
    Some(packet(ctx).view::<TCP_HEADER>(F::payload(&flow.ip))?.raw_u32::<4>())
}
