//! What differs between IPv4 and IPv6: header, connection key, tables. The stages are written once, over [`Family`].

use lb_common::abi::connection::{KeyV4, KeyV6};
use lb_common::abi::service::{PROTOCOL_ANY, Target, key_v4, key_v6_tail};
use lb_common::abi::verdict::Verdict;
use lb_common::algo::hash;
use lb_common::sched::Client;
use lb_common::table::{Bucket, Slot};
use lb_common::wire::parse::{self, Flow, Then};
use lb_common::wire::tunnel::{self, Inner};
use lb_common::wire::{ipv4, ipv6};
use lb_ebpf::packet::Frame;

use crate::maps::{connections, services, settings};
use crate::stage::schedule;

/// An address family as the stages see it.
pub(crate) trait Family {
    /// It is IPv6.
    const IS_V6: bool;
    /// Its protocol number inside IP.
    const IN_IP: u8;
    /// Its IP header.
    type Header: Copy;
    /// Key of its connections.
    type Key: Copy;
    /// Bucket of its connection table.
    type Bucket: Bucket<Slot: Slot<Key = Self::Key>>;

    fn parse<T: Then<Self::Header>>(packet: &Frame, offset: usize, then: T) -> Result<T::Out, Verdict>;
    /// The service at the packet's destination address with this port (raw) and protocol.
    fn service(ip: &Self::Header, port: u16, protocol: u8) -> Target;
    fn protocol(ip: &Self::Header) -> u8;
    fn length(ip: &Self::Header) -> u32;
    fn is_fragment(ip: &Self::Header) -> bool;
    /// What a tunnel takes from the packet at `offset`.
    fn inner(packet: &Frame, offset: usize, entropy: u32) -> Result<Inner, Verdict>;
    fn key(flow: &Flow<Self::Header>) -> Self::Key;
    /// The client of a connection, as schedulers hash it.
    fn client(key: Self::Key) -> Client;
    fn hash(key: Self::Key, service: u32) -> u64;
    /// The bucket at an index that is masked by [`Family::bucket_mask`].
    fn bucket(index: u64) -> Self::Bucket;
    fn bucket_mask() -> u64;
    /// Begins a connection ([`crate::stage::schedule`]), out of line.
    fn begin(key: Self::Key, target: Target, opening: u64) -> u32;

    /// The destination is the address of some service.
    #[inline(always)]
    fn is_vip(ip: &Self::Header) -> bool {
        Self::service(ip, 0, PROTOCOL_ANY).is_some()
    }
}

/// IPv4.
pub(crate) struct V4;
/// IPv6.
pub(crate) struct V6;

impl Family for V4 {
    const IS_V6: bool = false;
    const IN_IP: u8 = tunnel::IPV4_IN_IP;
    type Header = ipv4::Header;
    type Key = KeyV4;
    type Bucket = connections::BucketV4;

    #[inline(always)]
    fn parse<T: Then<ipv4::Header>>(packet: &Frame, offset: usize, then: T) -> Result<T::Out, Verdict> {
        parse::v4_then(packet, offset, then)
    }
    #[inline(always)]
    fn service(ip: &ipv4::Header, port: u16, protocol: u8) -> Target {
        services::find_v4(key_v4(ip.destination, port, protocol))
    }
    #[inline(always)]
    fn protocol(ip: &ipv4::Header) -> u8 {
        ip.protocol
    }
    #[inline(always)]
    fn length(ip: &ipv4::Header) -> u32 {
        ip.total_length
    }
    #[inline(always)]
    fn is_fragment(ip: &ipv4::Header) -> bool {
        ip.is_fragment
    }
    #[inline(always)]
    fn inner(packet: &Frame, offset: usize, _entropy: u32) -> Result<Inner, Verdict> {
        Inner::v4(packet, offset)
    }
    #[inline(always)]
    fn key(flow: &Flow<ipv4::Header>) -> KeyV4 {
        KeyV4::new(flow.ip.source, flow.transport.ports)
    }
    #[inline(always)]
    fn client(KeyV4(key): KeyV4) -> Client {
        Client { address: u32::from_be(key as u32), port: u16::from_be((key >> 32) as u16) }
    }
    #[inline(always)]
    fn hash(key: KeyV4, service: u32) -> u64 {
        hash::flow_v4(key.0, service, settings::hash_key())
    }
    #[inline(always)]
    fn bucket(index: u64) -> connections::BucketV4 {
        connections::bucket_v4(index)
    }
    #[inline(always)]
    fn bucket_mask() -> u64 {
        settings::bucket_mask_v4()
    }
    #[inline(always)]
    fn begin(key: KeyV4, target: Target, opening: u64) -> u32 {
        schedule::xvs_begin_v4(key.0, target.0, opening)
    }
}

impl Family for V6 {
    const IS_V6: bool = true;
    const IN_IP: u8 = tunnel::IPV6_IN_IP;
    type Header = ipv6::Header;
    type Key = KeyV6;
    type Bucket = connections::BucketV6;

    #[inline(always)]
    fn parse<T: Then<ipv6::Header>>(packet: &Frame, offset: usize, then: T) -> Result<T::Out, Verdict> {
        parse::v6_then(packet, offset, then)
    }
    #[inline(always)]
    fn service(ip: &ipv6::Header, port: u16, protocol: u8) -> Target {
        services::find_v6([ip.destination[0], ip.destination[1], key_v6_tail(port, protocol)])
    }
    #[inline(always)]
    fn protocol(ip: &ipv6::Header) -> u8 {
        ip.protocol
    }
    #[inline(always)]
    fn length(ip: &ipv6::Header) -> u32 {
        ip.total_length
    }
    #[inline(always)]
    fn is_fragment(ip: &ipv6::Header) -> bool {
        ip.is_fragment
    }
    #[inline(always)]
    fn inner(packet: &Frame, offset: usize, entropy: u32) -> Result<Inner, Verdict> {
        Inner::v6(packet, offset, entropy)
    }
    #[inline(always)]
    fn key(flow: &Flow<ipv6::Header>) -> KeyV6 {
        KeyV6::new(flow.ip.source, flow.transport.ports)
    }
    #[inline(always)]
    fn client(KeyV6([upper, lower, ports]): KeyV6) -> Client {
        let folded = upper ^ lower;
        let folded = (folded ^ (folded >> 32)) as u32;
        Client { address: u32::from_be(folded), port: u16::from_be(ports as u16) }
    }
    #[inline(always)]
    fn hash(key: KeyV6, service: u32) -> u64 {
        hash::flow_v6(key.0, service, settings::hash_key())
    }
    #[inline(always)]
    fn bucket(index: u64) -> connections::BucketV6 {
        connections::bucket_v6(index)
    }
    #[inline(always)]
    fn bucket_mask() -> u64 {
        settings::bucket_mask_v6()
    }
    #[inline(always)]
    fn begin(key: KeyV6, target: Target, opening: u64) -> u32 {
        schedule::xvs_begin_v6(key.0[0], key.0[1], key.0[2], target.0, opening)
    }
}
