//! Fragments that wait for their packet's first one: how many, how long, and in which order they go on.

use std::collections::VecDeque;
use std::time::{Duration, Instant};

use crate::dataplane::early::EarlyFragment;

/// Memory for frames that wait. More are dropped: who sends fragments without first ones must not fill the machine.
const MAX_BYTES: usize = 4 << 20;
/// How long a fragment waits. On one path packets overtake each other by milliseconds.
const PATIENCE: Duration = Duration::from_secs(1);
/// How often somebody looks whether first ones have come.
pub(super) const LOOK: Duration = Duration::from_millis(2);

/// The fragments, in the order in which they came.
#[derive(Debug, Default)]
pub(super) struct Held {
    waiting: VecDeque<(Instant, EarlyFragment)>,
    bytes: usize,
    /// Fragments that went on.
    pub(super) sent_on: u64,
    /// Fragments whose first one did not come in time, or that found no room.
    pub(super) given_up: u64,
}

impl Held {
    /// Nobody waits.
    pub(super) fn is_empty(&self) -> bool {
        self.waiting.is_empty()
    }

    /// How many wait.
    pub(super) fn len(&self) -> usize {
        self.waiting.len()
    }

    /// Takes fragments in, as far as there is room.
    pub(super) fn take(&mut self, now: Instant, fragments: Vec<EarlyFragment>) {
        for fragment in fragments {
            if self.bytes + fragment.frame.len() > MAX_BYTES {
                self.given_up += 1;
                continue;
            }
            self.bytes += fragment.frame.len();
            self.waiting.push_back((now, fragment));
        }
    }

    /// Fragments of packets that are known by now, in order. Those that have waited too long are given up.
    pub(super) fn ready(&mut self, now: Instant, is_known: impl Fn(u64) -> bool) -> Vec<EarlyFragment> {
        let mut ready = Vec::new();
        for (since, fragment) in std::mem::take(&mut self.waiting) {
            if is_known(fragment.tag) {
                self.sent_on += 1;
                ready.push(fragment);
            } else if now.duration_since(since) > PATIENCE {
                self.given_up += 1;
            } else {
                self.waiting.push_back((since, fragment));
            }
        }
        self.bytes = self.waiting.iter().map(|(_, fragment)| fragment.frame.len()).sum();
        ready
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn fragment(tag: u64, length: usize) -> EarlyFragment {
        EarlyFragment { tag, ifindex: 1, frame: vec![0; length] }
    }

    #[test]
    fn fragments_go_on_in_order_once_their_first_one_is_known() {
        let (mut held, now) = (Held::default(), Instant::now());
        held.take(now, vec![fragment(7, 1), fragment(8, 2), fragment(7, 3)]);
        assert_eq!(held.ready(now, |_| false), []);
        assert_eq!(held.ready(now, |tag| tag == 7), [fragment(7, 1), fragment(7, 3)]);
        assert_eq!((held.len(), held.bytes, held.sent_on, held.given_up), (1, 2, 2, 0));
        assert_eq!(held.ready(now + PATIENCE + LOOK, |_| false), []);
        assert_eq!((held.is_empty(), held.bytes, held.given_up), (true, 0, 1));
    }

    #[test]
    fn there_is_room_for_so_much() {
        let (mut held, now) = (Held::default(), Instant::now());
        held.take(now, (0..5000).map(|tag| fragment(tag, 1500)).collect());
        assert_eq!((held.len(), held.given_up), (MAX_BYTES / 1500, 5000 - (MAX_BYTES / 1500) as u64));
        held.ready(now + PATIENCE + LOOK, |_| false);
        held.take(now, vec![fragment(1, 1500)]);
        assert_eq!(held.len(), 1, "room again");
    }
}
