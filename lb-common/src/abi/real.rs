//! A real server as the datapath sees it: everything a rewrite needs in one cache line.

/// How packets reach the real. Numbers in [`Real::method`].
pub mod method {
    /// Direct routing: both MACs are rewritten, the packet stays as it is.
    pub const DIRECT: u8 = 0;
    /// Tunnel with an IPv4 outer header (RFC 2003 for IPv4, RFC 4213 for IPv6 packets).
    pub const TUNNEL_V4: u8 = 1;
    /// Tunnel with an IPv6 outer header (RFC 2473).
    pub const TUNNEL_V6: u8 = 2;
    /// GUE over IPv4, variant 1: the packet follows a UDP header.
    pub const GUE_V4: u8 = 3;
    /// GUE over IPv6, variant 1.
    pub const GUE_V6: u8 = 4;
    /// GRE over IPv4 (RFC 2784).
    pub const GRE_V4: u8 = 5;
    /// GRE over IPv6 (RFC 7676).
    pub const GRE_V6: u8 = 6;
    /// NAT: the destination becomes the real's address and port; answers come back through the director.
    pub const NAT: u8 = 7;
    /// Full NAT: besides, the source becomes one of the director's own addresses; the real may be of the other family.
    pub const FULL_NAT: u8 = 8;
    /// The director itself is the real: packets go to its kernel as they are.
    pub const LOCAL: u8 = 9;
    /// Beside a GUE or GRE method: with the checksum of the UDP or GRE header.
    pub const CHECKSUM: u8 = 0x80;

    /// The real answers to the director, from its own address.
    #[inline(always)]
    pub const fn is_translated(method: u8) -> bool {
        matches!(method, NAT | FULL_NAT)
    }
}

/// Bits of [`Real::options`].
pub mod option {
    /// Full NAT: the client's address and port go along in a TCP option (254, as DPVS does).
    pub const TOA: u8 = 1;
    /// NAT: the largest segment that a SYN announces is cut to what fits both ways.
    pub const CLAMP: u8 = 2;
    /// NAT: packets of its connections go through the daemon, in both directions (FTP's control connections).
    pub const HELPER: u8 = 4;
    /// It has an upper threshold of connections ([`super::Capacity`]).
    pub const LIMITED: u8 = 8;
}

/// What happens to packets of connections that lead to this real. Numbers in [`Real::disposition`].
pub mod disposition {
    /// No such real (any more): dropped, as IPVS does for a removed server.
    pub const GONE: u8 = 0;
    /// Sent on.
    pub const FORWARD: u8 = 1;
    /// Failed its check, and the service drops what it had: dropped.
    pub const DROP: u8 = 2;
    /// Failed its check, and the service gives its connections away: treated as new.
    pub const RESCHEDULE: u8 = 3;
    /// No MAC or no route known: dropped until it is.
    pub const UNRESOLVED: u8 = 4;
    /// Takes no new connections: what it has is sent on, but a handshake that the client begins again goes elsewhere.
    pub const DRAIN: u8 = 5;
    /// Failed its check, and the service keeps its connections: as [`DRAIN`], but no template leads a client here.
    pub const KEEP: u8 = 6;
}

/// A real server. User space changes it by whole aligned 8-byte stores: a new destination MAC is one of them. The first twelve bytes are
/// the Ethernet header that direct routing writes, stored as they are loaded.
#[repr(C, align(64))]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Real {
    /// MAC of the next hop.
    pub destination_mac: [u8; 6],
    /// MAC of our own egress interface.
    pub source_mac: [u8; 6],
    /// Largest IP packet the egress interface takes, in bytes.
    pub mtu: u16,
    /// [`method`].
    pub method: u8,
    /// [`disposition`].
    pub disposition: u8,
    /// Egress interface.
    pub ifindex: u32,
    /// Tunnel: bits of the outer source (its last 32, if IPv6) that the flow's hash fills, in network order. NAT:
    /// [`crate::wire::readdress::Corrections`].
    pub vary_or_corrections: u32,
    /// Tunnel: outer source, as in the packet; IPv4 in the first four bytes.
    pub tunnel_source: [u8; 16],
    /// The real's address, as in the packet; IPv4 in the first four bytes. A tunnel's outer destination.
    pub address: [u8; 16],
    /// The service it belongs to. With address, family and port it tells a daemon that adopts the tables which real this is.
    pub service: u16,
    /// GUE: UDP port that the real opens tunnels at, in host order.
    pub tunnel_port: u16,
    /// Its port, in host order.
    pub port: u16,
    /// [`family`] of its address; [`family::FREE`] when the number is not given to any real.
    pub family: u8,
    /// [`option`].
    pub options: u8,
}

/// Address families in [`Real::family`].
pub mod family {
    /// The number belongs to nobody.
    pub const FREE: u8 = 0;
    /// IPv4.
    pub const V4: u8 = 4;
    /// IPv6.
    pub const V6: u8 = 6;
}

/// What new connections a real may get, beside its value.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Capacity {
    /// Its effective weight in its service, as its member has it; 0 when it has none.
    pub weight: u32,
    /// Connections, active and inactive, from which on it is overloaded; 0: never (IPVS `u_threshold`).
    pub upper: u32,
    /// Connections below which it is no longer; 0: three quarters of the upper threshold (IPVS `l_threshold`).
    pub lower: u32,
    /// The last weight above 0: what mh's ring is built with (IPVS `last_weight`).
    pub last_weight: u32,
}

impl Capacity {
    /// Whether a real is overloaded after its connections have grown to `total` (IPVS `ip_vs_bind_dest`).
    #[inline(always)]
    pub const fn is_reached(self, total: u64) -> bool {
        self.upper != 0 && total >= self.upper as u64
    }

    /// Whether it is no longer, after they have fallen to `total` (IPVS `ip_vs_unbind_dest`).
    #[inline(always)]
    pub const fn is_relieved(self, total: u64) -> bool {
        if self.lower != 0 { total < self.lower as u64 } else { total * 4 < self.upper as u64 * 3 || self.upper == 0 }
    }
}

/// Connections of a real: active in the low 32 bits, inactive in the next 31, changed by one atomic addition; the highest bit says that
/// it is overloaded.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Load(pub u64);

impl Load {
    /// What a connection adds: `active` for [`crate::abi::connection::State::Established`] only, as IPVS counts.
    #[inline(always)]
    pub const fn unit(active: bool) -> u64 {
        if active { 1 } else { 1 << 32 }
    }

    /// Established connections.
    #[inline(always)]
    pub const fn active(self) -> u32 {
        self.0 as u32
    }

    /// All others.
    #[inline(always)]
    pub const fn inactive(self) -> u32 {
        ((self.0 & !Self::OVERLOADED) >> 32) as u32
    }

    /// The bit of a real that has reached its upper threshold, and not fallen below its lower one since.
    pub const OVERLOADED: u64 = 1 << 63;

    /// [`Load::OVERLOADED`].
    #[inline(always)]
    pub const fn is_overloaded(self) -> bool {
        self.0 & Self::OVERLOADED != 0
    }

    /// All connections.
    #[inline(always)]
    pub const fn total(self) -> u64 {
        self.active() as u64 + self.inactive() as u64
    }

    /// IPVS's measure in current kernels: `active * 256 + (active + inactive)`.
    #[inline(always)]
    pub const fn overhead(self) -> u64 {
        self.active() as u64 * 257 + self.inactive() as u64
    }
}

const _: () = assert!(size_of::<Real>() == 64 && size_of::<Capacity>() == 16);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn counts_leave_the_overload_bit_alone() {
        let mut load = Load::OVERLOADED;
        for _ in 0..3 {
            load = load.wrapping_add(Load::unit(false));
        }
        load = load.wrapping_add(Load::unit(true)).wrapping_sub(Load::unit(false));
        let seen = Load(load);
        assert_eq!((seen.active(), seen.inactive(), seen.total(), seen.is_overloaded()), (1, 2, 3, true));
        assert_eq!(seen.overhead(), 256 + 3);
    }

    #[test]
    fn thresholds_have_ipvs_hysteresis() {
        let both = Capacity { upper: 3, lower: 2, ..Capacity::default() };
        assert_eq!([2, 3, 4].map(|total| both.is_reached(total)), [false, true, true]);
        assert_eq!([1, 2, 3].map(|total| both.is_relieved(total)), [true, false, false]);
        let upper = Capacity { upper: 8, ..Capacity::default() };
        assert_eq!([5, 6, 7].map(|total| upper.is_relieved(total)), [true, false, false]);
        assert!(!Capacity::default().is_reached(1 << 20) && Capacity::default().is_relieved(1 << 20));
    }
}
