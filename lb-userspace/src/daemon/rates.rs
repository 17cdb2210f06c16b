//! What was counted, as it is shown: from a zero-point on, and per second as IPVS's estimators have it.
//!
//! The tables go on counting whatever is shown. A real that is added shows 0, also when it was there before and connections of that
//! time still count for it; so does IPVS's.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::time::Duration;

use crate::api::types::{Counters, Rates};
use crate::model::ServiceKey;

/// How often the estimators look.
pub(super) const PERIOD: Duration = Duration::from_secs(2);

/// A service, or one of its reals.
pub(super) type Place = (ServiceKey, Option<SocketAddr>);

/// Zero-points and estimators of the services and reals that have counted anything: what has not needs none.
#[derive(Debug, Default)]
pub(super) struct Statistics {
    places: BTreeMap<Place, Estimator>,
    /// What stood in the tables before the daemon began goes on being shown.
    has_begun: bool,
}

impl Statistics {
    /// Somebody has been told to be counted.
    pub(super) fn has_begun(&self) -> bool {
        self.has_begun
    }

    /// Services and reals that are there now, with their counters, of those that `gone` names and new ones: new ones begin at 0, and what is
    /// gone is forgotten.
    pub(super) fn follow(
        &mut self,
        gone: impl IntoIterator<Item = Place>,
        now: impl IntoIterator<Item = (Place, Counters)>,
    ) {
        // What was there before, and whether it has an estimator.
        let mut before: BTreeMap<Place, Option<Estimator>> =
            gone.into_iter().map(|place| (place, self.places.remove(&place))).collect();
        for (place, counters) in now {
            let zero = if self.has_begun { counters } else { Counters::default() };
            let new = Estimator { zero, last: counters, ..Estimator::default() };
            let estimator = before.remove(&place).map_or(Some(new), |known| known);
            self.places.extend(estimator.filter(Estimator::says_something).map(|estimator| (place, estimator)));
        }
        self.has_begun = true;
    }

    /// A look at the counters, every [`PERIOD`].
    pub(super) fn estimate(&mut self, now: impl IntoIterator<Item = (Place, Counters)>) {
        for (place, counters) in now {
            match self.places.get_mut(&place) {
                Some(estimator) => estimator.estimate(&counters),
                None if counters != Counters::default() => {
                    let mut estimator = Estimator::default();
                    estimator.estimate(&counters);
                    self.places.insert(place, estimator);
                }
                None => {}
            }
        }
    }

    /// A look at counters that nothing has been added to.
    pub(super) fn estimate_calm(&mut self) {
        for estimator in self.places.values_mut().filter(|estimator| estimator.average != Counters::default()) {
            estimator.estimate(&Counters { ..estimator.last });
        }
    }

    /// Begins anew with a service and its reals, or with all; the rates begin at 0, too.
    pub(super) fn zero(&mut self, service: Option<&ServiceKey>, now: impl IntoIterator<Item = (Place, Counters)>) {
        for (place, counters) in now {
            if service.is_none_or(|service| *service == place.0) {
                let estimator = Estimator { zero: counters, last: counters, ..Estimator::default() };
                self.places.insert(place, estimator);
            }
        }
    }

    /// Counters since the zero-point.
    pub(super) fn shown(&self, place: &Place, counters: &Counters) -> Counters {
        self.places.get(place).map_or(*counters, |estimator| each(counters, &estimator.zero, u64::saturating_sub))
    }

    /// Counters per second.
    pub(super) fn rates(&self, place: &Place) -> Rates {
        self.places.get(place).map_or_else(Rates::default, Estimator::rates)
    }
}

/// Numbers of a service or real. The averages are scaled: by 2^10 for connections and packets, by 2^5 for bytes.
#[derive(Debug, Clone, Copy, Default)]
struct Estimator {
    zero: Counters,
    last: Counters,
    average: Counters,
}

const COUNT_SCALE: u32 = 10;
const BYTE_SCALE: u32 = 5;

impl Estimator {
    fn says_something(&self) -> bool {
        [self.zero, self.last, self.average].iter().any(|counters| *counters != Counters::default())
    }

    /// ip_vs_est.c: the average goes a quarter of the way to the rate of the last two seconds; so one bit less than the scale.
    fn estimate(&mut self, now: &Counters) {
        let new = each(now, &self.last, u64::saturating_sub);
        let step = |average: u64, new: u64, scale: u32| {
            let rate = (new << (scale - 1)) as i64;
            average.wrapping_add_signed((rate - average as i64) >> 2)
        };
        let Counters { connections, packets, bytes, reply_packets, reply_bytes } = self.average;
        self.average = Counters {
            connections: step(connections, new.connections, COUNT_SCALE),
            packets: step(packets, new.packets, COUNT_SCALE),
            bytes: step(bytes, new.bytes, BYTE_SCALE),
            reply_packets: step(reply_packets, new.reply_packets, COUNT_SCALE),
            reply_bytes: step(reply_bytes, new.reply_bytes, BYTE_SCALE),
        };
        self.last = *now;
    }

    /// Rounded as IPVS rounds: a half and less down.
    fn rates(&self) -> Rates {
        let count = |average: u64| (average + 0x1ff) >> COUNT_SCALE;
        let bytes = |average: u64| (average + 0xf) >> BYTE_SCALE;
        Rates {
            connections: count(self.average.connections),
            packets: count(self.average.packets),
            bytes: bytes(self.average.bytes),
            reply_packets: count(self.average.reply_packets),
            reply_bytes: bytes(self.average.reply_bytes),
        }
    }
}

fn each(a: &Counters, b: &Counters, of: impl Fn(u64, u64) -> u64) -> Counters {
    Counters {
        connections: of(a.connections, b.connections),
        packets: of(a.packets, b.packets),
        bytes: of(a.bytes, b.bytes),
        reply_packets: of(a.reply_packets, b.reply_packets),
        reply_bytes: of(a.reply_bytes, b.reply_bytes),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn counters(number: u64) -> Counters {
        Counters { connections: number, packets: number, bytes: number, reply_packets: number, reply_bytes: number }
    }

    fn place(port: u16) -> Place {
        (ServiceKey { protocol: crate::model::Protocol::Tcp, address: [10, 0, 0, 1].into(), port }, None)
    }

    /// By the formula: rate 200 in 2 s; after one look (200 << 9 >> 2) = 25600, 25 and a bit; the average comes near 100 from below.
    #[test]
    fn an_average_goes_a_quarter_of_the_way() {
        let mut statistics = Statistics::default();
        statistics.follow([], [(place(80), counters(0))]);
        let mut seen = Vec::new();
        for look in 1..=20 {
            statistics.estimate([(place(80), counters(200 * look))]);
            let rates = statistics.rates(&place(80));
            assert_eq!((rates.packets, rates.reply_packets), (rates.connections, rates.connections));
            seen.push((rates.connections, rates.bytes));
        }
        assert_eq!(seen[..5], [(25, 25), (44, 44), (58, 58), (68, 68), (76, 76)]);
        assert_eq!(seen[19], (100, 100), "rounding makes up for the last quarters");
        // Nothing more comes: down to 0 the same way.
        for _ in 0..60 {
            statistics.estimate([(place(80), counters(4000))]);
        }
        assert_eq!(statistics.rates(&place(80)), Rates::default());
    }

    #[test]
    fn counters_begin_anew_where_they_are_told_to() {
        let mut statistics = Statistics::default();
        statistics.follow([], [(place(80), counters(5)), (place(81), counters(7))]);
        assert_eq!(statistics.shown(&place(80), &counters(6)), counters(6), "from before the daemon");
        statistics.zero(Some(&place(80).0), [(place(80), counters(10)), (place(81), counters(10))]);
        assert_eq!(statistics.shown(&place(80), &counters(12)), counters(2));
        assert_eq!(statistics.shown(&place(81), &counters(12)), counters(12));
        statistics.zero(None, [(place(80), counters(12)), (place(81), counters(12))]);
        assert_eq!(statistics.shown(&place(81), &counters(12)), counters(0));
        // Removed and added again: its row may still count for connections of the time before.
        statistics.follow([place(80), place(81)], [(place(80), counters(13))]);
        statistics.follow([place(80)], [(place(80), counters(14)), (place(81), counters(20))]);
        assert_eq!(statistics.shown(&place(80), &counters(14)), counters(2), "the zero-point stays");
        assert_eq!(statistics.shown(&place(81), &counters(21)), counters(1));
        // The tables were made anew under it: not below 0.
        assert_eq!(statistics.shown(&place(80), &counters(3)), counters(0));
    }
}
