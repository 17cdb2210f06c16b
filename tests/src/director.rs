//! The director's program over tables of its own. [`Director::send`] runs one frame through it and checks what holds for every
//! packet: exactly one verdict is counted and its action returned, exactly one service and real count a forwarded packet or an answer and
//! nobody another one, the bytes are those of [`crate::expect`] or [`crate::conversation`], and untouched ones stay so.

use std::collections::BTreeMap;
use std::io::{self, ErrorKind};
use std::net::SocketAddr;
use std::sync::atomic::{AtomicU64, Ordering};

use aya::Ebpf;
use aya::programs::{ProgramError, TestRun as _, TestRunOptions, Xdp};
use aya::sys::SyscallError;
use lb_common::abi::LAYOUT_VERSION;
use lb_common::abi::connection::{SEEN_MASK, STATES, State};
use lb_common::abi::limits::MAX_SERVICES;
use lb_common::abi::names::PROGRAM_DIRECTOR;
use lb_common::abi::real::{Real, method};
use lb_common::abi::remembered;
use lb_common::abi::service::Cursor;
use lb_common::abi::settings::{DEFAULT_TIMEOUTS, Settings};
use lb_common::abi::tables::Table;
use lb_common::abi::verdict::{Action, Verdict};
use lb_common::algo::state::reuse_states;
use lb_userspace::dataplane::ageing::Ageing;
use lb_userspace::dataplane::counters::Sum;
use lb_userspace::dataplane::locals::LocalAddress;
use lb_userspace::dataplane::mapped::Mapped;
use lb_userspace::dataplane::pins::{Buckets, Geometry};
use lb_userspace::dataplane::tables::Tables;
use lb_userspace::model::ServiceKey;
use nix::sched::{CpuSet, sched_setaffinity};
use nix::unistd::Pid;

use crate::conversation::{Conversation, Conversations};
use crate::expect;
use crate::loaded::Loaded;
pub use crate::reals::{GRE, GUE, direct, full_nat, nat, through, tunnel};

/// Interface that frames come in by: the loopback device of the network namespace, which `BPF_PROG_TEST_RUN` names.
pub const INGRESS: u32 = 1;
/// Another interface, which no frame reaches: a test run goes no further than the action.
pub const OTHER: u32 = 77;

/// The director under test.
pub struct Director {
    loaded: Loaded,
    /// Its tables, for rows that look at or change them.
    pub tables: Tables,
    conversations: Conversations,
}

/// A frame's way through the director.
#[derive(Clone, Debug)]
pub struct Sent {
    /// Its verdict.
    pub verdict: Verdict,
    /// The frame afterwards.
    pub frame: Vec<u8>,
    /// The real that counted it, or that it answers for.
    pub real: Option<SocketAddr>,
    /// The service that counted it.
    pub service: Option<ServiceKey>,
    /// It began a connection, as service and real counted it.
    pub is_new: bool,
}

/// Numbers of the table sizes and settings that rows choose.
#[derive(Clone, Copy, Debug)]
pub struct Options {
    /// Buckets of each connection table.
    pub buckets: u32,
    /// Buckets of the reply table.
    pub reply_buckets: u32,
    /// Right shift from jiffies to ticks.
    pub tick_shift: u32,
    /// Any packet but RST begins a connection.
    pub sloppy_tcp: bool,
    /// Echo requests are answered.
    pub answer_echo: bool,
    /// Timeout of every state, in ticks.
    pub timeout: Option<u32>,
    /// Packets that are for no service are looked up as answers.
    pub replies: bool,
    /// What full NAT sends from: addresses, and their ports.
    pub locals: &'static [(&'static str, &'static str)],
    /// Bytes of the largest IP packet that the way to a client takes: that of [`INGRESS`], unless a row has routes.
    pub client_mtu: u32,
}

impl Default for Options {
    fn default() -> Self {
        Self {
            buckets: 1 << 10,
            reply_buckets: 1 << 8,
            tick_shift: 8,
            sloppy_tcp: false,
            answer_echo: false,
            timeout: None,
            replies: true,
            locals: &[],
            client_mtu: 65_536,
        }
    }
}

type Counts = (BTreeMap<ServiceKey, Sum>, BTreeMap<(ServiceKey, SocketAddr), Sum>, Vec<(Verdict, u64)>);

impl Default for Director {
    fn default() -> Self {
        Self::new(Options::default())
    }
}

impl Director {
    /// The program over empty tables. The thread stays on its CPU from now on: round robin goes round on each by itself.
    pub fn new(options: Options) -> Self {
        stay_on_this_cpu();
        let geometry = Geometry {
            v4: Buckets { first: options.buckets / 2, overflow: options.buckets / 2 },
            v6: Buckets { first: options.buckets / 2, overflow: options.buckets / 2 },
            reals: 64,
            reply_buckets: options.reply_buckets,
            cpus: possible_cpus(),
        };
        let settings = Settings {
            layout_version: LAYOUT_VERSION,
            jiffies_per_second: 250,
            tick_shift: options.tick_shift,
            sloppy: u32::from(options.sloppy_tcp),
            reuse_states: reuse_states(3),
            answer_echo: u64::from(options.answer_echo),
            hash_key: [0x0123_4567_89ab_cdef, 0x0f1e_2d3c_4b5a_6978],
            replies: u64::from(options.replies),
            timeouts: options.timeout.map_or(DEFAULT_TIMEOUTS, |ticks| [ticks; STATES]),
            ..Settings::default()
        };
        let loaded = Loaded::take(&geometry, &settings);
        let mut tables = Tables::adopt(loaded.memory(), geometry).expect("empty tables");
        tables.set_settings(&settings);
        let mut director = Self { loaded, tables, conversations: Conversations::new(options.client_mtu) };
        director.locals(options.locals);
        director
    }

    /// A new daemon: it knows what it finds in the tables.
    pub fn restart(&mut self) {
        self.tables = Tables::adopt(self.loaded.memory(), self.tables.geometry).expect("the tables are whole");
    }

    /// Makes these the addresses and ports that full NAT sends new connections from.
    pub fn locals(&mut self, locals: &[(&str, &str)]) {
        let locals: Vec<_> = locals
            .iter()
            .map(|(address, ports)| LocalAddress {
                address: address.parse().expect("an address"),
                ports: ports.parse().expect("ports"),
            })
            .collect();
        self.tables.set_locals(&locals);
    }

    /// Rewrites a real: another disposition, MTU or MAC.
    pub fn change_real(&mut self, key: &ServiceKey, at: SocketAddr, change: impl FnOnce(&mut Real)) {
        let mut real = self.real(key, at);
        change(&mut real);
        let capacity = self.tables.capacity(self.number(key, at));
        self.tables.set_real(key, at, &real, &capacity).expect("it has a number");
    }

    /// A real's value in the table.
    pub fn real(&self, key: &ServiceKey, at: SocketAddr) -> Real {
        self.tables.real(self.number(key, at)).expect("a real")
    }

    /// Active and inactive connections of a real.
    pub fn load(&self, key: &ServiceKey, at: SocketAddr) -> (u32, u32) {
        let load = self.tables.load(self.number(key, at));
        (load.active(), load.inactive())
    }

    fn number(&self, key: &ServiceKey, at: SocketAddr) -> u32 {
        self.tables.services()[key].reals[&at]
    }

    /// Connections in the tables, with their states.
    pub fn connections(&self) -> Vec<(SocketAddr, State)> {
        let mut all = Vec::new();
        self.tables.each_connection(|connection| all.push((connection.client, connection.meta.state())));
        all
    }

    /// Takes every connection out of the tables, as expiry does.
    pub fn forget(&mut self) {
        let mut newest = 0;
        self.tables.each_connection(|connection| newest = newest.max(connection.meta.last_seen()));
        self.tables.sweep(newest + 1, &Ageing::director([0; STATES]));
        assert!(self.connections().is_empty(), "every connection has expired");
    }

    /// Takes the connections in this state out of the tables.
    pub fn forget_all_in(&mut self, state: State) {
        let mut timeouts = [u32::MAX; STATES];
        timeouts[state as usize] = 0;
        let mut newest = 0;
        self.tables.each_connection(|connection| newest = newest.max(connection.meta.last_seen()));
        self.tables.sweep(newest + 1, &Ageing::director(timeouts));
        assert!(self.connections().iter().all(|(_, other)| *other != state), "all of them have expired");
    }

    /// Runs one frame through the program and checks everything that does not depend on the row.
    pub fn send(&mut self, frame: &[u8]) -> Sent {
        let before = self.counts();
        let (action, out) = run(program(self.loaded.object()), frame, &[]);
        self.judge(frame, action, out, &before)
    }

    /// As [`Director::send`], with `metadata` bytes in front of the frame, which take the room that a tunnel header needs. None where
    /// the kernel takes no more than 32 of them (6.1 for one), which leaves room enough.
    pub fn send_without_headroom(&mut self, frame: &[u8], metadata: u8) -> Option<Sent> {
        let before = self.counts();
        match try_run(program(self.loaded.object()), frame, &vec![0; usize::from(metadata)]) {
            Ok((action, out)) => Some(self.judge(frame, action, out, &before)),
            Err(refusal) if metadata > 32 && refusal.kind() == ErrorKind::InvalidInput => None,
            Err(refusal) => panic!("test run with {metadata} bytes of metadata: {refusal}"),
        }
    }

    /// Runs one frame through the program and checks nothing: its action, and the frame afterwards.
    pub fn pass(&mut self, frame: &[u8]) -> (u32, Vec<u8>) {
        run(program(self.loaded.object()), frame, &[])
    }

    /// Runs lists of frames at the same time, each on a CPU of its own. Returns the frames afterwards.
    pub fn pass_at_once(&self, lists: &[Vec<Vec<u8>>]) -> Vec<Vec<u8>> {
        let program = self.loaded.objects().program(PROGRAM_DIRECTOR).expect("the director's program");
        let program: &Xdp = program.try_into().expect("an XDP program");
        let begin = std::sync::Barrier::new(lists.len());
        let run_list = |cpu: usize, frames: &[Vec<u8>]| -> Vec<Vec<u8>> {
            Cpus::usable().move_to(cpu);
            begin.wait();
            frames.iter().map(|frame| run(program, frame, &[]).1).collect()
        };
        let run_list = &run_list;
        std::thread::scope(|scope| {
            let threads: Vec<_> =
                lists.iter().enumerate().map(|(cpu, frames)| scope.spawn(move || run_list(cpu, frames))).collect();
            threads.into_iter().flat_map(|thread| thread.join().expect("it does not panic")).collect()
        })
    }

    /// The tables as a daemon finds them that begins.
    pub fn adopted(&self) -> Tables {
        Tables::adopt(self.loaded.memory(), self.tables.geometry).expect("the tables are whole")
    }

    /// The cursor that this CPU has in a service.
    pub fn cursor(&self, key: &ServiceKey) -> Cursor {
        let cpu = nix::sched::sched_getcpu().expect("a CPU") as u32;
        let id = self.tables.services()[key].id;
        self.loaded.mapped(Table::Cursors).read(cpu * MAX_SERVICES + id).unwrap_or_default()
    }

    /// Writes it.
    pub fn set_cursor(&self, key: &ServiceKey, cursor: &Cursor) {
        let cpu = nix::sched::sched_getcpu().expect("a CPU") as u32;
        let id = self.tables.services()[key].id;
        self.loaded.mapped(Table::Cursors).write(cpu * MAX_SERVICES + id, cursor);
    }

    /// Forgets what lblc and lblcr have of these destinations.
    pub fn forget_destinations(&self, group: u32, destinations: &[u32]) {
        let rows = self.loaded.mapped(Table::Remembered);
        for row in destinations.iter().flat_map(|destination| of_destination(&rows, group, *destination)) {
            row.iter().for_each(|word| word.store(0, Ordering::Relaxed));
        }
    }

    /// Makes what lblc and lblcr have of these destinations so many ticks older.
    pub fn age_destinations(&self, group: u32, destinations: &[u32], ticks: u32) {
        let rows = self.loaded.mapped(Table::Remembered);
        for row in destinations.iter().flat_map(|destination| of_destination(&rows, group, *destination)) {
            // The word of the last change of its reals.
            let changed = row[2].load(Ordering::Relaxed).wrapping_sub(u64::from(ticks)) & SEEN_MASK;
            row[2].store(changed, Ordering::Relaxed);
        }
    }

    fn judge(&mut self, input: &[u8], action: u32, frame: Vec<u8>, before: &Counts) -> Sent {
        let after = self.counts();
        let counted: Vec<Verdict> = before
            .2
            .iter()
            .zip(&after.2)
            .flat_map(|((verdict, old), (_, new))| vec![*verdict; (new - old) as usize])
            .collect();
        let [verdict] = counted[..] else { panic!("one verdict a packet, not {counted:?}") };
        assert_eq!(action, code(verdict.action()), "the action of {verdict:?}");
        let service = changed(&before.0, &after.0);
        let real = changed(&before.1, &after.1);
        let is_new = service.is_some_and(|(_, change)| change.connections == 1);
        let sent =
            Sent { verdict, frame, real: real.map(|((_, at), _)| at), service: service.map(|(key, _)| key), is_new };
        let counted = match (service, real) {
            (Some((key, change)), Some(((of, at), same))) => {
                assert_eq!((key, change), (of, same), "the real is the service's, and counts the same");
                Some(((key, at), change))
            }
            (None, None) => None,
            other => panic!("service and real count alike, not {other:?}"),
        };
        let bytes = if verdict.is_forwarded() || is_answer(verdict) { expect::locate(input).length as u64 } else { 0 };
        let expected = if verdict.is_forwarded() {
            let (of, change) = counted.expect("a real counts a forwarded packet");
            let expected = Sum { packets: 1, bytes, connections: u64::from(is_new), ..Sum::default() };
            assert_eq!(change, expected, "what is counted of {verdict:?}");
            self.forwarded(input, &sent, of)
        } else if is_answer(verdict) {
            let (of, change) = counted.expect("a real counts its answer");
            assert_eq!(
                change,
                Sum { reply_packets: 1, reply_bytes: bytes, ..Sum::default() },
                "what is counted of {verdict:?}"
            );
            let (expected, Conversation { service, real, .. }) =
                self.conversations.to_client(input, &sent.frame, &self.tables);
            assert_eq!(of, (service, real), "whose answer it is");
            expected
        } else {
            // A connection that begins with a packet too big for its way counts; packets and bytes do not.
            if let Some((_, change)) = counted {
                assert_eq!(Sum { connections: 0, ..change }, Sum::default(), "{verdict:?} is not forwarded");
            }
            match verdict {
                Verdict::TooBigTold => expect::too_big(input, &sent.frame),
                Verdict::EchoAnswered => expect::echo_reply(input),
                _ => input.to_vec(),
            }
        };
        assert_eq!(hex(&sent.frame), hex(&expected), "bytes of a {verdict:?} packet");
        sent
    }

    /// What must come out of a packet that goes to this real.
    fn forwarded(&mut self, input: &[u8], sent: &Sent, of: (ServiceKey, SocketAddr)) -> Vec<u8> {
        let (real, verdict) = (self.real(&of.0, of.1), sent.verdict);
        assert_eq!(real.ifindex == INGRESS, verdict.action() == Action::Tx, "{verdict:?} out of {}", real.ifindex);
        let way = match real.method {
            method::DIRECT => [Verdict::Direct, Verdict::DirectRedirect],
            method::NAT | method::FULL_NAT => [Verdict::Nat, Verdict::NatRedirect],
            method::LOCAL => [Verdict::Local; 2],
            _ => [Verdict::Tunnel, Verdict::TunnelRedirect],
        };
        assert!(way.contains(&verdict), "{verdict:?} by method {}", real.method);
        if real.method == method::LOCAL {
            input.to_vec()
        } else if method::is_translated(real.method) {
            self.conversations.to_real(input, &sent.frame, of, sent.is_new, &self.tables)
        } else {
            expect::forwarded(input, &real, &sent.frame)
        }
    }

    fn counts(&self) -> Counts {
        let mut reals = BTreeMap::new();
        let mut services = BTreeMap::new();
        for (key, row) in self.tables.services() {
            services.insert(*key, self.tables.service_sum(row));
            reals.extend(row.reals.iter().map(|(at, number)| ((*key, *at), self.tables.real_sum(*number))));
        }
        (services, reals, self.tables.verdicts())
    }

    /// Kernel's facts about the loaded program.
    pub fn info(&mut self) -> aya::programs::ProgramInfo {
        program(self.loaded.object()).info().expect("program information")
    }
}

/// The rows of a destination: one, or none.
fn of_destination(rows: &Mapped, group: u32, destination: u32) -> impl Iterator<Item = &[AtomicU64]> {
    let head = remembered::head(group, destination);
    let first = remembered::first(head);
    let ways = (first..first + remembered::WAYS).map(|row| rows.value(row));
    ways.filter(move |row| row[0].load(Ordering::Relaxed) == head)
}

fn changed<K: Ord + Copy>(before: &BTreeMap<K, Sum>, after: &BTreeMap<K, Sum>) -> Option<(K, Sum)> {
    let mut changes = after.iter().filter_map(|(key, new)| {
        let old = before.get(key).copied().unwrap_or_default();
        let change = Sum {
            packets: new.packets - old.packets,
            bytes: new.bytes - old.bytes,
            connections: new.connections - old.connections,
            reply_packets: new.reply_packets - old.reply_packets,
            reply_bytes: new.reply_bytes - old.reply_bytes,
        };
        (change != Sum::default()).then_some((*key, change))
    });
    let first = changes.next();
    assert!(changes.next().is_none(), "more than one counted the packet");
    first
}

/// The packet is a real's, on its way to the client.
const fn is_answer(verdict: Verdict) -> bool {
    matches!(verdict, Verdict::Reply | Verdict::ReplyRedirect)
}

/// The kernel's number of an action.
pub const fn code(action: Action) -> u32 {
    match action {
        Action::Drop => 1,
        Action::Pass => 2,
        Action::Tx => 3,
        Action::Redirect => 4,
    }
}

/// Bytes for people, so that a difference can be found.
pub fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect::<Vec<_>>().join(" ")
}

/// Runs a program once. `metadata` stands in front of the frame and shortens its headroom.
pub fn run(program: &Xdp, frame: &[u8], metadata: &[u8]) -> (u32, Vec<u8>) {
    try_run(program, frame, metadata).unwrap_or_else(|error| panic!("test run of {} bytes: {error}", frame.len()))
}

fn try_run(program: &Xdp, frame: &[u8], metadata: &[u8]) -> io::Result<(u32, Vec<u8>)> {
    let data = [metadata, frame].concat();
    let mut out = vec![0; data.len() + 256];
    // struct xdp_md: data, data_end, data_meta, ingress_ifindex, rx_queue_index, egress_ifindex.
    let context: Vec<u8> = [metadata.len() as u32, data.len() as u32, 0, INGRESS, 0, 0]
        .iter()
        .flat_map(|word| word.to_ne_bytes())
        .collect();
    let options = TestRunOptions {
        data_in: Some(&data),
        data_out: Some(&mut out),
        ctx_in: Some(&context),
        repeat: 1,
        ..TestRunOptions::default()
    };
    let result = program.test_run(options).map_err(|error| match error {
        ProgramError::SyscallError(SyscallError { io_error, .. }) => io_error,
        other => io::Error::other(other),
    })?;
    out.truncate(result.data_size_out as usize);
    Ok((result.return_value, out.split_off(metadata.len().min(out.len()))))
}

fn program(object: &mut Ebpf) -> &mut Xdp {
    object.program_mut(PROGRAM_DIRECTOR).expect("the director's program").try_into().expect("an XDP program")
}

/// CPUs that the kernel may ever have: maps with a stretch for each need so many.
pub fn possible_cpus() -> u32 {
    aya::util::nr_cpus().expect("the number of possible CPUs") as u32
}

fn stay_on_this_cpu() {
    stay_on(nix::sched::sched_getcpu().expect("a CPU"));
}

fn stay_on(cpu: usize) {
    let mut set = CpuSet::new();
    set.set(cpu).expect("its number fits");
    sched_setaffinity(Pid::from_raw(0), &set).expect("the thread can be pinned");
}

/// Moves the thread from CPU to CPU.
pub struct Cpus(Vec<usize>);

impl Cpus {
    /// Those that the process may use: of the whole process, since a director pins its thread.
    pub fn usable() -> Self {
        let allowed = std::fs::read_to_string("/sys/devices/system/cpu/online").expect("the kernel's list of CPUs");
        let numbers = allowed.trim().split(',').flat_map(|range| {
            let (first, last) = range.split_once('-').unwrap_or((range, range));
            first.parse().expect("a number")..=last.parse::<usize>().expect("a number")
        });
        let can = |cpu: &usize| {
            let mut set = CpuSet::new();
            set.set(*cpu).is_ok() && sched_setaffinity(Pid::from_raw(0), &set).is_ok()
        };
        let here = nix::sched::sched_getcpu().expect("a CPU");
        let usable = numbers.filter(can).collect();
        stay_on(here);
        Self(usable)
    }

    /// How many there are.
    pub fn count(&self) -> usize {
        self.0.len()
    }

    /// Goes on with the thread on the CPU at this place.
    pub fn move_to(&self, place: usize) {
        stay_on(self.0[place]);
    }
}
