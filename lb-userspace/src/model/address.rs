//! Which addresses a service, a real server or a tunnel can have at all.

use std::net::{IpAddr, Ipv6Addr};

/// Why no packet can be served under, sent to, or sent from this address; none when it can.
pub fn unusable(address: IpAddr) -> Option<&'static str> {
    match address {
        IpAddr::V4(v4) if v4.octets()[0] == 0 => Some("the unspecified address"),
        IpAddr::V4(v4) if v4.is_loopback() => Some("a loopback address"),
        IpAddr::V4(v4) if v4.is_multicast() => Some("a multicast address"),
        // 240.0.0.0/4 is reserved (RFC 1112) and 255.255.255.255 is the broadcast address.
        IpAddr::V4(v4) if v4.is_broadcast() => Some("the broadcast address"),
        IpAddr::V4(v4) if v4.octets()[0] >= 240 => Some("a reserved address (240.0.0.0/4)"),
        IpAddr::V6(v6) if v6.is_unspecified() => Some("the unspecified address"),
        IpAddr::V6(v6) if v6.is_loopback() => Some("a loopback address"),
        IpAddr::V6(v6) if v6.is_multicast() => Some("a multicast address"),
        // Never on the wire as IPv6 (RFC 4291, 2.5.5.2); the IPv4 address is meant.
        IpAddr::V6(v6) if v6.to_ipv4_mapped().is_some() => Some("an IPv4-mapped address; write the IPv4 address"),
        // It means nothing without an interface, and neither a service nor a real has a place for one.
        IpAddr::V6(v6) if link_local(v6) => Some("a link-local address, which means nothing without an interface"),
        IpAddr::V4(_) | IpAddr::V6(_) => None,
    }
}

/// `IPv4` or `IPv6`.
pub fn family(address: IpAddr) -> &'static str {
    match address {
        IpAddr::V4(_) => "IPv4",
        IpAddr::V6(_) => "IPv6",
    }
}

fn link_local(address: Ipv6Addr) -> bool {
    address.segments()[0] & 0xffc0 == 0xfe80
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_addresses_of_one_host_are_usable() {
        for (text, part) in [
            ("0.0.0.0", "unspecified"),
            ("127.0.0.1", "loopback"),
            ("224.0.0.1", "multicast"),
            ("255.255.255.255", "broadcast"),
            ("240.0.0.1", "reserved"),
            ("::", "unspecified"),
            ("::1", "loopback"),
            ("ff02::1", "multicast"),
            ("fe80::1", "link-local"),
            ("::ffff:10.0.0.1", "IPv4-mapped"),
        ] {
            let reason = unusable(text.parse().unwrap()).unwrap();
            assert!(reason.contains(part), "{text}: {reason}");
        }
        for text in ["10.0.0.1", "169.254.1.1", "fd00::1", "2001:db8::1"] {
            assert_eq!(unusable(text.parse().unwrap()), None, "{text}");
        }
    }
}
