//! Our program, set up as the peer was.

use std::net::{IpAddr, SocketAddr};

use lb_common::abi::real::Real;
use lb_common::abi::service::{flag, scheduler};
use lb_common::abi::verdict::Action;
use lb_tests::decap::Decap;
use lb_tests::director::{Director, GUE, Options, code, through, tunnel};

use crate::recorded::{Common, Recorded, Services, Suite};

/// Bases of the peer's outer source without GUE, and the bits in which the client shows.
const SOURCE_V4: (&str, [u8; 4]) = ("172.16.0.0", [0, 0, 0xff, 0xff]);
const SOURCE_V6: (&str, [u8; 4]) = ("100::", [0xff; 4]);
/// Suites that the peer was built with GUE for.
const GUE_SUITES: [&str; 2] = ["base_gue", "cidr_vip"];
/// Where frames were sent to, so the MAC that forwarded ones come from.
const OWN_MAC: [u8; 6] = [2, 0, 0, 0, 0, 0];

/// One of our programs.
pub(crate) enum Ours {
    /// The balancer.
    Director(Box<Director>),
    /// The real server's side.
    Decap(Box<Decap>),
}

impl Ours {
    /// The program that a suite is for, with the suite's services.
    pub(crate) fn new(recorded: &Recorded, name: &str, suite: &Suite) -> Self {
        let common = &recorded.setup.common;
        if name.starts_with("decap_host") {
            return Self::Decap(Box::new(decap(recorded)));
        }
        let services = services(recorded, suite).expect("the suite's services are recorded");
        Self::Director(Box::new(director(common, services, GUE_SUITES.contains(&name))))
    }

    /// What becomes of a frame: the kernel's action, our name for it, the frame afterwards.
    pub(crate) fn send(&mut self, frame: &[u8]) -> (u32, &'static str, Vec<u8>) {
        match self {
            Self::Director(director) => {
                let sent = director.send(frame);
                (code(sent.verdict.action()), sent.verdict.name(), sent.frame)
            }
            Self::Decap(decap) => {
                let (action, out, counters) = decap.send(frame);
                (action, if counters.0 == 1 { "opened" } else { "not ours" }, out)
            }
        }
    }
}

/// The kernel's number of a recorded verdict.
pub(crate) fn action(verdict: &str) -> u32 {
    code(match verdict {
        "XDP_TX" => Action::Tx,
        "XDP_PASS" => Action::Pass,
        "XDP_DROP" => Action::Drop,
        other => panic!("{other}: not a verdict that is known here"),
    })
}

/// The services of a suite: optional features are named behind a plus sign.
pub(crate) fn services<'a>(recorded: &'a Recorded, suite: &Suite) -> Option<&'a Services> {
    recorded.setups.get(suite.setup.split('+').next().expect("a first part"))
}

/// The peer opens whatever comes; ours is told for which VIPs. They are those of all services.
fn decap(recorded: &Recorded) -> Decap {
    let all = recorded.setups.values().flat_map(|services| &services.vips);
    let vips: Vec<&str> = all.map(|vip| vip.address.as_str()).filter(|address| !address.contains('/')).collect();
    Decap::at_port(&vips, recorded.setup.common.gue_dst_port)
}

/// The peer begins connections with any TCP packet and answers pings, so ours is set to. `mh` with ports is its way to choose.
fn director(common: &Common, services: &Services, is_gue: bool) -> Director {
    let mut director = Director::new(Options { sloppy_tcp: true, answer_echo: true, ..Options::default() });
    for (number, vip) in (1..).zip(services.vips.iter().chain(&services.empty)) {
        let reals: Vec<(Real, u32)> = vip.reals.iter().map(|at| (real(common, *at, vip.port, is_gue), 1)).collect();
        let (address, prefix) = vip.prefix();
        if vip.address.contains('/') {
            let port = if vip.port == 0 { String::new() } else { format!(":{}", vip.port) };
            let rule = format!("{} [{address}/{prefix}]{port}", vip.proto);
            director.mark(number, &rule, scheduler::MH, flag::PORT, &reals);
        } else {
            let key = format!("{}://{}", vip.proto, SocketAddr::new(address, vip.port));
            director.service(&key, scheduler::MH, flag::PORT, &reals);
        }
    }
    director
}

/// The way to a real. Its MTU lets pass what the peer does: the peer's limit is for the frame that comes in.
fn real(common: &Common, at: IpAddr, port: u16, is_gue: bool) -> Real {
    let (base, vary) = match (at.is_ipv4(), is_gue) {
        (true, false) => (SOURCE_V4.0.to_owned(), SOURCE_V4.1),
        (false, false) => (SOURCE_V6.0.to_owned(), SOURCE_V6.1),
        (true, true) => (common.gue_source_v4.to_string(), [0; 4]),
        (false, true) => (common.gue_source_v6.to_string(), [0; 4]),
    };
    let mut real = tunnel(&SocketAddr::new(at, port).to_string(), 1, &base);
    real.vary_or_corrections = u32::from_ne_bytes(vary);
    real.source_mac = OWN_MAC;
    real.destination_mac = mac(&common.gateway_mac);
    real.mtu = common.max_frame_bytes - 14 + if at.is_ipv4() { 20 } else { 40 } + if is_gue { 8 } else { 0 };
    if is_gue { Real { tunnel_port: common.gue_dst_port, ..through(real, GUE, true) } } else { real }
}

fn mac(text: &str) -> [u8; 6] {
    let bytes: Vec<u8> = text.split(':').map(|byte| u8::from_str_radix(byte, 16).expect("a byte")).collect();
    bytes.try_into().expect("six bytes")
}
