//! The connection table's protocol, over any memory that can load, store and compare-exchange 64-bit words.
//!
//! A connection may sit in one of two buckets that the keyed hash picks. Whoever wants an entry changes its meta word by
//! compare-exchange; whoever wins owns the change and settles the real's counts. Writing goes: meta := busy (compare-exchange),
//! key, meta := final. Reading goes: a word of the key (a hint), meta, key, meta again: unless both metas name the same service and real
//! and the key between them matches, the entry is somebody else's. Nothing is ever locked; a lost race means "not found" or "not
//! touched", never a wrong real.

use crate::abi::connection::{Meta, STATES, State};
use crate::abi::limits::WAYS;
use crate::abi::real::Load;

#[cfg(any(test, feature = "user"))]
pub mod atomic;
pub mod room;
#[cfg(test)]
mod room_tests;
#[cfg(test)]
mod tests;

/// One entry of a bucket. Loads and stores are single 64-bit accesses in program order.
pub trait Slot: Copy {
    /// What identifies a connection inside its service.
    type Key: Copy;

    /// The meta word now.
    fn meta(self) -> Meta;
    /// Replaces the meta word if it still is `old`. True when it was.
    fn exchange(self, old: Meta, new: Meta) -> bool;
    /// Stores the meta word of an entry that this caller made busy, after everything written before it.
    fn publish(self, meta: Meta);
    /// The stored key equals `key`, word by word.
    fn key_is(self, key: Self::Key) -> bool;
    /// False only if the stored key differs from `key`: whatever word tells most flows apart is enough.
    #[inline(always)]
    fn key_may_be(self, key: Self::Key) -> bool {
        self.key_is(key)
    }
    /// The stored key.
    fn key(self) -> Self::Key;
    /// Stores the key of an entry that this caller made busy.
    fn write_key(self, key: Self::Key);
}

/// A bucket of [`WAYS`] entries.
pub trait Bucket: Copy {
    /// Its entries.
    type Slot: Slot;

    /// Entry `index`, below [`WAYS`].
    fn slot(self, index: usize) -> Self::Slot;
}

/// An entry and the meta word it was seen with.
#[derive(Clone, Copy, Debug)]
pub struct Found<S> {
    /// The entry.
    pub slot: S,
    /// Its meta word, live.
    pub meta: Meta,
}

/// An entry made busy for a new connection, to be finished by [`Slot::write_key`] and [`Slot::publish`].
#[derive(Clone, Copy, Debug)]
pub struct Claimed<S> {
    /// The entry.
    pub slot: S,
    /// The connection that had to go, if one had: its real's counts are the claimer's to settle.
    pub evicted: Option<Meta>,
}

/// The connection of `service` with `key`, if `bucket` holds it. No service has number 0, which free and busy entries show.
#[inline(always)]
pub fn find<B: Bucket>(bucket: B, key: <B::Slot as Slot>::Key, service: u32) -> Option<Found<B::Slot>> {
    let mut index = 0;
    while index < WAYS {
        let slot = bucket.slot(index);
        // A hint only, and none for the first, where most are: the key of a free or half-written entry may match too.
        if (index == 0 || slot.key_may_be(key))
            && let Some(meta) = holds(slot, key, service)
        {
            return Some(Found { slot, meta });
        }
        index += 1;
    }
    None
}

/// The entry's meta word, if it is the connection of `service` with `key`.
#[inline(always)]
fn holds<S: Slot>(slot: S, key: S::Key, service: u32) -> Option<Meta> {
    let meta = slot.meta();
    (slot.key_is(key) && meta.service() == service && slot.meta().same_identity(meta)).then_some(meta)
}

/// Makes an entry of one of the two buckets busy: a free one, otherwise one whose connection has had its time, otherwise, if the caller
/// `may_evict`, the one that [`eviction_rank`] can best spare. None when there is none: an established connection never yields to a new one.
///
/// The first bucket comes before the second: then 4 lookups of 5 read one cache line, in a table of which four fifths are taken.
#[inline(always)]
pub fn claim<B: Bucket>(
    first: B,
    second: B,
    now: u32,
    timeouts: &[u32; STATES],
    may_evict: bool,
) -> Option<Claimed<B::Slot>> {
    if let Some(way) = claim_free(|way| first.slot(way)) {
        return Some(Claimed { slot: first.slot(way), evicted: None });
    }
    if let Some(way) = claim_free(|way| second.slot(way)) {
        return Some(Claimed { slot: second.slot(way), evicted: None });
    }
    // An entry from the begin on: what an Option of none holds has no value, and the verifier wants one in every register.
    let mut victim = Found { slot: first.slot(0), meta: Meta::FREE };
    let mut highest = if may_evict { 0 } else { EXPIRED - 1 };
    let least = highest;
    let mut index = 0;
    while index < 2 * WAYS {
        let slot = if index < WAYS { first.slot(index) } else { second.slot(index - WAYS) };
        let meta = slot.meta();
        let rank = eviction_rank(meta, now, timeouts);
        if rank > highest {
            highest = rank;
            victim = Found { slot, meta };
        }
        index += 1;
    }
    let Found { slot, meta } = victim;
    // Lost to another CPU: the packet counts as one that found no room, and its sender will send it again.
    (highest > least && slot.exchange(meta, Meta::BUSY)).then_some(Claimed { slot, evicted: Some(meta) })
}

/// Makes a free entry of a bucket busy, and tells which.
#[inline(always)]
fn claim_free<S: Slot>(slot: impl Fn(usize) -> S) -> Option<usize> {
    let mut way = 0;
    while way < WAYS {
        if slot(way).meta() == Meta::FREE && slot(way).exchange(Meta::FREE, Meta::BUSY) {
            return Some(way);
        }
        way += 1;
    }
    None
}

/// 0: must stay. Otherwise the higher goes first: expired, half-open, closing or a template that never had an open connection, UDP or
/// another template; among each the longest idle. Never a connection
/// that is established, or whose client still sends after the real has closed.
#[inline(always)]
fn eviction_rank(meta: Meta, now: u32, timeouts: &[u32; STATES]) -> u32 {
    if !meta.is_live() {
        return 0;
    }
    if is_expired(meta, now, timeouts) {
        return EXPIRED + meta.idle(now);
    }
    let class = (CLASSES >> (2 * u32::from(meta.state_bits()))) as u32 & 3;
    if class == 0 { 0 } else { class * CLASS + meta.idle(now) }
}

/// Above every idle time, which has 22 bits.
const CLASS: u32 = 1 << 24;
const EXPIRED: u32 = 4 * CLASS;

/// [`class`] of every state, two bits each: one word, so that the datapath reads no memory for it.
const CLASSES: u64 = {
    let mut classes = 0;
    let mut bits = 0;
    while bits < STATES as u8 {
        classes |= class(State::from_bits(bits)) << (2 * bits);
        bits += 1;
    }
    classes
};

/// How readily a connection in this state yields; 0 never.
const fn class(state: State) -> u64 {
    match state {
        State::SynRecv
        | State::SynSent
        | State::SynAck
        | State::Listen
        | State::SctpInit1
        | State::SctpInit
        | State::SctpCookieSent
        | State::SctpCookieReplied
        | State::SctpCookieWait
        | State::SctpCookie
        | State::SctpCookieEchoed => 3,
        State::FinWait
        | State::TimeWait
        | State::Close
        | State::LastAck
        | State::SctpShutdownSent
        | State::SctpShutdownReceived
        | State::SctpShutdownAckSent
        | State::SctpRejected
        | State::SctpClosed
        | State::Template => 2,
        State::Udp | State::TemplateAssured => 1,
        State::None | State::Established | State::CloseWait | State::Busy => 0,
    }
}

/// No packet for longer than its state's timeout.
#[inline(always)]
pub fn is_expired(meta: Meta, now: u32, timeouts: &[u32; STATES]) -> bool {
    // The mask says nothing new (a state has five bits); it is there for the verifier.
    meta.is_live() && meta.idle(now) > timeouts[meta.state_bits() as usize & (STATES - 1)]
}

/// What a connection in this state adds to its real's counts: a template nothing.
#[inline(always)]
pub const fn unit(state: State) -> u64 {
    if state.is_template() { 0 } else { Load::unit(matches!(state, State::Established)) }
}

/// What a packet changes in the real's counts when its connection goes from one state to another: IPVS counts a connection as
/// active while it is established, as inactive otherwise.
#[inline(always)]
pub fn activity_change(from: State, to: State) -> Option<bool> {
    match (matches!(from, State::Established), matches!(to, State::Established)) {
        (false, true) => Some(true),
        (true, false) => Some(false),
        _ => None,
    }
}
