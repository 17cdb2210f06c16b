//! Every way to a real with every pair of families: ten million bytes to nginx and back, datagrams that come back as they went, and an
//! SCTP association. One line of a table for each combination.

use std::collections::BTreeMap;
use std::net::SocketAddr;

use lb_lab::Plan;
use lb_lab::plan::{CLIENT_MTU, Family, ROUTER};

use crate::capture::Capture;
use crate::echo::Server;
use crate::nat;
use crate::sctp;
use crate::stage::{self, Stage, since};
use crate::sums::Sums;
use crate::transfer::{Body, SIZE};
use crate::udp;
use crate::ways::{self, DIRECT, FULL_NAT, NAT, TUNNELS, Way};

/// How many packets of a tunnel are looked at.
const LOOKED_AT: usize = 40;

#[test]
fn matrix_of_direct_routing() {
    stage::with("matrix-dr", Plan::one_arm(1), |stage| {
        println!("{}", heading());
        for (number, family) in (1..).zip(Family::ALL) {
            println!("{}", combination(stage, DIRECT, family, family, number));
        }
    });
}

#[test]
fn matrix_of_tunnels() {
    stage::with("matrix-tun", Plan::routed(1), |stage| {
        println!("{}", heading());
        let mut number = 100;
        for way in TUNNELS {
            for (client, real) in [(0, 0), (0, 1), (1, 0), (1, 1)] {
                number += 1;
                println!("{}", combination(stage, way, Family::ALL[client], Family::ALL[real], number));
            }
        }
    });
}

/// Client and reals on one network, behind different ports of the director, and the reals behind a router.
#[test]
fn matrix_of_translation() {
    for (topic, plan) in [("nat-one", Plan::one_arm(1)), ("nat-two", Plan::two_arm(1)), ("nat-far", Plan::routed(1))] {
        stage::with(topic, plan, |stage| {
            nat::forwarding(stage);
            println!("{}:\n{}", stage.cluster.topology().plan().name, heading());
            let is_two_arm = stage.cluster.topology().plan().name == "two-arm";
            let placed = |way: Way| if is_two_arm { way.between_ports() } else { way };
            for (number, family) in (200..).zip(Family::ALL) {
                nat::answers_by_director(stage, family);
                println!("{}", combination(stage, placed(NAT), family, family, number));
                // Full NAT needs no route.
                nat::answers_past_director(stage, family);
            }
            for (number, (client, real)) in (210..).zip([(0, 0), (0, 1), (1, 0), (1, 1)]) {
                println!("{}", combination(stage, placed(FULL_NAT), Family::ALL[client], Family::ALL[real], number));
            }
        });
    }
}

fn heading() -> String {
    format!(
        "{:<8} {:<6} {:<5} {:>8} {:>8} {:>10} {:>5} {:>5} {:<10} verdicts",
        "way", "client", "real", "up", "down", "forwarded", "udp", "sctp", "own sums"
    )
}

/// Sends everything one way, and says in a line what was seen. `number` keeps the combinations' files apart.
fn combination(stage: &mut Stage, way: Way, client: Family, real: Family, number: u64) -> String {
    let (http, echo) = (way.target(stage::http(client, 0).1), way.target(ways::echo(client).1));
    let association = way.target(sctp::service(client).1);
    let keys = [format!("tcp://{http}"), format!("udp://{echo}"), format!("sctp://{association}")];
    let services = way.service(stage, http, "tcp", real)
        + &way.service(stage, echo, "udp", real)
        + &way.service(stage, association, "sctp", real);
    stage.apply_and_wait(&(nat::director(stage, way) + &services));
    let what = format!("{} from {} to {}", way.name, client.as_str(), real.as_str());
    let before = Counts::read(stage, &keys);
    // Not captured: a tunnel's own checksum is made of the packet's inside, and SCTP's says nothing about a sum.
    let messages = associate(stage, way, real, association, &keys[2], &what);
    let mut capture = way.is_tunnel().then(|| {
        let family = if real == Family::V4 { "ip" } else { "ip6" };
        let filter = format!("{family} dst host {}", stage.address("real1", real));
        Capture::bytes_at(stage, ROUTER, "eth0", &filter, LOOKED_AT)
    });

    let sizes = datagrams(stage, client, way, real);
    let name = format!("file-{number}");
    let body = Body::new(stage, number);
    body.upload(stage, http, &name);
    body.download(stage, http, &name);

    let sums = capture.as_mut().map_or_else(Sums::default, |capture| Sums::of(&capture.packets(), way, real));
    if way.has_checksum() {
        assert_eq!((sums.right, sums.wrong, sums.none), (LOOKED_AT, 0, 0), "{what}");
    } else {
        assert_eq!((sums.right, sums.wrong), (0, 0), "{what}");
    }
    // From the IP header on.
    let headers = if client == Family::V4 { 28 } else { 48 };
    let echoed = Counted { packets: sizes.len() as u64, bytes: sizes.iter().map(|size| (size + headers) as u64).sum() };
    // curl has ended before its last acknowledgement has passed.
    let (verdicts, uploaded) = stage::wait(&format!("{what}: every packet of the services went its way"), || {
        let now = Counts::read(stage, &keys);
        let verdicts = since(&now.verdicts, &before.verdicts);
        let [uploaded, mirrored, associated] = [0, 1, 2].map(|at| now.services[at].minus(before.services[at]));
        assert_eq!(mirrored, echoed, "{what}");
        let packets = uploaded.packets + echoed.packets + associated.packets;
        match verdicts.get(way.verdict()).copied().unwrap_or(0) == packets {
            true => Ok((verdicts, uploaded)),
            false => Err(format!("{uploaded:?} {echoed:?} {associated:?} {verdicts:?}")),
        }
    });
    assert!(uploaded.bytes > SIZE as u64, "{what}: {uploaded:?}");
    // The rest is what any network carries.
    let expected = [way.verdict(), way.answer().unwrap_or_default(), "not-ip", "not-a-service", "not-tcp-or-udp"];
    let odd = |(name, count): &(&String, &u64)| **count > 0 && !expected.contains(&name.as_str());
    assert_eq!(verdicts.iter().find(odd), None, "{what}");
    format!(
        "{:<8} {:<6} {:<5} {SIZE:>8} {SIZE:>8} {:>10} {:>5} {:>5} {:<10} {}",
        way.name,
        client.as_str(),
        real.as_str(),
        uploaded.bytes,
        sizes.len(),
        messages,
        sums.to_string(),
        words(&verdicts)
    )
}

/// What a service has sent to its reals.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Counted {
    packets: u64,
    bytes: u64,
}

impl Counted {
    fn minus(self, before: Self) -> Self {
        Self { packets: self.packets - before.packets, bytes: self.bytes - before.bytes }
    }
}

/// The director's counts at one time: of verdicts, and of the services in their order.
struct Counts {
    verdicts: BTreeMap<String, u64>,
    services: [Counted; 3],
}

impl Counts {
    fn read(stage: &Stage, keys: &[String; 3]) -> Self {
        let stats = stage.stats();
        let services = keys.each_ref().map(|key| {
            let service = stats.services.iter().find(|service| service.service.to_string() == *key).unwrap();
            Counted { packets: service.counters.packets, bytes: service.counters.bytes }
        });
        let verdicts = stats.verdicts.into_iter().map(|verdict| (verdict.name, verdict.packets)).collect();
        Self { verdicts, services }
    }
}

fn words(verdicts: &BTreeMap<String, u64>) -> String {
    let words = verdicts.iter().filter(|(_, count)| **count > 0).map(|(name, count)| format!("{name} {count}"));
    words.collect::<Vec<_>>().join(", ")
}

/// Datagrams of all sizes up to what the client's link takes, each of which has to come back as it was sent. Returns the sizes.
fn datagrams(stage: &Stage, client: Family, way: Way, real: Family) -> Vec<usize> {
    let (_, at) = ways::echo(client);
    let target = way.target(at);
    let own = SocketAddr::new(stage.address("real1", real), at.port());
    let server = Server::mirror(stage, "real1", if way.is_translated() { own } else { at });
    let socket = udp::socket(stage, target);
    let most = CLIENT_MTU as usize - if client == Family::V4 { 28 } else { 48 };
    // Odd and even: a checksum that counts the last byte in the wrong half shows.
    let sizes = vec![0, 1, 2, 17, 18, 511, 1_024, most - 1, most];
    for (turn, size) in (1..).zip(&sizes) {
        let sent: Vec<u8> = (0..*size).map(|at| (at * 31 + turn * 7) as u8).collect();
        let mut answer = vec![0; 2_048];
        socket.send(&sent).unwrap();
        let length = socket.recv(&mut answer).unwrap_or_else(|error| panic!("{size} bytes to {target}: {error}"));
        assert_eq!(answer[..length], sent, "{size} bytes came back as others");
    }
    assert_eq!(server.answered(), sizes.len() as u64);
    sizes
}

/// An association, messages of all sizes on it, its end, and the states that the director lists meanwhile. Returns how many messages.
fn associate(stage: &Stage, way: Way, real: Family, target: SocketAddr, key: &str, what: &str) -> u64 {
    let own = SocketAddr::new(stage.address("real1", real), target.port().wrapping_sub(8000));
    let server = sctp::Server::echo(stage, "real1", if way.is_translated() { own } else { target });
    let states = sctp::exchange(stage, key, target, &server);
    assert_eq!(states, ["ESTABLISHED", "CLOSED"], "{what}");
    server.answered()
}
