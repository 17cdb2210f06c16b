//! The connection that a packet belongs to, and what the packet does to it.
//!
//! A packet of an established connection reads one bucket and writes nothing, but once a second the last-seen stamp.

use lb_common::abi::connection::{Meta, State};
use lb_common::abi::real::{Load, disposition};
use lb_common::abi::verdict::Verdict;
use lb_common::algo::{hash, tcp_state};
use lb_common::table::{self, Bucket, Found, Slot};
use lb_common::wire::parse::Flow;
use lb_common::wire::transport;

use crate::family::Family;
use crate::maps::reals::{self, Chosen};
use crate::maps::settings;

/// Where a flow's connection may be.
pub(crate) struct Place<F: Family> {
    pub(crate) key: F::Key,
    pub(crate) service: u32,
    pub(crate) hash: u64,
}

impl<F: Family> Place<F> {
    #[inline(always)]
    pub(crate) fn of(key: F::Key, service: u32) -> Self {
        Self { key, service, hash: F::hash(key, service) }
    }

    #[inline(always)]
    pub(crate) fn first(&self) -> F::Bucket {
        F::bucket(hash::first_bucket(self.hash, F::bucket_mask()))
    }

    #[inline(always)]
    pub(crate) fn second(&self) -> F::Bucket {
        F::bucket(hash::second_bucket(self.hash, F::bucket_mask()))
    }
}

type SlotOf<F> = <<F as Family>::Bucket as Bucket>::Slot;

/// The real of the packet's connection; None when there is no connection, or when the packet begins a new one in its place.
#[inline(always)]
pub(crate) fn follow<F: Family>(flow: &Flow<F::Header>, place: &Place<F>) -> Result<Option<Chosen>, Verdict> {
    let Some(found) = find(place) else { return Ok(None) };
    let now = settings::now();
    let real = Chosen::of(found.meta.real());
    // Nearly every packet: two comparisons instead of all of the below.
    if found.meta.is_steady(now)
        && !tcp_state::is_turn(flow.transport.flags)
        && real.way.disposition() == disposition::FORWARD
    {
        return Ok(Some(real));
    }
    advance::<F>(flow, &found, real, now)
}

/// What a packet changes that is not like the one before it.
#[inline(always)]
fn advance<F: Family>(
    flow: &Flow<F::Header>,
    found: &Found<SlotOf<F>>,
    real: Chosen,
    now: u32,
) -> Result<Option<Chosen>, Verdict> {
    let state = found.meta.state();
    let is_tcp = F::protocol(&flow.ip) == transport::TCP;
    if is_tcp && tcp_state::is_reuse(state, flow.transport.flags) {
        release::<F>(found);
        return Ok(None);
    }
    let disposition = real.way.disposition();
    if disposition != disposition::FORWARD {
        // Nobody waits for an answer from a real that gives none: a client that begins again gets another one.
        let begins_again =
            is_tcp && tcp_state::is_opening(flow.transport.flags) && state as u8 != State::Established as u8;
        if begins_again || disposition == disposition::RESCHEDULE {
            release::<F>(found);
            return Ok(None);
        }
        if disposition != disposition::DRAIN {
            return Err(refusal(disposition));
        }
    }
    let next = if is_tcp { tcp_state::next(state, flow.transport.flags) } else { state };
    if next as u8 != state as u8 || found.meta.last_seen() != now {
        update::<F>(found, state, next, now);
    }
    Ok(Some(real))
}

/// Why a packet does not go to its real. The connection keeps its age, so that it expires.
#[inline(always)]
const fn refusal(disposition: u8) -> Verdict {
    match disposition {
        disposition::DROP => Verdict::RealDown,
        disposition::UNRESOLVED => Verdict::RealUnresolved,
        _ => Verdict::RealGone,
    }
}

#[inline(always)]
fn find<F: Family>(place: &Place<F>) -> Option<Found<SlotOf<F>>> {
    if let Some(found) = table::find(place.first(), place.key, place.service) {
        return Some(found);
    }
    table::find(place.second(), place.key, place.service)
}

/// Stamps the connection and moves it to its next state. A lost race leaves the stamp to the winner and the state to the next packet.
#[inline(always)]
fn update<F: Family>(found: &Found<SlotOf<F>>, state: State, next: State, now: u32) {
    if !found.slot.exchange(found.meta, found.meta.with(next, now)) {
        return;
    }
    if let Some(active) = table::activity_change(state, next) {
        reals::add_load(found.meta.real(), Load::unit(active).wrapping_sub(Load::unit(!active)));
    }
}

/// Takes the connection out of the table and out of its real's counts.
#[inline(always)]
fn release<F: Family>(found: &Found<SlotOf<F>>) {
    // The stamp may have moved since: once more with the word as it is now, for the same connection only.
    let now = found.slot.meta();
    if now.is_live() && now.same_identity(found.meta) && found.slot.exchange(now, Meta::FREE) {
        settle(now);
    }
}

/// Takes a connection that left the table out of its real's counts.
#[inline(always)]
pub(crate) fn settle(meta: Meta) {
    let is_active = matches!(meta.state(), State::Established);
    reals::add_load(meta.real(), 0u64.wrapping_sub(Load::unit(is_active)));
}
