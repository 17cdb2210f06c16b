//! Real servers move and vanish: a new MAC address, an interface that goes down and comes back.

use std::time::Instant;

use lb_lab::Plan;
use lb_lab::load::{Load, LoadSpec};
use lb_lab::plan::{DIRECTOR, Family};
use lb_userspace::api::types::RealState;

use crate::hold::Held;
use crate::stage::{self, Stage, since, wait};

/// The MAC that the director sends a real's packets to.
fn mac(stage: &Stage, key: &str, name: &str, family: Family) -> String {
    let address = stage.address(name, family);
    let view = stage.service(key).reals.into_iter().find(|real| real.address == address).unwrap();
    view.mac.unwrap_or_else(|| format!("none: {:?}", view.reason))
}

fn requests(stage: &Stage, target: std::net::SocketAddr, count: u64) -> std::collections::BTreeMap<String, u64> {
    let report = Load::run(stage.cluster.client().unwrap(), LoadSpec::new(target, Some(count))).unwrap();
    assert_eq!((report.requests, report.failed), (count, 0), "{:?}", report.errors);
    report.reals
}

/// real1 answered half of 100 requests, give or take what each CPU's own round robin is off by.
fn half(answered: &std::collections::BTreeMap<String, u64>) {
    assert!(answered["real1"].abs_diff(50) <= 4, "{answered:?}");
}

/// Announced by the real itself (gratuitous ARP, unsolicited neighbour advertisement), as when a standby machine takes over.
#[test]
fn a_real_that_announces_a_new_mac_is_followed() {
    const NEW: &str = "02:58:56:77:01:11";
    for family in Family::ALL {
        stage::with("mac", Plan::one_arm(2), |stage| {
            let (key, target) = stage::http(family, 0);
            stage.apply_and_wait(&format!(
                "[[service]]\naddress = \"{target}\"\nscheduler = \"rr\"\n{}",
                stage.reals(family, &[1, 1])
            ));
            let mut held: Vec<Held> = (0..2).map(|_| Held::open(stage, target)).collect();
            let before: Vec<String> = held.iter_mut().map(|held| held.ask().unwrap()).collect();
            let real = stage.cluster.topology().netns("real1").unwrap();
            real.sysctl(&[("net.ipv4.conf.eth0.arp_notify", "1"), ("net.ipv6.conf.eth0.ndisc_notify", "1")]).unwrap();
            let old = mac(stage, &key, "real1", family);
            assert_ne!(old, NEW);
            let begin = Instant::now();
            real.run(&["ip", "link", "set", "eth0", "address", NEW]).unwrap();
            wait("the new MAC", || match mac(stage, &key, "real1", family) {
                seen if seen == NEW => Ok(()),
                seen => Err(seen),
            });
            println!("{}: {old} -> {NEW} seen {} ms after the change", family.as_str(), begin.elapsed().as_millis());
            half(&requests(stage, target, 100));
            // Open connections follow too.
            assert_eq!(held.iter_mut().map(|held| held.ask().unwrap()).collect::<Vec<_>>(), before);
        });
    }
}

/// Set on the director by an operator; nothing is announced on the wire.
#[test]
fn a_neighbour_entry_that_is_replaced_by_hand_is_followed() {
    const NEW: &str = "02:58:56:77:02:11";
    stage::with("neigh", Plan::one_arm(2), |stage| {
        let (key, target) = stage::http(Family::V4, 0);
        stage.apply_and_wait(&format!(
            "[[service]]\naddress = \"{target}\"\nscheduler = \"rr\"\n{}",
            stage.reals(Family::V4, &[1, 1])
        ));
        let real1 = stage.address("real1", Family::V4).to_string();
        let topology = stage.cluster.topology();
        topology.netns("real1").unwrap().run(&["ip", "link", "set", "eth0", "address", NEW]).unwrap();
        let begin = Instant::now();
        let replace = ["ip", "neigh", "replace", &real1, "lladdr", NEW, "dev", "eth0", "nud", "reachable"];
        topology.netns(DIRECTOR).unwrap().run(&replace).unwrap();
        wait("the new MAC", || match mac(stage, &key, "real1", Family::V4) {
            seen if seen == NEW => Ok(()),
            seen => Err(seen),
        });
        println!("seen {} ms after the change", begin.elapsed().as_millis());
        half(&requests(stage, target, 100));
    });
}

#[test]
fn a_real_whose_interface_is_down_gets_nothing_until_it_is_back() {
    stage::with("down", Plan::one_arm(3), |stage| {
        // The kernel takes an answer for good for half a minute by default; here, before there is any, for a second.
        let director = stage.cluster.topology().netns(DIRECTOR).unwrap();
        let faster = [("base_reachable_time_ms", "1000"), ("delay_first_probe_time", "1"), ("retrans_time_ms", "200")];
        for (name, value) in faster {
            director.sysctl(&[(&format!("net.ipv4.neigh.eth0.{name}"), value)]).unwrap();
        }
        let (key, target) = stage::http(Family::V4, 0);
        stage.apply_and_wait(&format!(
            "[[service]]\naddress = \"{target}\"\nscheduler = \"rr\"\n{}",
            stage.reals(Family::V4, &[1, 1, 1])
        ));
        let real1 = stage.address("real1", Family::V4);
        let real = stage.cluster.topology().netns("real1").unwrap();
        real.run(&["ip", "link", "set", "eth0", "down"]).unwrap();
        let reason = stage.wait_real(&key, real1, RealState::Unresolved);
        assert!(reason.contains("ARP"), "{reason}");
        let status = stage.status();
        assert_eq!((status.reals.up, status.reals.unresolved), (2, 1));
        let warning = status.warnings.iter().find(|line| line.contains(&format!("{real1}:80"))).unwrap();
        assert!(warning.contains(&key) && warning.contains("unresolved") && warning.contains(&reason), "{warning}");
        println!("{warning}");

        let given = stage.scheduled(&key);
        let answered = requests(stage, target, 200);
        assert_eq!(answered.get("real1"), None, "{answered:?}");
        assert_eq!(since(&stage.scheduled(&key), &given)["real1"], 0);

        stage.cluster.topology().netns("real1").unwrap().run(&["ip", "link", "set", "eth0", "up"]).unwrap();
        stage.wait_real(&key, real1, RealState::Up);
        assert_eq!(stage.status().warnings, Vec::<String>::new());
        let answered = requests(stage, target, 300);
        assert!(answered["real1"].abs_diff(100) <= 4, "{answered:?}");
    });
}

/// The director's own interface: everything is unresolved, and comes back by itself.
#[test]
fn the_directors_interface_goes_down_and_comes_back() {
    stage::with("flap", Plan::one_arm(2), |stage| {
        let (key, target) = stage::http(Family::V4, 0);
        stage.apply_and_wait(&format!("[[service]]\naddress = \"{target}\"\n{}", stage.reals(Family::V4, &[1, 1])));
        let real1 = stage.address("real1", Family::V4);
        let link = stage.status().interfaces[0].link_id;
        let director = || stage.cluster.topology().netns(DIRECTOR).unwrap();
        director().run(&["ip", "link", "set", "eth0", "down"]).unwrap();
        let reason = stage.wait_real(&key, real1, RealState::Unresolved);
        assert_eq!(reason, "interface eth0 is down");
        director().run(&["ip", "link", "set", "eth0", "up"]).unwrap();
        stage.cluster.wait_states(&key, &Default::default()).unwrap();
        assert_eq!(stage.status().interfaces[0].link_id, link, "still attached");
        requests(stage, target, 100);
    });
}
