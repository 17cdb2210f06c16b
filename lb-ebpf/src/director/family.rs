//! What differs between IPv4 and IPv6: header, connection key, tables. The stages are written once, over [`Family`].

use aya_ebpf::bindings::xdp_md;
use lb_common::abi::connection::{KeyV4, KeyV6, Meta};
use lb_common::abi::limits::WAYS;
use lb_common::abi::reply::Ends;
use lb_common::abi::service::{PROTOCOL_ANY, Target, key_v4, key_v6_tail};
use lb_common::abi::shape::mask_64;
use lb_common::abi::verdict::Verdict;
use lb_common::algo::hash;
use lb_common::sched::Client;
use lb_common::table::{Bucket, Slot};
use lb_common::wire::parse::{self, Flow, Parsed, Then};
use lb_common::wire::translate::{self, Change};
use lb_common::wire::translate_icmp::{self, Embedded};
use lb_common::wire::transport::{SCTP, TCP, UDP};
use lb_common::wire::tunnel::{self, Inner};
use lb_common::wire::{Packet, View, ipv4, ipv6, plain, readdress};
use lb_ebpf::immediate::masked;
use lb_ebpf::packet::Frame;

use crate::maps::reals::Entry;
use crate::maps::replies::RecordAt;
use crate::maps::{connections, limits, services, settings};
use crate::stage::tunnel::Stand;
use crate::stage::{advance, enter, inexact, room, schedule, template};

/// An address family as the stages see it.
pub(crate) trait Family: Sized {
    /// It is IPv6.
    const IS_V6: bool;
    /// Its protocol number inside IP.
    const IN_IP: u8;
    /// Its IP header.
    type Header: Copy;
    /// Its addresses, raw.
    type Address: Copy + PartialEq;
    /// Key of its connections.
    type Key: Copy;
    /// Bucket of its connection table.
    type Bucket: Bucket<Slot: Slot<Key = Self::Key>>;

    fn parse<T: Then<Self::Header>>(packet: &Frame, offset: usize, then: T) -> Result<T::Out, Verdict>;
    /// A plain packet ([`plain`]).
    fn read_plain(packet: &Frame) -> Option<Flow<Self::Header>>;
    /// The packet at `offset`, as a value: see [`Then`].
    fn read(packet: &Frame, offset: usize) -> Result<Parsed<Self::Header>, Verdict>;
    /// The service at the packet's destination address with this port (raw) and protocol.
    fn service(ip: &Self::Header, port: u16, protocol: u8) -> Target;
    fn protocol(ip: &Self::Header) -> u8;
    fn length(ip: &Self::Header) -> u32;
    fn is_fragment(ip: &Self::Header) -> bool;
    /// Where the transport header begins.
    fn payload(ip: &Self::Header) -> usize;
    /// What a tunnel takes from the packet at `offset`.
    fn inner(packet: &Frame, offset: usize, entropy: u32) -> Result<Inner, Verdict>;
    fn key(flow: &Flow<Self::Header>) -> Self::Key;
    /// The client of a connection, as schedulers hash it.
    fn client(key: Self::Key) -> Client;
    fn hash(key: Self::Key) -> u64;
    /// A connection's buckets ([`connections`]), their numbers, and the bucket with a number.
    fn first(hash: u64, service: u32) -> Self::Bucket;
    fn second(hash: u64, service: u32) -> Self::Bucket;
    fn bucket_numbers(hash: u64, service: u32) -> [u32; 2];
    fn bucket(number: u32) -> Self::Bucket;
    /// Copies what is kept beside an entry to another's place.
    fn copy_beside(from: u32, to: u32);
    /// Begins a connection with the packet at `stand` ([`crate::stage::schedule`]), out of line.
    fn begin(ctx: *mut xdp_md, stand: Stand, target: Target) -> u32;
    /// Moves the known connection of the packet at `stand` on, out of line ([`crate::stage::advance`]).
    fn advance(ctx: *mut xdp_md, stand: Stand, target: Target) -> u32;
    /// The real of a client's template, out of line ([`crate::stage::template`]); `key` is the template's.
    fn template(key: Self::Key, group: u32) -> u32;
    /// Enters a connection or a template, out of line ([`crate::stage::enter`]): service, real and state are `meta`'s. 1 if there was room.
    fn enter(key: Self::Key, meta: Meta) -> u32;
    /// Makes room in one of a connection's two buckets, out of line ([`crate::stage::room`]). 1 if there is some now.
    fn make_room(hash: u64, service: u32) -> u32;
    /// The key of the template that a client's connection to a port (raw) is made by.
    fn template_key(key: Self::Key, netmask: u32, port: u16) -> Self::Key;

    /// The packet's addresses.
    fn source(ip: &Self::Header) -> Self::Address;
    fn destination(ip: &Self::Header) -> Self::Address;
    /// An address as reply records have it, and back.
    fn words(address: Self::Address) -> [u64; 2];
    fn address(words: [u64; 2]) -> Self::Address;
    /// The key with which a packet's connection stands in the table: its own, and something of the address it was sent to
    /// ([`Family::virtual_mark`]), or 0.
    fn marked(key: Self::Key, mark: u64) -> Self::Key;
    /// What connections of an entry for many addresses have in their keys, so that those to two of them are not taken for one.
    fn virtual_mark(address: Self::Address, protocol: u8) -> u64;
    /// A packet's key and mark as reply records have them.
    fn key_words(key: Self::Key, mark: u64) -> [u64; 3];
    /// The key in the table, of what a record has.
    fn key_of(words: [u64; 3]) -> Self::Key;
    /// The client's address and both ports of its packets, of what a record has.
    fn client_of(words: [u64; 3]) -> (Self::Address, u32);
    /// The client's address in a packet's key, and both ports of its packets.
    fn client_end(key: Self::Key) -> (Self::Address, u32);
    /// The address, as the schedulers take it: host order, IPv6 folded by XOR of its words.
    fn folded(address: Self::Address) -> u32;
    /// The service of any port, or of many addresses, that a packet without exact match is for: out of line.
    fn inexact_service(ip: &Self::Header, port: u16, protocol: u8) -> Target;
    /// Hash of an answer's ends.
    fn ends_hash(source: Self::Address, destination: Self::Address, ends: Ends) -> u64;
    /// The record is of answers with these addresses.
    fn has_addresses(record: RecordAt, source: Self::Address, destination: Self::Address) -> bool;
    /// The same header, of which the verifier no longer knows by which way through the parser it came: it walks what follows once, and
    /// not once for each number of extension headers, tags and protocols.
    fn settled(ip: &Self::Header) -> Self::Header;
    /// The header once more, with what its fixed part alone says of the transport header. None behind extension headers, and for SCTP,
    /// whose checksum is more work.
    fn plain(packet: &Frame, offset: usize, ip: &Self::Header) -> Option<Self::Header>;
    /// Translates the packet at an offset.
    fn translate(
        packet: &Frame,
        offset: usize,
        ip: &Self::Header,
        change: &Change<Self::Address>,
    ) -> Result<(), Verdict>;
    /// Translates a plain packet for a real whose [`Entry::corrections`] are known. None, and it is as it was: it takes another way.
    fn readdress(packet: &Frame, ip: &Self::Header, real: Entry) -> Option<()>;

    /// Translates the packet at an offset, SCTP or any other, for functions that are out of line.
    fn translate_any(
        packet: &Frame,
        offset: usize,
        ip: &Self::Header,
        change: &Change<Self::Address>,
    ) -> Result<(), Verdict>;
    /// Translates the ICMP error at an offset.
    fn translate_icmp(
        packet: &Frame,
        offset: usize,
        ip: &Self::Header,
        change: &Change<Self::Address>,
        embedded: &Embedded<Self::Address>,
    ) -> Result<(), Verdict>;

    /// Entry `index` of its connection table.
    #[inline(always)]
    fn slot(index: u32) -> SlotOf<Self> {
        Self::bucket(index / WAYS as u32).slot(index as usize % WAYS)
    }

    /// The destination is the address of some service.
    #[inline(always)]
    fn is_vip(ip: &Self::Header) -> bool {
        if Self::service(ip, 0, PROTOCOL_ANY).is_some() {
            return true;
        }
        settings::inexact() != 0 && Self::inexact_service(ip, 0, PROTOCOL_ANY).is_some()
    }
}

/// Entry of a family's connection table.
pub(crate) type SlotOf<F> = <<F as Family>::Bucket as Bucket>::Slot;

/// Bits of an IPv6 key's last word that its mark may have: the ports are in the others.
const MARK_V6: u64 = !0 << 32;

/// IPv4.
pub(crate) struct V4;
/// IPv6.
pub(crate) struct V6;

impl Family for V4 {
    const IS_V6: bool = false;
    const IN_IP: u8 = tunnel::IPV4_IN_IP;
    type Header = ipv4::Header;
    type Address = u32;
    type Key = KeyV4;
    type Bucket = connections::BucketV4;

    #[inline(always)]
    fn parse<T: Then<ipv4::Header>>(packet: &Frame, offset: usize, then: T) -> Result<T::Out, Verdict> {
        parse::v4_then(packet, offset, then)
    }
    #[inline(always)]
    fn read_plain(packet: &Frame) -> Option<Flow<ipv4::Header>> {
        plain::v4(packet)
    }
    #[inline(always)]
    fn read(packet: &Frame, offset: usize) -> Result<Parsed<ipv4::Header>, Verdict> {
        parse::v4(packet, offset)
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
    fn payload(ip: &ipv4::Header) -> usize {
        ip.payload
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
        Client { address: u32::from_be(key as u32), port: u16::from_be((key >> 32) as u16), destination: 0 }
    }
    #[inline(always)]
    fn hash(key: KeyV4) -> u64 {
        hash::flow_v4(key.0, settings::hash_key())
    }
    #[inline(always)]
    fn first(hash: u64, service: u32) -> connections::BucketV4 {
        connections::first_v4(hash, service)
    }
    #[inline(always)]
    fn second(hash: u64, service: u32) -> connections::BucketV4 {
        connections::second_v4(hash, service)
    }
    #[inline(always)]
    fn bucket_numbers(hash: u64, service: u32) -> [u32; 2] {
        connections::numbers_v4(hash, service)
    }
    #[inline(always)]
    fn bucket(number: u32) -> connections::BucketV4 {
        connections::bucket_v4(number)
    }
    #[inline(always)]
    fn copy_beside(from: u32, to: u32) {
        connections::keep_virtual(to, connections::kept_virtual(from));
    }
    #[inline(always)]
    fn source(ip: &ipv4::Header) -> u32 {
        ip.source
    }
    #[inline(always)]
    fn destination(ip: &ipv4::Header) -> u32 {
        ip.destination
    }
    #[inline(always)]
    fn words(address: u32) -> [u64; 2] {
        [u64::from(address), 0]
    }
    #[inline(always)]
    fn address(words: [u64; 2]) -> u32 {
        words[0] as u32
    }
    #[inline(always)]
    fn marked(KeyV4(key): KeyV4, mark: u64) -> KeyV4 {
        KeyV4(key ^ mark)
    }
    #[inline(always)]
    fn virtual_mark(address: u32, protocol: u8) -> u64 {
        hash::mark([u64::from(address), 0], protocol, settings::hash_key())
    }
    #[inline(always)]
    fn key_words(KeyV4(key): KeyV4, mark: u64) -> [u64; 3] {
        [key, mark, 0]
    }
    #[inline(always)]
    fn key_of(words: [u64; 3]) -> KeyV4 {
        KeyV4(words[0] ^ words[1])
    }
    #[inline(always)]
    fn client_of(words: [u64; 3]) -> (u32, u32) {
        Self::client_end(KeyV4(words[0]))
    }
    #[inline(always)]
    fn folded(address: u32) -> u32 {
        u32::from_be(address)
    }
    #[inline(always)]
    fn inexact_service(ip: &ipv4::Header, port: u16, protocol: u8) -> Target {
        Target(inexact::xvs_inexact_v4(ip.destination, u32::from(port), u32::from(protocol)))
    }
    #[inline(always)]
    fn advance(ctx: *mut xdp_md, stand: Stand, target: Target) -> u32 {
        advance::xvs_advance_v4(ctx, stand.0, target.0)
    }
    #[inline(always)]
    fn template(KeyV4(key): KeyV4, group: u32) -> u32 {
        template::xvs_template_v4(key, group)
    }
    #[inline(always)]
    fn enter(KeyV4(key): KeyV4, meta: Meta) -> u32 {
        enter::xvs_enter_v4(key, meta.0)
    }
    #[inline(always)]
    fn make_room(hash: u64, service: u32) -> u32 {
        room::xvs_make_room_v4(hash, service)
    }
    #[inline(always)]
    fn template_key(KeyV4(key): KeyV4, netmask: u32, port: u16) -> KeyV4 {
        let mask = ((mask_64(netmask & 63) >> 32) as u32).to_be();
        KeyV4::new(key as u32 & mask, u32::from(port) << 16)
    }
    #[inline(always)]
    fn client_end(KeyV4(key): KeyV4) -> (u32, u32) {
        (key as u32, (key >> 32) as u32)
    }
    #[inline(always)]
    fn ends_hash(source: u32, destination: u32, ends: Ends) -> u64 {
        hash::ends_v4(u64::from(source) | u64::from(destination) << 32, ends.0, settings::hash_key())
    }
    #[inline(always)]
    fn has_addresses(record: RecordAt, source: u32, destination: u32) -> bool {
        record.destination_0() == u64::from(destination) && record.source_0() == u64::from(source)
    }
    #[inline(always)]
    fn settled(ip: &ipv4::Header) -> ipv4::Header {
        let (payload, protocol) = settle(ip.payload, ip.protocol);
        ipv4::Header { payload, protocol, ..*ip }
    }
    #[inline(always)]
    fn plain(packet: &Frame, offset: usize, ip: &ipv4::Header) -> Option<ipv4::Header> {
        let view = packet.view::<{ ipv4::HEADER }>(offset)?;
        let length = usize::from(view.u8::<0>() & 0x0f) * 4;
        if view.u8::<9>() == SCTP {
            return None;
        }
        Some(ipv4::Header { protocol: view.u8::<9>(), payload: offset + length, ..*ip })
    }
    #[inline(always)]
    fn translate(packet: &Frame, offset: usize, ip: &ipv4::Header, change: &Change<u32>) -> Result<(), Verdict> {
        translate::v4(packet, offset, ip, change)
    }
    #[inline(always)]
    fn readdress(packet: &Frame, ip: &ipv4::Header, real: Entry) -> Option<()> {
        let end = (Self::address(real.address()), real.end().port());
        readdress::v4(packet, ip.protocol, end, real.corrections())
    }
    #[inline(always)]
    fn translate_any(packet: &Frame, offset: usize, ip: &ipv4::Header, change: &Change<u32>) -> Result<(), Verdict> {
        let ip = ipv4::Header { payload: unproven(ip.payload), ..*ip };
        if ip.protocol == SCTP {
            return translate::v4_sctp(packet, unproven(offset), &ip, change);
        }
        translate::v4(packet, unproven(offset), &ip, change)
    }
    #[inline(always)]
    fn translate_icmp(
        packet: &Frame,
        offset: usize,
        ip: &ipv4::Header,
        change: &Change<u32>,
        embedded: &Embedded<u32>,
    ) -> Result<(), Verdict> {
        let ip = ipv4::Header { payload: unproven(ip.payload), ..*ip };
        translate_icmp::v4(packet, unproven(offset), &ip, change, &unproven_embedded(embedded))
    }
    #[inline(always)]
    fn begin(ctx: *mut xdp_md, stand: Stand, target: Target) -> u32 {
        schedule::xvs_begin_v4(ctx, stand.0, target.0)
    }
}

impl Family for V6 {
    const IS_V6: bool = true;
    const IN_IP: u8 = tunnel::IPV6_IN_IP;
    type Header = ipv6::Header;
    type Address = [u64; 2];
    type Key = KeyV6;
    type Bucket = connections::BucketV6;

    #[inline(always)]
    fn parse<T: Then<ipv6::Header>>(packet: &Frame, offset: usize, then: T) -> Result<T::Out, Verdict> {
        parse::v6_then(packet, offset, then)
    }
    #[inline(always)]
    fn read_plain(packet: &Frame) -> Option<Flow<ipv6::Header>> {
        plain::v6(packet)
    }
    #[inline(always)]
    fn read(packet: &Frame, offset: usize) -> Result<Parsed<ipv6::Header>, Verdict> {
        parse::v6(packet, offset)
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
    fn payload(ip: &ipv6::Header) -> usize {
        ip.payload
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
        Client { address: Self::folded([upper, lower]), port: u16::from_be(ports as u16), destination: 0 }
    }
    #[inline(always)]
    fn hash(key: KeyV6) -> u64 {
        hash::flow_v6(key.0, settings::hash_key())
    }
    #[inline(always)]
    fn first(hash: u64, service: u32) -> connections::BucketV6 {
        connections::first_v6(hash, service)
    }
    #[inline(always)]
    fn second(hash: u64, service: u32) -> connections::BucketV6 {
        connections::second_v6(hash, service)
    }
    #[inline(always)]
    fn bucket_numbers(hash: u64, service: u32) -> [u32; 2] {
        connections::numbers_v6(hash, service)
    }
    #[inline(always)]
    fn bucket(number: u32) -> connections::BucketV6 {
        connections::bucket_v6(number)
    }
    #[inline(always)]
    fn copy_beside(_from: u32, _to: u32) {}
    #[inline(always)]
    fn source(ip: &ipv6::Header) -> [u64; 2] {
        ip.source
    }
    #[inline(always)]
    fn destination(ip: &ipv6::Header) -> [u64; 2] {
        ip.destination
    }
    #[inline(always)]
    fn words(address: [u64; 2]) -> [u64; 2] {
        address
    }
    #[inline(always)]
    fn address(words: [u64; 2]) -> [u64; 2] {
        words
    }
    #[inline(always)]
    fn marked(KeyV6([upper, lower, ports]): KeyV6, mark: u64) -> KeyV6 {
        KeyV6([upper, lower, ports ^ mark])
    }
    #[inline(always)]
    fn virtual_mark(address: [u64; 2], protocol: u8) -> u64 {
        // Above the ports, where nothing else is.
        hash::mark(address, protocol, settings::hash_key()) & MARK_V6
    }
    #[inline(always)]
    fn key_words(key: KeyV6, mark: u64) -> [u64; 3] {
        Self::marked(key, mark).0
    }
    #[inline(always)]
    fn key_of(words: [u64; 3]) -> KeyV6 {
        KeyV6(words)
    }
    #[inline(always)]
    fn client_of(words: [u64; 3]) -> ([u64; 2], u32) {
        Self::client_end(KeyV6(words))
    }
    #[inline(always)]
    fn folded([upper, lower]: [u64; 2]) -> u32 {
        let folded = upper ^ lower;
        u32::from_be((folded ^ (folded >> 32)) as u32)
    }
    #[inline(always)]
    fn inexact_service(ip: &ipv6::Header, port: u16, protocol: u8) -> Target {
        let [upper, lower] = ip.destination;
        Target(inexact::xvs_inexact_v6(upper, lower, u32::from(port), u32::from(protocol)))
    }
    #[inline(always)]
    fn advance(ctx: *mut xdp_md, stand: Stand, target: Target) -> u32 {
        advance::xvs_advance_v6(ctx, stand.0, target.0)
    }
    #[inline(always)]
    fn template(key: KeyV6, group: u32) -> u32 {
        template::xvs_template_v6(key.0[0], key.0[1], key.0[2], group)
    }
    #[inline(always)]
    fn enter(key: KeyV6, meta: Meta) -> u32 {
        enter::xvs_enter_v6(key.0[0], key.0[1], key.0[2], meta.0)
    }
    #[inline(always)]
    fn make_room(hash: u64, service: u32) -> u32 {
        room::xvs_make_room_v6(hash, service)
    }
    #[inline(always)]
    fn template_key(KeyV6([upper, lower, _]): KeyV6, netmask: u32, port: u16) -> KeyV6 {
        let lower_bits = netmask.saturating_sub(64);
        KeyV6([upper & mask_64(netmask).to_be(), lower & mask_64(lower_bits).to_be(), u64::from(port) << 16])
    }
    #[inline(always)]
    fn client_end(KeyV6([upper, lower, ports]): KeyV6) -> ([u64; 2], u32) {
        ([upper, lower], ports as u32)
    }
    #[inline(always)]
    fn ends_hash(source: [u64; 2], destination: [u64; 2], ends: Ends) -> u64 {
        hash::ends_v6(source, destination, ends.0, settings::hash_key())
    }
    #[inline(always)]
    fn has_addresses(record: RecordAt, source: [u64; 2], destination: [u64; 2]) -> bool {
        // The last words differ most among answers: one comparison usually decides.
        record.destination_1() == destination[1]
            && record.destination_0() == destination[0]
            && record.source_1() == source[1]
            && record.source_0() == source[0]
    }
    #[inline(always)]
    fn settled(ip: &ipv6::Header) -> ipv6::Header {
        let (payload, protocol) = settle(ip.payload, ip.protocol);
        ipv6::Header { payload, protocol, ..*ip }
    }
    #[inline(always)]
    fn plain(packet: &Frame, offset: usize, ip: &ipv6::Header) -> Option<ipv6::Header> {
        let protocol = packet.view::<{ ipv6::HEADER }>(offset)?.u8::<6>();
        if !matches!(protocol, TCP | UDP) {
            return None;
        }
        Some(ipv6::Header { protocol, payload: offset + ipv6::HEADER, ..*ip })
    }
    #[inline(always)]
    fn translate(packet: &Frame, offset: usize, ip: &ipv6::Header, change: &Change<[u64; 2]>) -> Result<(), Verdict> {
        translate::v6(packet, offset, ip, change)
    }
    #[inline(always)]
    fn readdress(packet: &Frame, ip: &ipv6::Header, real: Entry) -> Option<()> {
        readdress::v6(packet, ip.protocol, (real.address(), real.end().port()), real.corrections())
    }
    #[inline(always)]
    fn translate_any(
        packet: &Frame,
        offset: usize,
        ip: &ipv6::Header,
        change: &Change<[u64; 2]>,
    ) -> Result<(), Verdict> {
        let ip = ipv6::Header { payload: unproven(ip.payload), ..*ip };
        if ip.protocol == SCTP {
            return translate::v6_sctp(packet, unproven(offset), &ip, change);
        }
        translate::v6(packet, unproven(offset), &ip, change)
    }
    #[inline(always)]
    fn translate_icmp(
        packet: &Frame,
        offset: usize,
        ip: &ipv6::Header,
        change: &Change<[u64; 2]>,
        embedded: &Embedded<[u64; 2]>,
    ) -> Result<(), Verdict> {
        let ip = ipv6::Header { payload: unproven(ip.payload), ..*ip };
        translate_icmp::v6(packet, unproven(offset), &ip, change, &unproven_embedded(embedded))
    }
    #[inline(always)]
    fn begin(ctx: *mut xdp_md, stand: Stand, target: Target) -> u32 {
        schedule::xvs_begin_v6(ctx, stand.0, target.0)
    }
}

#[inline(always)]
fn settle(payload: usize, protocol: u8) -> (usize, u8) {
    let both = limits::forgotten(payload as u64 | u64::from(protocol) << 16);
    (unproven((both & 0xffff) as usize), (both >> 16) as u8)
}

/// An offset of which the compiler knows nothing: where it can prove that a header is inside the frame, since one behind it is, it leaves
/// the comparison out that the verifier wants to see. 15 bits: two chains of seven extension headers of 2 kB each stay below.
#[inline(always)]
fn unproven(offset: usize) -> usize {
    masked::<0x7fff>(offset as u32) as usize
}

#[inline(always)]
fn unproven_embedded<A: Copy>(embedded: &Embedded<A>) -> Embedded<A> {
    Embedded { offset: unproven(embedded.offset), ports_offset: unproven(embedded.ports_offset), ..*embedded }
}
