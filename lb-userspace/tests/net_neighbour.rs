//! The next-hop resolver against real links, routes and neighbours.

mod net_support;
mod net_wait;

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use lb_userspace::net::Netlink;
use lb_userspace::signal::neighbour::{Egress, NextHop, Outputs, Routing, Target, spawn};
use net_support::Netns;
use net_wait::wait_for;
use tokio::sync::watch;

const SECOND: Duration = Duration::from_secs(1);

type NextHops = watch::Receiver<Arc<BTreeMap<Target, NextHop>>>;

fn ip(text: &str) -> IpAddr {
    text.parse().expect("address")
}

fn direct(address: &str) -> Target {
    Target { address: ip(address), on_link: true }
}

fn tunnel(address: &str) -> Target {
    Target { address: ip(address), on_link: false }
}

fn watch_targets(targets: &[Target]) -> (watch::Sender<Arc<BTreeSet<Target>>>, NextHops) {
    let (sender, receiver) = watch::channel(Arc::new(targets.iter().copied().collect()));
    (sender, spawn(receiver).next_hops)
}

async fn resolved(next_hops: &mut NextHops, target: Target, limit: Duration) -> Egress {
    let what = format!("{target:?} resolved");
    let found = wait_for(&what, limit, next_hops, |map| match map.get(&target) {
        Some(NextHop::Resolved(egress)) => Some(egress.clone()),
        _ => None,
    });
    found.await.0
}

async fn unresolved(next_hops: &mut NextHops, target: Target, wanted: &str, limit: Duration) -> Duration {
    let what = format!("{target:?} unresolved: {wanted}");
    let found = wait_for(&what, limit, next_hops, |map| match map.get(&target) {
        Some(NextHop::Unresolved { reason }) if reason == wanted => Some(()),
        _ => None,
    });
    found.await.1
}

/// A director and a real server with one segment between them, both families.
fn pair() -> Option<(Netns, Netns)> {
    let (director, real) = (Netns::new("dir")?, Netns::new("real")?);
    director.veth("eth0", &real, "eth0");
    director.ip("link set eth0 address 02:00:00:00:00:01");
    real.ip("link set eth0 address 02:00:00:00:00:02");
    director.ip("addr add 10.0.0.1/24 dev eth0");
    real.ip("addr add 10.0.0.2/24 dev eth0");
    director.ip("addr add fd00::1/64 dev eth0 nodad");
    real.ip("addr add fd00::2/64 dev eth0 nodad");
    Some((director, real))
}

#[test]
fn real_servers_are_resolved_by_arp_and_nd() {
    let Some((director, real)) = pair() else { return };
    director.ip("link set eth0 mtu 1400");
    let _ = &real;
    director.run(|| async {
        let (v4, v6, own) = (direct("10.0.0.2"), direct("fd00::2"), direct("10.0.0.1"));
        let (_targets, mut next_hops) = watch_targets(&[v4, v6, own]);
        let egress = resolved(&mut next_hops, v4, 3 * SECOND).await;
        assert_eq!((egress.interface.as_str(), egress.mtu), ("eth0", 1400));
        assert_eq!(egress.source_mac, [2, 0, 0, 0, 0, 1]);
        assert_eq!(egress.destination_mac, [2, 0, 0, 0, 0, 2]);
        assert_eq!(egress.source, ip("10.0.0.1"));
        let egress = resolved(&mut next_hops, v6, 3 * SECOND).await;
        assert_eq!(egress.destination_mac, [2, 0, 0, 0, 0, 2]);
        assert_eq!(egress.source, ip("fd00::1"));
        assert_eq!(next_hops.borrow().get(&own), Some(&NextHop::Local));
    });
}

#[test]
fn a_changed_mac_is_seen_within_a_second() {
    let Some((director, _real)) = pair() else { return };
    director.run(|| async {
        let target = direct("10.0.0.2");
        let (_targets, mut next_hops) = watch_targets(&[target]);
        resolved(&mut next_hops, target, 3 * SECOND).await;
        for last in [7, 8] {
            director.ip(&format!("neigh replace 10.0.0.2 lladdr 02:00:00:00:00:0{last} dev eth0 nud permanent"));
            let (_, took) = wait_for("the new MAC", SECOND, &mut next_hops, |map| match map.get(&target) {
                Some(NextHop::Resolved(egress)) if egress.destination_mac[5] == last => Some(()),
                _ => None,
            })
            .await;
            eprintln!("MAC change seen after {took:?}");
        }
        director.ip("link set eth0 address 02:00:00:00:00:0a");
        wait_for("the new own MAC", SECOND, &mut next_hops, |map| match map.get(&target) {
            Some(NextHop::Resolved(egress)) if egress.source_mac[5] == 10 => Some(()),
            _ => None,
        })
        .await;
    });
}

#[test]
fn reasons_name_the_cause() {
    let Some((director, real)) = pair() else { return };
    director.ip("route add 192.0.2.0/24 via 10.0.0.2");
    director.ip("route add blackhole 198.51.100.0/24");
    let _ = &real;
    director.run(|| async {
        let (silent, silent6, far) = (direct("10.0.0.99"), direct("fd00::99"), direct("203.0.113.1"));
        let (behind, routed) = (direct("192.0.2.1"), tunnel("192.0.2.1"));
        let (hole, broadcast) = (direct("198.51.100.1"), direct("10.0.0.255"));
        let all = [silent, silent6, far, behind, routed, hole, broadcast];
        let (_targets, mut next_hops) = watch_targets(&all);
        unresolved(&mut next_hops, far, "no route", SECOND).await;
        let gateway = "behind gateway 10.0.0.2: direct routing needs the real in the same segment";
        unresolved(&mut next_hops, behind, gateway, SECOND).await;
        let egress = resolved(&mut next_hops, routed, 3 * SECOND).await;
        assert_eq!(egress.destination_mac, [2, 0, 0, 0, 0, 2]);
        unresolved(&mut next_hops, hole, "a blackhole route swallows it", SECOND).await;
        unresolved(&mut next_hops, broadcast, "10.0.0.255 is a broadcast address", SECOND).await;
        unresolved(&mut next_hops, silent, "no answer to ARP on eth0", 6 * SECOND).await;
        unresolved(&mut next_hops, silent6, "no answer to ND on eth0", 6 * SECOND).await;
    });
}

#[test]
fn a_real_server_that_comes_later_is_found() {
    let Some((director, real)) = pair() else { return };
    director.run(|| async {
        let target = direct("10.0.0.3");
        let (targets, mut next_hops) = watch_targets(&[]);
        targets.send(Arc::new(BTreeSet::from([target]))).expect("the resolver listens");
        unresolved(&mut next_hops, target, "no answer to ARP on eth0", 6 * SECOND).await;
        real.ip("addr add 10.0.0.3/24 dev eth0");
        resolved(&mut next_hops, target, 12 * SECOND).await;
        targets.send(Arc::default()).expect("the resolver listens");
        wait_for("the target is forgotten", SECOND, &mut next_hops, |map| map.is_empty().then_some(())).await;
    });
}

#[test]
fn link_address_and_route_changes_are_seen_within_a_second() {
    let Some((director, real)) = pair() else { return };
    director.run(|| async {
        let (v4, v6) = (direct("10.0.0.2"), direct("fd00::2"));
        let (_targets, mut next_hops) = watch_targets(&[v4, v6]);
        resolved(&mut next_hops, v4, 3 * SECOND).await;
        resolved(&mut next_hops, v6, 3 * SECOND).await;

        director.ip("link set eth0 down");
        let took = unresolved(&mut next_hops, v4, "interface eth0 is down", SECOND).await;
        eprintln!("link down seen after {took:?}");
        unresolved(&mut next_hops, v6, "interface eth0 is down", SECOND).await;
        director.ip("link set eth0 up");
        resolved(&mut next_hops, v4, 3 * SECOND).await;

        real.ip("link set eth0 down");
        unresolved(&mut next_hops, v4, "interface eth0 has no carrier", SECOND).await;
        real.ip("link set eth0 up");
        resolved(&mut next_hops, v4, 6 * SECOND).await;

        director.ip("addr del 10.0.0.1/24 dev eth0");
        unresolved(&mut next_hops, v4, "no route", SECOND).await;
        director.ip("addr add 10.0.0.2/24 dev eth0");
        let local = |map: &Arc<BTreeMap<Target, NextHop>>| (map.get(&v4) == Some(&NextHop::Local)).then_some(());
        wait_for("the address is this host's own", SECOND, &mut next_hops, local).await;

        director.ip("link del eth0");
        unresolved(&mut next_hops, v4, "no route", SECOND).await;
    });
}

#[test]
fn stale_entries_serve_and_are_checked() {
    let Some((director, _real)) = pair() else { return };
    director.run(|| async {
        director.ip("neigh replace 10.0.0.2 lladdr 02:00:00:00:00:02 dev eth0 nud stale");
        let target = direct("10.0.0.2");
        let (_targets, mut next_hops) = watch_targets(&[target]);
        resolved(&mut next_hops, target, SECOND).await;
        let state = director.ip("neigh show 10.0.0.2 dev eth0");
        assert!(state.contains("DELAY") || state.contains("PROBE") || state.contains("REACHABLE"), "{state}");
    });
}

#[test]
fn a_flood_of_changes_ends_in_the_right_state() {
    let Some((director, _real)) = pair() else { return };
    director.run(|| async {
        let target = direct("10.0.0.2");
        let (_targets, mut next_hops) = watch_targets(&[target]);
        resolved(&mut next_hops, target, 3 * SECOND).await;
        // More announcements than the socket holds, made while this thread does not read it.
        let mut batch = String::new();
        for round in 0..4 {
            for host in 0..2000_u32 {
                let (high, low) = (host >> 8, host & 255);
                let mac = format!("02:00:00:{round:02x}:{high:02x}:{low:02x}");
                batch += &format!("neigh replace fd00::{host:x}:1 lladdr {mac} dev eth0 nud permanent\n");
            }
        }
        batch += "neigh replace 10.0.0.2 lladdr 02:00:00:00:00:77 dev eth0 nud permanent\n";
        let path = std::env::temp_dir().join(format!("{}.batch", director.name));
        std::fs::write(&path, batch).expect("write the batch");
        director.ip(&format!("-batch {}", path.display()));
        let _ = std::fs::remove_file(&path);
        wait_for("the last MAC", SECOND, &mut next_hops, |map| match map.get(&target) {
            Some(NextHop::Resolved(egress)) if egress.destination_mac[5] == 0x77 => Some(()),
            _ => None,
        })
        .await;
    });
}

#[test]
fn the_task_ends_with_its_last_receiver() {
    let Some(director) = Netns::new("dir") else { return };
    director.run(|| async {
        let (targets, next_hops) = watch_targets(&[]);
        drop(next_hops);
        tokio::time::timeout(SECOND, targets.closed()).await.expect("the task ends");
    });
}

#[test]
fn links_are_listed_with_kind_and_mac() {
    let Some((director, _real)) = pair() else { return };
    director.run(|| async {
        let netlink = Netlink::open().expect("open");
        let link = netlink.link("eth0").await.expect("list").expect("eth0");
        assert_eq!(link.mac, Some([2, 0, 0, 0, 0, 1]));
        assert_eq!(link.kind.as_deref(), Some("veth"));
        assert!(link.up && link.carrier && !link.loopback);
        assert_eq!(netlink.link("eth9").await.expect("list"), None);
    });
}

/// What connections with translation look for their ways back after: a route, a MAC, a link. Not a neighbour that is heard of again.
#[test]
fn changes_of_routes_are_told_whomever_they_concern() {
    let Some((director, _real)) = pair() else { return };
    director.run(|| async {
        let (_targets, receiver) = watch::channel(Arc::new(BTreeSet::new()));
        let Outputs { next_hops: _next_hops, mut routing } = spawn(receiver);
        let is_followed = |routing: &Routing| routing.is_followed.then_some(*routing);
        let (mut before, _) = wait_for("the first listing", 3 * SECOND, &mut routing, is_followed).await;
        for change in [
            "route add 192.0.2.0/24 via 10.0.0.2",
            "rule add from 198.51.100.0/24 table 7",
            "neigh replace 10.0.0.9 lladdr 02:00:00:00:00:09 dev eth0 nud reachable",
            "neigh replace 10.0.0.9 lladdr 02:00:00:00:00:0a dev eth0 nud reachable",
            "link set eth0 mtu 1400",
            "route del 192.0.2.0/24",
        ] {
            director.ip(change);
            let changed = |routing: &Routing| (routing.changes > before.changes).then_some(*routing);
            (before, _) = wait_for(change, SECOND, &mut routing, changed).await;
        }
        // Some are announced more than once, and a new link's own addresses take their time.
        tokio::time::sleep(3 * SECOND).await;
        before = *routing.borrow_and_update();
        for state in ["stale", "reachable", "stale"] {
            director.ip(&format!("neigh replace 10.0.0.9 lladdr 02:00:00:00:00:0a dev eth0 nud {state}"));
        }
        // Longer than until everything is listed again.
        tokio::time::sleep(6 * SECOND).await;
        assert_eq!(*routing.borrow(), before, "nobody's way is another one");
    });
}
