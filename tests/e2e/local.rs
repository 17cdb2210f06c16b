//! A real that is the director itself: its kernel gets what the scheduler gives it, beside a real that is reached as always.

use std::collections::BTreeMap;
use std::io::Read as _;
use std::net::{SocketAddr, TcpStream};
use std::time::Duration;

use lb_lab::Plan;
use lb_lab::plan::{DIRECTOR, Family};
use lb_userspace::api::types::RealState;

use crate::echo::Server;
use crate::stage::{self, LIMIT, Stage};
use crate::udp;

const CONNECTIONS: u64 = 200;

#[test]
fn the_director_serves_beside_a_real() {
    for family in Family::ALL {
        stage::with("local", Plan::one_arm(1), |stage| {
            let target = SocketAddr::new(lb_lab::plan::vip(family, 0), 8080);
            let keys = ["tcp", "udp"].map(|protocol| format!("{protocol}://{target}"));
            let reals = format!(
                "[[service.real]]\naddress = \"{}\"\n{}",
                stage.address(DIRECTOR, family),
                stage.reals(family, &[1])
            );
            // By whatever method: the director's own packets need none.
            let service = |protocol, method| {
                format!(
                    "[[service]]\naddress = \"{target}\"\nprotocol = \"{protocol}\"\nscheduler = \"rr\"\n\
                     method = \"{method}\"\n{reals}"
                )
            };
            let hosts = ["real1", DIRECTOR];
            let _tcp = hosts.map(|host| Server::tcp(stage, host, target));
            let _udp = hosts.map(|host| Server::udp(stage, host, target));
            stage.apply_and_wait(&(service("tcp", "direct") + &service("udp", "tunnel")));

            let mut by_tcp: BTreeMap<String, u64> = BTreeMap::new();
            let mut by_udp: BTreeMap<String, u64> = BTreeMap::new();
            for _ in 0..CONNECTIONS {
                *by_tcp.entry(served_by(stage, target)).or_default() += 1;
            }
            // All open at once, or a port might come twice.
            let sockets: Vec<_> = (0..CONNECTIONS).map(|_| udp::socket(stage, target)).collect();
            for socket in &sockets {
                *by_udp.entry(udp::ask(socket, 20)).or_default() += 1;
            }
            let mut local = 0;
            for (key, answered) in keys.iter().zip([&by_tcp, &by_udp]) {
                let view = stage.stats().services.into_iter().find(|view| view.service.to_string() == *key).unwrap();
                let own = stage.address(DIRECTOR, family);
                for real in view.reals {
                    let name = if real.address == own { DIRECTOR } else { "real1" };
                    // In turn on each CPU by itself.
                    assert!(answered[name].abs_diff(CONNECTIONS / 2) <= 2, "{key}: {answered:?}");
                    assert_eq!(real.counters.connections, answered[name], "{key} {name}");
                    local += if real.address == own { real.counters.packets } else { 0 };
                }
            }
            assert!(local > CONNECTIONS, "{local}");
            assert_eq!(stage.verdict("local"), local);
            println!("{}: tcp {by_tcp:?}, udp {by_udp:?}, {local} packets to the director's kernel", family.as_str());
        });
    }
}

/// The kernel would take packets at the port that they are sent to, not at another.
#[test]
fn the_director_serves_at_the_services_port_only() {
    stage::with("local-port", Plan::one_arm(1), |stage| {
        let (key, target) = stage::http(Family::V4, 0);
        let own = stage.address(DIRECTOR, Family::V4);
        stage.apply(&format!(
            "[[service]]\naddress = \"{target}\"\nmethod = \"nat\"\n[[service.real]]\naddress = \"{own}:81\"\n"
        ));
        stage::wait("the director's own address at another port is refused", || {
            let real = stage.service(&key).reals.remove(0);
            let reason = real.reason.unwrap_or_default();
            match real.state == RealState::Unresolved && reason.contains("at the service's port") {
                true => Ok(()),
                false => Err(format!("{}: {reason}", real.state)),
            }
        });
    });
}

/// Connects, and reads the name of who has accepted.
fn served_by(stage: &Stage, target: SocketAddr) -> String {
    let connect = || TcpStream::connect_timeout(&target, Duration::from_secs(5));
    let mut stream = stage.cluster.client().unwrap().enter(connect).unwrap().unwrap();
    stream.set_read_timeout(Some(LIMIT)).unwrap();
    let mut name = String::new();
    stream.read_to_string(&mut name).unwrap();
    name
}
