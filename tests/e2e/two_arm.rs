//! A director with a port to the clients and one to the reals: packets are redirected from one to the other.

use lb_lab::Plan;
use lb_lab::load::{Load, LoadSpec};
use lb_lab::plan::Family;

use crate::stage;

#[test]
fn packets_are_redirected_between_the_ports() {
    stage::with("two-arm", Plan::two_arm(3), |stage| {
        let mut text = String::new();
        for family in Family::ALL {
            let (_, target) = stage::http(family, 0);
            text += &format!(
                "[[service]]\naddress = \"{target}\"\nscheduler = \"rr\"\n{}",
                stage.reals(family, &[1, 1, 1])
            );
            // Tunnels leave by the other port too.
            let (_, target) = stage::http(family, 1);
            text += &format!(
                "[[service]]\naddress = \"{target}\"\nscheduler = \"rr\"\nmethod = \"tunnel\"\n{}",
                stage.reals(family, &[1, 1, 1])
            );
        }
        stage.apply_and_wait(&text);
        let mut interfaces: Vec<String> = stage.status().interfaces.into_iter().map(|link| link.name).collect();
        interfaces.sort();
        assert_eq!(interfaces, ["eth0", "eth1"]);
        for (vip, verdict) in [(0, "direct-redirect"), (1, "tunnel-redirect")] {
            for family in Family::ALL {
                let (key, target) = stage::http(family, vip);
                let before = stage.verdict(verdict);
                let report = Load::run(stage.cluster.client().unwrap(), LoadSpec::new(target, Some(1_500))).unwrap();
                assert_eq!((report.requests, report.failed), (1_500, 0), "{key}: {:?}", report.errors);
                assert!(report.reals.values().all(|count| count.abs_diff(500) <= 4), "{:?}", report.reals);
                let view = stage.service(&key);
                assert!(view.reals.iter().all(|real| real.interface.as_deref() == Some("eth1")), "{view:?}");
                assert_eq!(stage.verdict(verdict) - before, view.counters.packets, "{key}");
                println!("{key}: {} packets {verdict}, {:?}", view.counters.packets, report.reals);
            }
        }
        assert_eq!(
            (stage.verdict("direct"), stage.verdict("tunnel")),
            (0, 0),
            "nothing left by the port it came in by"
        );
    });
}
