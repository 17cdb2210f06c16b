//! A frame's IP packet in fields, as far as the comparison needs them. No VLAN tags: none are recorded.

use std::net::IpAddr;

use lb_tests::packet::checksum;

/// Bytes of an Ethernet header.
pub(crate) const ETHERNET: usize = 14;

/// An IP packet.
#[derive(Clone, Copy)]
pub(crate) struct Ip<'a> {
    bytes: &'a [u8],
}

/// Whose packet it is: protocol, client and VIP with their ports. For an ICMP error, of the packet that it is about.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Flow {
    /// 6 or 17.
    pub(crate) protocol: u8,
    /// Client's address and port.
    pub(crate) client: (IpAddr, u16),
    /// VIP and port.
    pub(crate) vip: (IpAddr, u16),
}

fn word(bytes: &[u8], at: usize) -> Option<u16> {
    Some(u16::from_be_bytes(bytes.get(at..at + 2)?.try_into().ok()?))
}

fn address(bytes: &[u8]) -> Option<IpAddr> {
    <[u8; 4]>::try_from(bytes).map(IpAddr::from).or_else(|_| <[u8; 16]>::try_from(bytes).map(IpAddr::from)).ok()
}

impl<'a> Ip<'a> {
    /// The packet in a frame or behind another header, if there is one with its whole header.
    pub(crate) fn of(bytes: &'a [u8]) -> Option<Self> {
        let ip = Self { bytes };
        let is_whole = match bytes.first()? >> 4 {
            4 => bytes.len() >= 20 && ip.header() >= 20,
            6 => bytes.len() >= 40,
            _ => false,
        };
        is_whole.then_some(ip)
    }

    /// 4 or 6.
    pub(crate) fn version(self) -> u8 {
        self.bytes[0] >> 4
    }

    fn is_v4(self) -> bool {
        self.version() == 4
    }

    fn header(self) -> usize {
        if self.is_v4() { usize::from(self.bytes[0] & 15) * 4 } else { 40 }
    }

    /// Type of service or traffic class.
    pub(crate) fn tos(self) -> u8 {
        if self.is_v4() { self.bytes[1] } else { self.bytes[0] << 4 | self.bytes[1] >> 4 }
    }

    /// Time to live or hop limit.
    pub(crate) fn ttl(self) -> u8 {
        self.bytes[if self.is_v4() { 8 } else { 7 }]
    }

    /// Protocol or next header.
    pub(crate) fn protocol(self) -> u8 {
        self.bytes[if self.is_v4() { 9 } else { 6 }]
    }

    /// Bytes of the whole packet, by its header.
    pub(crate) fn length(self) -> usize {
        let field = word(self.bytes, if self.is_v4() { 2 } else { 4 }).expect("inside the header");
        usize::from(field) + if self.is_v4() { 0 } else { 40 }
    }

    /// Source and destination as they stand in the header.
    fn pair(self) -> &'a [u8] {
        if self.is_v4() { &self.bytes[12..20] } else { &self.bytes[8..40] }
    }

    /// Source address.
    pub(crate) fn source(self) -> IpAddr {
        address(&self.pair()[..self.pair().len() / 2]).expect("half of the pair")
    }

    /// Destination address.
    pub(crate) fn destination(self) -> IpAddr {
        address(&self.pair()[self.pair().len() / 2..]).expect("half of the pair")
    }

    /// The packet's bytes, header first.
    pub(crate) fn bytes(self) -> &'a [u8] {
        self.bytes
    }

    /// What is behind the header.
    pub(crate) fn payload(self) -> &'a [u8] {
        self.bytes.get(self.header()..).unwrap_or_default()
    }

    /// The header's checksum adds up. IPv6 has none.
    pub(crate) fn is_header_right(self) -> bool {
        !self.is_v4() || checksum(&[&self.bytes[..self.header()]]) == 0
    }

    /// The checksum of what is behind the header, with the pseudo-header that UDP and ICMPv6 want and ICMP does not.
    pub(crate) fn is_payload_right(self) -> bool {
        let pseudo = [self.pair(), &(self.payload().len() as u32).to_be_bytes(), &[0, 0, 0, self.protocol()]].concat();
        let pseudo: &[u8] = if self.protocol() == 1 { &[] } else { &pseudo };
        checksum(&[pseudo, self.payload()]) == 0
    }

    /// Type and code, if it is ICMP of either family.
    pub(crate) fn icmp(self) -> Option<(u8, u8)> {
        let payload = self.payload();
        matches!(self.protocol(), 1 | 58).then(|| Some((*payload.first()?, *payload.get(1)?)))?
    }

    /// It is an ICMP error: RFC 792's destination unreachable, source quench, redirect, time exceeded, parameter problem; RFC 4443's
    /// types below 128.
    pub(crate) fn is_icmp_error(self) -> bool {
        self.icmp().is_some_and(|(kind, _)| if self.is_v4() { matches!(kind, 3 | 4 | 5 | 11 | 12) } else { kind < 128 })
    }

    /// The flow of TCP, of UDP, or of the packet that an ICMP error is about.
    pub(crate) fn flow(self) -> Option<Flow> {
        if self.is_icmp_error() {
            let about = Self::of(self.payload().get(8..)?)?.flow()?;
            return Some(Flow { client: about.vip, vip: about.client, ..about });
        }
        let (from, to) = (word(self.payload(), 0)?, word(self.payload(), 2)?);
        matches!(self.protocol(), 6 | 17).then(|| Flow {
            protocol: self.protocol(),
            client: (self.source(), from),
            vip: (self.destination(), to),
        })
    }

    /// UDP's ports, length and checksum.
    pub(crate) fn udp(self) -> Option<[u16; 4]> {
        let payload = self.payload();
        (self.protocol() == 17)
            .then(|| Some([word(payload, 0)?, word(payload, 2)?, word(payload, 4)?, word(payload, 6)?]))?
    }
}
