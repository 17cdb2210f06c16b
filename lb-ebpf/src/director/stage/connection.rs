//! The connection that a packet belongs to, and what the packet does to it.
//!
//! A packet of an established connection reads one bucket and writes nothing, but once a second the last-seen stamp.

use aya_ebpf::bindings::xdp_md;
use lb_common::abi::connection::{Meta, State};
use lb_common::abi::limits::WAYS;
use lb_common::abi::real::{Load, disposition, method};
use lb_common::abi::service::Target;
use lb_common::abi::verdict::Verdict;
use lb_common::algo::tcp_state;
use lb_common::table::{self, Bucket, Found, Slot};
use lb_common::wire::parse::Flow;

use super::tie::Occasion;
use super::tunnel::Stand;
use super::{advance, nat};
use crate::family::{Family, SlotOf};
use crate::maps::limits;
use crate::maps::reals::{self, Chosen};

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
        Self { packet_key, mark, key, service, hash: F::hash(key) }
    }

    #[inline(always)]
    pub(crate) fn first(&self) -> F::Bucket {
        F::first(self.hash, self.service)
    }

    #[inline(always)]
    pub(crate) fn second(&self) -> F::Bucket {
        F::second(self.hash, self.service)
    }
}

/// The real of the packet's connection; None when there is no connection, or when the packet begins a new one in its place.
#[inline(always)]
pub(crate) fn follow<F: Family>(
    ctx: *mut xdp_md,
    flow: &Flow<F::Header>,
    target: Target,
    place: &Place<F>,
    found: &Found<SlotOf<F>>,
    stand: Stand,
    now: u32,
) -> Result<Option<Chosen>, Verdict> {
    let real = Chosen::of_connection(found.meta);
    let changes =
        u64::from(tcp_state::turn(flow.transport.flags)) | u64::from(real.way.disposition() ^ disposition::FORWARD);
    // Nearly every packet: one comparison instead of all of the below.
    if found.meta.unsteadiness(now) | changes == 0 {
        return Ok(Some(real));
    }
    if found.meta.is_open() && changes == 0 {
        // The first one of its second. A lost race leaves the stamp to the winner.
        found.slot.exchange(found.meta, found.meta.seen(now));
        if method::is_translated(real.entry.way().method()) {
            nat::tie(ctx, stand, Occasion::first(found.meta.last_seen(), now, place.hash))?;
        }
        return Ok(Some(real));
    }
    match F::advance(ctx, stand, target) {
        advance::BEGINS => Ok(None),
        number if number < super::REAL => Err(super::verdict(number)),
        number => {
            if number & super::TIE != 0 {
                nat::tie(ctx, stand, Occasion::CHANGE)?;
            }
            Ok(Some(Chosen::of(number)))
        }
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
    let buckets = F::bucket_numbers(place.hash, place.service);
    let mut at = 0;
    while at < 2 * WAYS {
        let index = buckets[at / WAYS] * WAYS as u32 + (at % WAYS) as u32;
        let slot = if at < WAYS { place.first().slot(at) } else { place.second().slot(at - WAYS) };
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
pub(crate) fn find<F: Family>(place: &Place<F>) -> Option<Found<SlotOf<F>>> {
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
