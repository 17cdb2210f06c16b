//! Which service a packet is for: exact before any port, and how VIPs come and go.

use lb_common::abi::service::scheduler::RR;
use lb_common::abi::verdict::Verdict::*;
use lb_tests::director::{Director, direct};
use lb_tests::packet::{Packet, SYN};
use lb_tests::row::{row, run};

use super::{CLIENT, CLIENT6, OTHER, OTHER6, VIP, VIP6, standard};

#[test]
fn address_port_and_protocol_must_all_match() {
    let mut director = standard();
    run(
        &mut director,
        &[
            row("TCP 80", Packet::v4(CLIENT, VIP).tcp(1, 80, SYN).build(), Direct),
            row("TCP 81", Packet::v4(CLIENT, VIP).tcp(1, 81, SYN).build(), NotAService),
            row("the port with its bytes swapped", Packet::v4(CLIENT, VIP).tcp(1, 80 << 8, SYN).build(), NotAService),
            row("port 0 is a port, not a wildcard", Packet::v4(CLIENT, VIP).tcp(1, 0, SYN).build(), NotAService),
            row("UDP 80", Packet::v4(CLIENT, VIP).udp(1, 80).build(), NotAService),
            row("TCP 53", Packet::v4(CLIENT, VIP).tcp(1, 53, SYN).build(), NotAService),
            row("another address", Packet::v4(CLIENT, OTHER).tcp(1, 80, SYN).build(), NotAService),
            row("from the VIP", Packet::v4(VIP, CLIENT).tcp(80, 80, SYN).build(), NotAService),
            row("IPv6", Packet::v6(CLIENT6, VIP6).tcp(1, 80, SYN).build(), Direct),
            row("IPv6, another port", Packet::v6(CLIENT6, VIP6).tcp(1, 81, SYN).build(), NotAService),
            row("IPv6, another address", Packet::v6(CLIENT6, OTHER6).tcp(1, 80, SYN).build(), NotAService),
            row(
                "IPv6, only the first half matches",
                Packet::v6(CLIENT6, "fd00::1:0:0:100").tcp(1, 80, SYN).build(),
                NotAService,
            ),
            row(
                "the IPv4 VIP mapped into IPv6",
                Packet::v6(CLIENT6, "::ffff:10.0.0.100").tcp(1, 80, SYN).build(),
                NotAService,
            ),
        ],
    );
}

#[test]
fn any_port_serves_what_no_exact_service_has() {
    let mut director = standard();
    let any = director.service("tcp://10.0.0.100:0", RR, 0, &[(direct("10.0.1.9:0", 9), 1)]);
    let any6 = director.service("udp://[fd00::100]:0", RR, 0, &[(direct("[fd00::1:9]:0", 10), 1)]);
    let exact = director.send(&Packet::v4(CLIENT, VIP).tcp(1, 80, SYN).build());
    assert_eq!(exact.service, Some("tcp://10.0.0.100:80".parse().unwrap()));
    for port in [1, 79, 81, 443, 65535] {
        let sent = director.send(&Packet::v4(CLIENT, VIP).tcp(1, port, SYN).build());
        assert_eq!((sent.verdict, sent.service, sent.is_new), (Direct, Some(any), true), "port {port}");
        let again = director.send(&Packet::v4(CLIENT, VIP).tcp(1, port, SYN).build());
        assert!(!again.is_new, "each port is a connection of its own");
    }
    assert_eq!(director.send(&Packet::v6(CLIENT6, VIP6).udp(1, 9).build()).service, Some(any6));
    assert_eq!(
        director.send(&Packet::v6(CLIENT6, VIP6).udp(1, 53).build()).service,
        Some("udp://[fd00::100]:53".parse().unwrap())
    );
    assert_eq!(director.send(&Packet::v4(CLIENT, VIP).udp(1, 54).build()).verdict, NotAService, "another protocol");
    assert_eq!(director.send(&Packet::v4(CLIENT, OTHER).tcp(1, 81, SYN).build()).verdict, NotAService);
}

/// A service that is taken away leaves its packets to the kernel or to the any-port service; its VIP stays one until the last goes.
#[test]
fn a_vip_is_one_until_its_last_service_goes() {
    let mut director = standard();
    let fragment = Packet::v4(CLIENT, VIP).udp(1, 53).fragment_word(0x0010).build();
    let syn = Packet::v4(CLIENT, VIP).tcp(1, 80, SYN).build();
    assert_eq!(director.send(&syn).verdict, Direct);
    director.tables.remove_service(&"tcp://10.0.0.100:80".parse().unwrap());
    assert_eq!(director.send(&syn).verdict, NotAService);
    assert_eq!(director.send(&fragment).verdict, FragmentEarly, "UDP is still served");
    director.tables.remove_service(&"udp://10.0.0.100:53".parse().unwrap());
    assert_eq!(director.send(&fragment).verdict, NotAService);
    let again = director.service("udp://10.0.0.100:53", RR, 0, &[(direct("10.0.1.5:53", 5), 1)]);
    assert_eq!(director.send(&fragment).verdict, FragmentEarly);
    assert_eq!(director.send(&Packet::v4(CLIENT, VIP).udp(1, 53).build()).service, Some(again));
}

/// Full buckets go on in the next one, and a service behind one that was taken away is still found.
#[test]
fn many_services_are_all_found() {
    let mut director = Director::default();
    let keys: Vec<String> = (0..2000).map(|n| format!("tcp://10.9.{}.{}:{}", n / 250, n % 250 + 1, 1000 + n)).collect();
    for key in &keys {
        director.tables.add_service(key.parse().unwrap()).unwrap();
        director.pool(&key.parse().unwrap(), RR, 0, &[]);
    }
    let probe = |n: usize| {
        Packet::v4(CLIENT, &format!("10.9.{}.{}", n / 250, n % 250 + 1)).tcp(1, 1000 + n as u16, SYN).build()
    };
    for n in (0..2000).step_by(7) {
        assert_eq!(director.send(&probe(n)).verdict, NoReal, "{}", keys[n]);
    }
    for n in (0..2000).step_by(2) {
        director.tables.remove_service(&keys[n].parse().unwrap());
    }
    for n in (0..2000).step_by(7) {
        assert_eq!(director.send(&probe(n)).verdict, if n % 2 == 0 { NotAService } else { NoReal }, "{}", keys[n]);
    }
}

/// Two services on one client port are two connections: the service is part of an entry's identity.
#[test]
fn one_client_port_with_two_vips() {
    let mut director = standard();
    let second = director.service("tcp://10.0.0.200:80", RR, 0, &[(direct("10.0.1.7:80", 7), 1)]);
    let first = director.send(&Packet::v4(CLIENT, VIP).tcp(1, 80, SYN).build());
    let other = director.send(&Packet::v4(CLIENT, "10.0.0.200").tcp(1, 80, SYN).build());
    assert!(first.is_new && other.is_new && other.service == Some(second));
    for _ in 0..3 {
        assert_eq!(director.send(&Packet::v4(CLIENT, VIP).tcp(1, 80, SYN).build()).real, first.real);
        assert_eq!(director.send(&Packet::v4(CLIENT, "10.0.0.200").tcp(1, 80, SYN).build()).real, other.real);
    }
}
