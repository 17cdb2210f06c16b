//! The order of a listing: ipvsadm's comparisons, with what they do to large numbers.
//!
//! It takes the difference of two unsigned numbers for a signed one, so 192.168.0.1 comes before 10.0.0.1 and after 100.64.0.1. No
//! order is behind that, and which of three such addresses comes first depends on the way of sorting: a merge sort, as in C's library.

use std::net::IpAddr;

use crate::{
    api::types::{RealView, ServiceView},
    model::Protocol,
};

/// As ipvsadm shows them: by mark, family, protocol, address and port.
pub(super) fn services(views: &mut Vec<&ServiceView>) {
    sort(views, |a, b| {
        difference(a.service.mark().unwrap_or(0), b.service.mark().unwrap_or(0))
            .or_else(|| families(a.address, b.address))
            .or_else(|| difference(protocol(a), protocol(b)))
            // A mark's address is its number.
            .or_else(|| if a.protocol == Protocol::Mark { None } else { addresses(a.address, b.address) })
            .or_else(|| difference(a.port.into(), b.port.into()))
    });
}

/// As ipvsadm shows them: by family, address and port.
pub(super) fn reals(views: &mut Vec<&RealView>) {
    sort(views, |a, b| {
        families(a.address, b.address)
            .or_else(|| addresses(a.address, b.address))
            .or_else(|| difference(a.port.into(), b.port.into()))
    });
}

/// Is the first one later? None when they are the same.
type Later = Option<bool>;

fn difference(a: u32, b: u32) -> Later {
    match a.wrapping_sub(b) as i32 {
        0 => None,
        difference => Some(difference > 0),
    }
}

fn families(a: IpAddr, b: IpAddr) -> Later {
    difference(a.is_ipv6().into(), b.is_ipv6().into())
}

fn addresses(a: IpAddr, b: IpAddr) -> Later {
    match (a, b) {
        (IpAddr::V4(a), IpAddr::V4(b)) => difference(a.to_bits(), b.to_bits()),
        (IpAddr::V6(a), IpAddr::V6(b)) => {
            let words = |bits: u128| [96, 64, 32, 0].map(|shift| (bits >> shift) as u32);
            let pairs = words(a.to_bits()).into_iter().zip(words(b.to_bits()));
            pairs.into_iter().find_map(|(a, b)| difference(a, b))
        }
        _ => None,
    }
}

/// Number of the protocol (IANA); a mark's service has TCP's.
fn protocol(view: &ServiceView) -> u32 {
    match view.protocol {
        Protocol::Tcp | Protocol::Mark => 6,
        Protocol::Udp => 17,
        Protocol::Sctp => 132,
    }
}

/// Merges two sorted halves, the first one the smaller. `slice::sort_by` may panic on comparisons like these.
fn sort<T: Copy>(items: &mut Vec<T>, later: impl Fn(T, T) -> Later + Copy) {
    if items.len() < 2 {
        return;
    }
    let mut second = items.split_off(items.len() / 2);
    sort(items, later);
    sort(&mut second, later);
    let (mut a, mut b) = (items.drain(..).peekable(), second.into_iter().peekable());
    let mut merged = Vec::with_capacity(a.len() + b.len());
    while let (Some(first), Some(other)) = (a.peek(), b.peek()) {
        let next = if later(*first, *other) == Some(true) { b.next() } else { a.next() };
        merged.extend(next);
    }
    merged.extend(a);
    merged.extend(b);
    *items = merged;
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sorted(texts: &[&str]) -> Vec<String> {
        let mut items: Vec<IpAddr> = texts.iter().map(|text| text.parse().unwrap()).collect();
        sort(&mut items, addresses);
        items.iter().map(ToString::to_string).collect()
    }

    #[test]
    fn small_differences_are_in_order() {
        assert_eq!(
            sorted(&["10.0.0.3", "10.0.0.1", "10.0.0.100", "10.0.0.9"]),
            ["10.0.0.1", "10.0.0.3", "10.0.0.9", "10.0.0.100"]
        );
    }

    /// ipvsadm 1.31 printed exactly this for these four, added in this order.
    #[test]
    fn large_differences_are_as_ipvsadm_has_them() {
        assert_eq!(sorted(&["192.168.0.1", "10.0.0.1", "172.16.0.1", "100.64.0.1"]), EXPECTED);
    }

    const EXPECTED: [&str; 4] = ["100.64.0.1", "172.16.0.1", "192.168.0.1", "10.0.0.1"];

    #[test]
    fn words_of_an_ipv6_address_are_compared_one_by_one() {
        assert_eq!(addresses("fd00::2".parse().unwrap(), "fd00::10".parse().unwrap()), Some(false));
        assert_eq!(
            addresses("fd00::2".parse().unwrap(), "::2".parse().unwrap()),
            Some(false),
            "0xfd000000 is negative"
        );
    }
}
