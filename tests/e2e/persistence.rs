//! Persistence and marks with real clients: who has been at a real comes back to it, by whatever port and address, and over a daemon that is
//! killed.

use std::collections::{BTreeMap, BTreeSet};
use std::io::Read as _;
use std::net::{IpAddr, SocketAddr, TcpStream};
use std::time::Duration;

use lb_lab::Plan;
use lb_lab::load::{Load, LoadSpec};
use lb_lab::plan::{self, Family};
use socket2::{Domain, Socket, Type};

use crate::echo::Server;
use crate::stage::{self, Stage, wait};

/// How long a client waits.
const ANSWER: Duration = Duration::from_secs(10);
/// Clients, each with an address of its own.
const CLIENTS: u8 = 6;
/// Where the reals serve besides nginx: what 80 and 443 are in a shop.
const PORTS: [u16; 2] = [8080, 8443];

/// Addresses of clients, given to the client's only port.
fn clients(stage: &Stage, family: Family) -> Vec<IpAddr> {
    (0..CLIENTS)
        .map(|n| {
            let address = plan::LAN.address(family, 201 + n);
            let (width, dad) = if family == Family::V4 { (24, &[][..]) } else { (64, &["nodad"][..]) };
            let prefix = format!("{address}/{width}");
            let line = [&["ip", "addr", "add", &*prefix, "dev", "eth0"], dad].concat();
            stage.cluster.client().unwrap().run(&line).unwrap();
            address
        })
        .collect()
}

/// The name of the real that answers a client.
fn ask(stage: &Stage, from: IpAddr, target: SocketAddr) -> String {
    let connect = || {
        let socket = Socket::new(Domain::for_address(target), Type::STREAM, None)?;
        socket.bind(&SocketAddr::new(from, 0).into())?;
        socket.connect_timeout(&target.into(), ANSWER)?;
        let mut stream = TcpStream::from(socket);
        stream.set_read_timeout(Some(ANSWER))?;
        let mut name = String::new();
        stream.read_to_string(&mut name).map(|_| name)
    };
    let answer: std::io::Result<String> = stage.cluster.client().unwrap().enter(connect).unwrap();
    answer.unwrap_or_else(|error| panic!("{from} to {target}: {error}"))
}

/// Two addresses, each with both ports, under one mark; every real serves all of them.
fn shop(stage: &Stage, family: Family, timeout: u32) -> (String, Vec<SocketAddr>, Vec<Server>) {
    let targets: Vec<SocketAddr> =
        [1, 2].iter().flat_map(|n| PORTS.map(|port| SocketAddr::new(plan::vip(family, *n), port))).collect();
    let servers = stage
        .cluster
        .real_names()
        .iter()
        .flat_map(|real| targets.iter().map(|at| Server::tcp(stage, real, *at)).collect::<Vec<_>>())
        .collect();
    let rules: String = targets.iter().map(|at| format!("[[mark]]\nmark = 1\naddress = \"{at}\"\n")).collect();
    let word = if family == Family::V4 { "ipv4" } else { "ipv6" };
    let text = format!(
        "{rules}[[service]]\nmark = 1\nfamily = \"{word}\"\nscheduler = \"rr\"\npersistence = {{ timeout = {timeout} }}\n{}",
        stage.reals(family, &[1, 1, 1])
    );
    (text, targets, servers)
}

#[test]
fn a_mark_keeps_a_client_at_one_real_over_ports_and_addresses() {
    for family in Family::ALL {
        stage::with("marks", Plan::one_arm(3), |stage| {
            let (text, targets, _servers) = shop(stage, family, 300);
            let clients = clients(stage, family);
            stage.apply_and_wait(&text);
            let mut reals = BTreeMap::new();
            for round in 0..3 {
                for client in &clients {
                    for target in &targets {
                        let name = ask(stage, *client, *target);
                        let first = reals.entry(*client).or_insert_with(|| name.clone());
                        assert_eq!(name, *first, "{client} at {target}, round {round}");
                    }
                }
            }
            let counts: BTreeMap<&String, usize> = reals.values().fold(BTreeMap::new(), |mut counts, name| {
                *counts.entry(name).or_default() += 1;
                counts
            });
            assert_eq!(counts.len(), 3, "each real has its clients: {counts:?}");
            // Without persistence a client goes round.
            let plain = text.replace("persistence = { timeout = 300 }\n", "");
            stage.apply(&plain);
            let seen: BTreeSet<String> = (0..6).map(|_| ask(stage, clients[0], targets[0])).collect();
            assert_eq!(seen.len(), 3);
        });
    }
}

#[test]
fn killed_under_load_a_marks_clients_stay_at_their_reals() {
    stage::with("marks-kill", Plan::one_arm(3), |stage| {
        let (text, targets, _servers) = shop(stage, Family::V4, 300);
        let clients = clients(stage, Family::V4);
        let target = SocketAddr::new(plan::vip(Family::V4, 0), 80);
        let rule = format!("[[mark]]\nmark = 1\naddress = \"{}/32:80-81\"\n", target.ip());
        stage.apply_and_wait(&format!("{rule}{text}"));
        let all = |stage: &Stage| -> BTreeMap<IpAddr, BTreeSet<String>> {
            let of = |client: &IpAddr| (*client, targets.iter().map(|target| ask(stage, *client, *target)).collect());
            clients.iter().map(of).collect()
        };
        let before = all(stage);
        assert!(before.values().all(|reals| reals.len() == 1), "{before:?}");
        let load = Load::start(stage.cluster.client().unwrap(), LoadSpec::new(target, None)).unwrap();
        for _ in 0..3 {
            let goal = load.snapshot().requests + 200;
            wait("answers", || if load.snapshot().requests >= goal { Ok(()) } else { Err(String::new()) });
            stage.cluster.director_mut().kill();
            assert_eq!(all(stage), before, "nobody there");
            stage.cluster.director_mut().restart().unwrap();
            assert_eq!(all(stage), before, "another daemon");
        }
        let report = load.stop();
        assert_eq!(report.failed, 0, "{:?}", report.errors);
        assert_eq!(report.reals.values().filter(|count| **count > 0).count(), 1, "one client: {:?}", report.reals);
    });
}

/// What is exported and applied again is the same: nothing is left to change.
#[test]
fn an_export_keeps_thresholds_timeouts_checks_and_marks() {
    stage::with("export", Plan::one_arm(3), |stage| {
        let (text, ..) = shop(stage, Family::V4, 77);
        let with = text
            .replacen("persistence =", "timeouts = { tcp = 33, udp = 44 }\non_real_down = \"drop\"\npersistence =", 1)
            .replacen("weight = 1\n", "weight = 3\nupper_threshold = 50\nlower_threshold = 40\n", 1);
        let check = "[service.health]\ntype = \"tcp\"\nport = 80\ninterval = \"3s\"\n";
        let (head, reals) = with.split_once("[[service.real]]").unwrap();
        let udp = SocketAddr::new(plan::vip(Family::V4, 3), 53);
        let more = format!(
            "[[service]]\naddress = \"{udp}\"\nprotocol = \"udp\"\none_packet = true\nflags = [\"udp-active\"]\n"
        );
        let director = "[director]\nexpire_nodest_conn = true\nconn_reuse_mode = 1\nsloppy_sctp = true\n";
        stage.apply(&format!("{director}{head}{check}[[service.real]]{reals}{more}"));
        let director = stage.cluster.director();
        let exported = director.xvs(&["export"]).unwrap();
        for word in [
            "tcp = 33",
            "udp = 44",
            "upper_threshold = 50",
            "lower_threshold = 40",
            "interval = \"3s\"",
            "timeout = 77",
            "[[mark]]",
            "one_packet = true",
            "udp-active",
            "expire_nodest_conn = true",
            "conn_reuse_mode = 1",
            "sloppy_sctp = true",
        ] {
            assert!(exported.contains(word), "{word} is not in\n{exported}");
        }
        let revision = stage.status().revision;
        stage.apply(&exported);
        assert_eq!(stage.status().revision, revision, "nothing was left to change");
        director.xvs(&["service", "remove", &format!("udp://{udp}")]).unwrap();
        stage.apply(&exported);
        assert_eq!(director.xvs(&["export"]).unwrap(), exported);
    });
}
