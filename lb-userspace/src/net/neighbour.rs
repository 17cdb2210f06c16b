//! The neighbour table (ARP and ND): list it, and ask the kernel to resolve an entry.
//!
//! We never speak ARP or ND ourselves. `NTF_USE` makes the kernel act as if it had a packet to send: it resolves a
//! missing entry and probes a stale one. XDP forwards past the kernel's stack, so without that nudge the kernel would
//! see every next hop as unused and let it go stale for ever.

use std::collections::BTreeMap;
use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, SocketAddrV6, UdpSocket};

use netlink_packet_route::AddressFamily;
use netlink_packet_route::neighbour::{
    NeighbourAddress, NeighbourAttribute, NeighbourFlags, NeighbourMessage, NeighbourState,
};

use super::{NetError, Netlink, acknowledged, collected};

/// UDP port "discard" (RFC 863): what a host does with such a packet harms nobody.
const DISCARD_PORT: u16 = 9;

/// What the kernel thinks of an entry, as far as a sender cares.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum State {
    /// The address holds: reachable, delay, probe, permanent or noarp.
    Usable,
    /// The address held when last heard of; it serves while it is checked again.
    Stale,
    /// Being asked for: incomplete, or created and not yet asked.
    Incomplete,
    /// Asked for, and nobody answered.
    Failed,
}

/// One entry of the neighbour table.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Neighbour {
    /// Index of the interface that it is on.
    pub ifindex: u32,
    /// Its network-layer address.
    pub address: IpAddr,
    /// Its Ethernet address in wire order, if known.
    pub mac: Option<[u8; 6]>,
    /// How far the address can be trusted.
    pub state: State,
}

impl Neighbour {
    pub(super) fn from_message(message: &NeighbourMessage) -> Option<Self> {
        let header = &message.header;
        // Bridges announce their forwarding database in the same group; proxy entries are addresses we answer for.
        if !matches!(header.family, AddressFamily::Inet | AddressFamily::Inet6)
            || header.flags.contains(NeighbourFlags::Proxy)
        {
            return None;
        }
        let (mut address, mut mac) = (None, None);
        for attribute in &message.attributes {
            match attribute {
                NeighbourAttribute::Destination(NeighbourAddress::Inet(v4)) => address = Some(IpAddr::V4(*v4)),
                NeighbourAttribute::Destination(NeighbourAddress::Inet6(v6)) => address = Some(IpAddr::V6(*v6)),
                NeighbourAttribute::LinkLocalAddress(bytes) => mac = bytes.as_slice().try_into().ok(),
                _ => {}
            }
        }
        let state = match header.state {
            NeighbourState::Reachable
            | NeighbourState::Delay
            | NeighbourState::Probe
            | NeighbourState::Permanent
            | NeighbourState::Noarp => State::Usable,
            NeighbourState::Stale => State::Stale,
            NeighbourState::Failed => State::Failed,
            _ => State::Incomplete,
        };
        Some(Self { ifindex: header.ifindex, address: address?, mac, state })
    }
}

/// Entries by interface index and address.
pub type Neighbours = BTreeMap<(u32, IpAddr), Neighbour>;

impl Netlink {
    /// The whole neighbour table of this namespace, both families, without proxy entries.
    pub async fn neighbours(&self) -> Result<Neighbours, NetError> {
        let messages = collected("list neighbours", self.handle.neighbours().get().execute()).await?;
        let entries = messages.iter().filter_map(Neighbour::from_message);
        Ok(entries.map(|entry| ((entry.ifindex, entry.address), entry)).collect())
    }

    /// Makes the kernel resolve (or check again) `address` on an interface; the answer comes as an event.
    ///
    /// Not for permanent entries: the kernel takes `NTF_USE` as leave to drop the permanent mark.
    pub async fn solicit(&self, ifindex: u32, address: IpAddr) -> Result<(), NetError> {
        let request = self
            .handle
            .neighbours()
            .add(ifindex, address)
            .state(NeighbourState::None)
            .flags(NeighbourFlags::Use)
            .replace();
        match acknowledged(&format!("resolve neighbour {address}"), request.execute()).await {
            Err(NetError::Refused { cause, what }) => {
                // Refused (no CAP_NET_ADMIN, an old kernel): a packet of ours has the same effect.
                poke(ifindex, address).map_err(|poke| NetError::Refused {
                    what,
                    cause: io::Error::new(cause.kind(), format!("{cause}; and a UDP packet to it: {poke}")),
                })
            }
            other => other,
        }
    }
}

/// Sends an empty datagram to the neighbour, which makes the kernel resolve it.
fn poke(ifindex: u32, address: IpAddr) -> io::Result<()> {
    let (from, to): (SocketAddr, SocketAddr) = match address {
        IpAddr::V4(_) => ((Ipv4Addr::UNSPECIFIED, 0).into(), (address, DISCARD_PORT).into()),
        IpAddr::V6(v6) => {
            let scope = if v6.is_unicast_link_local() { ifindex } else { 0 };
            ((Ipv6Addr::UNSPECIFIED, 0).into(), SocketAddrV6::new(v6, DISCARD_PORT, 0, scope).into())
        }
    };
    let socket = UdpSocket::bind(from)?;
    socket.set_nonblocking(true)?;
    socket.connect(to)?;
    socket.send(&[]).map(|_| ())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn message(state: NeighbourState, flags: NeighbourFlags, family: AddressFamily) -> NeighbourMessage {
        let mut message = NeighbourMessage::default();
        message.header.family = family;
        message.header.ifindex = 2;
        message.header.state = state;
        message.header.flags = flags;
        message.attributes = vec![
            NeighbourAttribute::Destination(NeighbourAddress::Inet(Ipv4Addr::new(10, 0, 0, 2))),
            NeighbourAttribute::LinkLocalAddress(vec![2, 0, 0, 0, 0, 2]),
        ];
        message
    }

    #[test]
    fn states_are_sorted_by_what_a_sender_may_do() {
        let state = |state| {
            Neighbour::from_message(&message(state, NeighbourFlags::empty(), AddressFamily::Inet)).map(|n| n.state)
        };
        for usable in [
            NeighbourState::Reachable,
            NeighbourState::Delay,
            NeighbourState::Probe,
            NeighbourState::Permanent,
            NeighbourState::Noarp,
        ] {
            assert_eq!(state(usable), Some(State::Usable), "{usable}");
        }
        assert_eq!(state(NeighbourState::Stale), Some(State::Stale));
        assert_eq!(state(NeighbourState::Incomplete), Some(State::Incomplete));
        assert_eq!(state(NeighbourState::None), Some(State::Incomplete));
        assert_eq!(state(NeighbourState::Failed), Some(State::Failed));
    }

    #[test]
    fn proxy_and_bridge_entries_are_no_neighbours() {
        let proxy = message(NeighbourState::Permanent, NeighbourFlags::Proxy, AddressFamily::Inet);
        assert_eq!(Neighbour::from_message(&proxy), None);
        let bridge = message(NeighbourState::Permanent, NeighbourFlags::empty(), AddressFamily::Bridge);
        assert_eq!(Neighbour::from_message(&bridge), None);
    }
}
