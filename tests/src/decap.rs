//! The real server's program over a table of VIPs of its own.

use std::net::IpAddr;

use aya::Ebpf;
use aya::maps::{Array, HashMap};
use aya::programs::Xdp;
use lb_common::abi::names::PROGRAM_DECAP;
use lb_userspace::dataplane::objects;

use crate::director::run;

/// Port that GUE packets arrive at.
pub const GUE_PORT: u16 = 6080;

/// The decapsulator under test.
pub struct Decap {
    object: Ebpf,
}

impl Decap {
    /// Loads it with these VIPs.
    pub fn new(vips: &[&str]) -> Self {
        Self::at_port(vips, GUE_PORT)
    }

    /// The same with another port for GUE.
    pub fn at_port(vips: &[&str], gue_port: u16) -> Self {
        let mut object = Ebpf::load(objects::REALSERVER).expect("the real server's object loads (as root?)");
        let mut table: HashMap<_, [u8; 16], u16> =
            object.map_mut("DECAP_VIPS").expect("a map").try_into().expect("a hash map");
        for vip in vips {
            let key = match vip.parse().expect("an address") {
                IpAddr::V4(address) => address.to_ipv6_mapped().octets(),
                IpAddr::V6(address) => address.octets(),
            };
            table.insert(key, gue_port, 0).expect("room for a VIP");
        }
        program(&mut object).load().expect("the verifier takes the decapsulator");
        Self { object }
    }

    /// Runs a frame through it: the action, the frame afterwards, and by how much the counters (opened, not ours) went up.
    pub fn send(&mut self, frame: &[u8]) -> (u32, Vec<u8>, (u64, u64)) {
        let before = self.counters();
        let (action, out) = run(program(&mut self.object), frame, &[]);
        let after = self.counters();
        (action, out, (after.0 - before.0, after.1 - before.1))
    }

    fn counters(&self) -> (u64, u64) {
        let counters: Array<_, u64> = self.object.map("DECAP_COUNTERS").expect("a map").try_into().expect("an array");
        (counters.get(&0, 0).expect("a counter"), counters.get(&1, 0).expect("a counter"))
    }
}

fn program(object: &mut Ebpf) -> &mut Xdp {
    object.program_mut(PROGRAM_DECAP).expect("the decapsulator").try_into().expect("an XDP program")
}
