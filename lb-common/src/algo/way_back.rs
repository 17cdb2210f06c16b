//! When the way back to the client of a known connection is looked up again.
//!
//! The lookup costs as much as twenty packets, and with a million flows most packets are the first of their tick. A daemon that follows the
//! kernel's announcements says when routes, neighbours or links have changed, so that nothing needs to be asked in between.

use crate::abi::connection::SEEN_MASK;

/// What is known of changes, in ticks modulo 2^22.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Watch {
    /// When the daemon last saw one.
    pub changed: u32,
    /// When the daemon last said that it sees them.
    pub watched: u32,
    /// When the kernel last had no answer to where a client is. Its answers then go back to where its packets come from, and nobody announces
    /// that these come by another router.
    pub unknown: u32,
}

/// A daemon that has said nothing for so many ticks may be gone.
const SILENT: u32 = 8;
/// A client that the kernel knows no way to counts for so many ticks: those of its connections that send have said so again by then, as others do with
/// the first packet after so long a silence.
const DOUBT: u32 = 64;
/// One tick in so many is a flow's turn when nobody watches,
const OFTEN: u32 = 4;
/// and when somebody does: for changes that nobody announces, such as forwarding switched on.
const SELDOM: u32 = 256;

impl Watch {
    /// Whether to look again for the first packet in tick `now` of a connection that was last seen `idle` ticks before; `flow` is any byte of
    /// the flow's own, so that not all have their turn in one tick.
    #[inline(always)]
    pub const fn is_due(self, now: u32, idle: u32, flow: u8) -> bool {
        // Whoever wrote a tick may have been one ahead.
        let is_watched = since(self.watched, now) <= SILENT && since(self.unknown, now) > DOUBT;
        let period = if is_watched { SELDOM } else { OFTEN };
        (now ^ flow as u32) & (period - 1) == 0 || idle >= DOUBT || self.has_changed(now, idle)
    }

    /// Whether an answer leaves the stamp of its connection, last seen `idle` ticks before, as it is: the client's next packet is to look, as it
    /// would not if it came after an answer. Datagrams may go one way only, and their connection must not expire for want of stamps.
    #[inline(always)]
    pub const fn keeps_stamp(self, now: u32, idle: u32, is_of_datagrams: bool) -> bool {
        self.has_changed(now, idle) && (!is_of_datagrams || since(self.changed, now) <= SILENT)
    }

    #[inline(always)]
    const fn has_changed(self, now: u32, idle: u32) -> bool {
        since(self.changed, now) <= idle + 1
    }
}

/// Ticks since one that is at most one tick ahead, and one more.
#[inline(always)]
const fn since(tick: u32, now: u32) -> u32 {
    (now.wrapping_sub(tick).wrapping_add(1)) & SEEN_MASK as u32
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOW: u32 = 100_000;
    /// Long ago.
    const NEVER: u32 = 0;

    /// Ticks of the next 1024 in which a connection that is seen in each has its way looked up.
    fn looks(watch: Watch, flow: u8) -> Vec<u32> {
        // The daemon goes on saying that it watches.
        let at =
            |tick: u32| Watch { watched: watch.watched.max(if watch.watched == NEVER { 0 } else { tick }), ..watch };
        (NOW..NOW + 1024).filter(|tick| at(*tick).is_due(*tick, 1, flow)).collect()
    }

    #[test]
    fn seldom_while_somebody_watches() {
        for flow in [0, 3, 77, 255] {
            let looks = looks(Watch { changed: NEVER, watched: NOW, unknown: NEVER }, flow);
            assert_eq!(looks.len(), 4);
            assert!(looks.windows(2).all(|pair| pair[1] - pair[0] == 256));
        }
    }

    #[test]
    fn one_tick_in_four_when_nobody_watches_or_the_kernel_does_not_know() {
        let alone = Watch { changed: NEVER, watched: NEVER, unknown: NEVER };
        assert_eq!(looks(alone, 9).len(), 256);
        let gone = Watch { watched: NOW - 9, ..alone };
        let is_due = |watch: Watch| (0..4).any(|flow| watch.is_due(NOW, 1, flow ^ NOW as u8 ^ 4));
        assert!(is_due(gone) && !is_due(Watch { watched: NOW - 7, ..alone }));
        let unknown = Watch { watched: NOW + 1, unknown: NOW, ..alone };
        assert!(is_due(unknown) && is_due(Watch { unknown: NOW - 63, ..unknown }));
        assert!(!is_due(Watch { unknown: NOW - 64, ..unknown }));
    }

    #[test]
    fn after_a_change_each_connection_looks_once() {
        let quiet = |now: u32| now as u8 ^ 32;
        for idle in [1, 5, 60] {
            for (changed, due) in
                [(NOW - idle - 1, false), (NOW - idle, true), (NOW - idle + 1, true), (NOW, true), (NOW + 1, true)]
            {
                let watch = Watch { changed, watched: NOW, unknown: NEVER };
                assert_eq!(watch.is_due(NOW, idle, quiet(NOW)), due, "changed {changed}, idle {idle}");
            }
        }
    }

    #[test]
    fn after_a_long_silence_a_connection_looks() {
        let watch = Watch { changed: NEVER, watched: NOW, unknown: NEVER };
        assert!(watch.is_due(NOW, 64, NOW as u8 ^ 32) && !watch.is_due(NOW, 63, NOW as u8 ^ 32));
    }

    #[test]
    fn answers_leave_the_look_to_the_client() {
        let changed = |ago: u32| Watch { changed: NOW - ago, watched: NOW, unknown: NEVER };
        for (ago, idle, of_datagrams, of_stream) in [
            (1, 1, true, true),
            (7, 7, true, true),
            (8, 8, false, true),
            (3000, 3000, false, true),
            (3, 2, false, false),
        ] {
            assert_eq!(changed(ago).keeps_stamp(NOW, idle, true), of_datagrams, "{ago} {idle}");
            assert_eq!(changed(ago).keeps_stamp(NOW, idle, false), of_stream, "{ago} {idle}");
        }
    }

    #[test]
    fn the_clock_may_go_round() {
        let last = SEEN_MASK as u32;
        let watch = Watch { changed: last, watched: last, unknown: last / 2 };
        assert!(watch.is_due(2, 3, 2 ^ 32) && !watch.is_due(2, 1, 2 ^ 32));
    }
}
