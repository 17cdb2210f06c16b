//! UDP datagrams of 8 kB: six fragments each, in order and out of it, answered completely.
//!
//! What the client's kernel sends comes in order. Other orders are made here: raw sockets take fragments that are ready-made.

use std::net::{IpAddr, SocketAddr, UdpSocket};

use lb_lab::Plan;
use lb_lab::plan::{self, BACK, DIRECTOR_NUMBER, Family};
use lb_tests::packet::Packet;
use nix::sched::{CpuSet, sched_getcpu, sched_setaffinity};
use nix::unistd::Pid;
use socket2::{Domain, Protocol, SockAddr, Socket, Type};

use crate::echo::Server;
use crate::nat;
use crate::stage::{self, Stage, wait};
use crate::udp;
use crate::ways::FULL_NAT;

const LENGTH: usize = 8000;
/// Bytes of payload that a fragment carries: a multiple of eight.
const PART: usize = 1400;

/// What the client sends: different in each datagram and at each place.
fn datagram(number: usize) -> Vec<u8> {
    (0..LENGTH).map(|at| (at / 7 + number * 31) as u8).collect()
}

/// The datagram's IP packets, cut into fragments.
fn fragments(from: SocketAddr, to: SocketAddr, number: usize) -> Vec<Vec<u8>> {
    let whole = Packet::new(from.ip(), to.ip()).fragment_word(0).udp(from.port(), to.port()).payload(&datagram(number));
    let frame = whole.build();
    let (header, rest) = frame[14..].split_at(if from.is_ipv4() { 20 } else { 40 });
    let id = (7000 + number as u16).to_be_bytes();
    let count = rest.len().div_ceil(PART);
    let cut = rest.chunks(PART).enumerate().map(|(at, part)| {
        let more = u16::from(at + 1 < count);
        let mut packet = header.to_vec();
        if from.is_ipv4() {
            packet[2..4].copy_from_slice(&(20 + part.len() as u16).to_be_bytes());
            packet[4..6].copy_from_slice(&id);
            packet[6..8].copy_from_slice(&(more << 13 | (at * PART / 8) as u16).to_be_bytes());
        } else {
            packet[4..6].copy_from_slice(&(8 + part.len() as u16).to_be_bytes());
            packet[6] = 44;
            packet.extend([17, 0]);
            packet.extend(((at * PART) as u16 | more).to_be_bytes());
            packet.extend([0, 0, id[0], id[1]]);
        }
        packet.extend(part);
        packet
    });
    cut.collect()
}

/// A socket that sends whole IP packets from the client.
fn raw(stage: &Stage, family: Family) -> Socket {
    let domain = if family == Family::V4 { Domain::IPV4 } else { Domain::IPV6 };
    // 255 is IPPROTO_RAW: the header is the caller's.
    let open = || Socket::new(domain, Type::RAW, Some(Protocol::from(255)));
    stage.cluster.client().unwrap().enter(open).unwrap().unwrap()
}

/// The answer: the whole datagram, from the VIP.
fn answered(socket: &UdpSocket, number: usize) -> bool {
    let mut answer = vec![0; LENGTH + 1];
    socket.recv(&mut answer).is_ok_and(|length| answer[..length] == datagram(number))
}

/// Orders in which six fragments go out, and how many of them come before the first one.
const ORDERS: [(&str, [usize; 6], u64); 4] = [
    ("in order", [0, 1, 2, 3, 4, 5], 0),
    ("the first two exchanged", [1, 0, 2, 3, 4, 5], 1),
    ("mixed", [3, 5, 0, 4, 1, 2], 2),
    ("backwards", [5, 4, 3, 2, 1, 0], 5),
];

/// Sends datagrams of every order. `number` goes on counting: a packet's name is not used again at once.
fn all_orders(stage: &Stage, method: &str, family: Family, outer: Family, number: &mut usize) {
    // A port of its own for each: a client's port that is given out again must not meet a connection to a real that is gone.
    // And a VIP of its own for the kernel's: it may choose an identification that is chosen here a second later, and fragments that come
    // before their first one would then belong to its packet.
    let [target, of_kernel] = [0, 1].map(|n| SocketAddr::new(plan::vip(family, n), 5353 + *number as u16));
    // Behind translation a real is asked at its own address, anywhere else at the VIP.
    let is_translated = ["nat", "fullnat"].contains(&method);
    let at = |real: &str| match is_translated {
        true => vec![SocketAddr::new(stage.address(real, outer), target.port())],
        false => vec![target, of_kernel],
    };
    let names = stage.cluster.real_names();
    let places = names.iter().flat_map(|real| at(real).into_iter().map(move |place| (real, place)));
    let _servers: Vec<Server> = places.map(|(real, place)| Server::udp_echo(stage, real, place)).collect();
    let director = if is_translated { nat::director(stage, FULL_NAT) } else { String::new() };
    let services = [target, of_kernel].map(|address| {
        format!(
            "[[service]]\naddress = \"{address}\"\nprotocol = \"udp\"\nscheduler = \"rr\"\nmethod = \"{method}\"\n{}",
            stage.reals(outer, &[1, 1])
        )
    });
    stage.apply_and_wait(&format!("{director}{}", services.concat()));
    for _ in 0..20 {
        *number += 1;
        let socket = udp::socket(stage, of_kernel);
        socket.send(&datagram(*number)).unwrap();
        assert!(answered(&socket, *number), "{method}: datagram {number} of the kernel");
    }
    let (raw, to) = (raw(stage, family), SockAddr::from(SocketAddr::new(target.ip(), 0)));
    for (name, order, early) in ORDERS {
        for _ in 0..10 {
            *number += 1;
            let socket = udp::socket(stage, target);
            let local = SocketAddr::new(client_address(&socket), socket.local_addr().unwrap().port());
            let parts = fragments(local, target, *number);
            assert_eq!(parts.len(), order.len());
            let before = (stage.verdict("fragment-early"), stage.stats().early_fragments);
            send_in_order(&raw, &to, order.map(|part| &parts[part][..]));
            assert!(answered(&socket, *number), "{method}: datagram {number}, fragments {name}");
            assert_eq!(stage.verdict("fragment-early") - before.0, early, "{name}");
            wait("the fragments that were held", || {
                let now = stage.stats().early_fragments;
                match (now.sent_on - before.1.sent_on, now.given_up - before.1.given_up, now.waiting) {
                    (sent_on, 0, 0) if sent_on == early => Ok(()),
                    counts => Err(format!("(sent on, given up, waiting) {counts:?}")),
                }
            });
        }
        println!(
            "{method} {} in {}: 10 datagrams of {LENGTH} bytes, fragments {name}, answered",
            family.as_str(),
            outer.as_str()
        );
    }
}

/// From one CPU: each has a queue of its own into the network, and what moves from one to another overtakes.
fn send_in_order<const N: usize>(raw: &Socket, to: &SockAddr, parts: [&[u8]; N]) {
    std::thread::scope(|scope| {
        scope.spawn(|| {
            let mut here = CpuSet::new();
            here.set(sched_getcpu().unwrap()).unwrap();
            sched_setaffinity(Pid::from_raw(0), &here).unwrap();
            for part in parts {
                raw.send_to(part, to).unwrap();
            }
        });
    });
}

/// The reals' links are longer than the client's, to leave room for tunnels. Their answers keep to what the client takes, whether they go
/// to its address or to the director's.
fn answer_in_1500(stage: &Stage, to: impl Fn(Family) -> IpAddr) {
    for family in Family::ALL {
        let client = to(family);
        for real in stage.cluster.real_names() {
            let host = stage.cluster.topology().netns(&real).unwrap();
            let route = host.run(&["ip", "-o", "route", "get", &client.to_string()]).unwrap();
            let mut words: Vec<&str> = route.split_whitespace().collect();
            let via = words.iter().position(|word| *word == "via").map(|at| words.split_off(at)[1].to_owned());
            let client = client.to_string();
            let mut change = vec!["ip", "route", "replace", &client];
            if let Some(via) = &via {
                change.extend(["via", via]);
            }
            change.extend(["dev", "eth0", "mtu", "1500"]);
            host.run(&change).unwrap();
        }
    }
}

fn client_address(socket: &UdpSocket) -> IpAddr {
    socket.local_addr().unwrap().ip()
}

#[test]
fn datagrams_of_8_kb_by_direct_routing() {
    stage::with("fragments", Plan::one_arm(2), |stage| {
        answer_in_1500(stage, |family| stage.address("client", family));
        let mut number = 0;
        for family in Family::ALL {
            all_orders(stage, "direct", family, family, &mut number);
        }
    });
}

#[test]
fn datagrams_of_8_kb_through_tunnels() {
    stage::with("fragtunnel", Plan::routed(2), |stage| {
        answer_in_1500(stage, |family| stage.address("client", family));
        let mut number = 0;
        for method in ["tunnel", "gue", "gre"] {
            for family in Family::ALL {
                for outer in Family::ALL {
                    all_orders(stage, method, family, outer, &mut number);
                }
            }
        }
    });
}

#[test]
fn datagrams_of_8_kb_by_translation() {
    stage::with("fragnat", Plan::two_arm(2), |stage| {
        nat::forwarding(stage);
        let mut number = 0;
        for family in Family::ALL {
            nat::answers_by_director(stage, family);
        }
        answer_in_1500(stage, |family| stage.address("client", family));
        answer_in_1500(stage, |family| BACK.address(family, DIRECTOR_NUMBER));
        for method in ["nat", "fullnat"] {
            for family in Family::ALL {
                all_orders(stage, method, family, family, &mut number);
            }
        }
    });
}

/// Without a first one nobody waits for ever, and nothing goes to a real.
#[test]
fn fragments_without_a_first_one_are_given_up() {
    stage::with("orphans", Plan::one_arm(2), |stage| {
        for family in Family::ALL {
            let target = SocketAddr::new(plan::vip(family, 0), 5353);
            stage.apply_and_wait(&format!(
                "[[service]]\naddress = \"{target}\"\nprotocol = \"udp\"\n{}",
                stage.reals(family, &[1, 1])
            ));
            let before = stage.stats().early_fragments;
            let socket = udp::socket(stage, target);
            let (raw, to) = (raw(stage, family), SockAddr::from(SocketAddr::new(target.ip(), 0)));
            for number in 0..30 {
                for part in &fragments(socket.local_addr().unwrap(), target, number)[1..] {
                    raw.send_to(part, &to).unwrap();
                }
            }
            wait("all are given up", || {
                let now = stage.stats().early_fragments;
                let given_up = now.given_up - before.given_up;
                if (given_up, now.waiting) == (150, 0) { Ok(()) } else { Err(format!("{now:?}")) }
            });
            assert_eq!(stage.service(&format!("udp://{target}")).counters.packets, 0);
        }
    });
}
