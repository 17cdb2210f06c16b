//! What the FTP helper asks of the tables and writes into them: control connections with the ways to both ends, and the data
//! connections that they announced.
//!
//! Data connections belong to a service of any port that the director has made for itself (`reconcile/companion.rs`). One that the
//! client opens is written here and tied to its reply record by the program, when the client's SYN goes through it again. One that the
//! real opens needs its record first: the real's SYN is an answer to the program.

use std::net::{IpAddr, SocketAddr};
use std::sync::atomic::Ordering;

use lb_common::abi::connection::{Meta, State};
use lb_common::abi::real::{Load, Real};
use lb_common::abi::reply::Record;
use lb_common::abi::settings::Settings;
use lb_common::table::unit;

use super::flows::{At, Connections, Flow, address, words};
use super::identity::endpoint;
use super::replies::{Replies, ends};
use super::tables::Tables;
use crate::model::{Protocol, ServiceKey};

/// Word of a record that says how far the helper has moved numbers.
const MOVED: usize = 15;

/// How packets get to a host.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Way {
    /// Interface that they leave by.
    pub ifindex: u32,
    /// Destination and source MAC.
    pub macs: [u8; 12],
    /// Bytes of the largest IP packet.
    pub mtu: u16,
}

/// A control connection in the tables, and its way in both directions.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Control {
    /// The client.
    pub client: SocketAddr,
    /// The service's address and port.
    pub vip: SocketAddr,
    /// The real's.
    pub real: SocketAddr,
    /// To the client.
    pub to_client: Way,
    /// To the real.
    pub to_real: Way,
    /// How far numbers are moved, as the record has it; 0: not at all.
    pub moved: u64,
    row: u32,
}

/// Why a data connection was not written: its real has no number, or there is no room.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct NoRoom;

impl Tables {
    fn entries(&self) -> Connections<'_> {
        Connections {
            v4: &self.maps.connections_v4,
            v6: &self.maps.connections_v6,
            buckets: [self.geometry.v4, self.geometry.v6],
            secret: self.settings().secret(),
        }
    }

    fn replies(&self) -> Replies<'_> {
        Replies {
            index: &self.maps.reply_index,
            records: &self.maps.replies,
            ties: [&self.maps.ties_v4, &self.maps.ties_v6],
            connections: self.entries(),
        }
    }

    /// The flow of a client to a service's own port; None if there is no such service.
    pub fn flow(&self, client: SocketAddr, vip: SocketAddr) -> Option<Flow> {
        let key = ServiceKey { protocol: Protocol::Tcp, address: vip.ip(), port: vip.port() };
        Some(Flow { service: self.services().get(&key)?.id, client, port: vip.port() })
    }

    /// The tied connection of a client to a service.
    pub fn control_of_client(&self, client: SocketAddr, vip: SocketAddr) -> Option<Control> {
        let replies = self.replies();
        let at = replies.connections.find(&self.flow(client, vip)?)?;
        let row = replies.row_of(at.place)?;
        self.control(row, &replies.record(row), &at)
    }

    /// The tied connection that a packet of its real belongs to.
    pub fn control_of_real(&self, source: SocketAddr, destination: SocketAddr) -> Option<Control> {
        let (row, record, at) = self.replies().find(source, destination)?;
        self.control(row, &record, &at)
    }

    fn control(&self, row: u32, record: &Record, at: &At) -> Option<Control> {
        let Flow { client, port, .. } = Flow::of(at.meta.service(), record.key, at.place.is_v6());
        let vip = SocketAddr::new(address(record.virtual_address, client.is_ipv6()), port);
        let value = self.real(at.meta.real())?;
        let [first, second] = record.link;
        let mut macs = [0; 12];
        macs[..8].copy_from_slice(&first.to_ne_bytes());
        macs[8..].copy_from_slice(&(second as u32).to_ne_bytes());
        let mtu = u16::try_from(record.mtu >> 32).unwrap_or(u16::MAX);
        let to_client = Way { ifindex: (second >> 32) as u32, macs, mtu };
        let real = endpoint(&value)?;
        Some(Control { client, vip, real, to_client, to_real: way(&value), moved: record.moved, row })
    }

    /// Writes down how far a control connection's numbers are moved, for the daemon after this one.
    pub fn set_moved(&self, control: &Control, moved: u64) {
        if moved != control.moved {
            self.replies().words(control.row)[MOVED].store(moved, Ordering::SeqCst);
        }
    }

    /// The number of a data connection's service, and that of the real at one of its ports.
    fn companion(&self, vip: IpAddr, real: SocketAddr) -> Option<(u32, u32)> {
        let row = self.services().get(&ServiceKey { protocol: Protocol::Tcp, address: vip, port: 0 })?;
        Some((row.id, *row.reals.get(&real)?))
    }

    /// Writes the data connection that a client's SYN to `vip` begins.
    pub fn begin_passive(
        &self,
        client: SocketAddr,
        vip: SocketAddr,
        real: IpAddr,
        now: u32,
        settings: &Settings,
    ) -> Result<Flow, NoRoom> {
        let (service, number) = self.companion(vip.ip(), SocketAddr::new(real, 0)).ok_or(NoRoom)?;
        let flow = Flow { service, client, port: vip.port() };
        self.begin(&flow, number, State::SynRecv, now, settings).map(|_| flow)
    }

    /// Writes the data connection that a real is to begin, from its end `real` to `client`, whose other end is `vip`.
    pub fn begin_active(
        &self,
        control: &Control,
        [client, vip, real]: [SocketAddr; 3],
        now: u32,
        settings: &Settings,
    ) -> Result<Flow, NoRoom> {
        // A real whose ports are the service's has no number for each of them.
        let any = SocketAddr::new(real.ip(), if vip.port() == real.port() { 0 } else { real.port() });
        let (service, number) = self.companion(vip.ip(), any).ok_or(NoRoom)?;
        let flow = Flow { service, client, port: vip.port() };
        let at = self.begin(&flow, number, State::Listen, now, settings)?;
        let (source, destination, ends) = ends(real, client);
        let Way { ifindex, macs, mtu } = control.to_client;
        let record = Record {
            source,
            destination,
            ends: ends.0,
            virtual_address: words(vip.ip()),
            identity: at.meta.identity(),
            key: flow.key(),
            link: [word(&macs[..8]), word(&macs[8..]) | u64::from(ifindex) << 32],
            mtu: u64::from(mtu),
            ..Record::default()
        };
        if self.replies().claim(at.place, &record).is_err() {
            self.end(&at);
            return Err(NoRoom);
        }
        Ok(flow)
    }

    /// Writes a connection in the place of an earlier one of the same flow.
    fn begin(&self, flow: &Flow, real: u32, state: State, now: u32, settings: &Settings) -> Result<At, NoRoom> {
        let connections = self.entries();
        if let Some(old) = connections.find(flow) {
            self.end(&old);
        }
        let meta = Meta::new(flow.service, real, state, now);
        let (at, evicted) = connections.begin(flow, meta, now, &settings.timeouts).ok_or(NoRoom)?;
        self.begin_load(real, Load::unit(false));
        if let Some(evicted) = evicted {
            self.end_load(evicted.real(), unit(evicted.state()));
        }
        Ok(at)
    }

    fn end(&self, at: &At) {
        if let Some(word) = self.entries().meta(at.place) {
            self.free(word, at.meta);
        }
    }

    /// Takes back a data connection that its real has not begun.
    pub fn end_waiting(&self, vip: SocketAddr, client: SocketAddr) {
        let key = ServiceKey { protocol: Protocol::Tcp, address: vip.ip(), port: 0 };
        let service = self.services().get(&key).map(|row| row.id);
        let flow = service.map(|service| Flow { service, client, port: vip.port() });
        let found = flow.and_then(|flow| self.entries().find(&flow));
        if let Some(at) = found.filter(|at| at.meta.state() == State::Listen) {
            self.end(&at);
        }
    }

    /// The flow has a connection.
    pub fn has(&self, flow: &Flow) -> bool {
        self.entries().find(flow).is_some()
    }

    /// A packet of the flow would have come now: its connection does not expire for as long as after one.
    pub fn touch(&self, flow: &Flow, now: u32) {
        let connections = self.entries();
        let found = connections.find(flow).and_then(|at| Some((connections.meta(at.place)?, at.meta)));
        if let Some((word, meta)) = found {
            // Lost to a packet, which stamps it itself.
            let _ = word.compare_exchange(meta.0, meta.seen(now).0, Ordering::SeqCst, Ordering::Relaxed);
        }
    }
}

fn way(real: &Real) -> Way {
    let mut macs = [0; 12];
    macs[..6].copy_from_slice(&real.destination_mac);
    macs[6..].copy_from_slice(&real.source_mac);
    Way { ifindex: real.ifindex, macs, mtu: real.mtu }
}

/// Up to eight bytes as they lie in memory.
fn word(bytes: &[u8]) -> u64 {
    let mut word = [0; 8];
    word[..bytes.len()].copy_from_slice(bytes);
    u64::from_ne_bytes(word)
}
