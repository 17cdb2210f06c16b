//! Addresses on interfaces: list, add one, remove one.
//!
//! Adding never replaces: an address that is there already is an error the caller sees, or it could not tell its own
//! address from one that somebody else put there.

use std::net::IpAddr;

use netlink_packet_route::AddressFamily;
use netlink_packet_route::address::{
    AddressAttribute, AddressFlags, AddressHeaderFlags, AddressMessage, AddressScope, CacheInfo,
};

use super::{NetError, Netlink, acknowledged, collected};

/// `INFINITY_LIFE_TIME` of the kernel: the address never expires.
const FOREVER: u32 = u32::MAX;

/// One address of an interface.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Address {
    /// Index of the interface that holds it.
    pub ifindex: u32,
    /// The host's own address (of a point-to-point link: this end).
    pub address: IpAddr,
    /// Length of the prefix that the interface reaches directly.
    pub prefix_length: u8,
}

impl Address {
    fn from_message(message: &AddressMessage) -> Option<Self> {
        let find = |wanted: fn(&AddressAttribute) -> Option<IpAddr>| message.attributes.iter().find_map(wanted);
        let local = find(|attribute| match attribute {
            AddressAttribute::Local(address) => Some(*address),
            _ => None,
        });
        let address = local.or_else(|| {
            find(|attribute| match attribute {
                AddressAttribute::Address(address) => Some(*address),
                _ => None,
            })
        })?;
        Some(Self { ifindex: message.header.index, address, prefix_length: message.header.prefix_len })
    }

    /// Whether the prefix is this one address (/32 or /128).
    pub fn is_single_host(&self) -> bool {
        self.prefix_length == host_prefix(self.address)
    }

    /// Whether `other` lies in this address's prefix.
    pub fn covers(&self, other: IpAddr) -> bool {
        match (self.address, other) {
            (IpAddr::V4(own), IpAddr::V4(other)) => {
                let mask = u32::MAX.checked_shl(32 - u32::from(self.prefix_length.min(32))).unwrap_or(0);
                (own.to_bits() ^ other.to_bits()) & mask == 0
            }
            (IpAddr::V6(own), IpAddr::V6(other)) => {
                let mask = u128::MAX.checked_shl(128 - u32::from(self.prefix_length.min(128))).unwrap_or(0);
                (own.to_bits() ^ other.to_bits()) & mask == 0
            }
            _ => false,
        }
    }
}

impl Netlink {
    /// All addresses of this namespace, both families.
    pub async fn addresses(&self) -> Result<Vec<Address>, NetError> {
        let messages = collected("list addresses", self.handle.address().get().execute()).await?;
        Ok(messages.iter().filter_map(Address::from_message).collect())
    }

    /// Puts a host address (/32 or /128) on an interface so that the host accepts packets for it but does not use it of
    /// its own accord: IPv4 in scope host, so it is no candidate as source of other traffic; IPv6 deprecated
    /// (preferred lifetime 0) for the same end, and without duplicate address detection, because every real server and
    /// the director hold the same address on purpose.
    pub async fn add_host_address(&self, ifindex: u32, address: IpAddr) -> Result<(), NetError> {
        let mut request = self.handle.address().add(ifindex, address, host_prefix(address));
        *request.message_mut() = host_address(ifindex, address);
        acknowledged(&format!("add address {address}/{}", host_prefix(address)), request.execute()).await
    }

    /// Removes a host address (/32 or /128) from an interface.
    pub async fn remove_host_address(&self, ifindex: u32, address: IpAddr) -> Result<(), NetError> {
        let mut message = host_address(ifindex, address);
        message.attributes.retain(|attribute| matches!(attribute, AddressAttribute::Local(_)));
        let what = format!("remove address {address}/{}", host_prefix(address));
        acknowledged(&what, self.handle.address().del(message).execute()).await
    }
}

/// Prefix length of a single host in the family of `address`.
pub fn host_prefix(address: IpAddr) -> u8 {
    if address.is_ipv4() { 32 } else { 128 }
}

fn host_address(ifindex: u32, address: IpAddr) -> AddressMessage {
    let mut message = AddressMessage::default();
    message.header.index = ifindex;
    message.header.prefix_len = host_prefix(address);
    message.attributes.push(AddressAttribute::Local(address));
    message.attributes.push(AddressAttribute::Address(address));
    if address.is_ipv4() {
        message.header.family = AddressFamily::Inet;
        message.header.scope = AddressScope::Host;
    } else {
        message.header.family = AddressFamily::Inet6;
        message.header.scope = AddressScope::Universe;
        message.header.flags = AddressHeaderFlags::Nodad;
        message.attributes.push(AddressAttribute::Flags(AddressFlags::Nodad));
        let mut lifetimes = CacheInfo::default();
        lifetimes.ifa_valid = FOREVER;
        message.attributes.push(AddressAttribute::CacheInfo(lifetimes));
    }
    message
}

#[cfg(test)]
mod tests {
    use super::*;

    fn address(text: &str, prefix_length: u8) -> Address {
        Address { ifindex: 1, address: text.parse().expect("address"), prefix_length }
    }

    #[test]
    fn a_prefix_covers_its_own_hosts_only() {
        let ip = |text: &str| text.parse::<IpAddr>().expect("address");
        assert!(address("10.0.0.1", 24).covers(ip("10.0.0.254")));
        assert!(!address("10.0.0.1", 24).covers(ip("10.0.1.1")));
        assert!(address("10.0.0.1", 0).covers(ip("192.0.2.1")));
        assert!(!address("10.0.0.1", 32).covers(ip("10.0.0.2")));
        assert!(address("fd00::1", 64).covers(ip("fd00::ffff")));
        assert!(!address("fd00::1", 64).covers(ip("fd01::1")));
        assert!(!address("10.0.0.1", 0).covers(ip("fd00::1")));
    }
}
