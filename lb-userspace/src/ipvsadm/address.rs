//! `HOST[:PORT]`, as ipvsadm reads services and servers.

use std::net::{IpAddr, Ipv6Addr};

use super::{
    names::Names,
    numbers::{ipv4, number},
};
use crate::model::Protocol;

/// Address and port, the port where one was given. Without a protocol a port has no name.
pub(super) fn endpoint(text: &str, protocol: Option<Protocol>, names: &impl Names) -> Option<(IpAddr, Option<u16>)> {
    // `inet_aton` would take a port that somebody wrote alone for an address.
    if text.bytes().all(|byte| byte.is_ascii_digit()) {
        return None;
    }
    let (host, port) = match text.strip_prefix('[') {
        // An IPv6 address in brackets has a port, or it is refused.
        Some(inner) => inner.split_once("]:").map(|(host, port)| (host, Some(port)))?,
        None => (text, None),
    };
    if let Ok(v6) = host.parse::<Ipv6Addr>() {
        return with_port(v6.into(), port, protocol, names);
    }
    // What stands in brackets and is no IPv6 address loses its port; only one inside them counts.
    let (host, port) = match host.rsplit_once(':') {
        Some((host, port)) => (host, Some(port)),
        None => (host, None),
    };
    let address =
        ipv4(host).or_else(|| Some(host).filter(|host| !host.is_empty()).and_then(|host| names.address(host)))?;
    with_port(address.into(), port, protocol, names)
}

fn with_port(
    address: IpAddr,
    port: Option<&str>,
    protocol: Option<Protocol>,
    names: &impl Names,
) -> Option<(IpAddr, Option<u16>)> {
    match port {
        Some(port) => Some((address, Some(port_number(port, protocol, names)?))),
        None => Some((address, None)),
    }
}

fn port_number(text: &str, protocol: Option<Protocol>, names: &impl Names) -> Option<u16> {
    let by_number = number(text, 0, i64::from(u16::MAX)).and_then(|port| u16::try_from(port).ok());
    by_number.or_else(|| names.port(text, protocol?))
}

#[cfg(test)]
mod tests {
    use super::{super::names::FewNames, *};

    fn read(text: &str) -> Option<String> {
        let (address, port) = endpoint(text, Some(Protocol::Tcp), &FewNames)?;
        Some(format!("{address} {}", port.map_or("-".to_owned(), |port| port.to_string())))
    }

    #[test]
    fn hosts_and_ports_by_number_and_name() {
        for (text, read_as) in [
            ("1.2.3.4:80", "1.2.3.4 80"),
            ("1.2.3.4", "1.2.3.4 -"),
            ("1.2.3.4:0", "1.2.3.4 0"),
            ("1.2.3.4:http", "1.2.3.4 80"),
            ("1.2.3.4: 80", "1.2.3.4 80"),
            ("1:80", "0.0.0.1 80"),
            ("www.example.org:https", "192.0.2.1 443"),
            ("[::1]:80", "::1 80"),
            ("::1", "::1 -"),
            ("::1:80", "::1:80 -"),
            ("[1.2.3.4]:80", "1.2.3.4 -"),
            ("[www.example.org]:80", "192.0.2.1 -"),
        ] {
            assert_eq!(read(text).as_deref(), Some(read_as), "{text}");
        }
    }

    #[test]
    fn what_is_no_address_or_no_port_is_refused() {
        for text in [
            "",
            ":80",
            "80",
            "nonsense:80",
            "1.2.3.4:",
            "1.2.3.4:99999",
            "1.2.3.4:-1",
            "1.2.3.4:0x50",
            "1.2.3.4:80 ",
            "1.2.3.4:tftp",
            "[::1]",
            "[::1",
            "[::1]80",
            "[::1]:",
            "[::1]:x",
            "[fe80::1%lo]:80",
            "a:b:80",
        ] {
            assert_eq!(read(text), None, "{text:?}");
        }
        assert_eq!(endpoint("1.2.3.4:http", None, &FewNames), None, "of which protocol?");
    }
}
