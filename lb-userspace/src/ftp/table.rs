//! All control connections: the way into this module.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::time::{Duration, Instant};

use lb_common::algo::tcp_state::flag;

use super::adjust::Moved;
use super::expect::{Expectation, Expectations};
use super::packet::{Translated, translate};
use super::reset::{Resets, resets};
use super::segment::{Refused, Segment, ends, opens};
use super::session::Session;
use super::{ControlKey, Direction, Notice, Translation};

/// How many, and how long.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limits {
    /// Control connections. One takes up to 2 KiB, usually less than half of that.
    pub controls: usize,
    /// Expected data connections of all control connections together, 300 bytes each.
    pub expectations: usize,
    /// A control connection that says nothing for so long is forgotten.
    pub idle: Duration,
    /// The same once both sides have ended it: what is sent again still has to be translated.
    pub closing: Duration,
}

impl Default for Limits {
    /// 16 384 of both, so 38 MB at most; IPVS's times for ESTABLISHED and TIME_WAIT.
    fn default() -> Self {
        Self {
            controls: 16_384,
            expectations: 16_384,
            idle: Duration::from_secs(900),
            closing: Duration::from_secs(120),
        }
    }
}

/// What to do for a packet, in the order of the fields: the client may open the data connection as soon as it has the reply.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Output {
    /// Data connections that may not come any more.
    pub closed: Vec<Expectation>,
    /// Data connections that may come.
    pub opened: Vec<Expectation>,
    /// What to send, from the IP header on.
    pub packets: Vec<Vec<u8>>,
    /// For counters and the log.
    pub notices: Vec<Notice>,
}

impl Output {
    /// One that this very packet has opened is not opened at all: whoever carries this out closes first.
    fn close(&mut self, expectations: Vec<Expectation>) {
        self.opened.retain(|opened| !expectations.contains(opened));
        self.closed.extend(expectations);
    }
}

/// A data connection that a client begins.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Begun {
    /// What was waited for.
    pub expectation: Expectation,
    /// The client, with the port that it connects from.
    pub client: SocketAddr,
    /// The control connection that spoke of it.
    pub control: ControlKey,
}

#[derive(Debug)]
struct Control {
    translation: Translation,
    session: Session,
    last: Instant,
    /// The client's FIN was seen, the real's was.
    ended: [bool; 2],
}

impl Control {
    fn new(now: Instant, translation: Translation) -> Self {
        Self { translation, session: Session::new(), last: now, ended: [false; 2] }
    }

    fn is_over(&self, now: Instant, limits: &Limits) -> bool {
        let timeout = if self.ended == [true; 2] { limits.closing } else { limits.idle };
        now.saturating_duration_since(self.last) >= timeout
    }

    /// The packet aborts the connection. One whose number is not the next is a forgery or a straggler, and its receiver does not heed
    /// it either (RFC 5961, section 3.2).
    fn is_aborted_by(&self, direction: Direction, segment: &Segment<'_>) -> bool {
        let ended = self.ended[direction as usize];
        let next = |seq| self.session.continues_at(direction, seq);
        segment.has(flag::RST) && (next(segment.seq) || ended && next(segment.seq.wrapping_sub(1)))
    }

    /// Takes note of a FIN behind all data that were seen. Gives true once both sides have sent theirs.
    fn is_ended_by(&mut self, direction: Direction, segment: &Segment<'_>) -> bool {
        let behind = segment.data_seq().wrapping_add(segment.payload().len() as u32);
        if segment.has(flag::FIN) && self.session.continues_at(direction, behind) {
            self.ended[direction as usize] = true;
        }
        self.ended == [true; 2]
    }
}

/// The control connections of a director and the data connections that they announced.
#[derive(Debug)]
pub struct Ftp {
    limits: Limits,
    controls: BTreeMap<ControlKey, Control>,
    expectations: Expectations,
}

impl Ftp {
    /// None yet.
    pub const fn new(limits: Limits) -> Self {
        Self { limits, controls: BTreeMap::new(), expectations: Expectations::new(limits.expectations) }
    }

    /// How many control connections are remembered.
    pub fn controls(&self) -> usize {
        self.controls.len()
    }

    /// How many data connections are waited for.
    pub fn expectations(&self) -> usize {
        self.expectations.len()
    }

    /// One packet of a control connection, from its IP header on; `mtu` is that of its way onwards. A packet that is refused has to be
    /// dropped, and changes nothing.
    ///
    /// A connection is remembered from the first packet that carries data on: before, there is nothing to remember. So a flood of SYNs
    /// takes no place here.
    pub fn packet(
        &mut self,
        now: Instant,
        translation: &Translation,
        direction: Direction,
        packet: &[u8],
        mtu: u16,
    ) -> Result<Output, Refused> {
        let segment = Segment::read(packet, translation, direction, mtu)?;
        let key = translation.key();
        let (known, brings_data) = (self.controls.get(&key), !segment.payload().is_empty());
        if known.is_none() && brings_data && self.controls.len() >= self.limits.controls {
            return Err(Refused::TableFull);
        }
        // The real has taken a new connection on the ports of an old one, or the connection has got another real.
        let is_new = direction == Direction::FromReal && segment.has(flag::SYN | flag::ACK)
            || known.is_some_and(|control| control.translation != *translation);
        if !is_new && known.is_some_and(|control| control.session.is_lost(direction, &segment)) {
            return Err(Refused::Lost);
        }
        let closed = if is_new { self.forget(key) } else { Vec::new() };
        let mut passing = Control::new(now, *translation);
        let control = if brings_data {
            self.controls.entry(key).or_insert(passing)
        } else {
            self.controls.get_mut(&key).unwrap_or(&mut passing)
        };
        let Translated { packets, expectations, mut notices } =
            translate(&segment, translation, direction, &mut control.session);
        control.last = now;
        let (aborted, ended) = (control.is_aborted_by(direction, &segment), control.is_ended_by(direction, &segment));
        let mut output = Output { closed, packets, ..Output::default() };
        for expectation in expectations {
            match self.expectations.add(now, key, expectation) {
                Ok(replaced) => {
                    output.close(replaced);
                    output.opened.push(expectation);
                }
                Err(notice) => notices.push(notice),
            }
        }
        if aborted {
            output.close(self.forget(key));
        } else if ended {
            output.close(self.expectations.close(key));
        }
        output.notices = notices;
        Ok(output)
    }

    /// Goes on with a control connection that an earlier daemon has followed, of which `packet` has come. False where its packets cannot
    /// be translated, for want of room. One that is remembered goes on as it is, and a SYN begins a new one.
    pub fn resume(&mut self, now: Instant, translation: &Translation, packet: &[u8], moved: Moved) -> bool {
        let key = translation.key();
        if self.controls.contains_key(&key) || opens(packet) {
            return true;
        }
        if self.controls.len() >= self.limits.controls {
            return false;
        }
        let session = Session::resumed(moved);
        self.controls.insert(key, Control { session, ..Control::new(now, *translation) });
        true
    }

    /// Every control connection that is remembered.
    pub fn keys(&self) -> impl Iterator<Item = ControlKey> {
        self.controls.keys().copied()
    }

    /// How a control connection's numbers are moved: what [`Ftp::resume`] has to be told.
    pub fn moved(&self, key: ControlKey) -> Option<Moved> {
        self.controls.get(&key)?.session.edits().moved()
    }

    /// What ends a connection of which a packet was refused as [`Refused::Lost`]. None if the packet ends it by itself.
    pub fn resets(&self, translation: &Translation, direction: Direction, packet: &[u8]) -> Option<Resets> {
        let segment = Segment::read(packet, translation, direction, u16::MAX).ok()?;
        let [_, received] = self.controls.get(&translation.key())?.session.edits().floor()?;
        (!segment.has(flag::RST)).then(|| resets(&segment, translation, direction, received))
    }

    /// The data connection that a packet begins (given from its IP header on), if a client may begin it.
    pub fn begun_by(&self, packet: &[u8]) -> Option<Begun> {
        let (client, vip) = ends(packet).ok()?;
        let (expectation, control) = self.expectations.passive(client.ip(), vip)?;
        let translation = Translation::new(client, vip, expectation.real)?;
        let segment = Segment::read(packet, &translation, Direction::FromClient, u16::MAX).ok()?;
        let is_first = segment.has(flag::SYN) && !segment.has(flag::ACK);
        is_first.then_some(Begun { expectation, client, control })
    }

    /// A control connection is alive though it says nothing: a data connection of its is. Transfers may take hours.
    pub fn touch(&mut self, now: Instant, key: ControlKey) {
        if let Some(control) = self.controls.get_mut(&key) {
            control.last = now;
        }
    }

    /// A data connection has come: no other may in its place. False if it was not waited for.
    pub fn used(&mut self, expectation: &Expectation) -> bool {
        self.expectations.used(expectation)
    }

    /// Forgets a control connection. Gives the data connections that may not come any more.
    pub fn forget(&mut self, key: ControlKey) -> Vec<Expectation> {
        self.controls.remove(&key);
        self.expectations.close(key)
    }

    /// Forgets what has had its time: to be called about once a second. Gives the data connections that may not come any more.
    pub fn expire(&mut self, now: Instant) -> Vec<Expectation> {
        let over = self.controls.iter().filter(|(_, control)| control.is_over(now, &self.limits));
        let over: Vec<_> = over.map(|(key, _)| *key).collect();
        let mut closed: Vec<_> = over.into_iter().flat_map(|key| self.forget(key)).collect();
        closed.extend(self.expectations.expire(now));
        closed
    }
}
