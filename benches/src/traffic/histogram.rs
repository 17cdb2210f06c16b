//! Latencies in classes, as the real server counts them.

use serde::Serialize;

use super::shape::CLASS_SHIFT;

/// Latencies in nanoseconds: how long at most so many of a hundred packets took.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub(crate) struct Latency {
    pub(crate) p50: u64,
    pub(crate) p99: u64,
    pub(crate) p999: u64,
    /// Packets.
    pub(crate) packets: u64,
}

impl Latency {
    /// Out of packets by class; None without any.
    pub(crate) fn of(classes: &[u64]) -> Option<Self> {
        let packets: u64 = classes.iter().sum();
        let at = |thousandths: u64| {
            let wanted = (packets * thousandths).div_ceil(1000);
            let mut seen = 0;
            let class = classes.iter().position(|count| {
                seen += count;
                seen >= wanted
            });
            class.map(|class| (class as u64 + 1) << CLASS_SHIFT)
        };
        (packets > 0).then_some(())?;
        Some(Self { p50: at(500)?, p99: at(990)?, p999: at(999)?, packets })
    }
}

#[cfg(test)]
mod tests {
    use super::super::shape::{CLASSES, class};
    use super::*;

    #[test]
    fn a_percentile_is_the_upper_end_of_its_class() {
        let mut classes = vec![0; CLASSES as usize];
        classes[class(1000) as usize] = 980;
        classes[class(5000) as usize] = 15;
        classes[class(1 << 40) as usize] = 5;
        let latency = Latency::of(&classes).unwrap();
        assert_eq!((latency.p50, latency.p99, latency.packets), (1024, 5024, 1000));
        assert_eq!(latency.p999, u64::from(CLASSES) << CLASS_SHIFT, "what is longer than all classes is in the last");
        assert_eq!(Latency::of(&[0, 0]), None);
        assert_eq!(Latency::of(&[1]).unwrap().p999, 32);
    }
}
