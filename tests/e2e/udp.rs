//! A UDP service: answered, counted, each conversation with one real.

use std::collections::{BTreeMap, BTreeSet};
use std::net::{SocketAddr, UdpSocket};
use std::time::Duration;

use lb_lab::Plan;
use lb_lab::plan::{self, Family};

use crate::echo::Server;
use crate::stage::{self, Stage};

/// A client's socket that speaks to a service.
pub(crate) fn socket(stage: &Stage, target: SocketAddr) -> UdpSocket {
    let local: SocketAddr = if target.is_ipv4() { "0.0.0.0:0" } else { "[::]:0" }.parse().unwrap();
    let open = || UdpSocket::bind(local).and_then(|socket| socket.connect(target).map(|()| socket));
    let socket = stage.cluster.client().unwrap().enter(open).unwrap().unwrap();
    socket.set_read_timeout(Some(Duration::from_secs(10))).unwrap();
    socket
}

/// Sends a datagram and returns the name of the real that answered it.
pub(crate) fn ask(socket: &UdpSocket, length: usize) -> String {
    let mut answer = [0; 64];
    socket.send(&vec![b'x'; length]).unwrap();
    let length = socket.recv(&mut answer).unwrap_or_else(|error| panic!("no answer: {error}"));
    String::from_utf8_lossy(&answer[..length]).into_owned()
}

#[test]
fn every_datagram_is_answered_by_its_conversations_real() {
    const FLOWS: usize = 240;
    const DATAGRAMS: usize = 5;
    for family in Family::ALL {
        stage::with("udp", Plan::one_arm(3), |stage| {
            let target = SocketAddr::new(plan::vip(family, 0), 5353);
            let key = format!("udp://{target}");
            let servers: Vec<Server> =
                stage.cluster.real_names().iter().map(|real| Server::udp(stage, real, target)).collect();
            stage.apply_and_wait(&format!(
                "[[service]]\naddress = \"{target}\"\nprotocol = \"udp\"\nscheduler = \"wrr\"\n{}",
                stage.reals(family, &[3, 2, 1])
            ));
            let mut answered: BTreeMap<String, u64> = BTreeMap::new();
            let sockets: Vec<UdpSocket> = (0..FLOWS).map(|_| socket(stage, target)).collect();
            let mut first = Vec::new();
            for turn in 0..DATAGRAMS {
                for (flow, socket) in sockets.iter().enumerate() {
                    let name = ask(socket, 1 + turn * 300);
                    if turn == 0 {
                        *answered.entry(name.clone()).or_default() += 1;
                        first.push(name);
                    } else {
                        assert_eq!(name, first[flow], "a conversation changed its real");
                    }
                }
            }
            assert_eq!(servers.iter().map(Server::answered).sum::<u64>(), (FLOWS * DATAGRAMS) as u64);
            assert_eq!(stage.scheduled(&key), answered);
            for (name, exact) in [("real1", 120u64), ("real2", 80), ("real3", 40)] {
                assert!(answered[name].abs_diff(exact) <= 4, "{answered:?}");
            }
            let view = stage.service(&key);
            assert_eq!(
                (view.counters.packets, view.active, view.inactive),
                ((FLOWS * DATAGRAMS) as u64, 0, FLOWS as u64)
            );
            // From the IP header on.
            let headers = if family == Family::V4 { 28 } else { 48 };
            let bytes: usize = (0..DATAGRAMS).map(|turn| (headers + 1 + turn * 300) * FLOWS).sum();
            assert_eq!(view.counters.bytes, bytes as u64);
            let listed: BTreeSet<_> = stage
                .connections(&key)
                .connections
                .into_iter()
                .map(|entry| (entry.client.port(), stage.name_of(entry.real.ip()), entry.state))
                .collect();
            let known = sockets
                .iter()
                .zip(&first)
                .map(|(socket, name)| (socket.local_addr().unwrap().port(), name.clone(), "UDP".to_owned()));
            assert_eq!(listed, known.collect());
            println!("udp over {}: {answered:?}", family.as_str());
        });
    }
}
