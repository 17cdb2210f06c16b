//! How long connections are kept: the director's times, and what single services have instead.

use lb_common::abi::connection::{Meta, STATES, State};
use lb_common::abi::limits::MAX_SERVICES;
use lb_common::abi::service::flag;

use super::tables::{ServiceRow, Tables};

/// Ticks that connections are kept without a packet.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Ageing {
    director: [u32; STATES],
    services: Vec<Service>,
    /// For each number that connections may have the position of its service in `services` plus one, 0 for none; empty when no service
    /// has ways of its own. A sweep asks for every connection in the tables.
    positions: Vec<u16>,
}

/// Publications so far, services, the director's times.
pub type Source = (u32, usize, [u32; STATES]);

/// No stretch of the tables is left alone for more ticks.
const LONGEST: u32 = 1 << 16;

/// What a service has of its own.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Service {
    number: u32,
    timeouts: [u32; STATES],
    /// Its connections are made by templates.
    pub(super) is_persistent: bool,
    /// Leading bits of a client's address in its templates.
    pub(super) netmask: u8,
    /// Its templates are for all ports.
    pub(super) is_any_port: bool,
}

/// Positions of the three times that IPVS lets an administrator set: ESTABLISHED, FIN_WAIT and UDP.
const SETTABLE: [State; 3] = [State::Established, State::FinWait, State::Udp];

impl Ageing {
    /// The director's times, and what services in the tables have instead.
    pub fn of(tables: &Tables, director: [u32; STATES]) -> Self {
        let mut ageing = Self { director, ..Self::default() };
        let has_own = |row: &&ServiceRow| row.pool.timeouts != [0; 3] || row.pool.flags & flag::PERSISTENT != 0;
        for row in tables.services().values().filter(has_own) {
            let mut timeouts = director;
            for (state, own) in SETTABLE.into_iter().zip(row.pool.timeouts).filter(|(_, own)| *own != 0) {
                timeouts[state as usize] = own;
            }
            for state in [State::Template, State::TemplateAssured] {
                timeouts[state as usize] = row.pool.persistence;
            }
            let service = Service {
                number: row.id,
                timeouts,
                is_persistent: row.pool.flags & flag::PERSISTENT != 0,
                netmask: row.pool.netmask,
                is_any_port: row.pool.flags & flag::ANY_PORT != 0,
            };
            ageing.services.push(service);
            ageing.positions.resize(MAX_SERVICES as usize, 0);
            for number in row.numbers.values().chain([&row.id]) {
                ageing.positions[*number as usize % MAX_SERVICES as usize] = ageing.services.len() as u16;
            }
        }
        ageing
    }

    /// What it was made of: it stays as long as this does.
    pub fn source(tables: &Tables, director: [u32; STATES]) -> Source {
        (tables.generation, tables.services().len(), director)
    }

    /// The director's times alone.
    pub fn director(director: [u32; STATES]) -> Self {
        Self { director, ..Self::default() }
    }

    /// Number and own ways of the service that a connection belongs to, if it has any.
    pub(super) fn service(&self, number: u32) -> Option<(u32, &Service)> {
        let position = usize::from(*self.positions.get(number as usize)?).checked_sub(1)?;
        let service = self.services.get(position)?;
        Some((service.number, service))
    }

    /// Some service is persistent.
    pub(super) fn has_templates(&self) -> bool {
        self.services.iter().any(|service| service.is_persistent)
    }

    /// Ticks that a connection is kept.
    pub fn timeout(&self, meta: Meta) -> u32 {
        self.service(meta.service()).map_or(&self.director, |(_, service)| &service.timeouts)
            [meta.state_bits() as usize % STATES]
    }

    /// Ticks until it is over, at least 1; None when it is.
    pub(super) fn left(&self, meta: Meta, now: u32) -> Option<u32> {
        self.timeout(meta).checked_sub(meta.idle(now)).map(|left| left.saturating_add(1))
    }

    /// The shortest time that any connection is kept: what comes now is not over before.
    pub(super) fn shortest(&self) -> u32 {
        // A number of 0 is of no state, and no entry is in state NONE.
        let all = self.services.iter().map(|service| &service.timeouts).chain([&self.director]);
        all.flat_map(|timeouts| &timeouts[1..]).copied().filter(|ticks| *ticks > 0).min().unwrap_or(0).min(LONGEST)
    }

    /// No packet for longer.
    pub fn is_expired(&self, meta: Meta, now: u32) -> bool {
        meta.idle(now) > self.timeout(meta)
    }
}
