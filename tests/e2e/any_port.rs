//! A service on any port of an address, and beside it one on a port, which goes first.

use std::io::Read as _;
use std::net::{IpAddr, SocketAddr, TcpStream};
use std::time::Duration;

use lb_lab::Plan;
use lb_lab::plan::{self, Family};

use crate::echo::Server;
use crate::stage::{self, Stage};
use crate::udp;

/// Connects and reads the name that the real sends.
fn tcp(stage: &Stage, target: SocketAddr) -> String {
    let read = || {
        let mut stream = TcpStream::connect_timeout(&target, Duration::from_secs(10))?;
        stream.set_read_timeout(Some(Duration::from_secs(10)))?;
        let mut name = String::new();
        stream.read_to_string(&mut name).map(|_| name)
    };
    stage.cluster.client().unwrap().enter(read).unwrap().unwrap_or_else(|error| panic!("{target}: {error}"))
}

fn connections(stage: &Stage, key: &str) -> u64 {
    stage.scheduled(key).values().sum()
}

#[test]
fn any_port_leads_to_the_same_port_and_an_exact_service_wins() {
    for family in Family::ALL {
        stage::with("port", Plan::one_arm(2), |stage| {
            let vip: IpAddr = plan::vip(family, 2);
            let at = |port| SocketAddr::new(vip, port);
            // real1 serves any port, real2 has one for itself; both listen everywhere, so an answer tells which service it was.
            let mut servers = Vec::new();
            for real in ["real1", "real2"] {
                for port in [2000, 2001, 65_535] {
                    servers.push(Server::tcp(stage, real, at(port)));
                    servers.push(Server::udp(stage, real, at(port)));
                }
            }
            let real = |name| format!("[[service.real]]\naddress = \"{}\"\n", stage.address(name, family));
            let (any, exact) = (real("real1"), real("real2"));
            let host = if family == Family::V4 { vip.to_string() } else { format!("[{vip}]") };
            let mut text = String::new();
            for protocol in ["tcp", "udp"] {
                text += &format!("[[service]]\naddress = \"{host}\"\nprotocol = \"{protocol}\"\n{any}");
                text += &format!("[[service]]\naddress = \"{host}:2001\"\nprotocol = \"{protocol}\"\n{exact}");
            }
            stage.apply_and_wait(&text);
            for (port, expected) in [(2000, "real1"), (2001, "real2"), (65_535, "real1")] {
                for _ in 0..10 {
                    assert_eq!(tcp(stage, at(port)), expected, "tcp {port}");
                    assert_eq!(udp::ask(&udp::socket(stage, at(port)), 10), expected, "udp {port}");
                }
            }
            for protocol in ["tcp", "udp"] {
                let (any, exact) = (format!("{protocol}://{}", at(0)), format!("{protocol}://{}", at(2001)));
                assert_eq!((connections(stage, &any), connections(stage, &exact)), (20, 10), "{protocol}");
                // The list tells the port that the client asked for, and the same one at the real.
                for entry in stage.connections(&any).connections {
                    assert!(
                        entry.virtual_.port() == entry.real.port() && [2000, 65_535].contains(&entry.real.port()),
                        "{entry:?}"
                    );
                }
            }
            // Without the exact service its port is one of any.
            stage.cluster.director().xvs(&["service", "remove", &format!("tcp://{}", at(2001))]).unwrap();
            assert_eq!(tcp(stage, at(2001)), "real1");
            // A port where nobody listens is refused by the real, not by the director.
            let client = stage.cluster.client().unwrap();
            assert!(!client.connects(vip, 2002, Duration::from_secs(5)).unwrap());
            assert_eq!(connections(stage, &format!("tcp://{}", at(0))), 22);
        });
    }
}
