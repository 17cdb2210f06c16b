//! Changes as the kernel announces them: links, neighbours, addresses, routes.
//!
//! Announcements can be lost: when the reader is slower than the kernel, the socket overruns and says so once. The
//! reader must then list everything again; [`Event::Overrun`] is that order.

use std::net::IpAddr;

use futures_channel::mpsc::UnboundedReceiver;
use futures_util::StreamExt;
use netlink_packet_core::{NetlinkMessage, NetlinkPayload};
use netlink_packet_route::RouteNetlinkMessage;
use rtnetlink::sys::{AsyncSocket, SocketAddr};
use tokio::task::JoinHandle;

use super::NetError;
use super::link::Link;
use super::neighbour::Neighbour;

// `RTMGRP_*` of linux/rtnetlink.h: bit N-1 stands for group N.
const LINK: u32 = 1 << 0;
const NEIGHBOUR: u32 = 1 << 2;
const IPV4_ADDRESS: u32 = 1 << 4;
const IPV4_ROUTE: u32 = 1 << 6;
const IPV4_RULE: u32 = 1 << 7;
const IPV6_ADDRESS: u32 = 1 << 8;
const IPV6_ROUTE: u32 = 1 << 10;
const IPV6_RULE: u32 = 1 << 18;

/// Receive buffer in bytes. The default of 212 kB overruns at a few hundred events (each is charged with its whole
/// skb). The kernel cuts the wish down to `net.core.rmem_max`.
const RECEIVE_BUFFER: u32 = 2 << 20;

/// One announced change.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Event {
    /// A link appeared or changed.
    Link(Link),
    /// The link of this index is gone.
    LinkGone(u32),
    /// A neighbour appeared or changed.
    Neighbour(Neighbour),
    /// The neighbour of this interface index and address is gone.
    NeighbourGone(u32, IpAddr),
    /// Something that decides routes changed: a route, a rule or an address.
    Routing,
    /// Announcements were lost: list everything again.
    Overrun,
}

/// A subscription to all changes of this network namespace.
#[derive(Debug)]
pub struct Events {
    messages: UnboundedReceiver<(NetlinkMessage<RouteNetlinkMessage>, SocketAddr)>,
    connection: JoinHandle<()>,
    // Without a handle the library's task takes the subscription for abandoned.
    _handle: rtnetlink::Handle,
}

impl Events {
    /// Subscribes; every change after this call is reported. Needs a tokio runtime.
    pub fn open() -> Result<Self, NetError> {
        let (mut connection, handle, messages) = rtnetlink::new_connection().map_err(NetError::Open)?;
        let groups = LINK | NEIGHBOUR | IPV4_ADDRESS | IPV4_ROUTE | IPV4_RULE | IPV6_ADDRESS | IPV6_ROUTE | IPV6_RULE;
        let socket = connection.socket_mut().socket_mut();
        // A smaller buffer only means an earlier overrun, which is handled; not worth failing for.
        if let Err(error) = socket.set_rx_buf_sz(RECEIVE_BUFFER) {
            tracing::debug!(%error, "the netlink receive buffer keeps its default size");
        }
        socket.bind(&SocketAddr::new(0, groups)).map_err(NetError::Open)?;
        Ok(Self { messages, connection: tokio::spawn(connection), _handle: handle })
    }

    /// The next change; `None` when the socket has closed and another subscription is needed.
    pub async fn next(&mut self) -> Option<Event> {
        loop {
            let (message, _) = self.messages.next().await?;
            if let Some(event) = translate(&message.payload) {
                return Some(event);
            }
        }
    }
}

impl Drop for Events {
    fn drop(&mut self) {
        self.connection.abort();
    }
}

fn translate(payload: &NetlinkPayload<RouteNetlinkMessage>) -> Option<Event> {
    let message = match payload {
        NetlinkPayload::InnerMessage(message) => message,
        NetlinkPayload::Overrun(_) => return Some(Event::Overrun),
        _ => return None,
    };
    match message {
        RouteNetlinkMessage::NewLink(message) => Link::from_message(message).map(Event::Link),
        RouteNetlinkMessage::DelLink(message) => Link::from_message(message).map(|link| Event::LinkGone(link.index)),
        RouteNetlinkMessage::NewNeighbour(message) => Neighbour::from_message(message).map(Event::Neighbour),
        RouteNetlinkMessage::DelNeighbour(message) => {
            Neighbour::from_message(message).map(|gone| Event::NeighbourGone(gone.ifindex, gone.address))
        }
        RouteNetlinkMessage::NewAddress(_)
        | RouteNetlinkMessage::DelAddress(_)
        | RouteNetlinkMessage::NewRoute(_)
        | RouteNetlinkMessage::DelRoute(_)
        | RouteNetlinkMessage::NewRule(_)
        | RouteNetlinkMessage::DelRule(_) => Some(Event::Routing),
        _ => None,
    }
}
