//! The network: a namespace with the generator, one for each director, one with the reals. Each director has a veth pair to either side
//! of its own, so that nothing has to be attached or detached between two measurements.
//!
//! ```text
//! generator  gN ---- in  director N  out ---- rN  real
//! ```

use std::net::Ipv4Addr;

use anyhow::Context as _;
use lb_lab::residue::{Residue, Scope};
use lb_lab::{LabName, Netns, topology};
use nix::net::if_::if_nametoindex;

/// The variable by which `cargo xtask bench` names the laboratory that it will clean up.
const NAME: &str = "XVS_BENCH_LAB";
/// Reals behind every director.
pub(crate) const REALS: u8 = 16;
/// Interface of a director towards the generator.
pub(crate) const IN: &str = "in";
/// Interface of a director towards the reals.
pub(crate) const OUT: &str = "out";

/// The namespaces. What is left of them is removed when this is dropped.
pub(crate) struct Lab {
    pub(crate) name: LabName,
    pub(crate) generator: Netns,
    pub(crate) real: Netns,
    pub(crate) lanes: Vec<Lane>,
    _rest: Rest,
}

/// A director's place: its namespace and links.
pub(crate) struct Lane {
    pub(crate) director: Netns,
    number: u8,
    /// Number of the generator's interface towards it.
    pub(crate) interface: u32,
    /// Number of the director's interface towards the reals.
    pub(crate) out: u32,
}

struct Rest(LabName);

impl Lab {
    /// A laboratory with a director for each name.
    pub(crate) fn build(topic: &str, directors: &[&str]) -> anyhow::Result<Self> {
        let name = match std::env::var(NAME) {
            Ok(name) => name.parse()?,
            Err(_) => LabName::unique(topic)?,
        };
        let rest = Rest(name.clone());
        std::fs::create_dir(name.directory()).with_context(|| format!("making {}", name.directory().display()))?;
        let namespace = |host: &str| -> anyhow::Result<Netns> {
            let namespace = Netns::create(&name, host)?;
            namespace.sysctl(topology::COMMON)?;
            namespace.ip_batch("link set lo up\n")?;
            Ok(namespace)
        };
        let mut lab = Self {
            generator: namespace("gen")?,
            real: namespace("real")?,
            lanes: Vec::new(),
            _rest: rest,
            name: name.clone(),
        };
        for (number, host) in (1..).zip(directors) {
            let lane = Lane::build(&lab, number, namespace(host)?)?;
            lab.lanes.push(lane);
        }
        Ok(lab)
    }
}

impl Lane {
    fn build(lab: &Lab, number: u8, director: Netns) -> anyhow::Result<Self> {
        let (generator, real) = (format!("g{number}"), format!("r{number}"));
        let mut lane = Self { director, number, interface: 0, out: 0 };
        // A queue for each CPU: a veth device takes what a CPU sends in the queue of that number.
        let queues = format!("numtxqueues {0} numrxqueues {0}", crate::machine::cpus()?.len());
        for (namespace, outer, inner, mac) in
            [(&lab.generator, &generator, IN, lane.mac()), (&lab.real, &real, OUT, [2, 0, 0, 0, 0xee, number])]
        {
            namespace.ip_batch(&format!(
                "link add {outer} {queues} type veth peer name {inner} address {} {queues} netns {}\n",
                text(mac),
                lane.director.name()
            ))?;
            namespace.ip_batch(&format!("link set {outer} up\n"))?;
            namespace.without_offloads(outer)?;
            lane.director.without_offloads(inner)?;
        }
        let mut lines = format!(
            "link set {IN} up\naddr add 10.{0}.0.1/16 dev {IN}\nlink set {OUT} up\naddr add 10.{1}.0.1/16 dev {OUT}\n",
            100 + number,
            20 + number
        );
        for real in 1..=REALS {
            let mac = text(lane.real_mac(real));
            lines += &format!("neigh add {} lladdr {mac} nud permanent dev {OUT}\n", lane.real(real));
        }
        lane.director.ip_batch(&lines)?;
        lane.interface = lab.generator.enter(|| if_nametoindex(generator.as_str()))??;
        lane.out = lane.director.enter(|| if_nametoindex(OUT))??;
        Ok(lane)
    }

    /// Hardware address of the director's interface towards the generator.
    pub(crate) fn mac(&self) -> [u8; 6] {
        [2, 0, 0, 0, 0xdd, self.number]
    }

    /// Hardware address of a real: its last byte is its number.
    pub(crate) fn real_mac(&self, real: u8) -> [u8; 6] {
        [2, 0, 0, 0, self.number, real]
    }

    /// Address of a real, numbers from 1 on.
    pub(crate) fn real(&self, real: u8) -> Ipv4Addr {
        Ipv4Addr::new(10, 20 + self.number, 1, real)
    }

    /// Name of the real's interface from this director.
    pub(crate) fn real_interface(&self) -> String {
        format!("r{}", self.number)
    }
}

fn text(mac: [u8; 6]) -> String {
    mac.map(|byte| format!("{byte:02x}")).join(":")
}

impl Drop for Rest {
    fn drop(&mut self) {
        // Nothing can be done about a failure here; `cargo xtask bench` looks once more.
        let _ = Residue::find(&Scope::Lab(self.0.clone())).remove();
    }
}
