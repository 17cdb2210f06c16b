//! The resolver's work: take in changes, look up routes, nudge the kernel, publish.

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;
use std::ops::Bound;
use std::sync::Arc;
use std::time::Duration;

use futures_util::{StreamExt, TryStreamExt, stream};
use tokio::sync::watch;
use tokio::time::{Instant, MissedTickBehavior};

use super::attempts::{Attempts, Key};
use super::decide::{Facts, Need, decide};
use super::due::{Due, Work};
use super::{NextHop, Routing, Target};
use crate::net::event::{Event, Events};
use crate::net::link::Link;
use crate::net::neighbour::Neighbour;
use crate::net::neighbour::State;
use crate::net::route::Lookup;
use crate::net::{NetError, Netlink};

/// Everything is listed again this often: what was lost or misread is wrong for no longer.
const RESYNC: Duration = Duration::from_secs(5);
/// Changes come in bursts (a link going down announces each of its routes); one answer per burst is enough.
const DEBOUNCE: Duration = Duration::from_millis(10);
/// Routes are looked up, and everything is listed, again at most this often because of announcements. A router with a
/// full table sees thousands of route changes a second, none of which may concern us.
const SPACING: Duration = Duration::from_millis(200);
/// Routes that are looked up again with each listing, 10 µs each; of more addresses one stretch after the other. A change of routes is
/// announced, and all are looked up then.
const IN_TURN: usize = 128;
/// Requests under way at a time. Each takes about 10 µs in the kernel; more would only fill the socket.
const IN_FLIGHT: usize = 64;

type Output = watch::Sender<Arc<BTreeMap<Target, NextHop>>>;

/// Why the resolver stopped without an error.
#[derive(Debug)]
pub(super) enum Ended {
    /// The last receiver of the output is gone.
    NobodyListens,
    /// Changes are no longer announced.
    SubscriptionClosed,
}

#[derive(Debug)]
pub(super) struct Resolver {
    netlink: Netlink,
    events: Events,
    facts: Facts,
    lookups: BTreeMap<IpAddr, Lookup>,
    looked_up: Instant,
    last_interface: BTreeMap<IpAddr, u32>,
    needed: BTreeSet<Key>,
    attempts: Attempts,
    /// The last address whose route was looked up in turn.
    turn: Option<IpAddr>,
    /// No neighbour has to be asked for, or checked.
    is_settled: bool,
    announced: watch::Sender<Routing>,
}

impl Resolver {
    /// Opens the sockets, the subscription first.
    pub(super) fn open(announced: watch::Sender<Routing>) -> Result<Self, NetError> {
        let events = Events::open()?;
        Ok(Self {
            netlink: Netlink::open()?,
            events,
            facts: Facts::default(),
            lookups: BTreeMap::new(),
            looked_up: Instant::now(),
            last_interface: BTreeMap::new(),
            needed: BTreeSet::new(),
            attempts: Attempts::default(),
            turn: None,
            is_settled: false,
            announced,
        })
    }

    /// Works until nobody listens or a socket fails.
    pub(super) async fn run(
        &mut self,
        targets: &mut watch::Receiver<Arc<BTreeSet<Target>>>,
        output: &Output,
    ) -> Result<Ended, NetError> {
        let mut wanted = Arc::clone(&targets.borrow_and_update());
        let mut targets_open = true;
        self.work(Work::Everything, &wanted, output).await?;
        // What has changed before, nobody saw.
        self.announced.send_modify(|routing| *routing = Routing { changes: routing.changes + 1, is_followed: true });

        let mut resync = tokio::time::interval_at(Instant::now() + RESYNC, RESYNC);
        resync.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let mut due = Due::default();
        loop {
            let turn = due.next();
            tokio::select! {
                () = output.closed() => return Ok(Ended::NobodyListens),
                changed = targets.changed(), if targets_open => match changed {
                    Ok(()) => {
                        wanted = Arc::clone(&targets.borrow_and_update());
                        due.add(Work::Decide, Instant::now() + DEBOUNCE);
                    }
                    // Nobody will change the targets any more; those that are known are still followed.
                    Err(_) => targets_open = false,
                },
                event = self.events.next() => match event {
                    Some(event) => self.absorb(event, &mut due),
                    None => return Ok(Ended::SubscriptionClosed),
                },
                _ = resync.tick() => self.resync(&wanted, output).await?,
                () = tokio::time::sleep_until(turn.unwrap_or_else(Instant::now)), if turn.is_some() => {
                    if let Some(work) = due.take(Instant::now()) {
                        self.work(work, &wanted, output).await?;
                    }
                }
            }
        }
    }

    /// Takes a change into the facts and plans what it calls for.
    fn absorb(&mut self, event: Event, due: &mut Due) {
        let now = Instant::now();
        let spaced = (self.looked_up + SPACING).max(now + DEBOUNCE);
        match event {
            Event::Link(link) => {
                // Drivers announce links for reasons of their own; only what we read from them counts.
                if self.facts.links.get(&link.index) != Some(&link) {
                    self.routes_changed();
                    self.facts.links.insert(link.index, link);
                    due.add(Work::Decide, now + DEBOUNCE);
                    due.add(Work::Routes, spaced);
                }
            }
            Event::LinkGone(index) => {
                self.routes_changed();
                self.facts.links.remove(&index);
                self.facts.neighbours.retain(|(ifindex, _), _| *ifindex != index);
                due.add(Work::Decide, now + DEBOUNCE);
                due.add(Work::Routes, spaced);
            }
            Event::Neighbour(neighbour) => {
                let key = (neighbour.ifindex, neighbour.address);
                if neighbour.state == State::Failed && self.needed.contains(&key) {
                    self.attempts.failed(key);
                }
                if self.is_news(&key, &neighbour) {
                    self.routes_changed();
                }
                self.facts.neighbours.insert(key, neighbour);
                if self.needed.contains(&key) {
                    due.add(Work::Decide, now + DEBOUNCE);
                }
            }
            Event::NeighbourGone(ifindex, address) => {
                self.facts.neighbours.remove(&(ifindex, address));
                if self.needed.contains(&(ifindex, address)) {
                    due.add(Work::Decide, now + DEBOUNCE);
                }
            }
            Event::Routing => {
                self.routes_changed();
                due.add(Work::Routes, spaced);
            }
            Event::Overrun => {
                self.routes_changed();
                tracing::debug!("netlink announcements were lost: listing everything again");
                due.add(Work::Everything, spaced);
            }
        }
    }

    /// Tells of a change that somebody's way may follow.
    fn routes_changed(&self) {
        self.announced.send_modify(|routing| routing.changes += 1);
    }

    /// A neighbour's MAC that was not known. Groups have some, too, which come and go unannounced, and are nobody's next hop.
    fn is_news(&self, key: &Key, neighbour: &Neighbour) -> bool {
        let known = self.facts.neighbours.get(key).and_then(|known| known.mac);
        neighbour.mac.is_some_and(|mac| mac[0] & 1 == 0) && neighbour.mac != known
    }

    /// Takes a listing for the facts. True when they were others.
    fn learn(&mut self, links: BTreeMap<u32, Link>, neighbours: BTreeMap<Key, Neighbour>) -> bool {
        if links != self.facts.links || neighbours.iter().any(|(key, neighbour)| self.is_news(key, neighbour)) {
            self.routes_changed();
        }
        let is_other = links != self.facts.links || neighbours != self.facts.neighbours;
        (self.facts.links, self.facts.neighbours) = (links, neighbours);
        is_other
    }

    /// What was lost or misread, of links and neighbours at once, of routes in turn.
    async fn resync(&mut self, wanted: &BTreeSet<Target>, output: &Output) -> Result<(), NetError> {
        if self.lookups.len() <= IN_TURN {
            return self.work(Work::Everything, wanted, output).await;
        }
        let (links, neighbours) = (self.netlink.links().await?, self.netlink.neighbours().await?);
        let is_other = self.learn(links, neighbours);
        let after = self.turn.map_or(Bound::Unbounded, Bound::Excluded);
        let turn: Vec<IpAddr> =
            self.lookups.range((after, Bound::Unbounded)).map(|(address, _)| *address).take(IN_TURN).collect();
        self.turn = if turn.len() < IN_TURN { None } else { turn.last().copied() };
        let before: Vec<Option<Lookup>> = turn.iter().map(|address| self.lookups.get(address).cloned()).collect();
        self.look_up(turn.clone()).await?;
        let is_same = |(address, before): (&IpAddr, &Option<Lookup>)| self.lookups.get(address) == before.as_ref();
        if is_other || !self.is_settled || !turn.iter().zip(&before).all(is_same) {
            self.work(Work::Decide, wanted, output).await?;
        }
        Ok(())
    }

    async fn work(&mut self, work: Work, wanted: &BTreeSet<Target>, output: &Output) -> Result<(), NetError> {
        if work >= Work::Everything {
            let (links, neighbours) = (self.netlink.links().await?, self.netlink.neighbours().await?);
            self.learn(links, neighbours);
        }
        let addresses: BTreeSet<IpAddr> = wanted.iter().map(|target| target.address).collect();
        self.lookups.retain(|address, _| addresses.contains(address));
        self.last_interface.retain(|address, _| addresses.contains(address));
        let all = work >= Work::Routes;
        let asked: Vec<IpAddr> =
            addresses.into_iter().filter(|address| all || !self.lookups.contains_key(address)).collect();
        self.look_up(asked).await?;
        if all {
            self.looked_up = Instant::now();
        }
        let next_hops = self.decide_all(wanted).await?;
        output.send_if_modified(|known| {
            let modified = **known != next_hops;
            if modified {
                *known = Arc::new(next_hops);
            }
            modified
        });
        Ok(())
    }

    async fn look_up(&mut self, addresses: Vec<IpAddr>) -> Result<(), NetError> {
        let netlink = &self.netlink;
        let answers: Vec<(IpAddr, Lookup)> = stream::iter(addresses)
            .map(|address| async move {
                match netlink.route(address).await {
                    Ok(lookup) => Ok((address, lookup)),
                    Err(error @ NetError::Closed { .. }) => Err(error),
                    // One address that the kernel will not talk about must not hold up the others.
                    Err(error) => Ok((address, Lookup::NoWay(error.to_string()))),
                }
            })
            .buffer_unordered(IN_FLIGHT)
            .try_collect()
            .await?;
        // The host's own addresses only explain why there is no way.
        if answers.iter().any(|(_, lookup)| matches!(lookup, Lookup::NoWay(_))) {
            self.facts.addresses = self.netlink.addresses().await?;
        }
        self.lookups.extend(answers);
        Ok(())
    }

    async fn decide_all(&mut self, wanted: &BTreeSet<Target>) -> Result<BTreeMap<Target, NextHop>, NetError> {
        let now = Instant::now();
        let mut next_hops = BTreeMap::new();
        let mut needed = BTreeSet::new();
        let mut solicit = BTreeSet::new();
        self.is_settled = true;
        for target in wanted {
            let Some(lookup) = self.lookups.get(&target.address) else { continue };
            let last_interface = self.last_interface.get(&target.address).copied();
            let has_failed = |key| self.attempts.has_failed(key);
            let (next_hop, need) = decide(*target, lookup, &self.facts, last_interface, has_failed);
            if let NextHop::Resolved(egress) = &next_hop {
                self.last_interface.insert(target.address, egress.ifindex);
            }
            next_hops.insert(*target, next_hop);
            let Some(key) = need.key() else { continue };
            needed.insert(key);
            self.is_settled &= matches!(need, Need::Serves(_));
            let ask = match need {
                Need::Serves(_) => {
                    self.attempts.answered(key);
                    false
                }
                Need::Refresh(_) => {
                    self.attempts.answered(key);
                    self.attempts.may_refresh(key, now)
                }
                Need::Retry(_) => {
                    self.attempts.failed(key);
                    self.attempts.may_solicit(key, now)
                }
                Need::Solicit(_) => self.attempts.may_solicit(key, now),
                Need::Wait(_) | Need::Nothing => false,
            };
            if ask {
                solicit.insert(key);
            }
        }
        self.attempts.keep(&needed);
        self.needed = needed;
        self.solicit(solicit).await?;
        Ok(next_hops)
    }

    async fn solicit(&self, keys: BTreeSet<Key>) -> Result<(), NetError> {
        let mut results = stream::iter(keys)
            .map(|(ifindex, address)| async move { (address, self.netlink.solicit(ifindex, address).await) })
            .buffer_unordered(IN_FLIGHT);
        while let Some((address, result)) = results.next().await {
            match result {
                Ok(()) => {}
                Err(error @ NetError::Closed { .. }) => return Err(error),
                // The entry stays unresolved and is asked for again; its reason is in the output.
                Err(error) => tracing::debug!(%address, %error, "cannot have a neighbour resolved"),
            }
        }
        Ok(())
    }
}
