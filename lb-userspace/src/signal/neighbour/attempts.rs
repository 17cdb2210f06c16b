//! When to ask for a neighbour again: the memory of how often nobody answered.
//!
//! Time comes in as an argument, so that the waits are tested without waiting.

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;
use std::time::Duration;

use tokio::time::Instant;

/// A neighbour: interface index and address.
pub(super) type Key = (u32, IpAddr);

/// The kernel itself sends three solicitations, one a second, before it gives up.
const FIRST_WAIT: Duration = Duration::from_secs(4);
/// A real server that was off for an hour is found again within this time, even if it stays silent.
const LONGEST_WAIT: Duration = Duration::from_secs(30);
/// A stale entry is checked at most this often: once per full listing.
const REFRESH_WAIT: Duration = Duration::from_secs(4);

#[derive(Debug, Default)]
struct Attempt {
    last: Option<Instant>,
    unanswered: u32,
    failed: bool,
}

/// Attempts by neighbour.
#[derive(Debug, Default)]
pub(super) struct Attempts(BTreeMap<Key, Attempt>);

impl Attempts {
    /// Notes that the neighbour answered.
    pub(super) fn answered(&mut self, key: Key) {
        if let Some(attempt) = self.0.get_mut(&key) {
            attempt.unanswered = 0;
            attempt.failed = false;
        }
    }

    /// Notes that the kernel gave up on the neighbour.
    pub(super) fn failed(&mut self, key: Key) {
        self.0.entry(key).or_default().failed = true;
    }

    /// Whether the kernel gave up on the neighbour since it last answered.
    pub(super) fn has_failed(&self, key: Key) -> bool {
        self.0.get(&key).is_some_and(|attempt| attempt.failed)
    }

    /// Whether to ask for a missing neighbour now; if so the attempt is counted.
    pub(super) fn may_solicit(&mut self, key: Key, now: Instant) -> bool {
        let attempt = self.0.entry(key).or_default();
        let wait = FIRST_WAIT.saturating_mul(1 << attempt.unanswered.saturating_sub(1).min(4)).min(LONGEST_WAIT);
        if attempt.last.is_some_and(|last| attempt.unanswered > 0 && now < last + wait) {
            return false;
        }
        attempt.last = Some(now);
        attempt.unanswered += 1;
        true
    }

    /// Whether to have a stale neighbour checked now; if so the check is noted.
    pub(super) fn may_refresh(&mut self, key: Key, now: Instant) -> bool {
        let attempt = self.0.entry(key).or_default();
        if attempt.last.is_some_and(|last| now < last + REFRESH_WAIT) {
            return false;
        }
        attempt.last = Some(now);
        true
    }

    /// Forgets all neighbours that no target needs any more.
    pub(super) fn keep(&mut self, needed: &BTreeSet<Key>) {
        self.0.retain(|key, _| needed.contains(key));
    }
}

#[cfg(test)]
mod tests {
    use std::net::Ipv4Addr;

    use super::*;

    const KEY: Key = (2, IpAddr::V4(Ipv4Addr::new(10, 0, 0, 2)));

    /// Seconds at which a neighbour that never answers is asked for, looked at once a second.
    fn asked(attempts: &mut Attempts, start: Instant, seconds: u64) -> Vec<u64> {
        (0..seconds).filter(|second| attempts.may_solicit(KEY, start + Duration::from_secs(*second))).collect()
    }

    #[test]
    fn silence_makes_the_waits_longer_up_to_a_limit() {
        let mut attempts = Attempts::default();
        assert_eq!(asked(&mut attempts, Instant::now(), 130), [0, 4, 12, 28, 58, 88, 118]);
    }

    #[test]
    fn an_answer_starts_the_waits_anew() {
        let (mut attempts, start) = (Attempts::default(), Instant::now());
        asked(&mut attempts, start, 60);
        attempts.failed(KEY);
        assert!(attempts.has_failed(KEY));
        attempts.answered(KEY);
        assert!(!attempts.has_failed(KEY));
        assert_eq!(asked(&mut attempts, start + Duration::from_secs(60), 6), [0, 4]);
    }

    #[test]
    fn a_stale_entry_is_checked_once_per_listing() {
        let (mut attempts, start) = (Attempts::default(), Instant::now());
        assert!(attempts.may_refresh(KEY, start));
        assert!(!attempts.may_refresh(KEY, start + Duration::from_millis(20)));
        assert!(attempts.may_refresh(KEY, start + Duration::from_secs(5)));
    }

    #[test]
    fn neighbours_nobody_needs_are_forgotten() {
        let mut attempts = Attempts::default();
        attempts.failed(KEY);
        attempts.keep(&BTreeSet::new());
        assert!(!attempts.has_failed(KEY));
    }
}
