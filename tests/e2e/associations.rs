//! SCTP services: many associations at once, and what the director lists of them. One by every way is in the matrix.

use std::collections::BTreeMap;

use lb_lab::Plan;
use lb_lab::plan::Family;

use crate::sctp::{self, Client, Server};
use crate::stage;

/// Handshake, ten messages each, close by either side; every association with one real, all states on the way.
#[test]
fn associations_by_direct_routing() {
    for family in Family::ALL {
        stage::with("sctp", Plan::one_arm(2), |stage| {
            let (key, target) = sctp::service(family);
            let servers: Vec<Server> =
                stage.cluster.real_names().iter().map(|real| Server::echo(stage, real, target)).collect();
            stage.apply_and_wait(&format!(
                "[[service]]\naddress = \"{target}\"\nprotocol = \"sctp\"\nscheduler = \"rr\"\n{}",
                stage.reals(family, &[1, 1])
            ));
            // The kernel's networking hands the first packet on at its leisure.
            let listed = |port, wanted: &str| {
                stage::wait(&format!("port {port} is listed as {wanted}"), || {
                    let state = sctp::state(stage, &key, port);
                    if state == wanted { Ok(()) } else { Err(state) }
                });
            };
            let mut answered: BTreeMap<String, u64> = BTreeMap::new();
            let mut clients = Vec::new();
            for _ in 0..6 {
                let mut client = Client::begin(stage, target);
                listed(client.port(), "INIT1");
                client.establish();
                listed(client.port(), "ESTABLISHED");
                clients.push(client);
            }
            let mut homes = Vec::new();
            for turn in 0..10 {
                for (number, client) in clients.iter_mut().enumerate() {
                    let answer = client.ask(&[b'x'; 700]);
                    let name = String::from_utf8(answer).unwrap().split(' ').next().unwrap().to_owned();
                    if turn == 0 {
                        *answered.entry(name.clone()).or_default() += 1;
                        homes.push(name);
                    } else {
                        assert_eq!(name, homes[number], "an association changed its real");
                    }
                }
            }
            assert_eq!(servers.iter().map(Server::answered).sum::<u64>(), 60);
            assert_eq!(stage.scheduled(&key), answered);
            // In turn on each CPU by itself: two associations more for one real at most, where packets come in on two CPUs.
            assert!(answered.len() == 2 && answered.values().all(|count| (2..=4).contains(count)), "{answered:?}");
            let view = stage.service(&key);
            assert_eq!((view.active, view.inactive), (6, 0));

            let ports: Vec<u16> = clients.iter().map(Client::port).collect();
            let by_server = clients.split_off(3);
            for mut client in clients {
                client.begin_close();
                listed(client.port(), "S-RECEIVED");
                client.finish();
            }
            by_server.into_iter().for_each(Client::be_closed);
            for port in ports {
                listed(port, "CLOSED");
            }
            let view = stage.service(&key);
            assert_eq!((view.active, view.inactive), (0, 6));
            assert_eq!(servers.iter().map(Server::wrong_sums).sum::<u64>(), 0);
            println!("sctp over {}: {answered:?}", family.as_str());
        });
    }
}
