//! One case's own object and tables, sized for it and filled before anything is timed.

use anyhow::Context as _;
use aya::Ebpf;
use aya::maps::{Array, MapData};
use aya::programs::{TestRun as _, TestRunOptions, Xdp};
use lb_common::abi::LAYOUT_VERSION;
use lb_common::abi::connection::STATES;
use lb_common::abi::real::Capacity;
use lb_common::abi::service::scheduler;
use lb_common::abi::settings::{DEFAULT_TIMEOUTS, Settings};
use lb_common::abi::tables::Table;
use lb_common::abi::verdict::Verdict;
use lb_common::algo::ring::{RingMember, destination_hash, maglev, source_hash};
use lb_tests::director::possible_cpus;
use lb_tests::packet::{ACK, SYN};
use lb_userspace::dataplane::addresses::Address;
use lb_userspace::dataplane::ageing::Ageing;
use lb_userspace::dataplane::clock::Clock;
use lb_userspace::dataplane::identity::endpoint;
use lb_userspace::dataplane::loader::parse_over;
use lb_userspace::dataplane::locals::LocalAddress;
use lb_userspace::dataplane::memory::Memory;
use lb_userspace::dataplane::objects;
use lb_userspace::dataplane::pins::{Buckets, Geometry};
use lb_userspace::dataplane::tables::{Pool, Tables};

use super::case::{Case, OPEN, Subject};
use super::usual;

/// Packets that a run of a wrapped program takes.
pub(crate) const PACKETS: u32 = 8;
/// Packets of a repetition are as many as there are flows, but not less than this,
const LEAST: u32 = 1 << 20;
/// and not more than this: with 8 M flows each is met once in four repetitions.
const MOST: u32 = 1 << 21;

/// A case, ready to be measured.
pub(crate) struct Instance {
    case: Case,
    object: Ebpf,
    tables: Tables,
    clock: Clock,
    /// Instructions of its program after the verifier's rewriting, wrapper included.
    pub(crate) instructions: u32,
}

impl Instance {
    /// Loads and fills what the case needs.
    pub(crate) fn new(case: &Case) -> anyhow::Result<Self> {
        let geometry = geometry(case)?;
        let settings = Settings {
            layout_version: LAYOUT_VERSION,
            jiffies_per_second: 250,
            tick_shift: case.tick_shift(),
            hash_key: [0x0123_4567_89ab_cdef, 0x0f1e_2d3c_4b5a_6978],
            timeouts: DEFAULT_TIMEOUTS,
            replies: u64::from(case.is_translated()),
            ..Settings::default()
        };
        let memory = Memory::unpinned(&geometry)?;
        let floor_lines = if case.is_floor() { floor_lines(case.flows)? } else { 1 };
        let (lru, lru_v6) = if case.is_v6 { (2, case.lru_places()) } else { (case.lru_places(), 2) };
        let sizes = [
            ("USUAL_CONNECTIONS", lru),
            ("USUAL_CONNECTIONS_V6", lru_v6),
            ("FLOOR", floor_lines),
            ("ENDS", if case.is_answer() { case.flows } else { 1 }),
        ];
        let mut object = parse_over(objects::BENCH, &memory, &geometry, &settings, &sizes)?;
        let mut tables = Tables::adopt(&memory, geometry)?;
        tables.set_settings(&settings);
        let instructions = load(&mut object, &case.program())?;
        load(&mut object, &case.harness())?;
        if case.is_tunnel() {
            load(&mut object, &case.program_named("longer"))?;
        }
        if case.is_answer() {
            load(&mut object, &case.filler())?;
        }
        let mut instance = Self { case: case.clone(), object, tables, clock: Clock::load()?, instructions };
        instance.set_flows(floor_lines)?;
        match case.subject {
            Subject::Baseline => instance.fill_baseline()?,
            Subject::Known | Subject::New => instance.fill_director()?,
        }
        Ok(instance)
    }

    fn set_flows(&mut self, floor_lines: u32) -> anyhow::Result<()> {
        let mut flows: Array<&mut MapData, [u32; 3]> = self.object.map_mut("FLOWS").context("map FLOWS")?.try_into()?;
        flows.set(0, [0, self.case.flows - 1, floor_lines], 0)?;
        Ok(())
    }

    /// Services and reals of the usual design, and every flow that the wrapper will make. Programs put the flows in: eight million system
    /// calls would take longer than what is measured.
    fn fill_baseline(&mut self) -> anyhow::Result<()> {
        usual::fill(&mut self.object)?;
        let filler = if self.case.is_insert() { "forget" } else { "fill" };
        let filler = self.case.program_named(filler);
        load(&mut self.object, &filler)?;
        if !self.case.is_insert() {
            self.run(&filler, &self.case.measured_frame(), self.case.flows.div_ceil(PACKETS))?;
        }
        Ok(())
    }

    /// The service with its reals; its flows by the path that real ones take: a SYN, then an ACK.
    fn fill_director(&mut self) -> anyhow::Result<()> {
        self.set_locals();
        let key = self.case.service().parse().map_err(|error| anyhow::anyhow!("{error}"))?;
        self.tables.add_service(key)?;
        let reals: Vec<_> =
            self.case.reals().into_iter().filter_map(|real| endpoint(&real).map(|at| (at, real))).collect();
        for (at, real) in &reals {
            // More than none, so that lblc and lblcr stay with what they have.
            self.tables.set_real(&key, *at, real, &Capacity { weight: 1, last_weight: 1, ..Capacity::default() })?;
        }
        self.publish(self.case.scheduler, reals.len())?;
        if self.case.has_connections() {
            let round = self.case.flows.div_ceil(PACKETS);
            for flags in [SYN, ACK] {
                let frame = self.case.frame(flags);
                self.run(&self.case.filler(), &frame, round)?;
            }
            // At four fifths of its places the table holds them all; behind translation connections do not move, and some find no room.
            let missing = u64::from(self.case.flows) - self.used();
            anyhow::ensure!(
                missing * 100 <= u64::from(self.case.flows),
                "{}: {missing} of {} flows are not in the table",
                self.case.title(),
                self.case.flows
            );
        }
        Ok(())
    }

    /// Makes the service schedule by this, over so many of its reals, of weights 1 to 5.
    pub(crate) fn schedule_by(&mut self, scheduler: u8, reals: usize) -> anyhow::Result<()> {
        self.empty()?;
        self.publish(scheduler, reals)?;
        // Places that were left are free after the second one.
        for _ in 0..2 {
            self.tables.settle(|_, _| true);
        }
        Ok(())
    }

    fn publish(&mut self, scheduler: u8, reals: usize) -> anyhow::Result<()> {
        let key = self.case.service().parse().map_err(|error| anyhow::anyhow!("{error}"))?;
        let is_varied = self.case.name == OPEN;
        let weight = |place: usize| if is_varied { place as u32 % 5 + 1 } else { 1 };
        let endpoints: Vec<_> = self.case.reals().iter().take(reals).filter_map(endpoint).collect();
        let ring_members: Vec<_> = (1..)
            .zip(0..reals)
            .map(|(n, place)| RingMember { address: 0x0a00_0100 + n, port: 80, weight: weight(place) })
            .collect();
        let ring = match scheduler {
            scheduler::MH => maglev(&ring_members),
            scheduler::SH => source_hash(&ring_members),
            scheduler::DH => destination_hash(&ring_members),
            _ => Vec::new(),
        };
        let members = endpoints.iter().enumerate().map(|(place, at)| (*at, weight(place))).collect();
        let addresses = Address::of_service(&key).into_iter().collect();
        self.tables.set_pool(&key, Pool { scheduler, members, ring, weight_start: 1, addresses, ..Pool::default() })?;
        Ok(())
    }

    /// What full NAT sends from: 16 addresses, so that a real has a million ends.
    fn set_locals(&mut self) {
        let locals: Vec<_> = (1..=16)
            .flat_map(|number| [format!("10.0.2.{number}"), format!("fd00::2:{number:x}")])
            .map(|address| LocalAddress {
                address: address.parse().expect("an address"),
                ports: "1024-65535".parse().expect("ports"),
            })
            .collect();
        self.tables.set_locals(&locals);
    }

    /// Nanoseconds a packet of one repetition, harness included.
    pub(crate) fn measure(&mut self) -> anyhow::Result<f64> {
        if self.case.is_translated() {
            // What a daemon says every second.
            let tick = self.clock.tick(self.case.tick_shift())?;
            self.tables.note_routes_watched(tick);
        }
        let frame = self.case.measured_frame();
        // Each flow once: what comes after would be known.
        let once = self.case.flows / PACKETS;
        if self.case.is_insert() {
            if !self.case.is_flood() {
                self.run(&self.case.program_named("forget"), &frame, once)?;
            }
            return self.run(&self.case.program(), &frame, once);
        }
        if self.case.subject == Subject::New {
            if !self.case.is_flood() {
                self.empty()?;
            }
            return self.run(&self.case.program(), &frame, once);
        }
        let runs = self.case.flows.clamp(LEAST, MOST) / PACKETS;
        self.run(&self.case.program(), &frame, runs)
    }

    /// Nanoseconds a packet of the wrapper around nothing, on the same packet and as many flows; for tunnels with the cost of undoing
    /// the outer header.
    pub(crate) fn measure_harness(&mut self) -> anyhow::Result<f64> {
        let frame = self.case.measured_frame();
        let empty = self.run(&self.case.harness(), &frame, LEAST / PACKETS)?;
        if !self.case.is_tunnel() {
            return Ok(empty);
        }
        // Making longer and undoing it cost the same: one call of the same helper and a new Ethernet header each.
        let both = self.run(&self.case.program_named("longer"), &frame, LEAST / PACKETS)?;
        Ok(empty + (both - empty) / 2.0)
    }

    /// Takes all connections out of the tables.
    fn empty(&mut self) -> anyhow::Result<()> {
        let mut newest = 0;
        self.tables.each_connection(|connection| newest = newest.max(connection.meta.last_seen()));
        self.tables.sweep(newest + 1, &Ageing::director([0; STATES]));
        let used = self.used();
        anyhow::ensure!(used == 0, "{used} connections stayed in the tables");
        Ok(())
    }

    /// Connections in the tables.
    fn used(&self) -> u64 {
        let mut all = 0;
        self.tables.each_connection(|_| all += 1);
        all
    }

    /// Packets that the director did not do with what the case is about: a benchmark of errors says nothing.
    pub(crate) fn check(&self) -> anyhow::Result<()> {
        if self.case.subject == Subject::Baseline {
            let missed = usual::missed(&self.object)?;
            anyhow::ensure!(missed == 0, "{}: {missed} packets were not found", self.case.title());
            return Ok(());
        }
        anyhow::ensure!(
            self.case.is_v6 || self.tables.settings().routes_unknown == 0,
            "{}: the kernel knew no way to a client",
            self.case.title()
        );
        let expected = match self.case.method {
            "-" if self.case.is_unknown() => Verdict::MissNotSyn,
            "-" => Verdict::NotAService,
            "direct" => Verdict::Direct,
            "nat" | "fullnat" => Verdict::Nat,
            _ => Verdict::Tunnel,
        };
        let is_expected = |verdict| verdict == expected || (self.case.is_answer() && verdict == Verdict::Reply);
        let all: u64 = self.tables.verdicts().iter().map(|(_, packets)| packets).sum();
        for (verdict, packets) in self.tables.verdicts() {
            // Flows that found no place, as said above.
            let is_rare = packets * 100 <= all
                && matches!(
                    verdict,
                    Verdict::TableFull
                        | Verdict::MissNotSyn
                        | Verdict::NatFull
                        | Verdict::NatSpent
                        | Verdict::NotAService
                );
            anyhow::ensure!(
                packets == 0 || is_expected(verdict) || is_rare,
                "{}: {packets} packets of {all} ended as {verdict:?}",
                self.case.title()
            );
        }
        Ok(())
    }

    fn run(&mut self, program: &str, frame: &[u8], runs: u32) -> anyhow::Result<f64> {
        let program: &mut Xdp = self.object.program_mut(program).context("program")?.try_into()?;
        let options = TestRunOptions { data_in: Some(frame), repeat: runs.max(1), ..TestRunOptions::default() };
        let result = program.test_run(options)?;
        anyhow::ensure!(result.return_value != 0, "{}: the wrapper gave up", self.case.title());
        Ok(result.duration.as_nanos() as f64 / f64::from(PACKETS))
    }
}

/// Room for the flows as the daemon makes it for as many connections; next to none in the table of the other family.
fn geometry(case: &Case) -> anyhow::Result<Geometry> {
    let translated = if case.is_translated() { case.flows } else { 1 };
    let mut geometry = Geometry::for_connections(case.room(), (case.count * 4).max(64), translated, possible_cpus())?;
    let other = if case.is_v6 { &mut geometry.v4 } else { &mut geometry.v6 };
    *other = Buckets { first: 2, overflow: 2 };
    Ok(geometry)
}

/// Cache lines of the director's table of connections with so many flows.
fn floor_lines(flows: u32) -> anyhow::Result<u32> {
    let geometry = Geometry::for_connections(flows, 64, 1, possible_cpus())?;
    Ok(u32::try_from(geometry.bytes(Table::ConnectionsV4) / 64)?)
}

fn load(object: &mut Ebpf, name: &str) -> anyhow::Result<u32> {
    let program: &mut Xdp = object.program_mut(name).with_context(|| format!("program {name}"))?.try_into()?;
    program.load().with_context(|| format!("loading {name}"))?;
    Ok(program.info()?.size_translated().unwrap_or(0) / 8)
}
