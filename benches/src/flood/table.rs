//! The daemon's tables, looked at from beside it.

use std::collections::BTreeMap;
use std::net::IpAddr;

use anyhow::Context as _;
use lb_common::abi::connection::State;
use lb_common::abi::verdict::Verdict;
use lb_tests::director::possible_cpus;
use lb_userspace::dataplane::memory::Memory;
use lb_userspace::dataplane::pins::{Geometry, Pins};
use lb_userspace::dataplane::tables::Tables;

use crate::traffic::lab::Lab;
use crate::traffic::shape::{CLIENTS, FLOWS_OF_CLIENT, PORTS, WATCHED};
use crate::wrapped::Wrapped;

/// A running daemon's tables.
pub(crate) struct Table {
    memory: Memory,
    geometry: Geometry,
    tables: Tables,
}

/// What stands in them.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Held {
    /// Established flows of ours, by number, with their real's number.
    pub(crate) established: BTreeMap<u32, u32>,
    /// Connections by state.
    pub(crate) states: BTreeMap<State, u64>,
}

impl Table {
    pub(crate) fn of(lab: &Lab) -> anyhow::Result<Self> {
        let pins = Pins::new(&lab.name.pin_directory());
        let geometry = pins.existing(possible_cpus())?.context("the daemon has pinned nothing")?;
        let memory = Memory::pinned(&pins, &geometry)?;
        let tables = Tables::adopt(&memory, geometry)?;
        Ok(Self { memory, geometry, tables })
    }

    /// Places for IPv4 connections.
    pub(crate) fn places(&self) -> u64 {
        self.tables.places().0
    }

    pub(crate) fn held(&self) -> Held {
        let mut held = Held::default();
        self.tables.each_connection(|connection| {
            let state = connection.meta.state();
            *held.states.entry(state).or_default() += 1;
            if state == State::Established
                && let Some(flow) = flow(connection.client.ip(), connection.client.port())
            {
                held.established.insert(flow, connection.meta.real());
            }
        });
        held
    }

    /// Packets by verdict so far, those that there were none of left out.
    pub(crate) fn verdicts(&self) -> BTreeMap<Verdict, u64> {
        self.tables.verdicts().into_iter().filter(|(_, packets)| *packets > 0).collect()
    }

    /// The director's pipeline over these tables.
    pub(crate) fn wrapped(&self, vip: &str) -> anyhow::Result<Wrapped> {
        Wrapped::over(&self.memory, &self.geometry, &self.tables.settings(), vip)
    }
}

/// The number of a flow of ours.
fn flow(client: IpAddr, port: u16) -> Option<u32> {
    let IpAddr::V4(client) = client else { return None };
    let client = client.to_bits().checked_sub(CLIENTS)?;
    let port = u32::from(port).checked_sub(PORTS).filter(|port| *port < FLOWS_OF_CLIENT)?;
    client.checked_mul(FLOWS_OF_CLIENT)?.checked_add(port).filter(|flow| *flow < WATCHED)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn flows_are_known_by_client_and_port() {
        let of = |client: &str, port| flow(client.parse().unwrap(), port);
        assert_eq!(of("10.8.0.0", 0x4000), Some(0));
        assert_eq!(of("10.8.0.1", 0x4003), Some(4099));
        assert_eq!(of("11.0.0.1", 0x4000), None, "spoofed");
        assert_eq!(of("10.7.255.255", 0x4000), None);
        assert_eq!((of("10.8.0.0", 0x3fff), of("10.8.0.0", 0x5000), of("fd00::1", 0x4000)), (None, None, None));
    }
}
