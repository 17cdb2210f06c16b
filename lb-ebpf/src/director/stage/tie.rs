//! Ties a connection with address translation to a record of the reply table, and keeps the record's way to the client fresh. Runs for
//! the first packet of a connection, and then when its state changes, or the way may have.
//!
//! With NAT the answer's ends are given: real and client. With full NAT the director's end is chosen here, so that no two connections
//! to one real have the same: each attempt tries one address and port. Two CPUs that write the same ends at the same time both look
//! again after they have written, and whoever sees the other gives way.
#![expect(unsafe_code, reason = "global functions need names of their own in the object")]

use aya_ebpf::bindings::xdp_md;
use lb_common::abi::connection::{Meta, SEEN_MASK, State};
use lb_common::abi::real::method;
use lb_common::abi::reply::{ATTEMPTS, Ends, Place, Word};
use lb_common::abi::verdict::Verdict;
use lb_common::algo::tcp_state::flag;
use lb_common::table::{Found, Slot};
use lb_common::wire::parse::Flow;

use super::clamp::xvs_clamp;
use super::connection::{self, Located};
use super::route::{xvs_route_v4, xvs_route_v6};
use super::service;
use super::tunnel::Stand;
use crate::family::{Family, SlotOf, V4, V6};
use crate::maps::reals::Chosen;
use crate::maps::replies::{self, Row, Rows};
use crate::maps::{limits, settings};

/// What [`xvs_tie`] returns when the connection is tied: above every verdict.
pub(crate) const TIED: u32 = 1 << 31;
/// Another attempt may find an end that is free.
const AGAIN: u32 = 0x101;
/// Above the number of the attempt: the connection is given up when it cannot be tied.
const NEW: u64 = 1 << 32;

/// What packet a connection is tied with, in one register, put together without a branch: each would double what the verifier walks
/// after it.
#[derive(Clone, Copy)]
pub(crate) struct Occasion(pub(crate) u64);

impl Occasion {
    /// The first one. The connection is given up when it cannot be tied.
    pub(crate) const NEW: Self = Self(1);

    /// One that changes the state of a known connection.
    pub(crate) const CHANGE: Self = Self(1 << 8);

    /// One of a known connection: states before and after, TCP flags, ticks of the packet before and of this one, the flow's hash.
    #[inline(always)]
    pub(crate) fn known([state, next]: [State; 2], flags: u8, [last_seen, now]: [u32; 2], hash: u64) -> Self {
        let changes = u64::from(state as u8 ^ next as u8) << 8 | u64::from(flags & flag::SYN) << 16;
        Self(changes | Self::first(last_seen, now, hash).0)
    }

    /// One that changes no state: ticks of the packet before and of this one, the flow's hash.
    #[inline(always)]
    pub(crate) fn first(last_seen: u32, now: u32, hash: u64) -> Self {
        let idle = u64::from(now.wrapping_sub(last_seen)) & SEEN_MASK;
        Self((hash >> 56) << 24 | idle << 32)
    }

    /// At each change of state and with each SYN, whose announcements are cut. Else with the first packet of a tick in which
    /// [`Watch::is_due`](lb_common::algo::way_back::Watch::is_due).
    #[inline(always)]
    pub(crate) fn is_due(self) -> bool {
        if self.0 & 0xff_ffff != 0 {
            return true;
        }
        let (flow, idle) = ((self.0 >> 24) as u8, (self.0 >> 32) as u32);
        idle != 0 && settings::watch().is_due(settings::now(), idle, flow)
    }
}

/// Ties the connection of the packet at `stand`, if this is an [`Occasion`] to. Returns [`TIED`] or the number of a verdict.
#[unsafe(no_mangle)]
#[inline(never)]
pub extern "C" fn xvs_tie(ctx: *mut xdp_md, stand: u64, occasion: u64) -> u32 {
    if !Occasion(occasion).is_due() {
        return TIED;
    }
    let is_new = occasion & Occasion::NEW.0;
    let is_v6 = Stand(stand).is_v6();
    let mut attempt = 0;
    while attempt < u64::from(ATTEMPTS) {
        let number = attempt | if is_new != 0 { NEW } else { 0 };
        let result = if is_v6 { xvs_attempt_v6(ctx, stand, number) } else { xvs_attempt_v4(ctx, stand, number) };
        if result & TIED != 0 {
            let row = u64::from(result & !TIED);
            let most = if is_v6 { xvs_route_v6(ctx, stand, row) } else { xvs_route_v4(ctx, stand, row) };
            if most != 0 {
                xvs_clamp(ctx, stand, u64::from(most));
            }
            return TIED;
        }
        if result != AGAIN {
            return result;
        }
        attempt += 1;
    }
    Verdict::Internal as u32
}

/// One attempt for an IPv4 packet. Returns [`TIED`] with the number of its row, [`AGAIN`] or the number of a verdict.
#[unsafe(no_mangle)]
#[inline(never)]
pub extern "C" fn xvs_attempt_v4(ctx: *mut xdp_md, stand: u64, attempt: u64) -> u32 {
    run::<V4>(ctx, stand, attempt)
}

/// The same for IPv6.
#[unsafe(no_mangle)]
#[inline(never)]
pub extern "C" fn xvs_attempt_v6(ctx: *mut xdp_md, stand: u64, attempt: u64) -> u32 {
    run::<V6>(ctx, stand, attempt)
}

#[inline(always)]
fn run<F: Family>(ctx: *mut xdp_md, stand: u64, attempt: u64) -> u32 {
    let flow = super::flow::<F>(ctx, Stand(stand));
    super::number(flow.and_then(|flow| tie::<F>(&flow, attempt)))
}

#[inline(always)]
fn tie<F: Family>(flow: &Flow<F::Header>, attempt: u64) -> Result<u32, Verdict> {
    let place = service::lookup_again::<F>(flow).ok_or(Verdict::NotAService)?.place::<F>(flow);
    // The table was full, and the scheduler needs no entry: translation does.
    let Located { found, index } = connection::locate(&place).ok_or(Verdict::TableFull)?;
    let old = replies::tie::<F>(index);
    if old != 0 {
        let row = Row::of(old - 1);
        let (word, record) = (row.word(), row.record());
        let is_ours = word.is_live()
            && word.place() == Place::new(index, F::IS_V6)
            && record.is_of(found.meta)
            && found.slot.key_is(F::key_of(record.key()));
        if is_ours {
            return Ok(TIED | row.number());
        }
    }
    let result = begin::<F>(attempt as u32, flow, &place, &found, index, old);
    if let Err(verdict) = result
        && attempt & NEW != 0
        && verdict as u8 != Verdict::Internal as u8
    {
        connection::release::<F>(&found);
    }
    result
}

/// What a connection's record is made of.
struct New {
    source: [u64; 2],
    destination: [u64; 2],
    ends: Ends,
    hash: u64,
}

#[inline(always)]
fn begin<F: Family>(
    attempt: u32,
    flow: &Flow<F::Header>,
    place: &connection::Place<F>,
    found: &Found<SlotOf<F>>,
    index: u32,
    old: u32,
) -> Result<u32, Verdict> {
    let real = Chosen::of_connection(found.meta);
    let is_full = real.entry.way().method() == method::FULL_NAT;
    let new = ends_of::<F>(real, place, F::protocol(&flow.ip), is_full, attempt)?;
    let again = |spent: Verdict| if attempt < ATTEMPTS - 1 { Ok(AGAIN) } else { Err(spent) };
    let (row, word) = match room(&new) {
        Room::Free(row, word) => (row, word),
        Room::Taken if is_full => return again(Verdict::NatSpent),
        Room::Taken => return Err(Verdict::NatConflict),
        Room::None if is_full => return again(Verdict::NatFull),
        Room::None => return Err(Verdict::NatFull),
    };
    if !row.exchange(word, Word::BUSY) {
        return again(Verdict::NatFull);
    }
    write::<F>(row, &new, flow, F::key_words(place.packet_key, place.mark), found.meta);
    row.publish(Word::new(new.hash, Place::new(index, F::IS_V6)));
    if is_full && is_twice(row, &new) {
        row.publish(Word::FREE);
        return again(Verdict::NatSpent);
    }
    if !replies::set_tie::<F>(index, old, row) {
        // Another CPU has tied the connection meanwhile.
        row.publish(Word::FREE);
        return again(Verdict::NatFull);
    }
    Ok(TIED | row.number())
}

/// The ends that answers will have.
#[inline(always)]
fn ends_of<F: Family>(
    real: Chosen,
    place: &connection::Place<F>,
    protocol: u8,
    is_full: bool,
    attempt: u32,
) -> Result<New, Verdict> {
    let end = real.entry.end();
    let (client, ports) = F::client_end(place.packet_key);
    let real_port = if end.port() == 0 { ports >> 16 } else { u32::from(end.port()) };
    let (destination, port) = if is_full {
        let (local, port) = replies::local(end.is_v6(), place.hash, attempt).ok_or(Verdict::NatSpent)?;
        (local, u32::from(port))
    } else if end.is_v6() != F::IS_V6 {
        return Err(Verdict::NatUnsuited);
    } else {
        (F::words(client), ports & 0xffff)
    };
    let source = real.entry.address();
    let ends = Ends::new(real_port | port << 16, protocol, end.is_v6());
    let hash = if end.is_v6() {
        V6::ends_hash(source, destination, ends)
    } else {
        V4::ends_hash(V4::address(source), V4::address(destination), ends)
    };
    Ok(New { source, destination, ends, hash })
}

/// Where a new record may go.
enum Room {
    /// Here, if the index word still is this one.
    Free(Row, Word),
    /// Nowhere: another connection has these ends.
    Taken,
    /// Nowhere: every row near is a live connection's.
    None,
}

/// A row for the record: the one that had these ends before, or a free one, or one whose connection is gone.
#[inline(always)]
fn room(new: &New) -> Room {
    let rows = replies::rows(new.hash);
    let (mut chosen, mut chosen_word) = (rows.row(0), Word::BUSY);
    let mut way = 0;
    while way < Rows::COUNT {
        let row = rows.row(way);
        let word = row.word();
        if has_ends(row, word, new) {
            let (row, word) = forgotten(row, word);
            return if replies::is_used(row, word) { Room::Taken } else { Room::Free(row, word) };
        }
        if word.0 == Word::FREE.0 && chosen_word.0 == Word::BUSY.0 {
            (chosen, chosen_word) = (forgotten(row, word).0, word);
        }
        way += 1;
    }
    if chosen_word.0 == Word::FREE.0 {
        return Room::Free(chosen, chosen_word);
    }
    way = 0;
    while way < Rows::COUNT {
        let row = rows.row(way);
        let word = row.word();
        if word.is_live() {
            let (row, word) = forgotten(row, word);
            if !replies::is_used(row, word) {
                return Room::Free(row, word);
            }
        }
        way += 1;
    }
    Room::None
}

/// The same row and word, see [`limits::forgotten`].
#[inline(always)]
fn forgotten(row: Row, word: Word) -> (Row, Word) {
    (Row::of(limits::forgotten(u64::from(row.number())) as u32), Word(limits::forgotten(word.0)))
}

/// Another row has the same ends.
#[inline(always)]
fn is_twice(ours: Row, new: &New) -> bool {
    let rows = replies::rows(new.hash);
    let mut way = 0;
    while way < Rows::COUNT {
        let row = rows.row(way);
        if row.number() != ours.number() && has_ends(row, row.word(), new) {
            return true;
        }
        way += 1;
    }
    false
}

#[inline(always)]
fn has_ends(row: Row, word: Word, new: &New) -> bool {
    let record = row.record();
    word.has_tag(new.hash)
        && record.ends() == new.ends.0
        && record.destination_0() == new.destination[0]
        && record.source_0() == new.source[0]
        && record.destination_1() == new.destination[1]
        && record.source_1() == new.source[1]
}

/// Writes the record of a row that this caller made busy.
#[inline(always)]
fn write<F: Family>(row: Row, new: &New, flow: &Flow<F::Header>, key: [u64; 3], meta: Meta) {
    let record = row.record();
    let service = F::words(F::destination(&flow.ip));
    record.set_source_0(new.source[0]);
    record.set_source_1(new.source[1]);
    record.set_destination_0(new.destination[0]);
    record.set_destination_1(new.destination[1]);
    record.set_ends(new.ends.0);
    record.set_virtual_0(service[0]);
    record.set_virtual_1(service[1]);
    record.set_identity(meta.identity());
    record.set_key_0(key[0]);
    record.set_key_1(key[1]);
    record.set_key_2(key[2]);
    record.set_first_acknowledgement(0);
    record.clear_moved();
}
