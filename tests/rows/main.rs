//! Rows through the real programs, one file a behaviour. Needs root; see the crate's head.
//!
//! Verdicts that no row reaches, and why:
//! - `truncated` by the Ethernet header: the kernel refuses test runs of less than 14 bytes. Behind it every header has its rows.
//! - `internal` by a table index: user space would have to write an index beyond its own tables, which it has no call for. A
//!   forwarding method without meaning reaches it (`dispositions`).

mod adoption;
mod decap;
mod direct;
mod dispositions;
mod fragments;
mod full_nat;
mod helper;
mod hostile;
mod icmp;
mod marks;
mod miss;
mod mtu;
mod named_settings;
mod nat;
mod nat_options;
mod nat_portless;
mod nat_refused;
mod nat_sctp;
mod nat_table;
mod nat_tcp;
mod one_packet;
mod openings;
mod parse;
mod room;
mod schedulers;
mod sctp;
mod sequences;
mod services;
mod specific;
mod sweeping;
mod table;
mod tcp;
mod templates;
mod thresholds;
mod tunnels;
mod udp;
mod vlan;

use lb_common::abi::service::scheduler::RR;
use lb_tests::director::{Director, direct};

/// IPv4 VIP.
const VIP: &str = "10.0.0.100";
/// IPv6 VIP.
const VIP6: &str = "fd00::100";
/// An address that is not a VIP.
const OTHER: &str = "10.0.0.101";
/// An IPv6 address that is not a VIP.
const OTHER6: &str = "fd00::101";
/// An IPv4 client.
const CLIENT: &str = "192.0.2.7";
/// An IPv6 client.
const CLIENT6: &str = "2001:db8::7";

/// TCP port 80 and UDP port 53 on both VIPs, each with one real by direct routing.
fn standard() -> Director {
    let mut director = Director::default();
    director.service("tcp://10.0.0.100:80", RR, 0, &[(direct("10.0.1.1:80", 1), 1)]);
    director.service("udp://10.0.0.100:53", RR, 0, &[(direct("10.0.1.2:53", 2), 1)]);
    director.service("tcp://[fd00::100]:80", RR, 0, &[(direct("[fd00::1:1]:80", 3), 1)]);
    director.service("udp://[fd00::100]:53", RR, 0, &[(direct("[fd00::1:2]:53", 4), 1)]);
    director
}
