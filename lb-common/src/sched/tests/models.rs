//! IPVS's schedulers a second time: lists that are walked, as its rules say, and nothing of how the datapath does it.

use std::cmp::Ordering;

/// A server (`ip_vs_dest`).
#[derive(Clone, Debug, Default)]
pub(super) struct Server {
    pub(super) number: u32,
    pub(super) weight: i64,
    pub(super) active: i64,
    pub(super) inactive: i64,
    pub(super) is_overloaded: bool,
}

impl Server {
    /// `ip_vs_dest_conn_overhead`: active connections count 256 beside their part of all.
    fn overhead(&self) -> i64 {
        (self.active << 8) + self.active + self.inactive
    }

    fn may(&self) -> bool {
        self.weight > 0 && !self.is_overloaded
    }
}

/// Where wrr stands. `at` names a server; None is the list's head.
#[derive(Clone, Debug, Default)]
struct Mark {
    at: Option<u32>,
    current: i64,
    top: i64,
    step: i64,
}

/// What lblcr keeps for a destination, and lblc with one server.
#[derive(Clone, Debug)]
struct Cache {
    destination: u32,
    /// Servers, the one added last first.
    set: Vec<u32>,
    modified: i64,
}

/// A service: its servers in list order, the one added last first.
#[derive(Clone, Debug, Default)]
pub(super) struct Ipvs {
    pub(super) list: Vec<Server>,
    pub(super) now: i64,
    last: Option<u32>,
    mark: Mark,
    caches: Vec<Cache>,
}

impl Ipvs {
    pub(super) fn add(&mut self, server: Server) {
        self.list.insert(0, server);
        self.weights_changed();
    }

    pub(super) fn remove(&mut self, number: u32) {
        let place = self.place(Some(number)).expect("a server of the list");
        self.list.remove(place);
        // rr steps back to the one before the server that goes.
        if self.last == Some(number) {
            self.last = place.checked_sub(1).map(|before| self.list[before].number);
        }
        self.weights_changed();
    }

    pub(super) fn weigh(&mut self, number: u32, weight: i64) {
        self.server(number).expect("a server of the list").weight = weight;
        self.weights_changed();
    }

    pub(super) fn server(&mut self, number: u32) -> Option<&mut Server> {
        self.list.iter_mut().find(|server| server.number == number)
    }

    fn place(&self, number: Option<u32>) -> Option<usize> {
        self.list.iter().position(|server| Some(server.number) == number)
    }

    /// `ip_vs_wrr_dest_changed`.
    fn weights_changed(&mut self) {
        let positive: Vec<i64> = self.list.iter().map(|server| server.weight).filter(|weight| *weight > 0).collect();
        let step = positive.iter().copied().reduce(divisor).unwrap_or(1);
        let most = positive.iter().copied().max().unwrap_or(0);
        let mark = &mut self.mark;
        (mark.at, mark.step, mark.top) = (None, step, most - (step - 1));
        if mark.current > mark.top || mark.current == 0 {
            mark.current = mark.top;
        } else if step > 1 {
            mark.current = mark.current / step * step + 1;
        }
    }

    /// The places after `at` up to the list's end.
    fn rest(&self, at: Option<u32>) -> std::ops::Range<usize> {
        self.place(at).map_or(0, |place| place + 1)..self.list.len()
    }

    pub(super) fn rr(&mut self) -> Option<u32> {
        let began = self.last;
        let mut from = self.rest(began);
        // The rest of the list, then the whole one up to where it began: at its head one pass sees all.
        for _ in 0..if began.is_none() { 1 } else { 2 } {
            for place in from {
                let server = &self.list[place];
                if server.may() {
                    self.last = Some(server.number);
                    return self.last;
                }
                if Some(server.number) == began {
                    return None;
                }
            }
            from = self.rest(None);
        }
        None
    }

    pub(super) fn wrr(&mut self) -> Option<u32> {
        if self.mark.top == 0 {
            return None;
        }
        let began = self.mark.at;
        let mut at = began;
        let (mut is_last_pass, mut has_restarted, mut stops) = (false, false, false);
        loop {
            for place in self.rest(at) {
                let server = &self.list[place];
                at = Some(server.number);
                if !server.is_overloaded && server.weight >= self.mark.current {
                    self.mark.at = at;
                    return at;
                }
                if at == began && stops {
                    self.mark.at = at;
                    return None;
                }
            }
            at = None;
            self.mark.current -= self.mark.step;
            if self.mark.current <= 0 {
                self.mark.current = self.mark.top;
                // All were looked at with the lowest weight, either in a whole last pass or in one that began at the head.
                if is_last_pass || began.is_none() {
                    self.mark.at = None;
                    return None;
                }
                has_restarted = true;
            }
            is_last_pass = self.mark.current <= self.mark.step;
            stops |= is_last_pass && has_restarted && began.is_some();
        }
    }

    /// The first of those that `better` prefers to all before it: `better(new, best)`.
    fn best<'a>(
        servers: impl Iterator<Item = &'a Server>,
        better: impl Fn(&Server, &Server) -> bool,
    ) -> Option<&'a Server> {
        servers.fold(None, |best, server| match best {
            Some(best) if !better(server, best) => Some(best),
            _ => Some(server),
        })
    }

    fn usable(&self) -> impl Iterator<Item = &Server> {
        self.list.iter().filter(|server| server.may())
    }

    pub(super) fn lc(&self) -> Option<u32> {
        Self::best(self.usable(), |new, best| new.overhead() < best.overhead()).map(|server| server.number)
    }

    pub(super) fn wlc(&self) -> Option<u32> {
        let lighter = |new: &Server, best: &Server| best.overhead() * new.weight > new.overhead() * best.weight;
        Self::best(self.usable(), lighter).map(|server| server.number)
    }

    pub(super) fn sed(&self) -> Option<u32> {
        let sooner = |new: &Server, best: &Server| (best.active + 1) * new.weight > (new.active + 1) * best.weight;
        Self::best(self.usable(), sooner).map(|server| server.number)
    }

    pub(super) fn nq(&self) -> Option<u32> {
        self.usable().find(|server| server.active == 0).map(|server| server.number).or_else(|| self.sed())
    }

    pub(super) fn fo(&self) -> Option<u32> {
        Self::best(self.usable(), |new, best| new.weight > best.weight).map(|server| server.number)
    }

    pub(super) fn ovf(&self) -> Option<u32> {
        let fitting = self.usable().filter(|server| server.active <= server.weight);
        Self::best(fitting, |new, best| new.weight > best.weight).map(|server| server.number)
    }

    /// With the two numbers, each from 0 to the weights' sum, that IPVS draws.
    pub(super) fn twos(&self, drawn: [i64; 2]) -> Option<u32> {
        let choose = |mut left: i64| {
            self.usable().find(|server| {
                left -= server.weight;
                left <= 0
            })
        };
        let (one, two) = (choose(drawn[0])?, choose(drawn[1])?);
        let is_two =
            i128::from(two.weight) * i128::from(one.overhead()) > i128::from(one.weight) * i128::from(two.overhead());
        Some(if is_two { two.number } else { one.number })
    }

    /// The sum that twos draws up to.
    pub(super) fn sum(&self) -> i64 {
        self.usable().map(|server| server.weight).sum()
    }

    /// `is_overloaded` of lblc and lblcr.
    fn is_beyond(&self, server: &Server) -> bool {
        server.active > server.weight && self.list.iter().any(|other| other.active * 2 < other.weight)
    }

    pub(super) fn lblc(&mut self, destination: u32) -> Option<u32> {
        let known = self.caches.iter().position(|cache| cache.destination == destination);
        if let Some(cache) = known {
            // One that has left the list is not available.
            if let Some(place) = self.place(Some(self.caches[cache].set[0])) {
                let server = &self.list[place];
                if server.weight > 0 && !self.is_beyond(server) {
                    return Some(server.number);
                }
            }
        }
        let chosen = self.wlc()?;
        self.caches.retain(|cache| cache.destination != destination);
        self.caches.push(Cache { destination, set: vec![chosen], modified: self.now });
        Some(chosen)
    }

    pub(super) fn lblcr(&mut self, destination: u32) -> Option<u32> {
        let Some(at) = self.caches.iter().position(|cache| cache.destination == destination) else {
            let chosen = self.wlc()?;
            self.caches.push(Cache { destination, set: vec![chosen], modified: self.now });
            return Some(chosen);
        };
        let members =
            || self.caches[at].set.iter().filter_map(|number| self.place(Some(*number)).map(|at| &self.list[at]));
        let ratio = |one: &Server, two: &Server| (one.overhead() * two.weight).cmp(&(two.overhead() * one.weight));
        let least = Self::best(members().filter(|server| server.may()), |new, best| ratio(new, best) == Ordering::Less);
        let least = least.cloned();
        if self.caches[at].set.len() > 1 && self.now > self.caches[at].modified + 86_400 {
            let heavy = members().filter(|server| server.weight > 0);
            let most = Self::best(heavy, |new, best| ratio(new, best) == Ordering::Greater).map(|server| server.number);
            if let Some(most) = most {
                self.caches[at].set.retain(|number| *number != most);
                self.caches[at].modified = self.now;
            }
        }
        if let Some(least) = least.filter(|server| !self.is_beyond(server)) {
            return Some(least.number);
        }
        let chosen = self.wlc()?;
        let now = self.now;
        let cache = &mut self.caches[at];
        if !cache.set.contains(&chosen) {
            cache.set.insert(0, chosen);
            cache.modified = now;
        }
        Some(chosen)
    }
}

fn divisor(a: i64, b: i64) -> i64 {
    if b == 0 { a } else { divisor(b, a % b) }
}
