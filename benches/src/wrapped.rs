//! The director's pipeline in the benchmark's wrapper, over tables of somebody else: nanoseconds a packet of known flows.

use anyhow::Context as _;
use aya::Ebpf;
use aya::maps::{Array, MapData};
use aya::programs::{TestRun as _, TestRunOptions, Xdp};
use lb_common::abi::settings::Settings;
use lb_tests::packet::{ACK, Packet};
use lb_userspace::dataplane::loader::parse_over;
use lb_userspace::dataplane::memory::Memory;
use lb_userspace::dataplane::objects;
use lb_userspace::dataplane::pins::Geometry;

/// Packets that a run of a wrapped program takes.
const PACKETS: u32 = 8;
/// Bytes of a frame.
const FRAME: usize = 64;
/// The director in the wrapper.
pub(crate) const DIRECTOR: &str = "xvs_v4";
/// Nothing in the wrapper.
pub(crate) const EMPTY: &str = "empty_v4";

/// Programs of one CPU, with a generator of their own.
pub(crate) struct Wrapped {
    object: Ebpf,
    frame: Vec<u8>,
}

impl Wrapped {
    /// Packets with these TCP flags to port 80 of `vip`.
    pub(crate) fn over(memory: &Memory, geometry: &Geometry, settings: &Settings, vip: &str) -> anyhow::Result<Self> {
        let mut object = parse_over(objects::BENCH, memory, geometry, settings, &[])?;
        for name in [DIRECTOR, EMPTY] {
            let program: &mut Xdp = object.program_mut(name).with_context(|| format!("program {name}"))?.try_into()?;
            program.load().with_context(|| format!("loading {name}"))?;
        }
        let mut wrapped = Self { object, frame: Vec::new() };
        wrapped.set_flags(vip, ACK);
        Ok(wrapped)
    }

    /// From now on packets with these TCP flags.
    pub(crate) fn set_flags(&mut self, vip: &str, flags: u8) {
        self.frame = Packet::v4("10.8.0.1", vip).tcp(0x4000, 80, flags).build();
        self.frame.resize(FRAME, 0);
    }

    /// Of flows from 0 on, a power of two of them.
    pub(crate) fn set_flows(&mut self, start: u32, flows: u32) -> anyhow::Result<()> {
        anyhow::ensure!(flows.is_power_of_two(), "{flows} flows: the wrapper takes a power of two");
        let mut map: Array<&mut MapData, [u32; 3]> = self.object.map_mut("FLOWS").context("map FLOWS")?.try_into()?;
        // The memory floor, of no lines here, is another program's.
        Ok(map.set(0, [start, flows - 1, 0], 0)?)
    }

    /// Nanoseconds a packet of so many, wrapper included.
    pub(crate) fn run(&self, program: &str, packets: u32) -> anyhow::Result<f64> {
        let program: &Xdp = self.object.program(program).context("program")?.try_into()?;
        let repeat = (packets / PACKETS).max(1);
        let options = TestRunOptions { data_in: Some(&self.frame), repeat, ..TestRunOptions::default() };
        let result = program.test_run(options)?;
        anyhow::ensure!(result.return_value != 0, "the wrapper gave up");
        Ok(result.duration.as_nanos() as f64 / f64::from(PACKETS))
    }

    /// Nanoseconds a packet, net of the wrapper.
    pub(crate) fn net(&self, packets: u32) -> anyhow::Result<f64> {
        let empty = self.run(EMPTY, packets)?;
        Ok(self.run(DIRECTOR, packets)? - empty)
    }
}
