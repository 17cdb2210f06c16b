//! Do the clients' packets fit the ways to the reals, with what the director puts in front of them? And if not: what to set.
//!
//! Goes by what the director knows: the MTU of the interface, or of the route, towards a real. A narrower link behind that is found
//! by the director's ICMP messages only.

use std::net::{IpAddr, SocketAddr};

use serde::{Deserialize, Serialize};

use crate::api::types::{RealView, ServiceView};
use crate::model::{Method, Protocol, ServiceKey, word::words};

/// Largest packet of a client behind plain Ethernet, in bytes.
pub const USUAL_PACKET: u32 = 1500;

words! {
    /// How the clients' largest packets fare on the way to a real.
    Fit, "fit", later [];
    /// They fit.
    Fits = "fits",
    /// They would not, but both ends of a connection are told to send none.
    Clamped = "clamped",
    /// They do not fit: dropped, and the client is told.
    TooLong = "too-long",
    /// The way to the real is not known.
    Unknown = "unknown",
}

/// What `xvs doctor mtu` says.
#[derive(Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct MtuReport {
    /// Bytes of the packet in question, from the IP header on.
    pub packet: u32,
    /// It gets to every real.
    pub fits: bool,
    /// Every real of every service.
    pub reals: Vec<MtuFinding>,
}

/// One real of one service.
#[derive(Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct MtuFinding {
    /// The service.
    pub service: ServiceKey,
    /// Address of the real.
    pub address: IpAddr,
    /// Port of the real.
    pub port: u16,
    /// How it is reached.
    pub method: Method,
    /// Interface its packets leave by.
    pub interface: Option<String>,
    /// Bytes of the largest packet on the way to it.
    pub mtu: Option<u32>,
    /// Bytes by which a client's packet is longer on that way.
    pub overhead: i32,
    /// Bytes of the largest packet of a client that fits.
    pub largest: Option<u32>,
    /// How the packet in question fares.
    pub result: Fit,
    /// What to set, each enough by itself; none when nothing need be.
    pub advice: Vec<String>,
}

// === impl MtuFinding ===

impl MtuFinding {
    /// What identifies the real inside its service.
    pub fn endpoint(&self) -> SocketAddr {
        SocketAddr::new(self.address, self.port)
    }
}

/// Looks at every real of the services with packets of `packet` bytes in mind.
pub fn examine(services: &[ServiceView], packet: u32) -> MtuReport {
    let reals: Vec<MtuFinding> = services
        .iter()
        .flat_map(|service| service.reals.iter().map(move |real| finding(&service.service, real, packet)))
        .collect();
    let fits = reals.iter().all(|real| matches!(real.result, Fit::Fits | Fit::Clamped));
    MtuReport { packet, fits, reals }
}

fn finding(service: &ServiceKey, real: &RealView, packet: u32) -> MtuFinding {
    let largest = real.mtu.map(|mtu| mtu.saturating_add_signed(real.overhead.saturating_neg()));
    let result = match largest {
        None => Fit::Unknown,
        Some(largest) if largest >= packet => Fit::Fits,
        Some(_) if real.clamps_mss => Fit::Clamped,
        Some(_) => Fit::TooLong,
    };
    let advice = match (result, largest) {
        (Fit::TooLong, Some(largest)) => advice(service, real, packet, largest),
        _ => Vec::new(),
    };
    MtuFinding {
        service: *service,
        address: real.address,
        port: real.port,
        method: real.method,
        interface: real.interface.clone(),
        mtu: real.mtu,
        overhead: real.overhead,
        largest,
        result,
        advice,
    }
}

fn advice(service: &ServiceKey, real: &RealView, packet: u32, largest: u32) -> Vec<String> {
    let needed = packet.saturating_add_signed(real.overhead);
    let interface = real.interface.as_deref().unwrap_or("the interface");
    let mut ways = vec![format!("raise the MTU of {interface}, and of all links from there to the real, to {needed}")];
    // Only TCP tells the other end what it takes.
    if service.protocol == Protocol::Tcp {
        ways.push(if real.method.is_translated() {
            "set clamp_mss = true in [director]".to_owned()
        } else {
            // The real answers past the director, so it has to announce by itself what fits.
            format!(
                "on the real, for the routes to clients: ip route change default ... advmss {}",
                largest.saturating_sub(headers(service.address))
            )
        });
    }
    ways
}

/// Bytes of IP and TCP header that the largest segment (MSS) does not count (RFC 9293 section 3.7.1).
fn headers(client: IpAddr) -> u32 {
    if client.is_ipv4() { 20 + 20 } else { 40 + 20 }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::api::types::{Counters, Rates, RealState};
    use crate::model::{OnRealDown, Scheduler};

    fn real(address: &str, method: Method, mtu: Option<u32>, overhead: i32) -> RealView {
        RealView {
            address: address.parse().unwrap(),
            port: 80,
            method,
            weight: 1,
            upper_threshold: 0,
            lower_threshold: 0,
            tunnel_port: None,
            tunnel_checksum: None,
            is_local: false,
            effective_weight: 1,
            state: RealState::Up,
            reason: None,
            interface: mtu.map(|_| "eth1".to_owned()),
            mac: None,
            mtu,
            overhead,
            clamps_mss: false,
            active: 0,
            inactive: 0,
            templates: 0,
            counters: Counters::default(),
            rates: Rates::default(),
        }
    }

    fn service(key: &str, reals: Vec<RealView>) -> ServiceView {
        let service: ServiceKey = key.parse().unwrap();
        ServiceView {
            real_count: 0,
            service,
            protocol: service.protocol,
            address: service.address,
            port: service.port,
            scheduler: Scheduler::Rr,
            flags: Vec::new(),
            persistence: None,
            one_packet: false,
            method: Method::Direct,
            on_real_down: OnRealDown::Keep,
            helper: None,
            counters: Counters::default(),
            rates: Rates::default(),
            active: 0,
            inactive: 0,
            reals,
        }
    }

    fn one(key: &str, real: RealView) -> MtuFinding {
        examine(&[service(key, vec![real])], USUAL_PACKET).reals.remove(0)
    }

    #[test]
    fn what_fits_is_the_mtu_less_what_is_added() {
        for (method, mtu, overhead, largest, result) in [
            (Method::Direct, 1500, 0, 1500, Fit::Fits),
            (Method::Direct, 1499, 0, 1499, Fit::TooLong),
            (Method::Tunnel, 1500, 20, 1480, Fit::TooLong),
            (Method::Tunnel, 1519, 20, 1499, Fit::TooLong),
            (Method::Tunnel, 1520, 20, 1500, Fit::Fits),
            (Method::Gue, 1500, 48, 1452, Fit::TooLong),
            (Method::FullNat, 1500, -20, 1520, Fit::Fits),
            (Method::FullNat, 1480, -20, 1500, Fit::Fits),
            // Nothing is below 0.
            (Method::Tunnel, 10, 40, 0, Fit::TooLong),
        ] {
            let found = one("tcp://10.0.0.1:80", real("10.0.1.1", method, Some(mtu), overhead));
            assert_eq!((found.largest, found.result), (Some(largest), result), "{method} {mtu} {overhead}");
            assert_eq!(found.advice.is_empty(), result == Fit::Fits);
        }
    }

    #[test]
    fn a_real_that_answers_past_the_director_announces_what_fits_by_itself() {
        let found = one("tcp://10.0.0.1:80", real("fd00::11", Method::Tunnel, Some(1500), 40));
        let raise = "raise the MTU of eth1, and of all links from there to the real, to 1540";
        let announce = "on the real, for the routes to clients: ip route change default ... advmss";
        assert_eq!(found.advice, [raise.to_owned(), format!("{announce} 1420")]);
        // The headers that count are the client's family's.
        let found = one("tcp://[fd00::1]:80", real("10.0.1.1", Method::Gre, Some(1500), 24));
        assert_eq!(found.advice[1], format!("{announce} 1416"));
    }

    #[test]
    fn translated_connections_are_clamped_by_the_director() {
        let mut narrow = real("fd00::11", Method::FullNat, Some(1500), 20);
        let found = one("tcp://10.0.0.1:80", narrow.clone());
        assert_eq!((found.result, found.advice[1].as_str()), (Fit::TooLong, "set clamp_mss = true in [director]"));
        narrow.clamps_mss = true;
        let found = one("tcp://10.0.0.1:80", narrow);
        assert_eq!((found.result, found.advice.len()), (Fit::Clamped, 0));
    }

    #[test]
    fn datagrams_only_fit_a_wider_way() {
        for (method, overhead) in [(Method::Tunnel, 20), (Method::FullNat, 20)] {
            let found = one("udp://10.0.0.1:53", real("10.0.1.1", method, Some(1500), overhead));
            assert_eq!(found.advice, ["raise the MTU of eth1, and of all links from there to the real, to 1520"]);
        }
    }

    #[test]
    fn all_is_well_only_if_every_real_is_known_to_fit() {
        let fitting = real("10.0.1.1", Method::Tunnel, Some(1600), 20);
        let lost = real("10.0.1.2", Method::Tunnel, None, 0);
        let narrow = real("10.0.1.3", Method::Tunnel, Some(1500), 20);
        let report = |reals| examine(&[service("tcp://10.0.0.1:80", reals)], USUAL_PACKET);
        assert!(examine(&[], USUAL_PACKET).fits && report(vec![fitting.clone()]).fits);
        assert!(!report(vec![fitting.clone(), narrow]).fits);
        let report = report(vec![fitting, lost]);
        assert!(!report.fits && report.reals[1].result == Fit::Unknown && report.reals[1].largest.is_none());
    }

    #[test]
    fn the_packet_in_question_is_the_callers() {
        let services = [service("tcp://10.0.0.1:80", vec![real("10.0.1.1", Method::Tunnel, Some(9000), 20)])];
        assert!(examine(&services, 8980).fits && !examine(&services, 9000).fits);
        assert!(examine(&services, 9000).reals[0].advice[0].ends_with("to 9020"));
    }
}
