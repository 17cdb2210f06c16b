//! The kernel's answers, and what stays.

use super::*;
use crate::model::{HealthSpec, Protocol, edit, health::ProbeKind};

const KEY: ServiceKey =
    ServiceKey { protocol: Protocol::Tcp, address: IpAddr::V4(std::net::Ipv4Addr::new(10, 0, 0, 1)), port: 80 };

fn service(key: ServiceKey) -> Service {
    Service {
        key,
        scheduler: "wlc".to_owned(),
        persistence: None,
        netmask: None,
        pe: None,
        one_packet: false,
        flags: Vec::new(),
    }
}

fn server(service: ServiceKey, real: &str) -> Server {
    let real = real.parse().unwrap();
    Server { service, real, forwarding: Forwarding::Masquerading, weight: 1, upper: 0, lower: 0 }
}

/// The Spec after these changes, each of which is made.
fn spec(changes: &[Change]) -> Spec {
    let mut spec = Spec::default();
    for change in changes {
        make(&mut spec, change).unwrap();
    }
    spec
}

fn make(spec: &mut Spec, change: &Change) -> Result<(), String> {
    for made in edits(change, spec).map_err(|failure| {
        assert_eq!((failure.code, failure.is_final), (255, false), "{failure:?}");
        failure.text
    })? {
        edit::apply(spec, made).unwrap();
    }
    Ok(())
}

fn one_real() -> Spec {
    spec(&[Change::AddService(service(KEY)), Change::AddServer(server(KEY, "10.0.1.1:80"))])
}

#[test]
fn what_is_there_already_and_what_is_not() {
    let other = ServiceKey { port: 9, ..KEY };
    let before = one_real();
    for (change, text) in [
        (Change::AddService(service(KEY)), "Service already exists"),
        // The service is looked for first, then the scheduler.
        (Change::AddService(Service { scheduler: "nosuch".to_owned(), ..service(KEY) }), "Service already exists"),
        (Change::EditService(Service { scheduler: "nosuch".to_owned(), ..service(other) }), "No such service"),
        (Change::DeleteService(other), "No such service"),
        (Change::AddServer(server(other, "10.0.1.1:80")), "Service not defined"),
        (Change::EditServer(server(other, "10.0.1.1:80")), "Service not defined"),
        (Change::DeleteServer { service: other, real: "10.0.1.1:80".parse().unwrap() }, "Service not defined"),
        (Change::AddServer(server(KEY, "10.0.1.1:80")), "Destination already exists"),
        (Change::EditServer(server(KEY, "10.0.1.2:80")), "No such destination"),
        (Change::EditServer(server(KEY, "10.0.1.1:81")), "No such destination"),
        (Change::DeleteServer { service: KEY, real: "10.0.1.1:81".parse().unwrap() }, "No such destination"),
        (
            Change::AddService(Service { scheduler: "nosuch".to_owned(), ..service(other) }),
            "Scheduler or persistence engine not found",
        ),
        (
            Change::EditService(Service { scheduler: "nosuch".to_owned(), ..service(KEY) }),
            "Scheduler or persistence engine not found",
        ),
        (
            Change::AddService(Service { pe: Some("sip".to_owned()), ..service(other) }),
            "Scheduler or persistence engine not found",
        ),
        (Change::AddServer(Server { lower: 1, ..server(KEY, "10.0.1.2:80") }), "Numerical result out of range"),
        (
            Change::EditServer(Server { upper: 5, lower: 6, ..server(KEY, "10.0.1.2:80") }),
            "Numerical result out of range",
        ),
        (Change::AddServer(server(KEY, "224.0.0.1:80")), INVALID),
        (Change::AddServer(server(KEY, "255.255.255.255:80")), INVALID),
        (Change::AddServer(server(KEY, "0.0.0.5:80")), INVALID),
    ] {
        let mut spec = before.clone();
        assert_eq!(make(&mut spec, &change).unwrap_err(), text, "{change:?}");
        assert_eq!(spec, before);
    }
}

#[test]
fn an_edit_gives_the_defaults_back_and_leaves_what_ipvsadm_cannot_say() {
    let mut spec = one_real();
    let known = spec.service_mut(0);
    known.persistence = Some(Persistence::default());
    known.scheduler = Scheduler::Mh;
    known.scheduler_flags = vec![SchedulerFlag::MhPort, SchedulerFlag::UdpActive];
    known.table_slots = Some(251);
    known.health = Some(HealthSpec::new(ProbeKind::Tcp));
    known.reals[0] = RealSpec {
        weight: 7,
        upper_threshold: 9,
        method: Some(Method::Gue),
        tunnel_port: Some(6080),
        tunnel_checksum: Some(true),
        ..known.reals[0].clone()
    };
    let (health, gre) = (known.health.clone(), Forwarding::Tunnel(Tunnel::Gre(Checksum::Without)));
    make(&mut spec, &Change::EditService(service(KEY))).unwrap();
    make(&mut spec, &Change::EditServer(Server { forwarding: gre, ..server(KEY, "10.0.1.1:80") })).unwrap();
    let (after, real) = (&spec.services[0], &spec.services[0].reals[0]);
    assert_eq!((after.scheduler, after.persistence, after.table_slots), (Scheduler::Wlc, None, None));
    assert_eq!(after.scheduler_flags, [SchedulerFlag::UdpActive]);
    assert_eq!(after.health, health);
    assert_eq!((real.weight, real.upper_threshold, real.method), (1, 0, Some(Method::Gre)));
    assert_eq!((real.tunnel_port, real.tunnel_checksum), (None, Some(false)));
    let slots = Change::EditService(Service { scheduler: "mh".to_owned(), ..service(KEY) });
    spec.service_mut(0).scheduler = Scheduler::Mh;
    spec.service_mut(0).table_slots = Some(509);
    make(&mut spec, &slots).unwrap();
    assert_eq!(spec.services[0].table_slots, Some(509), "mh keeps its table");
}

#[test]
fn masquerading_is_full_nat_where_that_is_what_it_was() {
    let mut spec = one_real();
    spec.service_mut(0).reals[0].method = Some(Method::FullNat);
    make(&mut spec, &Change::EditServer(Server { weight: 0, ..server(KEY, "10.0.1.1:80") })).unwrap();
    assert_eq!((spec.services[0].reals[0].method, spec.services[0].reals[0].weight), (Some(Method::FullNat), 0));
    make(&mut spec, &Change::AddServer(server(KEY, "10.0.1.2:80"))).unwrap();
    assert_eq!(spec.services[0].reals[1].method, Some(Method::Nat));
    spec.service_mut(0).method = Method::FullNat;
    make(&mut spec, &Change::AddServer(server(KEY, "10.0.1.3:80"))).unwrap();
    assert_eq!(spec.services[0].reals[2].method, Some(Method::FullNat), "as its service has it");
    let direct = Server { forwarding: Forwarding::Gatewaying, ..server(KEY, "10.0.1.1:80") };
    make(&mut spec, &Change::EditServer(direct)).unwrap();
    assert_eq!(spec.services[0].reals[0].method, Some(Method::Direct));
}

#[test]
fn reals_of_a_mark_without_translation_have_no_port() {
    let key = ServiceKey::of_mark(3, false);
    let direct = Server { forwarding: Forwarding::Gatewaying, ..server(key, "10.0.1.1:81") };
    let mut spec = spec(&[Change::AddService(service(key)), Change::AddServer(direct.clone())]);
    assert_eq!(spec.services[0].reals[0].port, 0);
    assert_eq!(make(&mut spec, &Change::AddServer(direct)).unwrap_err(), "Destination already exists");
    make(&mut spec, &Change::AddServer(server(key, "10.0.1.2:81"))).unwrap();
    assert_eq!(spec.services[0].reals[1].port, 81);
    for (real, result) in
        [("10.0.1.2:82", Err("No such destination".to_owned())), ("10.0.1.2:81", Ok(())), ("10.0.1.1:81", Ok(()))]
    {
        let removal = Change::DeleteServer { service: key, real: real.parse().unwrap() };
        assert_eq!(make(&mut spec, &removal), result, "{real}");
    }
    assert_eq!(spec.services[0].reals, []);
}

#[test]
fn zero_keeps_a_timeout_and_three_zeros_do_nothing() {
    let mut spec = Spec::default();
    make(&mut spec, &Change::SetTimeouts([0, 5, 0])).unwrap();
    let timeouts = &spec.director.timeouts;
    assert_eq!((timeouts.tcp, timeouts.tcp_fin, timeouts.udp), (900, 5, 300));
    assert_eq!(edits(&Change::SetTimeouts([0; 3]), &spec), Ok(Vec::new()));
}

#[test]
fn what_xvs_does_not_do_is_said() {
    let remote = Forwarding::Tunnel(Tunnel::Gue(6080, Checksum::Remote));
    let change = Change::AddServer(Server { forwarding: remote, ..server(KEY, "10.0.1.2:80") });
    assert!(make(&mut one_real(), &change).unwrap_err().contains("--tun-remcsum"));
    let mask = Service { persistence: Some(5), netmask: Some(Netmask::V4([0; 4].into())), ..service(KEY) };
    assert!(make(&mut one_real(), &Change::EditService(mask.clone())).unwrap_err().contains("0.0.0.0"));
    make(&mut one_real(), &Change::EditService(Service { persistence: None, ..mask })).unwrap();
}
