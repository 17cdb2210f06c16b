//! What the program is told of changes that ways back to clients may follow ([`lb_common::algo::way_back`]).

use lb_common::abi::connection::SEEN_MASK;

use crate::dataplane::tables::Tables;
use crate::signal::neighbour::Routing;

/// Ticks that telling of a change costs: each makes every connection with translation look once, as often as they do when nobody watches. A
/// router whose routes never rest so costs no more than that.
const COST: u32 = 4;
/// Ticks that are saved up at most, for changes that come in one go.
const SAVED: u32 = 4 * COST;

/// What it has been told.
pub(super) struct Routes {
    /// Of how many changes.
    told: u64,
    /// Ticks saved up, and the tick that was counted last.
    saved: u32,
    counted: Option<u32>,
}

impl Default for Routes {
    fn default() -> Self {
        Self { told: 0, saved: SAVED, counted: None }
    }
}

impl Routes {
    /// Once a second: somebody watches, and what had to wait.
    pub(super) fn tick(&mut self, tables: &mut Tables, routing: Routing, tick: u32) {
        self.changed(tables, routing, tick);
        if routing.is_followed {
            tables.note_routes_watched(tick);
        }
    }

    /// Tells of changes, unless there have been too many of late.
    pub(super) fn changed(&mut self, tables: &mut Tables, routing: Routing, tick: u32) {
        if self.tells(routing.changes, tick) {
            tables.note_routes_changed(tick);
        }
    }

    fn tells(&mut self, changes: u64, tick: u32) -> bool {
        let passed = tick.wrapping_sub(self.counted.unwrap_or(tick)) & SEEN_MASK as u32;
        self.saved = SAVED.min(self.saved + passed.min(SAVED));
        self.counted = Some(tick);
        if changes == self.told || self.saved < COST {
            return false;
        }
        self.saved -= COST;
        self.told = changes;
        true
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Ticks in which the program is told, of changes as many as there have been by each tick.
    fn told(changes: impl Fn(u32) -> u64, ticks: u32) -> Vec<u32> {
        let mut routes = Routes::default();
        // Around the clock's end.
        (0..ticks).filter(|tick| routes.tells(changes(*tick), tick.wrapping_sub(9) & SEEN_MASK as u32)).collect()
    }

    #[test]
    fn single_changes_are_told_at_once_and_once() {
        assert_eq!(told(|tick| u64::from(tick >= 3) + u64::from(tick >= 4) + u64::from(tick >= 40), 90), [3, 4, 40]);
        assert!(told(|_| 0, 90).is_empty());
    }

    #[test]
    fn routes_that_never_rest_are_told_of_one_tick_in_four() {
        let told = told(|tick| u64::from(tick) + 1, 400);
        assert_eq!(told[..6], [0, 1, 2, 3, 4, 8]);
        assert!(told[5..].windows(2).all(|pair| pair[1] - pair[0] == 4));
    }

    #[test]
    fn the_last_change_is_not_forgotten() {
        assert_eq!(told(|tick| u64::from(tick.min(9)) + 1, 90).last(), Some(&12));
    }
}
