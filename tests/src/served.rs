//! A service whose connections are opened and closed one by one, in the director's program and in its twin in plain memory. Each choice of
//! the program is held against the twin's.

use std::net::{IpAddr, Ipv4Addr, SocketAddr};

use lb_common::abi::connection::State;
use lb_common::abi::limits::MH_SLOTS;
use lb_common::abi::real::{Capacity, disposition, option};
use lb_common::abi::service::{Cursor, scheduler};
use lb_common::abi::verdict::Action;
use lb_common::algo::ring::{RingMember, destination_hash, maglev_of, source_hash, wrr_steps};
use lb_common::sched::Client;
use lb_common::sched::plain::Plain;
use lb_common::wire::transport::{TCP, UDP};
use lb_userspace::dataplane::addresses::Address;
use lb_userspace::dataplane::tables::Pool;
use lb_userspace::model::ServiceKey;

use crate::director::{Director, Options, code, direct};
use crate::packet::{ACK, FIN, Packet, RST, SYN};

/// The client's address.
const CLIENT: Ipv4Addr = Ipv4Addr::new(192, 0, 2, 7);
/// The first client port.
const FIRST_PORT: u16 = 1024;

/// A service under test.
pub struct Served {
    /// The program and its tables.
    pub director: Director,
    /// The twin.
    pub twin: Plain,
    /// Slots of mh's ring.
    pub slots: u32,
    key: ServiceKey,
    scheduler: u8,
    flags: u8,
    is_udp: bool,
    destinations: u8,
    /// Servers in IPVS's list order.
    list: Vec<Server>,
    connections: Vec<Connection>,
    next_port: u16,
    /// Choices that were compared.
    choices: u64,
}

/// A server in the list.
#[derive(Clone, Copy, Debug)]
struct Server {
    /// The last byte of its address, which names it.
    name: u8,
    capacity: Capacity,
}

/// A connection that the service has.
#[derive(Clone, Copy, Debug)]
struct Connection {
    port: u16,
    destination: u8,
    real: u32,
    state: State,
}

/// Where packets of a server's go.
fn endpoint(name: u8) -> SocketAddr {
    SocketAddr::from(([10, 0, 1, name], 80))
}

impl Served {
    /// A service without servers. With more than one destination it is a mark that stands for them.
    pub fn new(scheduler: u8, flags: u8, is_udp: bool, destinations: u8) -> Self {
        let mut director = Director::new(Options { buckets: 64, reply_buckets: 16, ..Options::default() });
        let text = match (destinations, is_udp) {
            (1, false) => "tcp://10.0.0.100:80",
            (1, true) => "udp://10.0.0.100:80",
            _ => "mark://1",
        };
        let key: ServiceKey = text.parse().expect("a service");
        director.tables.add_service(key).expect("a number");
        let mut served = Self {
            director,
            twin: Plain::new(scheduler, flags),
            slots: MH_SLOTS,
            key,
            scheduler,
            flags,
            is_udp,
            destinations,
            list: Vec::new(),
            connections: Vec::new(),
            next_port: FIRST_PORT,
            choices: 0,
        };
        served.twin.cursor.seed = served.director.cursor(&key).seed;
        served.publish();
        served
    }

    /// Choices that were compared so far.
    pub fn choices(&self) -> u64 {
        self.choices
    }

    /// Where the random numbers of twos go on from.
    pub fn seed(&mut self, seed: u32) {
        self.twin.cursor.seed = seed;
        let cursor = self.director.cursor(&self.key);
        self.director.set_cursor(&self.key, &Cursor { seed, ..cursor });
    }

    /// Names of the servers in list order.
    pub fn names(&self) -> Vec<u8> {
        self.list.iter().map(|server| server.name).collect()
    }

    /// Puts a server in front of the list, as IPVS does.
    pub fn add(&mut self, name: u8, weight: u32) {
        self.list.insert(0, Server { name, capacity: Capacity { weight, last_weight: weight, ..Capacity::default() } });
        self.publish();
    }

    /// Makes these the servers, in list order, in one step.
    pub fn set(&mut self, servers: &[(u8, u32)]) {
        let server =
            |(name, weight)| Server { name, capacity: Capacity { weight, last_weight: weight, ..Capacity::default() } };
        self.list = servers.iter().copied().map(server).collect();
        self.publish();
    }

    /// Another weight for a server.
    pub fn weigh(&mut self, name: u8, weight: u32) {
        let capacity = self.capacity(name);
        capacity.weight = weight;
        if weight > 0 {
            capacity.last_weight = weight;
        }
        self.publish();
    }

    /// Thresholds of a server's connections.
    pub fn limit(&mut self, name: u8, upper: u32, lower: u32) {
        let capacity = self.capacity(name);
        (capacity.upper, capacity.lower) = (upper, lower);
        self.publish();
    }

    fn capacity(&mut self, name: u8) -> &mut Capacity {
        &mut self.list.iter_mut().find(|server| server.name == name).expect("a server of the list").capacity
    }

    /// Takes a server away, not its connections.
    pub fn remove(&mut self, name: u8) {
        self.list.retain(|server| server.name != name);
        self.publish();
        self.director.tables.remove_real(&self.key, endpoint(name), disposition::GONE);
    }

    /// What the daemon does on a change of the list.
    fn publish(&mut self) {
        for server in &self.list {
            let at = endpoint(server.name);
            let mut real = direct(&at.to_string(), server.name);
            real.options = if server.capacity.upper > 0 { option::LIMITED } else { 0 };
            self.director.tables.set_real(&self.key, at, &real, &server.capacity).expect("a number");
        }
        let members = self.list.iter().map(|server| (endpoint(server.name), server.capacity.weight)).collect();
        let ring = self.ring();
        let (_, weight_start) = wrr_steps(self.list.iter().map(|server| server.capacity.weight));
        let protocol = if self.is_udp { UDP } else { TCP };
        let address = |number| Address::single(IpAddr::from(self.destination(number)), protocol, 80);
        let pool = Pool {
            scheduler: self.scheduler,
            flags: self.flags,
            members,
            ring: ring.clone(),
            weight_start,
            addresses: (0..self.destinations).map(address).collect(),
            ..Pool::default()
        };
        self.director.tables.set_pool(&self.key, pool).expect("room for the pool");
        let numbers = &self.director.tables.services()[&self.key].reals;
        let reals: Vec<_> = self.list.iter().map(|server| (numbers[&endpoint(server.name)], server.capacity)).collect();
        self.twin.set_members(&reals, ring);
    }

    fn ring(&self) -> Vec<u16> {
        let is_mh = self.scheduler == scheduler::MH;
        let member = |server: &Server| RingMember {
            address: u32::from_be_bytes([10, 0, 1, server.name]),
            port: 80,
            weight: if is_mh { server.capacity.last_weight } else { server.capacity.weight },
        };
        let members: Vec<_> = self.list.iter().map(member).collect();
        match self.scheduler {
            scheduler::SH => source_hash(&members),
            scheduler::DH => destination_hash(&members),
            scheduler::MH => maglev_of(&members, self.slots),
            _ => Vec::new(),
        }
    }

    fn destination(&self, number: u8) -> Ipv4Addr {
        Ipv4Addr::new(10, 0, 0, 100 + number)
    }

    fn frame(&self, port: u16, destination: u8, flags: u8) -> Vec<u8> {
        let packet = Packet::new(CLIENT, self.destination(destination));
        if self.is_udp { packet.udp(port, 80).build() } else { packet.tcp(port, 80, flags).build() }
    }

    /// A new connection to a destination, from the next client port; the name of the server that takes it. None: it is refused.
    pub fn open(&mut self, destination: u8) -> Option<u8> {
        let port = self.next_port;
        self.next_port += 1;
        let frame = self.frame(port, destination, SYN);
        let (action, out) = self.director.pass(&frame);
        // The last byte of the MAC is the server's name.
        let chosen = (action == code(Action::Tx)).then(|| out[5]);
        let client = Client { address: CLIENT.to_bits(), port, destination: self.destination(destination).to_bits() };
        let real = self.twin.pick(client);
        let numbers = &self.director.tables.services()[&self.key].reals;
        let twins = numbers.iter().find(|(_, number)| Some(**number) == real).map(|(at, _)| match at.ip() {
            IpAddr::V4(ip) => ip.octets()[3],
            IpAddr::V6(_) => 0,
        });
        assert_eq!(chosen, twins, "program and twin, scheduler {} of {:?}; {:?}", self.scheduler, self.list, self.twin);
        self.choices += 1;
        if let Some(real) = real {
            self.twin.count(real, 0, 1);
            let state = if self.is_udp { State::Udp } else { State::SynRecv };
            self.connections.push(Connection { port, destination, real, state });
        }
        chosen
    }

    /// Connections that are there, by the order they began in.
    pub fn open_connections(&self) -> usize {
        self.connections.len()
    }

    /// The client completes the handshake of a connection, which makes it active. False: it is not half-open.
    pub fn establish(&mut self, at: usize) -> bool {
        let is_half_open = self.connections[at].state == State::SynRecv;
        if is_half_open {
            self.step(at, ACK, State::Established);
        }
        is_half_open
    }

    /// The client ends an active connection. It is inactive from then on, and counts until it is forgotten. False: it is not active. A
    /// half-open one stays half-open when it is reset (`tcp_states`, INPUT_ONLY).
    pub fn end(&mut self, at: usize, by_reset: bool) -> bool {
        match (self.connections[at].state, by_reset) {
            (State::Established, true) => self.step(at, RST, State::Close),
            (State::Established, false) => self.step(at, FIN | ACK, State::FinWait),
            _ => return false,
        }
        true
    }

    fn step(&mut self, at: usize, flags: u8, next: State) {
        let Connection { port, destination, real, state } = self.connections[at];
        let frame = self.frame(port, destination, flags);
        self.director.pass(&frame);
        let active = |state| i64::from(state == State::Established);
        let change = active(next) - active(state);
        self.twin.count(real, change, -change);
        self.connections[at].state = next;
    }

    /// Connections that have ended are forgotten, as after their timeout. Returns the former places of the others.
    pub fn forget_ended(&mut self) -> Vec<usize> {
        let is_over = |state| matches!(state, State::Close | State::FinWait);
        self.director.forget_all_in(State::Close);
        self.director.forget_all_in(State::FinWait);
        for connection in self.connections.iter().filter(|connection| is_over(connection.state)) {
            self.twin.count(connection.real, 0, -1);
        }
        let kept = (0..self.connections.len()).filter(|at| !is_over(self.connections[*at].state)).collect();
        self.connections.retain(|connection| !is_over(connection.state));
        kept
    }

    /// All connections, servers and remembered destinations go; cursors stay.
    pub fn clear(&mut self) {
        self.director.forget();
        self.connections.clear();
        for name in self.names() {
            self.director.tables.remove_real(&self.key, endpoint(name), disposition::GONE);
        }
        self.list.clear();
        self.publish();
        let (group, destinations) = self.remembered();
        self.director.forget_destinations(group, &destinations);
        self.settle();
        self.twin.forget();
        self.next_port = FIRST_PORT;
    }

    /// Numbers of servers that were removed are free again, once their connections are gone.
    pub fn settle(&mut self) {
        let numbers = |served: &Self| served.director.tables.services()[&served.key].reals.clone();
        let before = numbers(self);
        for _ in 0..3 {
            let names = self.names();
            let is_wanted = |_: &ServiceKey, at: &SocketAddr| names.iter().any(|name| endpoint(*name) == *at);
            self.director.tables.settle(is_wanted);
        }
        let after = numbers(self);
        for gone in before.values().filter(|number| !after.values().any(|kept| kept == *number)) {
            self.twin.forget_real(*gone);
        }
    }

    /// So many seconds pass for what is remembered of destinations.
    pub fn age_destinations(&mut self, seconds: u32) {
        let (group, destinations) = self.remembered();
        self.director.age_destinations(group, &destinations, seconds);
        self.twin.now += seconds;
    }

    /// What rows of destinations go by: the service's number, and the addresses, if its scheduler has such rows.
    fn remembered(&self) -> (u32, Vec<u32>) {
        let has_rows = matches!(self.scheduler, scheduler::LBLC | scheduler::LBLCR);
        let count = if has_rows { self.destinations } else { 0 };
        let destinations = (0..count).map(|number| self.destination(number).to_bits()).collect();
        (self.director.tables.services()[&self.key].id, destinations)
    }
}
