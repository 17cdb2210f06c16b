//! When which part of the connection tables has to be looked at again. At its default size a look at all of them reads 63 MB; most of it
//! would be for nothing.
//!
//! A stretch is looked at when the first of its connections can be over. A packet only makes one stay longer, or gives it another state, or
//! brings a new one: neither is over before the shortest time of all has passed since. One that moves here
//! from another stretch to make room may be, and is found a shortest time late. While no packet has gone to a real, not even that.

use lb_common::abi::connection::SEEN_MASK;

use super::ageing::Ageing;
use super::connections::Sweep;
use super::mapped::WINDOW;
use super::tables::Tables;

/// Entries of a stretch: 64 kB of IPv4's, 128 kB of IPv6's.
const ENTRIES: usize = 4096;
const _: () = assert!(WINDOW.is_multiple_of(ENTRIES * 32));

/// Entries of a connection table that stand side by side.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Stretch {
    pub(super) is_v6: bool,
    pub(super) first: usize,
    pub(super) length: usize,
}

/// A sweep's own.
pub(super) struct Sweeping<'a> {
    pub(super) now: u32,
    pub(super) ageing: &'a Ageing,
    pub(super) retired: &'a std::collections::BTreeSet<u32>,
}

/// What was met in a stretch.
pub(super) struct Swept {
    pub(super) used: u64,
    pub(super) expired: u64,
    /// Ticks until the first of them can be over.
    pub(super) next: Option<u32>,
}

impl Swept {
    pub(super) fn look_after(&mut self, ticks: u32) {
        self.next = Some(self.next.map_or(ticks, |next| next.min(ticks)));
    }
}

/// When every stretch is to be looked at.
#[derive(Debug, Default)]
pub struct Rounds {
    looks: Vec<Look>,
    ageing: Ageing,
}

/// The last look at a stretch.
#[derive(Debug, Clone, Copy, Default)]
struct Look {
    /// Tick of the next one.
    due: u32,
    /// Tick at which the first of its connections is over, if it had any.
    over: Option<u32>,
    /// [`Tables::moved`] before it.
    moved: u64,
    used: u64,
    is_known: bool,
}

impl Tables {
    /// All stretches, IPv4's first.
    pub fn stretches(&self) -> impl Iterator<Item = Stretch> + use<> {
        let of = |is_v6| {
            let (table, width) = self.table(is_v6);
            let entries = table.word_count() / width;
            let firsts = (0..entries).step_by(ENTRIES);
            firsts.map(move |first| Stretch { is_v6, first, length: ENTRIES.min(entries - first) })
        };
        of(false).chain(of(true))
    }

    /// [`Tables::sweep`] of the stretches whose time has come.
    pub fn sweep_due(&self, rounds: &mut Rounds, now: u32, ageing: &Ageing) -> Sweep {
        let retired = self.retired();
        let moved = self.moved();
        // Other times, or services that are gone: everything may be over.
        let is_all = !retired.is_empty() || rounds.ageing != *ageing;
        if is_all {
            rounds.ageing = ageing.clone();
        }
        let (swept, shortest) = (Sweeping { now, ageing, retired: &retired }, ageing.shortest() + 1);
        let (mut sweep, mut templates) = (Sweep::default(), Vec::new());
        let stretches = self.stretches();
        for (number, stretch) in stretches.enumerate() {
            if rounds.looks.len() <= number {
                rounds.looks.push(Look::default());
            }
            let look = &mut rounds.looks[number];
            if is_all || !look.is_known || is_reached(look.due, now) {
                let is_same = !is_all && look.is_known && look.moved == moved;
                if is_same && look.over.is_none_or(|over| !is_reached(over, now)) {
                    // Nothing has come, nothing is over: when something comes it stays for the shortest time at least.
                    let later = now.wrapping_add(shortest);
                    look.due = look.over.filter(|over| is_reached(*over, later)).unwrap_or(later);
                } else {
                    let seen = self.sweep_stretch(stretch, &swept, &mut templates);
                    sweep.expired += seen.expired;
                    let next = seen.next.map(|ticks| ticks.clamp(1, SEEN_MASK as u32 / 4));
                    *look = Look {
                        due: now.wrapping_add(next.map_or(shortest, |next| next.min(shortest))),
                        over: next.map(|ticks| now.wrapping_add(ticks)),
                        moved,
                        used: seen.used,
                        is_known: true,
                    };
                }
            }
            *(if stretch.is_v6 { &mut sweep.used_v6 } else { &mut sweep.used_v4 }) += look.used;
        }
        if !templates.is_empty() {
            sweep.expired += self.sweep_templates(now, ageing, &templates);
        }
        sweep
    }
}

/// A tick has come, on a clock that goes round.
fn is_reached(tick: u32, now: u32) -> bool {
    let mask = SEEN_MASK as u32;
    now.wrapping_sub(tick) & mask <= mask / 2
}
