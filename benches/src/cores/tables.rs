//! Tables with two services over reals of their own, and programs over them.

use anyhow::Context as _;
use lb_common::abi::LAYOUT_VERSION;
use lb_common::abi::connection::STATES;
use lb_common::abi::real::Capacity;
use lb_common::abi::service::scheduler::RR;
use lb_common::abi::settings::{DEFAULT_TIMEOUTS, Settings};
use lb_tests::director::{direct, possible_cpus};
use lb_tests::packet::{ACK, SYN};
use lb_userspace::dataplane::addresses::Address;
use lb_userspace::dataplane::ageing::Ageing;
use lb_userspace::dataplane::identity::endpoint;
use lb_userspace::dataplane::memory::Memory;
use lb_userspace::dataplane::pins::Geometry;
use lb_userspace::dataplane::tables::{Pool, Tables};
use lb_userspace::model::ServiceKey;

use crate::wrapped::{DIRECTOR, Wrapped};

/// Addresses of the services.
pub(crate) const VIPS: [&str; 2] = ["10.0.0.100", "10.0.0.101"];
/// Reals of each.
const REALS: u8 = 16;

/// Tables that nobody else has.
pub(crate) struct Shared {
    memory: Memory,
    geometry: Geometry,
    settings: Settings,
    tables: Tables,
    flows: u32,
}

impl Shared {
    /// For so many flows of each service, all of them known if `is_known`.
    pub(crate) fn new(flows: u32, is_known: bool) -> anyhow::Result<Self> {
        let geometry = Geometry::for_connections(flows * 2, u32::from(REALS) * 8, 64, possible_cpus())?;
        let settings = Settings {
            layout_version: LAYOUT_VERSION,
            jiffies_per_second: 250,
            tick_shift: 8,
            hash_key: [0x0123_4567_89ab_cdef, 0x0f1e_2d3c_4b5a_6978],
            timeouts: DEFAULT_TIMEOUTS,
            ..Settings::default()
        };
        let memory = Memory::unpinned(&geometry)?;
        let mut tables = Tables::adopt(&memory, geometry)?;
        tables.set_settings(&settings);
        let mut shared = Self { memory, geometry, settings, tables, flows };
        for (number, vip) in (0..).zip(VIPS) {
            shared.add(vip, number)?;
        }
        if is_known {
            for vip in VIPS {
                shared.open(vip)?;
            }
        }
        Ok(shared)
    }

    /// Programs over these tables that send to a service, beginning at a flow.
    pub(crate) fn wrapped(&self, vip: &str, start: u32, flags: u8) -> anyhow::Result<Wrapped> {
        let mut wrapped = Wrapped::over(&self.memory, &self.geometry, &self.settings, vip)?;
        wrapped.set_flags(vip, flags);
        wrapped.set_flows(start, self.flows)?;
        Ok(wrapped)
    }

    /// Takes all connections out.
    pub(crate) fn empty(&self) -> anyhow::Result<()> {
        let (mut newest, mut left) = (0, 0);
        self.tables.each_connection(|connection| newest = newest.max(connection.meta.last_seen()));
        self.tables.sweep(newest + 1, &Ageing::director([0; STATES]));
        self.tables.each_connection(|_| left += 1);
        anyhow::ensure!(left == 0, "{left} connections stayed in the tables");
        Ok(())
    }

    fn add(&mut self, vip: &str, number: u8) -> anyhow::Result<()> {
        let key: ServiceKey = format!("tcp://{vip}:80").parse().map_err(|error| anyhow::anyhow!("{error}"))?;
        self.tables.add_service(key)?;
        let mut members = Vec::new();
        for place in 1..=REALS {
            let real = direct(&format!("10.0.{}.{place}:80", number + 1), place);
            let at = endpoint(&real).context("an address of a real")?;
            let capacity = Capacity { weight: 1, last_weight: 1, ..Capacity::default() };
            self.tables.set_real(&key, at, &real, &capacity)?;
            members.push((at, 1));
        }
        let addresses = Address::of_service(&key).into_iter().collect();
        let pool = Pool { scheduler: RR, members, weight_start: 1, addresses, ..Pool::default() };
        Ok(self.tables.set_pool(&key, pool)?)
    }

    /// A SYN and an ACK of each flow.
    fn open(&self, vip: &str) -> anyhow::Result<()> {
        let mut wrapped = self.wrapped(vip, 0, SYN)?;
        wrapped.run(DIRECTOR, self.flows)?;
        wrapped.set_flags(vip, ACK);
        wrapped.run(DIRECTOR, self.flows).map(drop)
    }
}
