//! Rules of nftables that mark packets, as `xvs mark add` takes them: XDP runs before netfilter, so the director has rules of its own.
//! Only the shapes that cases have are read; anything else is an error.

use std::collections::BTreeMap;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

/// Most single addresses that a range of a rule is taken apart into.
const MOST: u128 = 256;

/// Arguments of `xvs mark add` for each mark: protocol and address by turns.
pub(crate) fn rules(lines: &[String]) -> Result<BTreeMap<u32, Vec<String>>, String> {
    let mut marks: BTreeMap<u32, Vec<String>> = BTreeMap::new();
    for line in lines {
        let words: Vec<&str> = line.split_whitespace().collect();
        match words.as_slice() {
            ["add", "table" | "chain", ..] => {}
            ["add", "rule", _, _, _, rest @ ..] => {
                let (mark, pairs) = rule(rest).ok_or_else(|| format!("no rule that is known: {line}"))?;
                marks.entry(mark).or_default().extend(pairs);
            }
            _ => return Err(format!("neither table, chain nor rule: {line}")),
        }
    }
    Ok(marks)
}

/// `ip daddr ADDRESSES [tcp dport PORTS] meta mark set N`
fn rule(words: &[&str]) -> Option<(u32, Vec<String>)> {
    let (["ip" | "ip6", "daddr"], rest) = words.split_first_chunk()? else { return None };
    let (hosts, rest) = value(rest)?;
    let (protocols, ports, rest) = match rest {
        [protocol @ ("tcp" | "udp" | "sctp"), "dport", rest @ ..] => {
            let (ports, rest) = value(rest)?;
            (vec![*protocol], ports, rest)
        }
        _ => (vec!["tcp", "udp", "sctp"], Vec::new(), rest),
    };
    let ["meta", "mark", "set", mark] = rest else { return None };
    let mut pairs = Vec::new();
    for protocol in protocols {
        for host in hosts.iter().map(|host| addresses(host)).collect::<Option<Vec<_>>>()?.concat() {
            let any = ports.is_empty();
            for port in if any { &[""][..] } else { &ports[..] } {
                let colon = if any { "" } else { ":" };
                let host = if host.contains(':') && !any { format!("[{host}]") } else { host.clone() };
                pairs.extend([protocol.to_owned(), format!("{host}{colon}{port}")]);
            }
        }
    }
    Some((mark.parse().ok()?, pairs))
}

/// One value, or a set of them in braces; and what follows.
fn value<'a, 'b>(words: &'b [&'a str]) -> Option<(Vec<&'a str>, &'b [&'a str])> {
    match words {
        ["{", rest @ ..] => {
            let end = rest.iter().position(|word| *word == "}")?;
            let elements = rest[..end].iter().map(|word| word.trim_end_matches(','));
            Some((elements.collect(), &rest[end + 1..]))
        }
        [one, rest @ ..] => Some((vec![one], rest)),
        [] => None,
    }
}

/// An address or prefix as it is; of a range each address.
fn addresses(text: &str) -> Option<Vec<String>> {
    let Some((first, last)) = text.split_once('-') else {
        let address = text.split('/').next()?;
        return address.parse::<IpAddr>().ok().map(|_| vec![text.to_owned()]);
    };
    let (first, last) = (first.parse::<IpAddr>().ok()?, last.parse::<IpAddr>().ok()?);
    let (low, high) = (number(first), number(last));
    if first.is_ipv4() != last.is_ipv4() || high.checked_sub(low)? >= MOST {
        return None;
    }
    let each = |n: u128| match first {
        // Below 2^32, as both ends are.
        IpAddr::V4(_) => IpAddr::from(Ipv4Addr::from_bits(n as u32)),
        IpAddr::V6(_) => IpAddr::from(Ipv6Addr::from_bits(n)),
    };
    Some((low..=high).map(|n| each(n).to_string()).collect())
}

fn number(address: IpAddr) -> u128 {
    match address {
        IpAddr::V4(address) => address.to_bits().into(),
        IpAddr::V6(address) => address.to_bits(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(line: &str) -> Result<BTreeMap<u32, Vec<String>>, String> {
        rules(&["add table ip m".to_owned(), "add chain ip m pre { type filter; }".to_owned(), line.to_owned()])
    }

    #[test]
    fn a_range_and_a_set_are_taken_apart() {
        let marks = of("add rule ip m pre ip daddr 10.0.1.255-10.0.2.0 tcp dport { 80, 443 } meta mark set 7").unwrap();
        let words: Vec<&str> = marks[&7].iter().map(String::as_str).collect();
        assert_eq!(
            words,
            ["tcp", "10.0.1.255:80", "tcp", "10.0.1.255:443", "tcp", "10.0.2.0:80", "tcp", "10.0.2.0:443"]
        );
    }

    #[test]
    fn prefixes_and_both_families() {
        let marks = of("add rule ip6 m pre ip6 daddr fd00:1::/64 udp dport 53 meta mark set 1").unwrap();
        assert_eq!(marks[&1], ["udp", "[fd00:1::/64]:53"]);
        let marks = of("add rule ip6 m pre ip6 daddr fd00:1::9 meta mark set 1").unwrap();
        assert_eq!(marks[&1], ["tcp", "fd00:1::9", "udp", "fd00:1::9", "sctp", "fd00:1::9"]);
    }

    #[test]
    fn another_shape_is_refused() {
        for line in [
            "add rule ip m pre ip saddr 10.0.0.1 meta mark set 1",
            "add rule ip m pre ip daddr 10.0.0.1 tcp dport 80 accept",
            "add rule ip m pre ip daddr 10.0.0.2-10.0.0.1 tcp dport 80 meta mark set 1",
            "flush ruleset",
        ] {
            assert!(of(line).is_err(), "{line}");
        }
    }
}
