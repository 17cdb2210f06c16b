//! Links (interfaces): which there are, and what a frame that leaves through one needs to know.
//!
//! Reads only; it never changes a link.

use std::collections::BTreeMap;

use netlink_packet_route::AddressFamily;
use netlink_packet_route::link::{LinkAttribute, LinkFlags, LinkInfo, LinkMessage};

use super::{NetError, Netlink, collected};

/// One interface of this network namespace.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Link {
    /// Interface index; never 0.
    pub index: u32,
    /// Interface name.
    pub name: String,
    /// Ethernet address in wire order; `None` for links without one (tun, raw IP tunnels) and for `lo`.
    pub mac: Option<[u8; 6]>,
    /// Largest IP packet in bytes, without the Ethernet header.
    pub mtu: u32,
    /// Administratively up (`ip link set NAME up`).
    pub up: bool,
    /// The lower layer can carry frames: cable plugged, or veth peer up.
    pub carrier: bool,
    /// Whether this is the loopback interface.
    pub loopback: bool,
    /// The driver's kind for virtual links: `veth`, `bridge`, `bond`...; `None` for hardware.
    pub kind: Option<String>,
}

impl Link {
    pub(super) fn from_message(message: &LinkMessage) -> Option<Self> {
        // A port that leaves its bridge is announced as a deleted link of family bridge; the link itself stays.
        if message.header.interface_family != AddressFamily::Unspec {
            return None;
        }
        let flags = message.header.flags;
        let loopback = flags.contains(LinkFlags::Loopback);
        let mut link = Link {
            index: message.header.index,
            name: String::new(),
            mac: None,
            mtu: 0,
            up: flags.contains(LinkFlags::Up),
            carrier: flags.contains(LinkFlags::LowerUp),
            loopback,
            kind: None,
        };
        for attribute in &message.attributes {
            match attribute {
                LinkAttribute::IfName(name) => link.name.clone_from(name),
                LinkAttribute::Mtu(mtu) => link.mtu = *mtu,
                LinkAttribute::Address(bytes) if !loopback => link.mac = bytes.as_slice().try_into().ok(),
                LinkAttribute::LinkInfo(infos) => {
                    link.kind = infos.iter().find_map(|info| match info {
                        LinkInfo::Kind(kind) => Some(kind.to_string()),
                        _ => None,
                    });
                }
                _ => {}
            }
        }
        // Wireless events share the group and carry no name.
        (link.index != 0 && !link.name.is_empty()).then_some(link)
    }
}

impl Netlink {
    /// All links of this namespace by index.
    pub async fn links(&self) -> Result<BTreeMap<u32, Link>, NetError> {
        let messages = collected("list links", self.handle.link().get().execute()).await?;
        Ok(messages.iter().filter_map(Link::from_message).map(|link| (link.index, link)).collect())
    }

    /// The link of this name, `None` if there is none.
    pub async fn link(&self, name: &str) -> Result<Option<Link>, NetError> {
        Ok(self.links().await?.into_values().find(|link| link.name == name))
    }
}

#[cfg(test)]
mod tests {
    use netlink_packet_route::link::InfoKind;

    use super::*;

    fn message(flags: LinkFlags, attributes: Vec<LinkAttribute>) -> LinkMessage {
        let mut message = LinkMessage::default();
        message.header.index = 7;
        message.header.flags = flags;
        message.attributes = attributes;
        message
    }

    #[test]
    fn a_veth_is_read_whole() {
        let link = Link::from_message(&message(
            LinkFlags::Up | LinkFlags::LowerUp,
            vec![
                LinkAttribute::IfName("eth0".into()),
                LinkAttribute::Mtu(1500),
                LinkAttribute::Address(vec![2, 0, 0, 0, 0, 9]),
                LinkAttribute::LinkInfo(vec![LinkInfo::Kind(InfoKind::Veth)]),
            ],
        ))
        .expect("a link");
        assert_eq!(link.mac, Some([2, 0, 0, 0, 0, 9]));
        assert_eq!((link.index, link.mtu, link.up, link.carrier), (7, 1500, true, true));
        assert_eq!(link.kind.as_deref(), Some("veth"));
    }

    #[test]
    fn addresses_that_are_not_ethernet_are_left_out() {
        let tunnel = Link::from_message(&message(
            LinkFlags::Up,
            vec![LinkAttribute::IfName("tun0".into()), LinkAttribute::Address(vec![10, 0, 0, 1])],
        ));
        assert_eq!(tunnel.expect("a link").mac, None);
        let loopback = Link::from_message(&message(
            LinkFlags::Loopback,
            vec![LinkAttribute::IfName("lo".into()), LinkAttribute::Address(vec![0; 6])],
        ));
        assert_eq!(loopback.expect("a link").mac, None);
    }

    #[test]
    fn a_message_without_a_name_is_no_link() {
        assert_eq!(Link::from_message(&message(LinkFlags::Up, vec![LinkAttribute::Mtu(1500)])), None);
    }
}
