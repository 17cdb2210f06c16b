//! Where a packet's life ends: the one list that the datapath counts by, the CLI prints and metrics are named after.

/// What the kernel does with the packet.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Action {
    /// Out of the NIC it came in by.
    Tx,
    /// Out of another NIC.
    Redirect,
    /// On to the kernel's network stack.
    Pass,
    /// Gone.
    Drop,
}

macro_rules! verdicts {
    ($($number:literal $variant:ident $action:ident $name:literal $text:literal)*) => {
        /// The end of a packet's life. Every packet ends in exactly one.
        #[repr(u8)]
        #[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
        pub enum Verdict { $(#[doc = $text] $variant = $number,)* }

        impl Verdict {
            /// Every verdict, by number.
            pub const ALL: &'static [Verdict] = &[$(Verdict::$variant,)*];

            /// The verdict with this number.
            #[inline(always)]
            pub const fn of(number: u32) -> Option<Self> {
                match number { $($number => Some(Self::$variant),)* _ => None }
            }

            /// What the kernel does with the packet.
            #[inline(always)]
            pub const fn action(self) -> Action {
                match self { $(Verdict::$variant => Action::$action,)* }
            }

            /// Short stable name: in `xvs stats`, JSON and metrics.
            pub const fn name(self) -> &'static str {
                match self { $(Verdict::$variant => $name,)* }
            }

            /// One sentence for people.
            pub const fn description(self) -> &'static str {
                match self { $(Verdict::$variant => $text,)* }
            }
        }
    };
}

verdicts! {
    0  Direct               Tx       "direct"                 "Sent to its real by direct routing, out of the NIC it came in by."
    1  DirectRedirect       Redirect "direct-redirect"        "Sent to its real by direct routing, out of another NIC."
    2  Tunnel               Tx       "tunnel"                 "Sent to its real through a tunnel, out of the NIC it came in by."
    3  TunnelRedirect       Redirect "tunnel-redirect"        "Sent to its real through a tunnel, out of another NIC."
    4  NotIp                Pass     "not-ip"                 "Neither IPv4 nor IPv6 (ARP, for one): passed to the kernel."
    5  NotTransport         Pass     "not-tcp-or-udp"         "Neither TCP, UDP or SCTP nor an ICMP error for a VIP: passed to the kernel."
    6  NotAService          Pass     "not-a-service"          "No virtual service has this address, port and protocol: passed to the kernel."
    7  Truncated            Pass     "truncated"              "Ends before its headers do: passed to the kernel, which refuses it."
    8  BadHeader            Pass     "bad-header"             "A header contradicts itself or the frame's length: passed to the kernel, which refuses it."
    9  TooManyHeaders       Pass     "too-many-headers"       "More VLAN tags or IPv6 extension headers than are read: passed to the kernel."
    10 FragmentEarly        Drop     "fragment-early"         "A fragment that came before its packet's first one: handed to the daemon, which sends it on when that has come within a second."
    11 IcmpNoFlow           Pass     "icmp-no-flow"           "An ICMP error to a VIP about a flow that is not known: passed to the kernel."
    12 TooBig               Drop     "too-big"                "Longer than the way to its real takes, headers of a tunnel included, or than that of an answer to its client, and its sender is not told: it allows fragments, or too many have been told."
    13 MissNotSyn           Pass     "no-connection"          "TCP without SYN or SCTP without INIT, and no connection: passed to the kernel, as IPVS does, which refuses it."
    14 NoReal               Pass     "no-real"                "The service has no real that may take it: passed to the kernel, which refuses it."
    15 TableFull            Drop     "table-full"             "A new connection, and its buckets hold nothing but live ones: dropped."
    16 RealGone             Drop     "real-gone"              "Its connection leads to a real that was removed: dropped."
    17 RealDown             Drop     "real-down"              "Its connection leads to a real that failed its check, and the service drops these."
    18 RealUnresolved       Drop     "real-unresolved"        "Its real's MAC or route is unknown: dropped."
    19 NoHeadroom           Drop     "no-headroom"            "The NIC left no room before the packet for a tunnel header: dropped."
    20 Internal             Drop     "internal"               "A table holds a number that no version of XVS writes: dropped."
    21 TooBigTold           Tx       "too-big-told"           "Longer than the way takes: its sender was told by ICMP, from the address that it sent to, how long packets may be."
    22 IcmpMalformed        Drop     "icmp-malformed"         "An ICMP error to a VIP that does not carry the begin of a TCP, UDP or SCTP packet: dropped."
    23 IcmpForged           Drop     "icmp-forged"            "An ICMP error to a VIP about a packet that another address sent: dropped."
    24 EchoAnswered         Tx       "echo-answered"          "An echo request to a VIP: answered."
    25 FragmentNoPorts      Drop     "fragment-no-ports"      "A first fragment to a VIP that does not hold its whole TCP, UDP or SCTP header: dropped."
    26 FragmentOverlap      Drop     "fragment-overlap"       "A later fragment to a VIP that reaches into its packet's TCP, UDP or SCTP header: dropped."
    27 Nat                  Tx       "nat"                    "Sent to its real with another destination address, out of the NIC it came in by."
    28 NatRedirect          Redirect "nat-redirect"           "Sent to its real with another destination address, out of another NIC."
    29 Reply                Tx       "reply"                  "The answer of a real behind address translation: sent to its client from the service's address, out of the NIC it came in by."
    30 ReplyRedirect        Redirect "reply-redirect"         "The answer of a real behind address translation: sent to its client from the service's address, out of another NIC."
    31 NatSpent             Drop     "nat-spent"              "A new connection that full NAT has no local address and port for: dropped."
    32 NatConflict          Drop     "nat-conflict"           "A new connection of an address and port that talk to the same real through another service: its answers could not be told apart; dropped."
    33 NatFull              Drop     "nat-full"               "A new connection with address translation, and the reply table has no room near its place: dropped."
    34 NatUnsuited          Drop     "nat-unsuited"           "A packet that cannot be translated: into the other family a fragment, an ICMP error, IPv4 options, IPv6 extension headers or UDP without checksum; with another port the first fragment of an SCTP packet: dropped."
    35 HopsSpent            Drop     "hops-spent"             "To be translated, but its hop count is spent: dropped, as a router does."
    36 Land                 Drop     "land"                   "Begins a connection from the service's own address (LAND): dropped."
    37 PortZero             Drop     "port-zero"              "Begins a connection from or to port 0: dropped."
    38 Local                Pass     "local"                  "To a real that is this director: passed to the kernel."
    39 ToHelper             Drop     "to-helper"              "Of an FTP control connection, or the begin of a data connection: handed to the daemon, which sends it on."
    40 Moving               Drop     "moving"                 "Of no connection that is known, and begins none, while connections move to tables of another size: dropped, and comes again."
}

impl Verdict {
    /// The packet goes to a real.
    #[inline(always)]
    pub const fn is_forwarded(self) -> bool {
        matches!(
            self,
            Self::Direct
                | Self::DirectRedirect
                | Self::Tunnel
                | Self::TunnelRedirect
                | Self::Nat
                | Self::NatRedirect
                | Self::Local
        )
    }

    /// The verdict on a packet that goes the same way out of another NIC.
    #[inline(always)]
    pub const fn redirected(self) -> Self {
        match self {
            Self::Direct => Self::DirectRedirect,
            Self::Tunnel => Self::TunnelRedirect,
            Self::Nat => Self::NatRedirect,
            Self::Reply => Self::ReplyRedirect,
            other => other,
        }
    }
}

const _: () = assert!(Verdict::ALL.len() <= super::counters::VERDICT_SLOTS as usize);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_positions_and_names_are_unique() {
        for (position, verdict) in Verdict::ALL.iter().enumerate() {
            assert_eq!(*verdict as usize, position);
        }
        let names: std::collections::BTreeSet<_> = Verdict::ALL.iter().map(|v| v.name()).collect();
        assert_eq!(names.len(), Verdict::ALL.len());
    }
}
