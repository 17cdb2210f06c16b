//! What has to be done and when.

use tokio::time::Instant;

/// How much has to be done; a later one includes the earlier ones.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Work {
    /// Look up the routes of new targets and decide again from what is known.
    Decide,
    /// Look up all routes, then decide.
    Routes,
    /// List links and neighbours, look up all routes, then decide.
    Everything,
}

const ALL: [Work; 3] = [Work::Decide, Work::Routes, Work::Everything];

/// The time at which each kind of work is due, if it is.
#[derive(Debug, Default)]
pub(super) struct Due([Option<Instant>; ALL.len()]);

impl Due {
    /// Plans work; what is planned already is done no later than before. A burst of changes thus cannot put it off.
    pub(super) fn add(&mut self, work: Work, turn: Instant) {
        let slot = &mut self.0[work as usize];
        *slot = Some(slot.map_or(turn, |earlier| earlier.min(turn)));
    }

    /// When to come back.
    pub(super) fn next(&self) -> Option<Instant> {
        self.0.iter().flatten().min().copied()
    }

    /// The largest work that is due, with everything it includes.
    pub(super) fn take(&mut self, now: Instant) -> Option<Work> {
        let work = ALL.into_iter().rev().find(|work| self.0[*work as usize].is_some_and(|turn| turn <= now))?;
        self.0[..=work as usize].fill(None);
        Some(work)
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    #[test]
    fn the_largest_due_work_takes_the_smaller_along() {
        let (mut due, now) = (Due::default(), Instant::now());
        let later = now + Duration::from_millis(200);
        due.add(Work::Decide, now);
        due.add(Work::Routes, later);
        assert_eq!(due.next(), Some(now));
        assert_eq!(due.take(now), Some(Work::Decide));
        assert_eq!(due.next(), Some(later));
        due.add(Work::Decide, later);
        assert_eq!(due.take(later), Some(Work::Routes));
        assert_eq!((due.next(), due.take(later)), (None, None));
    }

    #[test]
    fn a_burst_does_not_put_work_off() {
        let (mut due, now) = (Due::default(), Instant::now());
        due.add(Work::Decide, now);
        due.add(Work::Decide, now + Duration::from_secs(1));
        assert_eq!(due.next(), Some(now));
    }
}
