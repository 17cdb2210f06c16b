//! A listing of connections, part by part: between two of them the director does what else it is asked for.

use std::collections::BTreeMap;
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;

use lb_common::abi::connection::{STATE_NAMES, State};
use lb_common::abi::settings::Settings;
use serde::Serialize;

use super::director::Director;
use crate::api::engine::ConnectionPart;
use crate::api::error::EngineError;
use crate::api::types::ConnectionFilter;
use crate::dataplane::ageing::Ageing;
use crate::dataplane::clock;
use crate::dataplane::connections::{Connection, Virtuals};
use crate::dataplane::identity::endpoint;
use crate::dataplane::rounds::Stretch;
use crate::dataplane::templates::Assured;
use crate::model::{Protocol, ServiceKey};

/// How far it has come, and what it is about.
pub(super) struct Listing {
    filter: ConnectionFilter,
    state: Option<State>,
    stretches: Vec<Stretch>,
    names: Arc<Names>,
    total: u64,
    shown: u64,
}

/// What numbers in connections mean, by the revision that was applied then.
struct Names {
    revision: u64,
    services: Vec<Option<ServiceKey>>,
    virtuals: Virtuals,
    ageing: Arc<Ageing>,
    assured: Assured,
    now: u32,
    settings: Settings,
}

/// As [`ConnectionView`](crate::api::types::ConnectionView), without memory of its own.
#[derive(Serialize)]
struct Line<'a> {
    protocol: Protocol,
    client: SocketAddr,
    #[serde(rename = "virtual")]
    virtual_: SocketAddr,
    real: &'a str,
    state: &'static str,
    idle_seconds: u64,
    expires_seconds: u64,
}

/// Stretches of a part.
const AT_ONCE: usize = 4;

impl Listing {
    /// The connections that match. Those of reals that were removed are shown too, as they still lead there.
    pub(super) fn new(director: &mut Director, filter: ConnectionFilter) -> Result<Self, EngineError> {
        let state = filter.state.as_deref().map(known_state).transpose()?;
        let is_unknown = |service: &&ServiceKey| !director.tables.services().contains_key(*service);
        if let Some(service) = filter.service.as_ref().filter(is_unknown) {
            return Err(EngineError::NotFound { what: format!("service {service} does not exist") });
        }
        let mut stretches: Vec<Stretch> = director.tables.stretches().collect();
        stretches.reverse();
        let names = Arc::new(Names::new(director)?);
        Ok(Self { filter, state, stretches, names, total: 0, shown: 0 })
    }

    /// The next part; None when all of the tables has been looked at.
    pub(super) fn part(&mut self, director: &mut Director) -> Option<ConnectionPart> {
        if self.stretches.is_empty() {
            return None;
        }
        // Numbers may have been given to others.
        if self.names.revision != director.saved.revision
            && let Ok(names) = Names::new(director)
        {
            self.names = Arc::new(names);
        }
        let mut part = ConnectionPart::default();
        // The endpoints of most connections have been written a moment ago.
        let mut reals = BTreeMap::new();
        let names = Arc::clone(&self.names);
        for _ in 0..AT_ONCE {
            let Some(stretch) = self.stretches.pop() else { break };
            director.tables.connections_in(stretch, &names.virtuals, |connection| {
                self.take(director, &names, &mut reals, &mut part, &connection);
            });
        }
        Some(part)
    }

    fn take(
        &mut self,
        director: &Director,
        names: &Names,
        reals: &mut BTreeMap<(u32, u16), Option<(IpAddr, String)>>,
        part: &mut ConnectionPart,
        connection: &Connection,
    ) {
        let meta = connection.meta;
        let Some(service) = names.services.get(meta.service() as usize).copied().flatten() else { return };
        let real = reals.entry((meta.real(), connection.port)).or_insert_with(|| {
            let real = director.tables.real(meta.real()).as_ref().and_then(endpoint)?;
            // A service of any port leads to the same port at the real.
            let port = if real.port() == 0 { connection.port } else { real.port() };
            Some((real.ip(), SocketAddr::new(real.ip(), port).to_string()))
        });
        let Some((address, real)) = real else { return };
        let filter = &self.filter;
        let matches = filter.service.is_none_or(|wanted| wanted == service)
            && filter.client.is_none_or(|client| client == connection.client.ip())
            && filter.real.is_none_or(|wanted| wanted == *address)
            && self.state.is_none_or(|state| state == meta.state());
        if !matches {
            return;
        }
        self.total += 1;
        part.total += 1;
        if self.total <= filter.skip || self.shown >= filter.limit as u64 {
            return;
        }
        self.shown += 1;
        let (address, protocol) = match connection.virtual_ {
            Some((address, number)) => (address, Protocol::of_number(number).unwrap_or(service.protocol)),
            None => (service.address, service.protocol),
        };
        let Settings { jiffies_per_second, tick_shift, .. } = names.settings;
        let seconds = |ticks| clock::seconds(ticks, jiffies_per_second, tick_shift);
        let idle = meta.idle(names.now);
        part.push(&Line {
            protocol,
            client: connection.client,
            virtual_: SocketAddr::new(address, connection.port),
            real,
            state: names.assured.state(&names.ageing, connection).name(),
            idle_seconds: seconds(idle),
            expires_seconds: seconds(names.ageing.timeout(meta).saturating_sub(idle)),
        });
    }
}

impl Names {
    fn new(director: &mut Director) -> Result<Self, EngineError> {
        let (now, settings) = director.now().map_err(|e| EngineError::Failed { cause: e.to_string() })?;
        let ageing = director.ageing();
        let tables = &director.tables;
        let mut services = Vec::new();
        for (number, key) in tables.numbers() {
            services.resize(services.len().max(number as usize + 1), None);
            services[number as usize] = Some(key);
        }
        let (virtuals, assured) = (tables.virtuals(), tables.assured(&ageing));
        Ok(Self { revision: director.saved.revision, services, virtuals, ageing, assured, now, settings })
    }
}

fn known_state(word: &str) -> Result<State, EngineError> {
    let position = STATE_NAMES.iter().position(|name| name.eq_ignore_ascii_case(word) && *name != "?");
    let known = || {
        STATE_NAMES
            .iter()
            .filter(|name| **name != "?" && **name != "NONE" && **name != "BUSY")
            .copied()
            .collect::<Vec<_>>()
    };
    position.map(|position| State::from_bits(position as u8)).ok_or_else(|| EngineError::NotFound {
        what: format!("state {word} does not exist; one of {}", known().join(", ")),
    })
}
