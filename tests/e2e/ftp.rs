//! FTP: data connections reach the real that has the control connection, active and passive, with two clients' programs against vsftpd.

use std::collections::BTreeMap;
use std::fs;
use std::net::{IpAddr, SocketAddr, TcpListener};
use std::path::PathBuf;
use std::time::Duration;

use lb_lab::Plan;
use lb_lab::plan::{self, Family};
use lb_userspace::api::types::ConnectionView;

use crate::ftp_server::{FtpServer, PORT, marker};
use crate::ftp_session::Session;
use crate::nat;
use crate::stage::{self, Stage, since, wait};
use crate::transfer::{noise, sha256};

/// Bytes of a file.
const SIZE: usize = 1 << 20;

/// What a client's program is told.
#[derive(Clone, Copy, Debug)]
struct Client {
    /// Program, and the command by which it asks for data connections.
    name: &'static str,
    /// curl's options for the mode, lftp's settings.
    mode: &'static [&'static str],
    is_lftp: bool,
}

const fn curl(name: &'static str, mode: &'static [&'static str]) -> Client {
    Client { name, mode, is_lftp: false }
}

const fn lftp(name: &'static str, mode: &'static [&'static str]) -> Client {
    Client { name, mode, is_lftp: true }
}

const V4: [Client; 7] = [
    curl("curl EPSV", &[]),
    curl("curl PASV", &["--disable-epsv"]),
    curl("curl EPRT", &["-P", "-"]),
    curl("curl PORT", &["-P", "-", "--disable-eprt"]),
    lftp("lftp PASV", &["ftp:passive-mode on", "ftp:prefer-epsv no"]),
    lftp("lftp EPSV", &["ftp:passive-mode on", "ftp:prefer-epsv yes"]),
    lftp("lftp PORT", &["ftp:passive-mode off"]),
];
const V6: [Client; 4] = [
    curl("curl EPSV", &[]),
    curl("curl EPRT", &["-P", "-"]),
    lftp("lftp EPSV", &["ftp:passive-mode on"]),
    lftp("lftp EPRT", &["ftp:passive-mode off"]),
];

impl Client {
    /// What the client's program prints for a listing of the server.
    fn list(self, stage: &Stage, target: SocketAddr) -> String {
        match self.is_lftp {
            true => self.lftp(stage, target, "cls -1"),
            false => self.curl(stage, &["-l", &url(target, "")]),
        }
    }

    fn fetch(self, stage: &Stage, target: SocketAddr, name: &str, to: &str) {
        match self.is_lftp {
            true => self.lftp(stage, target, &format!("get {name} -o {to}")),
            false => self.curl(stage, &["-o", to, &url(target, name)]),
        };
    }

    fn put(self, stage: &Stage, target: SocketAddr, from: &str, name: &str) {
        match self.is_lftp {
            true => self.lftp(stage, target, &format!("put {from} -o in/{name}")),
            false => self.curl(stage, &["-T", from, &url(target, &format!("in/{name}"))]),
        };
    }

    fn curl(self, stage: &Stage, arguments: &[&str]) -> String {
        let fixed = ["curl", "-sSg", "--max-time", "60"];
        stage.cluster.client().unwrap().run(&[&fixed, self.mode, arguments].concat()).unwrap()
    }

    fn lftp(self, stage: &Stage, target: SocketAddr, commands: &str) -> String {
        let fixed =
            ["ftp:ssl-allow no", "net:timeout 20", "net:max-retries 1", "cmd:fail-exit yes", "xfer:clobber yes"];
        let set: String = fixed.iter().chain(self.mode).map(|setting| format!("set {setting}; ")).collect();
        let line = format!("{set}open {}; {commands}", url(target, ""));
        stage.cluster.client().unwrap().run(&["lftp", "--norc", "-c", &line]).unwrap()
    }
}

fn url(target: SocketAddr, path: &str) -> String {
    format!("ftp://{target}/{path}")
}

/// Two reals behind the director, which is their gateway. Clients find the service on port 21 of the first VIP, and on 2121 of the
/// second one, where ports of service and real differ.
fn through_nat(topic: &str, work: impl FnOnce(&mut Stage, &[FtpServer])) {
    through_nat_with(topic, "", work);
}

/// [`through_nat`], with something of the director's own in the configuration.
fn through_nat_with(topic: &str, director: &str, work: impl FnOnce(&mut Stage, &[FtpServer])) {
    stage::with(topic, Plan::two_arm(2), |stage| {
        nat::forwarding(stage);
        let servers = FtpServer::on_all(stage);
        let mut services = director.to_owned();
        for family in Family::ALL {
            nat::answers_by_director(stage, family);
            for target in targets(family) {
                services += &format!(
                    "[[service]]\naddress = \"{target}\"\nscheduler = \"rr\"\nmethod = \"nat\"\nhelper = \"ftp\"\n"
                );
                for host in stage.cluster.real_names() {
                    let real = SocketAddr::new(stage.address(&host, family), PORT);
                    services += &format!("[[service.real]]\naddress = \"{real}\"\n");
                }
            }
        }
        stage.apply_and_wait(&services);
        work(stage, &servers);
        drop(servers);
    });
}

fn targets(family: Family) -> [SocketAddr; 2] {
    [SocketAddr::new(plan::vip(family, 0), PORT), SocketAddr::new(plan::vip(family, 1), 2121)]
}

impl Client {
    fn command(self) -> &'static str {
        self.name.split_once(' ').unwrap().1
    }
}

/// Lists, fetches and stores by one client's program, and sees which real it was each time and that every byte has come.
fn all_of(stage: &Stage, servers: &[FtpServer], client: Client, target: SocketAddr, number: u64) {
    let directory = stage.cluster.topology().directory();
    let asked = || servers.iter().map(|server| server.times(client.command())).sum::<usize>();
    let before = asked();
    let listed = client.list(stage, target);
    let hosts = stage.cluster.real_names();
    let seen: Vec<_> = hosts.iter().filter(|host| listed.contains(&marker(host))).collect();
    assert_eq!(seen.len(), 1, "one real's files: {listed}");

    let (body, name) = (noise(number, SIZE), format!("file-{number}"));
    servers.iter().for_each(|server| server.lay_down(&name, &body));
    let fetched = directory.join("fetched");
    client.fetch(stage, target, &name, &fetched.to_string_lossy());
    let sent: PathBuf = directory.join("sent");
    fs::write(&sent, &body).unwrap();
    assert_eq!(sha256(&fetched), sha256(&sent), "what the client has fetched");
    fs::remove_file(&fetched).unwrap();

    client.put(stage, target, &sent.to_string_lossy(), &name);
    let stored: Vec<PathBuf> = servers.iter().map(|server| server.stored(&name)).filter(|path| path.exists()).collect();
    assert_eq!(stored.len(), 1, "one real has stored it");
    assert_eq!(sha256(&stored[0]), sha256(&sent), "what the real has stored");
    assert!(asked() >= before + 3, "{} asks by {}", client.name, client.command());
}

#[test]
fn ftp_by_nat_lists_fetches_and_stores_in_every_mode() {
    through_nat("ftp-nat", |stage, servers| {
        let mut number = 0;
        for family in Family::ALL {
            let clients: &[Client] = if family == Family::V4 { &V4 } else { &V6 };
            for target in targets(family) {
                for client in clients {
                    number += 1;
                    let before = verdicts(stage);
                    all_of(stage, servers, *client, target, number);
                    let met = since(&verdicts(stage), &before);
                    let [by_helper, to_real, to_client] =
                        ["to-helper", "nat-redirect", "reply-redirect"].map(|verdict| met[verdict]);
                    // 1 MiB takes 700 segments of 1460 bytes or more, each way once.
                    assert!(to_real > 700 && to_client > 700, "{}: {met:?}", client.name);
                    assert!(by_helper < 200, "transfers stay in XDP, {}: {met:?}", client.name);
                    println!(
                        "{} {target}: list, 1 MiB down, 1 MiB up; {by_helper} packets by the helper, {} in XDP",
                        client.name,
                        to_real + to_client
                    );
                }
            }
        }
    });
}

fn verdicts(stage: &Stage) -> BTreeMap<String, u64> {
    stage.stats().verdicts.into_iter().map(|verdict| (verdict.name, verdict.packets)).collect()
}

/// Data connections in the table, of the service that nobody has configured.
fn data(stage: &Stage, target: SocketAddr) -> Vec<ConnectionView> {
    stage.connections(&format!("tcp://{}:0", target.ip())).connections
}

#[test]
fn ftp_sessions_at_once_each_have_their_reals_data() {
    through_nat("ftp-two", |stage, _| {
        let target = targets(Family::V4)[0];
        let mut sessions: Vec<Session> = (0..4).map(|_| Session::open(stage, target)).collect();
        let reals: Vec<String> = sessions.iter().map(|session| session.real.clone()).collect();
        assert!(reals.iter().any(|real| real == "real1") && reals.iter().any(|real| real == "real2"), "{reals:?}");
        for _ in 0..3 {
            // All are granted before any is used, so that each has to find its own.
            let ports: Vec<SocketAddr> = sessions.iter_mut().map(Session::passive).collect();
            let listeners: Vec<TcpListener> = sessions.iter_mut().map(|session| session.active(stage)).collect();
            assert!(ports.iter().all(|port| port.ip() == target.ip()), "{ports:?}");
            for (session, listener) in sessions.iter_mut().zip(listeners) {
                let listed = session.list_active(&listener, target);
                assert!(listed.contains(&marker(&session.real)), "{}: {listed}", session.real);
            }
            for session in &mut sessions {
                let listed = session.list(stage);
                assert!(listed.contains(&marker(&session.real)), "{}: {listed}", session.real);
            }
        }
        for session in &mut sessions {
            session.ask("QUIT", "221");
        }
    });
}

#[test]
fn ftp_control_connection_that_is_killed_leaves_nothing_that_waits() {
    through_nat("ftp-kill", |stage, _| {
        let target = targets(Family::V4)[0];
        let mut session = Session::open(stage, target);
        let listener = session.active(stage);
        let waiting = data(stage, target);
        assert_eq!(
            waiting.iter().map(|entry| (entry.client, entry.virtual_, &*entry.state)).collect::<Vec<_>>(),
            [(listener.local_addr().unwrap(), SocketAddr::new(target.ip(), 20), "LISTEN")]
        );
        assert_eq!(stage.name_of(waiting[0].real.ip()), session.real);
        let passive = session.passive();
        session.abort();
        wait("data connections that waited are forgotten", || match data(stage, target).len() {
            0 => Ok(()),
            left => Err(format!("{left}")),
        });
        // Nobody else gets to the port that was announced.
        let before = stage.verdict("to-helper");
        let limit = Duration::from_secs(2);
        assert!(!stage.cluster.client().unwrap().connects(passive.ip(), passive.port(), limit).unwrap());
        assert!(stage.verdict("to-helper") > before, "the helper was asked");
        assert_eq!(data(stage, target), []);
    });
}

#[test]
fn ftp_control_connection_outlives_its_timeout_while_data_flows() {
    through_nat_with("ftp-long", "[director.timeouts]\ntcp = 3\n", |stage, servers| {
        let target = targets(Family::V4)[0];
        let mut session = Session::open(stage, target);
        let body = noise(7, SIZE);
        servers.iter().for_each(|server| server.lay_down("long", &body));
        // A piece each second, so that data flows all the time, and for much longer than the timeout.
        let (pieces, second) = (10, Duration::from_secs(1));
        let fetched = session.fetch_slowly(stage, "long", SIZE / pieces, second);
        assert!(fetched == body, "{} bytes of {SIZE}", fetched.len());
        session.ask("NOOP", "200");
        assert!(session.list(stage).contains(&marker(&session.real)));
    });
}

#[test]
fn ftp_sessions_go_on_under_another_daemon() {
    through_nat("ftp-restart", |stage, _| {
        let target = targets(Family::V4)[0];
        let mut session = Session::open(stage, target);
        assert!(session.list(stage).contains(&marker(&session.real)));
        for _ in 0..2 {
            stage.cluster.director_mut().kill();
            stage.cluster.director_mut().restart().unwrap();
            // The VIP's text is longer than the real's: numbers have moved under the daemon that is gone.
            session.ask("NOOP", "200");
            assert!(session.list(stage).contains(&marker(&session.real)));
            let listener = session.active(stage);
            assert!(session.list_active(&listener, target).contains(&marker(&session.real)));
        }
        session.ask("QUIT", "221");
    });
}

#[test]
fn ftp_by_direct_routing_needs_a_persistent_service_of_any_port() {
    stage::with("ftp-dr", Plan::one_arm(2), |stage| {
        let servers = FtpServer::on_all(stage);
        let mut services = String::new();
        for family in Family::ALL {
            let vip = match plan::vip(family, 0) {
                IpAddr::V4(vip) => vip.to_string(),
                IpAddr::V6(vip) => format!("[{vip}]"),
            };
            services +=
                &format!("[[service]]\naddress = \"{vip}\"\nscheduler = \"rr\"\npersistence = {{ timeout = 360 }}\n");
            services += &stage.reals(family, &[1, 1]);
        }
        stage.apply_and_wait(&services);
        let mut number = 100;
        for family in Family::ALL {
            let clients: &[Client] = if family == Family::V4 { &V4 } else { &V6 };
            for client in clients {
                number += 1;
                all_of(stage, &servers, *client, targets(family)[0], number);
            }
        }
        assert_eq!(stage.verdict("to-helper"), 0, "nothing has to be read");
    });
}
