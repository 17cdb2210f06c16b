//! Path MTU discovery (RFC 1191, RFC 8201) through the director: it tells the client what fits a tunnel, and brings a router's
//! message about what a real sends to that real. No MSS is clamped, and without the messages nothing that is longer than the path
//! would ever arrive.

use std::net::IpAddr;

use lb_lab::Plan;
use lb_lab::plan::{BACK, CLIENT, CLIENT_MTU, DIRECTOR, DIRECTOR_NUMBER, Family, ROUTER};

use crate::capture::Capture;
use crate::nat;
use crate::stage::{self, Stage};
use crate::transfer::Body;
use crate::ways::{DIRECT, FULL_NAT, NAT, TUNNELS, Way};

/// What the router's port to a distant client carries.
const NARROW: u32 = 1400;

#[test]
fn path_mtu_of_every_tunnel_is_told_to_the_client() {
    stage::with("pmtu-up", Plan::routed(1).every_link(CLIENT_MTU), |stage| {
        println!(
            "{:<8} {:<6} {:<5} {:>8} {:>5} {:>8}  at the client",
            "way", "client", "real", "overhead", "told", "tunnel"
        );
        let mut number = 200;
        for way in TUNNELS {
            for (client, real) in [(0, 0), (0, 1), (1, 0), (1, 1)] {
                number += 1;
                println!("{}", upload(stage, way, Family::ALL[client], Family::ALL[real], number));
            }
        }
    });
}

/// Uploads through a tunnel that full-size packets do not fit.
fn upload(stage: &mut Stage, way: Way, client: Family, real: Family, number: u64) -> String {
    let (_, target) = stage::http(client, 0);
    stage.apply_and_wait(&way.service(stage, target, "tcp", real));
    let fits = CLIENT_MTU - way.overhead(real);
    let what = format!("{} from {} to {}", way.name, client.as_str(), real.as_str());
    forget(stage, CLIENT);
    assert_eq!(path_mtu(stage, CLIENT, target.ip(), None), None, "{what}: nothing is known yet");
    let before = (stage.verdict("too-big-told"), stage.verdict("tunnel"));
    let capture = Capture::lines_at(stage, CLIENT, "eth0", too_big_filter(client));

    Body::new(stage, number).upload(stage, target, &format!("file-{number}"));

    let told = stage.verdict("too-big-told") - before.0;
    assert!(told > 0, "{what}");
    let lines = stage::wait(&format!("{what}: {told} messages at the client"), || match capture.lines() {
        lines if lines.len() as u64 == told => Ok(lines),
        lines => Err(format!("{lines:?}")),
    });
    let from = format!("{} > {}: ", target.ip(), stage.address(CLIENT, client));
    for line in &lines {
        assert!(line.contains(&from) && line.contains(&format!("mtu {fits}")), "{what}: {line}");
    }
    assert_eq!(path_mtu(stage, CLIENT, target.ip(), None), Some(fits), "{what}");
    // As few as one flight of packets: no message was held back, and the client sent no more that do not fit.
    assert_eq!(stage.verdict("too-big"), 0, "{what}");
    format!(
        "{:<8} {:<6} {:<5} {:>8} {told:>5} {:>8}  {}",
        way.name,
        client.as_str(),
        real.as_str(),
        way.overhead(real),
        stage.verdict("tunnel") - before.1,
        lines[0]
    )
}

#[test]
fn path_mtu_of_a_distant_client_is_told_to_its_real() {
    stage::with("pmtu-down", Plan::distant_client(1, NARROW), |stage| {
        println!("{:<8} {:<6} {:<5} {:>6} {:>9}  from the router", "way", "client", "real", "errors", "forwarded");
        let mut number = 300;
        for way in std::iter::once(DIRECT).chain(TUNNELS) {
            for client in Family::ALL {
                for real in Family::ALL.into_iter().filter(|real| way.is_tunnel() || *real == client) {
                    number += 1;
                    println!("{}", download(stage, way, client, real, number));
                }
            }
        }
    });
}

/// Downloads what the real sends in packets that do not fit the client's link: the router's errors go to the VIP.
fn download(stage: &mut Stage, way: Way, client: Family, real: Family, number: u64) -> String {
    let (_, target) = stage::http(client, 0);
    stage.apply_and_wait(&way.service(stage, target, "tcp", real));
    let what = format!("{} from {} to {}", way.name, client.as_str(), real.as_str());
    let at_client = stage.address(CLIENT, client);
    forget(stage, "real1");
    assert_eq!(path_mtu(stage, "real1", at_client, Some(target.ip())), None, "{what}: nothing is known yet");
    let name = format!("file-{number}");
    let body = Body::new(stage, number);
    body.lay_down(stage, &name);
    let before = stage.verdict(way.verdict());
    let filter = format!("{} and dst host {}", too_big_filter(client), target.ip());
    let capture = Capture::lines_at(stage, ROUTER, "eth0", &filter);

    body.download(stage, target, &name);

    assert_eq!(path_mtu(stage, "real1", at_client, Some(target.ip())), Some(NARROW), "{what}");
    let lines = stage::wait(&format!("{what}: a message of the router's"), || match capture.lines() {
        lines if lines.is_empty() => Err(String::new()),
        lines => Ok(lines),
    });
    let (from, narrow) = (format!(" > {}: ", target.ip()), format!("mtu {NARROW}"));
    assert!(lines.iter().all(|line| line.contains(&from) && line.contains(&narrow)), "{what}: {lines:?}");
    for verdict in ["icmp-no-flow", "icmp-forged", "icmp-malformed", "too-big", "too-big-told"] {
        assert_eq!(stage.verdict(verdict), 0, "{what}: {verdict}");
    }
    format!(
        "{:<8} {:<6} {:<5} {:>6} {:>9}  {}",
        way.name,
        client.as_str(),
        real.as_str(),
        lines.len(),
        stage.verdict(way.verdict()) - before,
        lines[0]
    )
}

#[test]
fn path_mtu_back_to_the_client_is_told_to_a_translated_real() {
    stage::with("pmtu-back", Plan::two_arm(1), |stage| {
        nat::forwarding(stage);
        let director = stage.cluster.topology().netns(DIRECTOR).unwrap();
        director.run(&["ip", "link", "set", "eth0", "mtu", &NARROW.to_string()]).unwrap();
        let (v4, v6) = (Family::V4, Family::V6);
        // IPv6's header is 20 bytes longer.
        for (number, (way, client, real, fits)) in (500..).zip([
            (NAT, v4, v4, NARROW),
            (NAT, v6, v6, NARROW),
            (FULL_NAT, v4, v4, NARROW),
            (FULL_NAT, v6, v6, NARROW),
            (FULL_NAT, v4, v6, NARROW + 20),
            (FULL_NAT, v6, v4, NARROW - 20),
        ]) {
            if way == NAT {
                nat::answers_by_director(stage, client);
            }
            answer(stage, way, client, real, fits, number);
            if way == NAT {
                nat::answers_past_director(stage, client);
            }
        }
    });
}

/// Downloads what the real sends in packets that do not fit the director's own link to the client.
fn answer(stage: &mut Stage, way: Way, client: Family, real: Family, fits: u32, number: u64) {
    let target = way.target(stage::http(client, 0).1);
    stage.apply_and_wait(&(nat::director(stage, way) + &way.service(stage, target, "tcp", real)));
    let what = format!("{} from {} to {}", way.name, client.as_str(), real.as_str());
    // Whom the real answers.
    let peer = if way == NAT { stage.address(CLIENT, client) } else { BACK.address(real, DIRECTOR_NUMBER) };
    forget(stage, "real1");
    assert_eq!(path_mtu(stage, "real1", peer, None), None, "{what}: nothing is known yet");
    let name = format!("file-{number}");
    let body = Body::new(stage, number);
    body.lay_down(stage, &name);
    let told = stage.verdict("too-big-told");

    body.download(stage, target, &name);

    assert!(stage.verdict("too-big-told") > told, "{what}");
    assert_eq!(path_mtu(stage, "real1", peer, None), Some(fits), "{what}");
    assert_eq!(stage.verdict("too-big"), 0, "{what}");
}

/// tcpdump's words for "fragmentation needed" and "packet too big".
fn too_big_filter(family: Family) -> &'static str {
    match family {
        Family::V4 => "icmp[0] = 3 and icmp[1] = 4",
        Family::V6 => "icmp6 and ip6[40] = 2",
    }
}

/// Empties a host's memory of paths.
fn forget(stage: &Stage, host: &str) {
    for family in ["-4", "-6"] {
        stage.cluster.topology().netns(host).unwrap().run(&["ip", family, "route", "flush", "cache"]).unwrap();
    }
}

/// What a host's kernel was told of the path to an address, by a message: none when it goes by the link.
fn path_mtu(stage: &Stage, host: &str, to: IpAddr, from: Option<IpAddr>) -> Option<u32> {
    let (to, from) = (to.to_string(), from.map(|from| from.to_string()));
    let mut words = vec!["ip", "route", "get", &to];
    if let Some(from) = &from {
        words.extend(["from", from]);
    }
    let said = stage.cluster.topology().netns(host).unwrap().run(&words).unwrap();
    said.split_once(" mtu ")?.1.split_whitespace().next()?.parse().ok()
}
