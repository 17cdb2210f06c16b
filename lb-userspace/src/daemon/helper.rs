//! The FTP helper: packets of control connections come here from the program, are rewritten by [`crate::ftp`] and sent on; data
//! connections that they announce are written into the tables, from where the program takes them over.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::time::Instant;

use lb_common::abi::fragment::handed;
use lb_common::abi::settings::Settings;
use lb_common::wire::{ethernet, slice};

use crate::dataplane::controls::{Control, Way};
use crate::dataplane::early::EarlyFragment;
use crate::dataplane::flows::Flow;
use crate::dataplane::tables::Tables;
use crate::ftp::adjust::Moved;
use crate::ftp::expect::{Expectation, Kind};
use crate::ftp::segment::{Refused, ends};
use crate::ftp::table::{Ftp, Limits};
use crate::ftp::{ControlKey, Direction, Translation};
use crate::net::frame::FrameSocket;

/// Data connections that keep their control connection alive. One more transfers all the same.
const MAX_DATA: usize = 65_536;

/// Control connections and the data connections that they have announced.
pub(super) struct Helper {
    ftp: Ftp,
    /// Data connections in the tables, and who announced them.
    data: BTreeMap<Flow, ControlKey>,
    /// None where the daemon may not have one.
    socket: Option<FrameSocket>,
}

/// The tables at a moment.
pub(super) struct Moment<'a> {
    pub(super) tables: &'a Tables,
    pub(super) settings: Settings,
    /// The program's clock.
    pub(super) tick: u32,
    pub(super) now: Instant,
}

/// Whether the program has handed this frame to the helper: the others are fragments.
pub(super) fn is_handed(frame: &EarlyFragment) -> bool {
    matches!(frame.tag, handed::FROM_CLIENT | handed::FROM_REAL | handed::NO_CONNECTION)
}

impl Helper {
    /// Nothing is followed yet. Where no frames can be sent, a warning says what does not work.
    pub(super) fn open(warnings: &mut Vec<String>) -> Self {
        let socket = FrameSocket::open();
        if let Err(error) = &socket {
            warnings.push(format!(
                "services with a helper carry no connections: no socket for frames ({error}); run as root, or with CAP_NET_RAW"
            ));
        }
        Self { ftp: Ftp::new(Limits::default()), data: BTreeMap::new(), socket: socket.ok() }
    }

    /// One frame that the program has handed over. True: its connection is in the table now, so it is to run through the program again.
    pub(super) fn take(&mut self, at: &Moment<'_>, frame: &EarlyFragment) -> bool {
        let Ok(link) = ethernet::parse(&slice::Frame(&frame.frame)) else { return false };
        let (link, packet) = frame.frame.split_at(link.payload.min(frame.frame.len()));
        let Ok((source, destination)) = ends(packet) else { return false };
        let (direction, control) = match frame.tag {
            handed::FROM_CLIENT => (Direction::FromClient, at.tables.control_of_client(source, destination)),
            handed::FROM_REAL => (Direction::FromReal, at.tables.control_of_real(source, destination)),
            _ => return self.begins_data(at, packet),
        };
        if let Some(control) = control {
            self.translate(at, &control, direction, link, packet);
        }
        false
    }

    /// A client's SYN to a port that its control connection has been told of.
    fn begins_data(&mut self, at: &Moment<'_>, packet: &[u8]) -> bool {
        let Some(begun) = self.ftp.begun_by(packet) else { return false };
        let Expectation { vip, real, .. } = begun.expectation;
        match at.tables.begin_passive(begun.client, vip, real.ip(), at.tick, &at.settings) {
            Ok(flow) => {
                self.ftp.used(&begun.expectation);
                self.remember(flow, begun.control);
                true
            }
            Err(error) => {
                tracing::debug!(client = %begun.client, %vip, ?error, "no data connection");
                false
            }
        }
    }

    fn remember(&mut self, flow: Flow, control: ControlKey) {
        if self.data.len() < MAX_DATA {
            self.data.insert(flow, control);
        }
    }

    fn translate(&mut self, at: &Moment<'_>, control: &Control, direction: Direction, link: &[u8], packet: &[u8]) {
        let Some(translation) = Translation::new(control.client, control.vip, control.real) else { return };
        if let Some(moved) = Moved::of(control.moved)
            && !self.ftp.resume(at.now, &translation, packet, moved)
        {
            return;
        }
        let (way, back) = match direction {
            Direction::FromClient => (&control.to_real, &control.to_client),
            Direction::FromReal => (&control.to_client, &control.to_real),
        };
        let output = match self.ftp.packet(at.now, &translation, direction, packet, way.mtu) {
            Ok(output) => output,
            Err(refused) => {
                tracing::debug!(client = %control.client, vip = %control.vip, "packet dropped: {refused}");
                if refused == Refused::Lost
                    && let Some(resets) = self.ftp.resets(&translation, direction, packet)
                {
                    self.send(way, link, &resets.onwards);
                    self.send(back, link, &resets.back);
                }
                return;
            }
        };
        for notice in output.notices {
            tracing::debug!(client = %control.client, vip = %control.vip, ?notice, "control connection");
        }
        for expectation in output.closed {
            end(at.tables, &expectation);
        }
        for expectation in output.opened {
            self.open_active(at, control, &expectation, translation.key());
        }
        if direction == Direction::FromReal {
            let moved = self.ftp.moved(translation.key()).map_or(0, Moved::word);
            at.tables.set_moved(control, moved);
        }
        for packet in output.packets {
            self.send(way, link, &packet);
        }
    }

    /// A passive data connection is written when the client begins it: its port is not known before.
    fn open_active(&mut self, at: &Moment<'_>, control: &Control, expectation: &Expectation, key: ControlKey) {
        let Some(ends) = active_ends(expectation) else { return };
        match at.tables.begin_active(control, ends, at.tick, &at.settings) {
            Ok(flow) => self.remember(flow, key),
            Err(error) => tracing::debug!(client = %control.client, vip = %control.vip, ?error, "no data connection"),
        }
    }

    /// Sends a packet behind the Ethernet header that its frame came with, VLAN tags included, and other MACs.
    fn send(&self, way: &Way, link: &[u8], packet: &[u8]) {
        let mut frame = [link, packet].concat();
        frame[..way.macs.len()].copy_from_slice(&way.macs);
        let Some(socket) = &self.socket else { return };
        if let Err(error) = socket.send(way.ifindex, &frame) {
            tracing::debug!("a packet of a control connection is lost: {error}");
        }
    }

    /// Once a second, after the sweep: forgets what is over. A control connection lives at least as long as its data connections.
    pub(super) fn tick(&mut self, at: &Moment<'_>) {
        let Self { ftp, data, .. } = self;
        data.retain(|flow, control| {
            let is_alive = at.tables.has(flow);
            if is_alive {
                ftp.touch(at.now, *control);
                if let Some(flow) = at.tables.flow(control.client, control.vip) {
                    at.tables.touch(&flow, at.tick);
                }
            }
            is_alive
        });
        let is_over = |key: &ControlKey| !at.tables.flow(key.client, key.vip).is_some_and(|flow| at.tables.has(&flow));
        let over: Vec<_> = ftp.keys().filter(is_over).collect();
        let mut closed = ftp.expire(at.now);
        closed.extend(over.into_iter().flat_map(|key| ftp.forget(key)));
        for expectation in closed {
            end(at.tables, &expectation);
        }
    }
}

/// Client, service and real of a data connection that the real is to begin; None of one that the client is to.
fn active_ends(expectation: &Expectation) -> Option<[SocketAddr; 3]> {
    let Expectation { kind, client, client_port, vip, real, .. } = *expectation;
    let port = client_port.filter(|_| kind == Kind::Active)?;
    Some([SocketAddr::new(client, port), vip, real])
}

/// A data connection may not come any more. One that has come goes on.
fn end(tables: &Tables, expectation: &Expectation) {
    if let Some([client, vip, _]) = active_ends(expectation) {
        tables.end_waiting(vip, client);
    }
}
