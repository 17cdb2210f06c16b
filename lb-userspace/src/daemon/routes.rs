//! What the program is told of changes that ways back to clients may follow ([`lb_common::algo::way_back`]).

use lb_common::abi::connection::SEEN_MASK;

use crate::dataplane::tables::Tables;
use crate::signal::neighbour::Routing;

/// Ticks between two changes that the program is told of: each makes every connection with translation look once. As often as they do
/// when nobody watches, so that a router whose routes never rest costs no more than that.
const SPACING: u32 = 4;

/// What it has been told.
#[derive(Default)]
pub(super) struct Routes {
    /// Changes, and the tick in which it was told of the last of them.
    told: Option<(u64, u32)>,
}

impl Routes {
    /// Once a second: somebody watches, and what had to wait.
    pub(super) fn tick(&mut self, tables: &mut Tables, routing: Routing, tick: u32) {
        self.changed(tables, routing, tick);
        if routing.is_followed {
            tables.note_routes_watched(tick);
        }
    }

    /// Tells of changes, if the last ones are long enough ago.
    pub(super) fn changed(&mut self, tables: &mut Tables, routing: Routing, tick: u32) {
        let (known, at) = self.told.unwrap_or((0, tick.wrapping_sub(SPACING)));
        if routing.changes != known && tick.wrapping_sub(at) & SEEN_MASK as u32 >= SPACING {
            tables.note_routes_changed(tick);
            self.told = Some((routing.changes, tick));
        }
    }
}
