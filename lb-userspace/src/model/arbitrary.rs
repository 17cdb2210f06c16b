//! Valid Specs for property tests: every field takes every kind of value it can have.

use std::{
    collections::{BTreeMap, BTreeSet},
    net::{IpAddr, Ipv4Addr, Ipv6Addr},
    ops::RangeInclusive,
};

use proptest::{collection::vec, option, prelude::*, sample::select};

use super::{
    DirectorSpec, HealthSpec, Helper, MarkRule, Method, Netmask, OnRealDown, Persistence, PortRange, Probe, Protocol,
    RealSpec, Scheduler, SchedulerFlag, ServiceKey, ServiceSpec, SomeTimeouts, Spec, TimeoutSpec,
    mark::{network, width},
    validate,
};

/// A Spec that [`validate`](validate::validate) finds nothing wrong with.
pub(crate) fn spec() -> impl Strategy<Value = Spec> {
    (director(), vec(service(), 0..5), vec(rule(), 0..6)).prop_map(|(director, services, mut marks)| {
        let mut services: BTreeMap<_, _> = services.into_iter().map(|service| (service.key, service)).collect();
        let any_port: Vec<_> = services.keys().filter(|key| key.port == 0).map(|key| key.address).collect();
        let mut seen = BTreeSet::new();
        // One rule of each kind, none that is a service's own or takes answers to full NAT.
        marks.retain(|rule| {
            let is_free = services.keys().all(|key| key.address != rule.address)
                && !director.local_addresses.iter().any(|local| rule.covers(*local));
            is_free && seen.insert(rule.to_string())
        });
        services.values_mut().filter(|service| any_port.contains(&service.key.address)).for_each(|s| s.helper = None);
        // Not sorted: the order of the file must survive.
        Spec { director, marks, services: services.into_values().rev().map(std::sync::Arc::new).collect() }
    })
}

fn director() -> impl Strategy<Value = DirectorSpec> {
    let timeout = || validate::TIMEOUT_SECONDS;
    (
        proptest::collection::btree_set("[a-zA-Z0-9._\"'\\\\é-]{1,7}", 0..3),
        (timeout(), timeout(), timeout()),
        (any::<[bool; 6]>(), validate::CONN_REUSE_MODE),
        option::of(v4()),
        option::of(v6()),
        locals(),
    )
        .prop_map(
            |(
                names,
                (tcp, tcp_fin, udp),
                (
                    [
                        sloppy_tcp,
                        sloppy_sctp,
                        expire_nodest_conn,
                        expire_quiescent_template,
                        answer_echo,
                        tunnel_source_vary,
                    ],
                    conn_reuse_mode,
                ),
                source_v4,
                source_v6,
                locals,
            )| {
                DirectorSpec {
                    interfaces: names.into_iter().filter(|name| name != "." && name != "..").collect(),
                    timeouts: TimeoutSpec { tcp, tcp_fin, udp },
                    sloppy_tcp,
                    sloppy_sctp,
                    expire_nodest_conn,
                    expire_quiescent_template,
                    conn_reuse_mode,
                    answer_echo,
                    tunnel_source_v4: source_v4,
                    tunnel_source_v6: source_v6,
                    tunnel_source_vary,
                    ..locals
                }
            },
        )
}

/// What full NAT sends from, in a range of addresses that no service or real of the generator has.
fn locals() -> impl Strategy<Value = DirectorSpec> {
    (1..=20u8, 1..=u16::MAX, any::<u16>(), any::<[bool; 2]>()).prop_map(|(count, first, more, [toa, clamp_mss])| {
        let pairs = (0..count).flat_map(|n| {
            [IpAddr::from([198, 51, 100, n + 1]), IpAddr::from([0x2001, 0xdb8, 0x198, 0, 0, 0, 0, u16::from(n) + 1])]
        });
        let local_ports = PortRange::new(first, first.saturating_add(more)).unwrap();
        DirectorSpec { local_addresses: pairs.collect(), local_ports, toa, clamp_mss, ..DirectorSpec::default() }
    })
}

fn rule() -> impl Strategy<Value = MarkRule> {
    let protocol = select(&[Protocol::Tcp, Protocol::Udp, Protocol::Sctp][..]);
    let ports = option::of((1..=u16::MAX, any::<u16>(), any::<bool>()));
    (validate::MARK, protocol, address(), 0..=128u8, ports).prop_map(|(mark, protocol, address, prefix, ports)| {
        // Not so short that the network is a reserved one.
        let prefix = width(address) - prefix % (width(address) - 7);
        let ports = ports.and_then(|(first, more, is_one)| {
            PortRange::new(first, if is_one { first } else { first.saturating_add(more) })
        });
        MarkRule { mark, protocol, address: network(address, prefix), prefix, ports }
    })
}

/// Persistence with a netmask for either family.
fn persistence() -> impl Strategy<Value = [Persistence; 2]> {
    (validate::TIMEOUT_SECONDS, option::of(1..=128u8)).prop_map(|(timeout, bits)| {
        let v4 = bits.map(|bits| Netmask::V4(Ipv4Addr::from_bits(u32::MAX << (bits % 32))));
        [v4, bits.map(Netmask::V6)].map(|netmask| Persistence { timeout, netmask })
    })
}

fn timeouts() -> impl Strategy<Value = SomeTimeouts> {
    let seconds = || option::of(validate::TIMEOUT_SECONDS);
    (seconds(), seconds(), seconds()).prop_map(|(tcp, tcp_fin, udp)| SomeTimeouts { tcp, tcp_fin, udp })
}

fn service() -> impl Strategy<Value = ServiceSpec> {
    let words = (select(Protocol::ALL), select(Scheduler::ALL), select(Method::ALL), select(OnRealDown::ALL));
    let slots = option::of(select(&validate::TABLE_SLOTS[..]));
    let choices = (any::<[bool; 9]>(), option::of(persistence()), option::of(timeouts()), slots);
    (words, address(), any::<u16>(), choices, option::of(health()), vec(real(), 0..5)).prop_map(
        |((protocol, scheduler, method, on_real_down), address, port, choices, health, reals)| {
            let (chosen, persistence, timeouts, table_slots) = choices;
            let is_mark = protocol == Protocol::Mark;
            let key = match is_mark {
                true => ServiceKey::of_mark(u32::from(port) + 1, address.is_ipv6()),
                false => ServiceKey { protocol, address, port },
            };
            let port = key.port;
            let flags = SchedulerFlag::ALL.iter().copied().filter(|flag| fits(*flag, scheduler, protocol));
            let scheduler_flags = flags.zip(chosen).filter_map(|(flag, chosen)| chosen.then_some(flag)).collect();
            let mut service = ServiceSpec {
                scheduler,
                scheduler_flags,
                table_slots: table_slots.filter(|_| scheduler == Scheduler::Mh),
                persistence: persistence.map(|[v4, v6]| if address.is_ipv4() { v4 } else { v6 }),
                timeouts,
                method,
                on_real_down,
                health,
                ..ServiceSpec::new(key)
            };
            if let Some(health) = service.health.as_mut().filter(|_| port == 0 || protocol == Protocol::Sctp) {
                health.port = health.port.or(Some(80));
            }
            let reals: BTreeMap<_, _> = reals.into_iter().map(|real| (real.address, real)).collect();
            for mut real in reals.into_values().rev().filter(|real| real.address != address) {
                let is_translated = real.method.unwrap_or(method).is_translated();
                let keeps_port =
                    real.method.unwrap_or(method) != Method::Nat || real.address.is_ipv4() != address.is_ipv4();
                if is_mark && keeps_port || !is_mark && (!is_translated || port == 0 || real.port == 0) {
                    real.port = port;
                }
                if real.address.is_ipv4() != address.is_ipv4() {
                    let other = |method: &Method| !matches!(method, Method::Direct | Method::Nat);
                    real.method = Some(real.method.or(Some(method)).filter(other).unwrap_or(Method::FullNat));
                }
                service.reals.push(real);
            }
            let is_followed = chosen[2] && protocol == Protocol::Tcp && port != 0;
            let full = service.reals.iter().any(|real| service.method_of(real) == Method::FullNat);
            let is_datagram = matches!(protocol, Protocol::Udp | Protocol::Mark);
            service.one_packet = chosen[8] && is_datagram && !full && method != Method::FullNat;
            let all_nat = service.reals.iter().all(|real| service.method_of(real) == Method::Nat);
            service.helper = (is_followed && all_nat).then_some(Helper::Ftp);
            service
        },
    )
}

/// Is this flag one that the scheduler has by this name?
fn fits(flag: SchedulerFlag, scheduler: Scheduler, protocol: Protocol) -> bool {
    use Scheduler::{Dh, Mh, Rr, Sh, Wrr};
    match flag {
        SchedulerFlag::UdpActive => {
            let counts = !matches!(scheduler, Rr | Wrr | Sh | Dh | Mh);
            counts && matches!(protocol, Protocol::Udp | Protocol::Mark)
        }
        flag => flag.scheduler().is_none_or(|other| other == scheduler) && flag.named_by(scheduler) == flag,
    }
}

fn real() -> impl Strategy<Value = RealSpec> {
    let tunnel = (option::of(1..=u16::MAX), option::of(any::<bool>()));
    let numbers = (validate::WEIGHT, validate::THRESHOLD, any::<u32>());
    (address(), any::<u16>(), numbers, option::of(select(Method::ALL)), tunnel).prop_map(
        |(address, port, (weight, upper, lower), method, (tunnel_port, tunnel_checksum))| RealSpec {
            address,
            port,
            weight,
            method,
            upper_threshold: upper,
            lower_threshold: lower % (upper.saturating_add(1)),
            tunnel_port: tunnel_port.filter(|_| method == Some(Method::Gue)),
            tunnel_checksum: tunnel_checksum.filter(|_| matches!(method, Some(Method::Gue | Method::Gre))),
        },
    )
}

fn health() -> impl Strategy<Value = HealthSpec> {
    let path = "/[!-~]{0,20}";
    let http = (path, option::of("[!-~]{1,20}"), vec(status(), 1..4));
    let probe = prop_oneof![Just(Probe::Tcp), http.prop_map(|(path, host, status)| Probe::Http { path, host, status })];
    (
        option::of(1..=u16::MAX),
        validate::CHECK_INTERVAL_MS,
        0..=100u64,
        validate::CHECK_COUNT,
        validate::CHECK_COUNT,
        probe,
    )
        .prop_map(|(port, interval_ms, percent, rise, fall, probe)| {
            let timeout_ms = (interval_ms * percent / 100).max(*validate::CHECK_TIMEOUT_MS.start());
            HealthSpec { port, interval_ms, timeout_ms, rise, fall, probe }
        })
}

fn status() -> impl Strategy<Value = RangeInclusive<u16>> {
    (100..=599u16, 100..=599u16).prop_map(|(one, other)| one.min(other)..=one.max(other))
}

fn v4() -> impl Strategy<Value = Ipv4Addr> {
    // The last octet varies little, so that duplicates and equal prefixes turn up.
    (1..=223u8, any::<[u8; 2]>(), 0..4u8)
        .prop_filter_map("loopback", |(a, [b, c], d)| (a != 127).then(|| Ipv4Addr::new(a, b, c, d)))
}

fn v6() -> impl Strategy<Value = Ipv6Addr> {
    (0x2000..=0xfdffu16, any::<u64>())
        .prop_map(|(high, low)| Ipv6Addr::from_bits(u128::from(high) << 112 | u128::from(low)))
}

fn address() -> impl Strategy<Value = IpAddr> {
    prop_oneof![v4().prop_map(IpAddr::V4), v6().prop_map(IpAddr::V6)]
}
