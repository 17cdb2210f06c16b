//! The counting real server from user space.

use anyhow::Context as _;
use aya::Ebpf;
use aya::maps::{Array, MapData, PerCpuArray};

use super::histogram::Latency;
use super::lab::Lab;
use super::programs;
use super::shape::{CLASSES, REALS};

/// What the reals look at.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Look {
    /// How many packets.
    Count,
    /// How long they were on their way, too.
    Time,
    /// Which flow goes to which real, too.
    Watch,
}

/// The program on all of the reals' interfaces.
pub(crate) struct Real {
    object: Ebpf,
}

/// Packets that have arrived.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Arrived {
    /// By CPU.
    pub(crate) cpus: Vec<u64>,
    /// By the real's number.
    pub(crate) reals: Vec<u64>,
}

/// A flow, as the reals have seen it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Seen {
    /// The first packet's real.
    pub(crate) real: u32,
    /// Packets to it.
    pub(crate) packets: u32,
    /// Packets to others.
    pub(crate) strayed: u32,
}

impl Real {
    /// Attaches it.
    pub(crate) fn attach(lab: &Lab, look: Look) -> anyhow::Result<Self> {
        let mut object = programs::object()?;
        let name = match look {
            Look::Count => "real_count",
            Look::Time => "real_time",
            Look::Watch => "real_watch",
        };
        for lane in &lab.lanes {
            programs::attach(&mut object, name, &lab.real, &lane.real_interface())?;
        }
        Ok(Self { object })
    }

    /// What has arrived so far.
    pub(crate) fn arrived(&self) -> anyhow::Result<Arrived> {
        let map: PerCpuArray<&MapData, u64> = self.object.map("ARRIVED").context("map ARRIVED")?.try_into()?;
        let mut arrived = Arrived { cpus: Vec::new(), reals: Vec::new() };
        for real in 0..REALS {
            let counts = map.get(&real, 0)?;
            arrived.cpus.resize(counts.len(), 0);
            arrived.cpus.iter_mut().zip(counts.iter()).for_each(|(sum, count)| *sum += count);
            arrived.reals.push(counts.iter().sum());
        }
        Ok(arrived)
    }

    /// Latencies since the last call.
    pub(crate) fn latencies(&mut self) -> anyhow::Result<Option<Latency>> {
        let mut map: PerCpuArray<&mut MapData, u64> =
            self.object.map_mut("LATENCIES").context("map LATENCIES")?.try_into()?;
        let mut classes = Vec::new();
        for class in 0..CLASSES {
            let counts = map.get(&class, 0)?;
            let count: u64 = counts.iter().sum();
            if count > 0 {
                map.set(class, aya::maps::PerCpuValues::try_from(vec![0; counts.len()])?, 0)?;
            }
            classes.push(count);
        }
        Ok(Latency::of(&classes))
    }

    /// What became of a range of flows.
    pub(crate) fn seen(&self, flows: std::ops::Range<u32>) -> anyhow::Result<Vec<Option<Seen>>> {
        let map: Array<&MapData, [u32; 4]> = self.object.map("SEEN").context("map SEEN")?.try_into()?;
        let of = |flow| {
            let [real, packets, strayed, _] = map.get(&flow, 0)?;
            Ok((real > 0).then(|| Seen { real: real - 1, packets, strayed }))
        };
        flows.map(of).collect()
    }
}

impl Arrived {
    /// What has come since.
    pub(crate) fn since(&self, before: &Self) -> Self {
        let less = |now: &[u64], then: &[u64]| now.iter().zip(then).map(|(now, then)| now - then).collect();
        Self { cpus: less(&self.cpus, &before.cpus), reals: less(&self.reals, &before.reals) }
    }

    /// All of them.
    pub(crate) fn packets(&self) -> u64 {
        self.cpus.iter().sum()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_has_come_since_is_the_difference() {
        let before = Arrived { cpus: vec![1, 2], reals: vec![0, 3] };
        let now = Arrived { cpus: vec![5, 2], reals: vec![1, 6] };
        let since = now.since(&before);
        assert_eq!((since.packets(), since.cpus, since.reals), (4, vec![4, 0], vec![1, 3]));
    }
}
