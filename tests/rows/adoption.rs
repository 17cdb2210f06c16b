//! A daemon that begins anew finds in the tables what the one before it knew, and has nothing to do.

use lb_common::abi::verdict::Verdict::*;
use lb_tests::configured::spec;
use lb_tests::director::{Director, Options};
use lb_tests::packet::{ACK, Packet, SYN};

use super::{CLIENT, CLIENT6, VIP};

/// Everything that a service can have.
const ALL: &str = r#"
[director]
conn_reuse_mode = 1
expire_nodest_conn = true
expire_quiescent_template = true
sloppy_tcp = true
sloppy_sctp = true
answer_echo = true
local_addresses = ["10.9.9.9", "fd00:9::9"]

[director.timeouts]
tcp = 100

[[mark]]
mark = 1
address = "10.0.0.100:80"
[[mark]]
mark = 1
address = "10.0.0.200:80"
[[mark]]
mark = 1
protocol = "udp"
address = "10.0.0.100:80"
[[mark]]
mark = 1
address = "10.0.0.100:443"
[[mark]]
mark = 2
address = "10.2.0.0/16:8000-8100"
[[mark]]
mark = 2
protocol = "sctp"
address = "10.4.0.0/14:2905"
[[mark]]
mark = 2
address = "10.2.3.4"
[[mark]]
mark = 1
address = "[fd00::/64]:53"
[[mark]]
mark = 1
address = "[fd00:0:0:2::/63]"
[[mark]]
mark = 1
protocol = "udp"
address = "[fd05::/16]:1-65535"

[[service]]
mark = 1
scheduler = "wlc"
persistence = { timeout = 600, netmask = "255.255.255.0" }
timeouts = { tcp = 50, udp = 5 }
[[service.real]]
address = "10.1.0.1"
weight = 7
upper_threshold = 10
lower_threshold = 8
[[service.real]]
address = "10.1.0.2"
weight = 0

[[service]]
mark = 2
scheduler = "wrr"
[[service.real]]
address = "10.1.0.1"
weight = 70000
[[service.real]]
address = "10.1.0.3"

[[service]]
mark = 1
family = "ipv6"
scheduler = "lblcr"
persistence = { timeout = 60, netmask = "/65" }
[[service.real]]
address = "fd01::1"

[[service]]
address = "10.3.0.1:80"
scheduler = "mh"
flags = ["mh-port", "mh-fallback"]
table_slots = 251
[[service.real]]
address = "10.1.0.1"
weight = 3
[[service.real]]
address = "10.1.0.2"
weight = 5

[[service]]
address = "10.3.0.1"
scheduler = "sh"
persistence = { timeout = 360 }
method = "tunnel"
[[service.real]]
address = "10.1.0.1"

[[service]]
address = "10.3.0.1:53"
protocol = "udp"
scheduler = "ovf"
one_packet = true
flags = ["udp-active"]
[[service.real]]
address = "10.1.0.1"

[[service]]
address = "[fd00:3::1]:80"
scheduler = "dh"
method = "fullnat"
[[service.real]]
address = "10.1.0.1:8080"
upper_threshold = 5

[[service]]
address = "10.3.0.2:21"
helper = "ftp"
method = "nat"
persistence = { timeout = 360 }
[[service.real]]
address = "10.1.0.1"
"#;

#[test]
fn a_new_daemon_has_nothing_to_do() {
    let spec = spec(ALL);
    let mut director = Director::default();
    director.apply(ALL);
    let before = director.tables.services().clone();
    let room = director.tables.room();
    director.restart();
    assert_eq!(director.steps_to(&spec), []);
    assert_eq!(*director.tables.services(), before, "numbers, pools, reals");
    assert_eq!(director.tables.room(), room);
    assert!(director.tables.retired().is_empty());
    // The next one, after changes by this one.
    let less = ALL
        .replace("address = \"10.2.0.0/16:8000-8100\"", "address = \"10.2.0.0/16:8000-8050\"")
        .replace("weight = 7\n", "weight = 9\n");
    director.apply(&less);
    director.restart();
    assert_eq!(director.steps_to(&lb_tests::configured::spec(&less)), []);
    director.apply("");
    director.restart();
    assert!(director.tables.services().is_empty());
    assert_eq!(director.steps_to(&lb_tests::configured::spec("")), []);
}

/// mh's table is built with the last weight above 0: a daemon that never saw it has it from the tables.
#[test]
fn last_weights_are_found_again() {
    let mut director = Director::default();
    director.apply(ALL);
    let drained = ALL.replace("weight = 5\n", "weight = 0\n");
    director.apply(&drained);
    let key = "tcp://10.3.0.1:80".parse().unwrap();
    let ring = director.tables.services()[&key].pool.ring.clone();
    director.restart();
    assert_eq!(director.steps_to(&spec(&drained)), []);
    assert_eq!(director.tables.services()[&key].pool.ring, ring);
    let at = "10.1.0.2:80".parse().unwrap();
    let number = director.tables.services()[&key].reals[&at];
    assert_eq!(director.tables.capacity(number).last_weight, 5);
}

/// Clients stay where they are: connections by each address of a mark, its template, and thresholds go on.
#[test]
fn clients_do_not_notice() {
    let mut director = Director::new(Options::default());
    director.apply(ALL);
    let spec = spec(ALL);
    let probes: Vec<Packet> = vec![
        Packet::v4(CLIENT, VIP).tcp(4000, 80, SYN),
        Packet::v4(CLIENT, "10.0.0.200").tcp(4000, 80, SYN),
        Packet::v4(CLIENT, VIP).udp(4000, 80),
        Packet::v4(CLIENT, "10.2.7.7").tcp(4000, 8050, SYN),
        Packet::v4(CLIENT, "10.2.7.8").tcp(4000, 8050, SYN),
        Packet::v4(CLIENT, "10.2.3.4").tcp(4000, 22, SYN),
        Packet::v6(CLIENT6, "fd00:0:0:3::1").tcp(4000, 22, SYN),
        Packet::v6(CLIENT6, "fd05::1").udp(4000, 22),
    ];
    let first: Vec<_> = probes.iter().map(|packet| director.send(&packet.build())).collect();
    assert!(first.iter().all(|sent| sent.verdict == Direct && sent.is_new));
    let connections = director.connections();
    director.restart();
    for (packet, first) in probes.iter().zip(&first) {
        let again = director.send(&packet.build());
        assert_eq!((again.is_new, again.real, again.service), (false, first.real, first.service));
    }
    assert_eq!(director.connections(), connections, "clients and ports of a prefix's connections are found again");
    let known = director.send(&Packet::v4("192.0.2.99", VIP).tcp(4001, 443, SYN).build());
    assert_eq!((known.is_new, known.real), (true, first[0].real), "another of the network, by the template");
    for port in 5000..5020 {
        director.send(&Packet::v4(CLIENT, VIP).tcp(port, 80, SYN).build());
    }
    assert_eq!(director.send(&Packet::v4("198.51.100.1", VIP).tcp(1, 80, SYN).build()).verdict, NoReal, "it is full");
    director.sweep(&spec, 70);
    assert_eq!(director.send(&Packet::v4("198.51.100.1", VIP).tcp(1, 80, SYN).build()).verdict, Direct);
    assert_eq!(director.send(&Packet::v4(CLIENT, VIP).tcp(4000, 80, ACK).build()).real, first[0].real);
}

/// A daemon that was stopped at any point of a change: the next one finishes it.
#[test]
fn a_change_that_was_cut_off_is_finished() {
    let less = ALL
        .replace("mark = 1\naddress = \"10.0.0.200:80\"", "mark = 2\naddress = \"10.0.0.200:80\"")
        .replace("weight = 7\n", "weight = 8\n")
        .replace("[[service]]\naddress = \"10.3.0.1\"\n", "[[service]]\naddress = \"10.3.0.7\"\n");
    let after = spec(&less);
    let mut director = Director::default();
    director.apply(ALL);
    let steps = director.steps_to(&after).len();
    assert!(steps > 4);
    for done in 0..=steps {
        let mut director = Director::default();
        director.apply(ALL);
        let steps = director.steps_to(&after);
        lb_userspace::reconcile::apply(&mut director.tables, &steps[..done]).unwrap();
        director.restart();
        director.apply(&less);
        let sent = director.send(&Packet::v4(CLIENT, "10.0.0.200").tcp(4000, 80, SYN).build());
        assert_eq!(sent.service.and_then(|key| key.mark()), Some(2), "after {done} steps");
        director.restart();
        assert_eq!(director.steps_to(&after), []);
    }
}
