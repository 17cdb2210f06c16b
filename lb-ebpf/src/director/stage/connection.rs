//! The connection that a packet belongs to, and what the packet does to it.
//!
//! A packet of an established connection reads one bucket and writes nothing, but once a second the last-seen stamp.

use aya_ebpf::bindings::xdp_md;
use lb_common::abi::connection::{Meta, State};
use lb_common::abi::limits::WAYS;
use lb_common::abi::real::{Load, disposition, method};
use lb_common::abi::verdict::Verdict;
use lb_common::algo::state::{self, Direction};
use lb_common::algo::{hash, tcp_state};
use lb_common::table::{self, Found, Slot};
use lb_common::wire::parse::Flow;

use super::nat;
use super::tie::Occasion;
use super::tunnel::Stand;
use crate::family::{Family, SlotOf};
use crate::maps::reals::{self, Chosen};
use crate::maps::{limits, settings};

/// Where a flow's connection may be.
pub(crate) struct Place<F: Family> {
    /// As the packet has it.
    pub(crate) packet_key: F::Key,
    /// What the key in the table has besides.
    pub(crate) mark: u64,
    /// As the table has it.
    pub(crate) key: F::Key,
    pub(crate) service: u32,
    pub(crate) hash: u64,
}

impl<F: Family> Place<F> {
    #[inline(always)]
    pub(crate) fn of(packet_key: F::Key, mark: u64, service: u32) -> Self {
        let key = F::marked(packet_key, mark);
        Self { packet_key, mark, key, service, hash: F::hash(key, service) }
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

/// The real of the packet's connection; None when there is no connection, or when the packet begins a new one in its place.
#[inline(always)]
pub(crate) fn follow<F: Family>(
    ctx: *mut xdp_md,
    flow: &Flow<F::Header>,
    place: &Place<F>,
    stand: Stand,
) -> Result<Option<Chosen>, Verdict> {
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
    advance::<F>(ctx, flow, &found, real, now, stand)
}

/// What a packet changes that is not like the one before it.
#[inline(always)]
fn advance<F: Family>(
    ctx: *mut xdp_md,
    flow: &Flow<F::Header>,
    found: &Found<SlotOf<F>>,
    real: Chosen,
    now: u32,
    stand: Stand,
) -> Result<Option<Chosen>, Verdict> {
    let state = found.meta.state();
    let (protocol, event) = (F::protocol(&flow.ip), flow.transport.flags);
    if state.is_template() {
        // Nobody but a forger has source port 0.
        return Err(Verdict::PortZero);
    }
    if state::is_reuse(protocol, state, event) && settings::get().reuse_states >> state as u8 & 1 != 0 {
        release::<F>(found);
        return Ok(None);
    }
    let disposition = real.way.disposition();
    if disposition != disposition::FORWARD {
        // Nobody waits for an answer from a real that gives none: a client that begins again gets another one.
        let begins_again = state::is_opening(protocol, event) && state as u8 != State::Established as u8;
        if begins_again || disposition == disposition::RESCHEDULE {
            release::<F>(found);
            return Ok(None);
        }
        const { assert!(disposition::DRAIN < disposition::KEEP) };
        if disposition < disposition::DRAIN {
            return Err(refusal(disposition));
        }
    }
    let is_translated = method::is_translated(real.entry.way().method());
    let next = if is_translated {
        state::next(protocol, Direction::Input, state, event)
    } else {
        state::next(protocol, Direction::InputOnly, state, event)
    };
    let last_seen = found.meta.last_seen();
    if next as u8 != state as u8 || last_seen != now {
        update::<F>(found, state, next, now);
    }
    if is_translated {
        let occasion = Occasion::known([state, next], event, [last_seen, now], flow.transport.ports);
        nat::tie(ctx, stand, occasion)?;
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

/// A connection, and its number in the table.
pub(crate) struct Located<S> {
    pub(crate) found: Found<S>,
    pub(crate) index: u32,
}

/// The connection at a place, with its number.
#[inline(always)]
pub(crate) fn locate<F: Family>(place: &Place<F>) -> Option<Located<SlotOf<F>>> {
    let buckets = [hash::first_bucket(place.hash, F::bucket_mask()), hash::second_bucket(place.hash, F::bucket_mask())];
    let mut at = 0;
    while at < 2 * WAYS {
        let index = buckets[at / WAYS] as u32 * WAYS as u32 + (at % WAYS) as u32;
        let slot = F::slot(index);
        if slot.key_is(place.key) && slot.meta().service() == place.service {
            let index = limits::forgotten(u64::from(index)) as u32;
            let slot = F::slot(index);
            let meta = slot.meta();
            if meta.service() == place.service {
                return Some(Located { found: Found { slot, meta }, index });
            }
        }
        at += 1;
    }
    None
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
pub(crate) fn update<F: Family>(found: &Found<SlotOf<F>>, state: State, next: State, now: u32) {
    if !found.slot.exchange(found.meta, found.meta.with(next, now)) {
        return;
    }
    if let Some(active) = table::activity_change(state, next) {
        reals::add_load(found.meta.real(), Load::unit(active).wrapping_sub(Load::unit(!active)));
    }
}

/// Takes the connection out of the table and out of its real's counts.
#[inline(always)]
pub(crate) fn release<F: Family>(found: &Found<SlotOf<F>>) {
    // The stamp may have moved since: once more with the word as it is now, for the same connection only.
    let now = found.slot.meta();
    if now.is_live() && now.same_identity(found.meta) && found.slot.exchange(now, Meta::FREE) {
        settle(now);
    }
}

/// Takes a connection that left the table out of its real's counts.
#[inline(always)]
pub(crate) fn settle(meta: Meta) {
    xvs_settle(meta.0);
}

/// [`settle`] out of line: it comes up at many places, and the verifier would walk its branches at each.
#[expect(unsafe_code, reason = "a global BPF function needs a name of its own in the object")]
#[unsafe(no_mangle)]
#[inline(never)]
pub extern "C" fn xvs_settle(meta: u64) -> u32 {
    let meta = Meta(meta);
    let unit = table::unit(meta.state());
    if unit != 0 {
        reals::end_load(meta.real(), unit);
    }
    0
}
