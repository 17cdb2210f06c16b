//! Connections are forgotten when their time is over: out of the list, out of the counts that schedulers go by.

use std::net::SocketAddr;

use lb_lab::Plan;
use lb_lab::plan::{self, Family};

use crate::echo::Server;
use crate::hold::Held;
use crate::stage::{self, Stage, wait};
use crate::udp;

/// Waits until a service has no connection, in list and counts.
fn empty(stage: &Stage, key: &str) {
    wait(&format!("no connection of {key}"), || {
        let (listed, view) = (stage.connections(key).total, stage.service(key));
        match (listed, view.active, view.inactive) {
            (0, 0, 0) => Ok(()),
            counts => Err(format!("(listed, active, inactive) {counts:?}")),
        }
    });
}

#[test]
fn connections_expire_by_their_states_timeout() {
    for family in Family::ALL {
        stage::with("expiry", Plan::one_arm(2), |stage| {
            let (tcp, target) = stage::http(family, 0);
            let at = SocketAddr::new(plan::vip(family, 0), 5353);
            let udp = format!("udp://{at}");
            let servers: Vec<Server> = ["real1", "real2"].map(|real| Server::udp(stage, real, at)).into();
            let reals = stage.reals(family, &[1, 1]);
            let spec = |seconds: [u32; 3]| {
                format!(
                    "[director.timeouts]\ntcp = {}\ntcp_fin = {}\nudp = {}\n[[service]]\naddress = \"{target}\"\n{reals}\
                     [[service]]\naddress = \"{at}\"\nprotocol = \"udp\"\n{reals}",
                    seconds[0], seconds[1], seconds[2]
                )
            };
            stage.apply_and_wait(&spec([600, 2, 2]));
            // UDP: the time runs from the last packet.
            // All open at once: the port of one that is closed may be given out again, and 50 flows be 49.
            let sockets: Vec<_> = (0..50).map(|_| udp::socket(stage, at)).collect();
            for socket in &sockets {
                udp::ask(socket, 10);
            }
            let page = stage.connections(&udp);
            assert!(page.total > 0 && page.connections.iter().all(|entry| entry.expires_seconds <= 3), "{page:?}");
            empty(stage, &udp);
            assert_eq!(stage.scheduled(&udp).values().sum::<u64>(), 50, "counters stay");

            // TCP: what was closed goes, what is established stays.
            let mut open: Vec<Held> = (0..10).map(|_| Held::open(stage, target)).collect();
            open.iter_mut().for_each(|held| drop(held.ask().unwrap()));
            open.truncate(4);
            wait("the closed ones are forgotten", || {
                let (listed, view) = (stage.connections(&tcp), stage.service(&tcp));
                match (listed.total, view.active, view.inactive) {
                    (4, 4, 0) => Ok(()),
                    counts => Err(format!("(listed, active, inactive) {counts:?}")),
                }
            });
            // A shorter time holds for connections that are there already.
            stage.apply(&spec([1, 2, 2]));
            empty(stage, &tcp);
            let status = stage.status();
            assert_eq!((status.connections.used_v4, status.connections.used_v6), (0, 0));
            // What was forgotten is nobody's connection: the client is told so.
            let error = open[0].ask().unwrap_err();
            assert_eq!(error.kind(), std::io::ErrorKind::ConnectionReset, "{error}");
            drop(servers);
        });
    }
}

/// Idle connections go, one that speaks stays, for longer than its time.
#[test]
fn a_conversation_that_goes_on_is_not_forgotten() {
    stage::with("alive", Plan::one_arm(2), |stage| {
        let at = SocketAddr::new(plan::vip(Family::V4, 0), 5353);
        let key = format!("udp://{at}");
        let _servers: Vec<Server> = ["real1", "real2"].map(|real| Server::udp(stage, real, at)).into();
        let reals = stage.reals(Family::V4, &[1, 1]);
        stage.apply_and_wait(&format!(
            "[director.timeouts]\nudp = 3\n[[service]]\naddress = \"{at}\"\nprotocol = \"udp\"\nscheduler = \"rr\"\n{reals}"
        ));
        let (speaks, idle) = (udp::socket(stage, at), udp::socket(stage, at));
        let (first, _) = (udp::ask(&speaks, 1), udp::ask(&idle, 1));
        let idle = idle.local_addr().unwrap().port();
        let mut turns = 0;
        wait("the idle one is forgotten, twice over", || {
            assert_eq!(udp::ask(&speaks, 1), first);
            std::thread::sleep(std::time::Duration::from_millis(200));
            let ports: Vec<u16> = stage.connections(&key).connections.iter().map(|entry| entry.client.port()).collect();
            assert!(ports.contains(&speaks.local_addr().unwrap().port()), "{ports:?}");
            turns += usize::from(!ports.contains(&idle));
            if turns >= 20 { Ok(()) } else { Err(format!("{ports:?}")) }
        });
        assert_eq!(stage.scheduled(&key).values().sum::<u64>(), 2, "scheduled once each");
    });
}
