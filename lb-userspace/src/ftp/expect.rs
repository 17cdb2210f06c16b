//! Data connections that may come, because their control connection spoke of them.

use std::collections::{BTreeMap, VecDeque};
use std::net::{IpAddr, SocketAddr};
use std::time::{Duration, Instant};

use super::{ControlKey, Notice};

/// How long one is waited for: IPVS's timeout of LISTEN.
pub const LIFETIME: Duration = Duration::from_secs(120);
/// At most so many of one control connection. One is in use at a time (a new `PASV` ends the last, RFC 959); more than that only
/// serves clients that send commands ahead.
pub const PER_CONTROL: usize = 4;

/// Who opens the data connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Kind {
    /// The client, to the VIP.
    Passive,
    /// The real, to the client.
    Active,
}

/// A data connection that may come.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Expectation {
    /// Who opens it.
    pub kind: Kind,
    /// The client.
    pub client: IpAddr,
    /// The client's port; none is any, which a passive one has.
    pub client_port: Option<u16>,
    /// The VIP and the data connection's port there: the real's own if passive, one below the service's if active (RFC 959, 3.2).
    pub vip: SocketAddr,
    /// The real and its port. If active it has to open the connection from here: one below the control connection's.
    pub real: SocketAddr,
    /// How long to wait for it.
    pub lifetime: Duration,
}

/// What tells expected connections apart: the client's side of them. Two control connections of one client to two reals can name the
/// same port; then the later one counts.
type Slot = (Kind, IpAddr, Option<u16>, SocketAddr);

impl Expectation {
    fn slot(&self) -> Slot {
        (self.kind, self.client, self.client_port, self.vip)
    }
}

#[derive(Debug)]
struct Waiting {
    expectation: Expectation,
    control: ControlKey,
    until: Instant,
}

/// All that are waited for.
#[derive(Debug)]
pub struct Expectations {
    limit: usize,
    waiting: BTreeMap<Slot, Waiting>,
    /// The slots of each control connection, the oldest first. Never an empty list.
    of_control: BTreeMap<ControlKey, VecDeque<Slot>>,
}

impl Expectations {
    /// Nothing is waited for, and never more than `limit`.
    pub const fn new(limit: usize) -> Self {
        Self { limit, waiting: BTreeMap::new(), of_control: BTreeMap::new() }
    }

    /// How many are waited for.
    pub fn len(&self) -> usize {
        self.waiting.len()
    }

    /// Nothing is waited for.
    pub fn is_empty(&self) -> bool {
        self.waiting.is_empty()
    }

    /// Waits for one more, or anew for the same. Gives those that it takes the place of: the one with the same client's side if it
    /// leads elsewhere, and its control connection's oldest if that has too many.
    pub fn add(
        &mut self,
        now: Instant,
        control: ControlKey,
        expectation: Expectation,
    ) -> Result<Vec<Expectation>, Notice> {
        let slot = expectation.slot();
        let mut closed: Vec<_> = self.remove(slot).filter(|old| *old != expectation).into_iter().collect();
        let own = self.of_control.get(&control);
        if let Some(oldest) = own.filter(|own| own.len() >= PER_CONTROL).and_then(|own| own.front().copied()) {
            closed.extend(self.remove(oldest));
        }
        if self.waiting.len() >= self.limit {
            return Err(Notice::NoRoom);
        }
        self.waiting.insert(slot, Waiting { expectation, control, until: now + expectation.lifetime });
        self.of_control.entry(control).or_default().push_back(slot);
        Ok(closed)
    }

    /// The one that a client's connection to an address would be, and the control connection that spoke of it.
    pub fn passive(&self, client: IpAddr, vip: SocketAddr) -> Option<(Expectation, ControlKey)> {
        let waiting = self.waiting.get(&(Kind::Passive, client, None, vip))?;
        Some((waiting.expectation, waiting.control))
    }

    /// Stops waiting: it has come.
    pub fn used(&mut self, expectation: &Expectation) -> bool {
        let slot = expectation.slot();
        let is_it = self.waiting.get(&slot).is_some_and(|waiting| waiting.expectation == *expectation);
        is_it && self.remove(slot).is_some()
    }

    /// Stops waiting for those of a control connection.
    pub fn close(&mut self, control: ControlKey) -> Vec<Expectation> {
        let slots = self.of_control.remove(&control).unwrap_or_default();
        slots.into_iter().filter_map(|slot| self.waiting.remove(&slot)).map(|gone| gone.expectation).collect()
    }

    /// Stops waiting for those whose time is over.
    pub fn expire(&mut self, now: Instant) -> Vec<Expectation> {
        let over: Vec<_> = self.waiting.iter().filter(|(_, one)| one.until <= now).map(|(slot, _)| *slot).collect();
        over.into_iter().filter_map(|slot| self.remove(slot)).collect()
    }

    fn remove(&mut self, slot: Slot) -> Option<Expectation> {
        let Waiting { expectation, control, .. } = self.waiting.remove(&slot)?;
        if let Some(own) = self.of_control.get_mut(&control) {
            own.retain(|other| *other != slot);
            if own.is_empty() {
                self.of_control.remove(&control);
            }
        }
        Some(expectation)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn control(port: u16) -> ControlKey {
        ControlKey { client: SocketAddr::new([192, 0, 2, 7].into(), port), vip: "198.51.100.1:21".parse().unwrap() }
    }

    fn passive(port: u16, real: u8) -> Expectation {
        Expectation {
            kind: Kind::Passive,
            client: control(0).client.ip(),
            client_port: None,
            vip: SocketAddr::new(control(0).vip.ip(), port),
            real: SocketAddr::new([10, 0, 0, real].into(), port),
            lifetime: LIFETIME,
        }
    }

    #[test]
    fn one_that_comes_or_whose_time_is_over_is_not_waited_for() {
        let (mut all, now) = (Expectations::new(10), Instant::now());
        for port in [2000, 2001] {
            assert_eq!(all.add(now, control(1), passive(port, 1)), Ok(vec![]));
        }
        assert!(all.used(&passive(2000, 1)) && !all.used(&passive(2000, 1)));
        assert_eq!(all.expire(now + LIFETIME - Duration::from_nanos(1)), []);
        assert_eq!(all.expire(now + LIFETIME), [passive(2001, 1)]);
        assert!(all.is_empty() && all.of_control.is_empty());
    }

    #[test]
    fn the_same_again_waits_anew() {
        let (mut all, now) = (Expectations::new(10), Instant::now());
        all.add(now, control(1), passive(2000, 1)).unwrap();
        assert_eq!(all.add(now + LIFETIME / 2, control(1), passive(2000, 1)), Ok(vec![]));
        assert_eq!((all.len(), all.expire(now + LIFETIME)), (1, vec![]));
    }

    #[test]
    fn the_later_of_two_with_one_clients_side_counts() {
        let (mut all, now) = (Expectations::new(10), Instant::now());
        all.add(now, control(1), passive(2000, 1)).unwrap();
        assert_eq!(all.add(now, control(2), passive(2000, 2)), Ok(vec![passive(2000, 1)]));
        assert_eq!(all.close(control(1)), []);
        assert!(!all.used(&passive(2000, 1)), "that one is gone");
        assert_eq!(all.close(control(2)), [passive(2000, 2)]);
    }

    #[test]
    fn a_control_connection_has_a_few_and_all_together_have_a_limit() {
        let (mut all, now) = (Expectations::new(6), Instant::now());
        for port in 2000..2004 {
            all.add(now, control(1), passive(port, 1)).unwrap();
        }
        assert_eq!(all.add(now, control(1), passive(2004, 1)), Ok(vec![passive(2000, 1)]));
        all.add(now, control(2), passive(3000, 1)).unwrap();
        all.add(now, control(2), passive(3001, 1)).unwrap();
        assert_eq!(all.add(now, control(3), passive(4000, 1)), Err(Notice::NoRoom));
        assert!(all.add(now, control(1), passive(2005, 1)).is_ok(), "its own place");
        assert_eq!(all.len(), 6);
        assert_eq!(all.close(control(1)).len(), PER_CONTROL);
        assert!(all.add(now, control(3), passive(4000, 1)).is_ok());
    }
}
