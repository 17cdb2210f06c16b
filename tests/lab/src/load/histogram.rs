//! Latencies in a fixed number of counters, however many requests there are: 16 steps to each doubling, so a percentile
//! is at most 1/16 (6 %) above the true one. In microseconds.

use std::time::Duration;

/// Steps to each doubling, as a power of two.
const STEP_BITS: u32 = 4;
const STEPS: usize = 1 << STEP_BITS;
/// Doublings up to 2^36 microseconds, 19 hours.
const BUCKETS: usize = STEPS * (36 - STEP_BITS as usize + 1);

/// Counts of latencies.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Histogram {
    counts: Vec<u64>,
    total: u64,
    max: u64,
}

impl Default for Histogram {
    fn default() -> Self {
        Self { counts: vec![0; BUCKETS], total: 0, max: 0 }
    }
}

impl Histogram {
    /// Adds one latency.
    pub fn add(&mut self, latency: Duration) {
        let micros = u64::try_from(latency.as_micros()).unwrap_or(u64::MAX);
        self.counts[bucket(micros)] += 1;
        self.total += 1;
        self.max = self.max.max(micros);
    }

    /// Adds all latencies of another histogram.
    pub fn merge(&mut self, other: &Self) {
        for (mine, theirs) in self.counts.iter_mut().zip(&other.counts) {
            *mine += theirs;
        }
        self.total += other.total;
        self.max = self.max.max(other.max);
    }

    /// The latency that `percent` of all are not above; zero when there are none.
    pub fn percentile(&self, percent: u8) -> Duration {
        let rank = (self.total * u64::from(percent.min(100))).div_ceil(100).max(1);
        let mut seen = 0;
        for (index, count) in self.counts.iter().enumerate() {
            seen += count;
            if seen >= rank {
                return Duration::from_micros(upper(index).min(self.max));
            }
        }
        Duration::ZERO
    }

    /// The largest latency.
    pub fn max(&self) -> Duration {
        Duration::from_micros(self.max)
    }
}

/// The counter a value belongs to: values below 16 each have their own.
fn bucket(micros: u64) -> usize {
    if micros < STEPS as u64 {
        return micros as usize;
    }
    let shift = micros.ilog2() - STEP_BITS;
    let step = (micros >> shift) as usize - STEPS;
    ((shift as usize + 1) * STEPS + step).min(BUCKETS - 1)
}

/// The largest value of a counter.
fn upper(index: usize) -> u64 {
    if index < STEPS {
        return index as u64;
    }
    let shift = (index / STEPS - 1) as u32;
    ((((index % STEPS) + STEPS + 1) as u64) << shift) - 1
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_value_lies_in_its_bucket() {
        for value in (0..200).chain([1_000, 65_535, 65_536, 1 << 30]) {
            let index = bucket(value);
            assert!(value <= upper(index), "{value} is above bucket {index}");
            assert!(index == 0 || value > upper(index - 1), "{value} belongs below bucket {index}");
        }
        assert_eq!(bucket(u64::MAX), BUCKETS - 1);
    }

    #[test]
    fn percentiles_are_within_a_sixteenth() {
        let mut histogram = Histogram::default();
        for micros in 1..=10_000 {
            histogram.add(Duration::from_micros(micros));
        }
        for (percent, exact) in [(50, 5_000.0), (90, 9_000.0), (99, 9_900.0)] {
            let seen = histogram.percentile(percent).as_micros() as f64;
            assert!(seen >= exact && seen <= exact * 17.0 / 16.0, "p{percent}: {seen}");
        }
        assert_eq!(histogram.percentile(100), Duration::from_micros(10_000));
    }

    #[test]
    fn merged_is_the_same_as_added_together() {
        let (mut a, mut b, mut both) = (Histogram::default(), Histogram::default(), Histogram::default());
        for micros in [1, 50, 7_000] {
            a.add(Duration::from_micros(micros));
            both.add(Duration::from_micros(micros));
            b.add(Duration::from_micros(micros * 3));
            both.add(Duration::from_micros(micros * 3));
        }
        a.merge(&b);
        assert_eq!(a, both);
    }

    #[test]
    fn nothing_has_no_latency() {
        assert_eq!(Histogram::default().percentile(99), Duration::ZERO);
    }
}
