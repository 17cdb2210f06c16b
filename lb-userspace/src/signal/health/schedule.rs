//! When the next check starts: at once, then spread out, then at the interval.

use std::hash::{BuildHasher, RandomState};
use std::time::Duration;

/// First checks of a whole configuration start within this time, so that a new real server waits for hardly anything
/// and a thousand of them are not asked in the same millisecond.
const FIRST_SPREAD: Duration = Duration::from_millis(200);

/// Delays of one check.
#[derive(Debug)]
pub(super) struct Schedule {
    interval: Duration,
    random: RandomState,
    drawn: u64,
}

impl Schedule {
    /// A schedule around `interval`.
    pub(super) fn new(interval: Duration) -> Self {
        Self { interval, random: RandomState::new(), drawn: 0 }
    }

    /// A number in 0..1. The standard library's hash keys are random per schedule: enough to spread checks.
    fn draw(&mut self) -> f64 {
        self.drawn += 1;
        let bits = u32::try_from(self.random.hash_one(self.drawn) >> 32).unwrap_or(0);
        f64::from(bits) / (f64::from(u32::MAX) + 1.0)
    }

    /// From the order to check to the first check.
    pub(super) fn first_delay(&mut self) -> Duration {
        FIRST_SPREAD.min(self.interval).mul_f64(self.draw())
    }

    /// From the start of a check to the start of the next. The first of these is 0.5 to 1 interval: checks that began
    /// together are apart from then on. The later ones are an interval give or take 5 %, so that they stay apart.
    pub(super) fn next_delay(&mut self) -> Duration {
        let spreads = self.drawn <= 1;
        let draw = self.draw();
        self.interval.mul_f64(if spreads { 0.5 + draw / 2.0 } else { 0.95 + draw / 10.0 })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const INTERVAL: Duration = Duration::from_secs(2);

    #[test]
    fn delays_keep_their_bounds() {
        for _ in 0..100 {
            let mut schedule = Schedule::new(INTERVAL);
            assert!(schedule.first_delay() <= FIRST_SPREAD);
            let second = schedule.next_delay();
            assert!(second >= INTERVAL / 2 && second <= INTERVAL, "{second:?}");
            for _ in 0..10 {
                let later = schedule.next_delay();
                assert!(later >= INTERVAL.mul_f64(0.95) && later <= INTERVAL.mul_f64(1.05), "{later:?}");
            }
        }
    }

    #[test]
    fn a_short_interval_bounds_the_first_delay() {
        let interval = Duration::from_millis(10);
        assert!((0..100).all(|_| Schedule::new(interval).first_delay() <= interval));
    }

    #[test]
    fn many_checks_spread_over_half_an_interval() {
        let mut tenths = [0_u32; 10];
        for _ in 0..1000 {
            let mut schedule = Schedule::new(INTERVAL);
            schedule.first_delay();
            let part = schedule.next_delay().as_secs_f64() / INTERVAL.as_secs_f64();
            let tenth = (0..9).find(|tenth| part < 0.55 + 0.05 * f64::from(*tenth)).unwrap_or(9);
            tenths[tenth as usize] += 1;
        }
        // 100 expected in each; 50 off is more than five standard deviations.
        assert!(tenths.iter().all(|count| (50..150).contains(count)), "{tenths:?}");
    }
}
