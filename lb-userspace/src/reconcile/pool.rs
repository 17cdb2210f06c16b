//! What a service schedules by: members in IPVS's list order, the hash schedulers' ring, wrr's first weight, persistence and times.

use std::collections::BTreeMap;
use std::net::{IpAddr, SocketAddr};

use lb_common::abi::limits::MH_SLOTS;
use lb_common::abi::service::{RING_EMPTY, flag, scheduler};
use lb_common::abi::settings::Settings;
use lb_common::algo::ring::{self, RingMember};
use lb_common::sched::wrr;

use super::effective::DesiredReal;
use super::rules::Rules;
use crate::api::types::RealState;
use crate::dataplane::clock;
use crate::dataplane::tables::Pool;
use crate::model::{Netmask, Protocol, Scheduler, SchedulerFlag, ServiceKey, ServiceSpec};

/// FTP's port: the client's data connections go to others, so its templates are for all ports (`ip_vs_sched_persist`).
const FTP: u16 = 21;

/// The pool of a service whose reals are as `reals` says.
pub(super) fn pool(
    service: &ServiceSpec,
    reals: &BTreeMap<SocketAddr, Box<DesiredReal>>,
    rules: &Rules<'_>,
    settings: &Settings,
) -> Pool {
    // IPVS puts each server that is added at the head of its list: the last one comes first.
    let members: Vec<(SocketAddr, u32)> = service
        .reals
        .iter()
        .rev()
        .map(|real| (real.endpoint(), reals.get(&real.endpoint()).map_or(0, |real| real.weight)))
        .collect();
    let (scheduler, ring, weight_start) = match service.scheduler {
        Scheduler::Rr => (scheduler::RR, Vec::new(), 0),
        Scheduler::Wrr => (scheduler::WRR, Vec::new(), first_weight(service)),
        Scheduler::Lc => (scheduler::LC, Vec::new(), 0),
        Scheduler::Wlc => (scheduler::WLC, Vec::new(), 0),
        Scheduler::Sh => (scheduler::SH, hash_ring(service, &members, reals, ring::source_hash), 0),
        Scheduler::Mh => {
            let slots = service.table_slots.unwrap_or(MH_SLOTS);
            (scheduler::MH, hash_ring(service, &members, reals, |members| ring::maglev_of(members, slots)), 0)
        }
        Scheduler::Sed => (scheduler::SED, Vec::new(), 0),
        Scheduler::Nq => (scheduler::NQ, Vec::new(), 0),
        Scheduler::Dh => (scheduler::DH, hash_ring(service, &members, reals, ring::destination_hash), 0),
        Scheduler::Fo => (scheduler::FO, Vec::new(), 0),
        Scheduler::Ovf => (scheduler::OVF, Vec::new(), 0),
        Scheduler::Lblc => (scheduler::LBLC, Vec::new(), 0),
        Scheduler::Lblcr => (scheduler::LBLCR, Vec::new(), 0),
        Scheduler::Twos => (scheduler::TWOS, Vec::new(), 0),
    };
    let ticks = |seconds: u32| clock::ticks(seconds, settings.jiffies_per_second, settings.tick_shift);
    let own = service.timeouts.unwrap_or_default();
    Pool {
        scheduler,
        flags: flags(service),
        members,
        ring,
        weight_start,
        netmask: service.persistence.map_or(0, |persistence| match persistence.netmask {
            None if is_v4(&service.key) => 32,
            None => 128,
            Some(Netmask::V4(mask)) => mask.to_bits().count_ones() as u8,
            Some(Netmask::V6(prefix)) => prefix,
        }),
        persistence: service.persistence.map_or(0, |persistence| ticks(persistence.timeout)),
        timeouts: [own.tcp, own.tcp_fin, own.udp].map(|seconds| seconds.map_or(0, ticks)),
        addresses: rules.addresses(&service.key),
    }
}

fn is_v4(key: &ServiceKey) -> bool {
    key.address.is_ipv4()
}

fn flags(service: &ServiceSpec) -> u8 {
    let mut flags = 0;
    for flag in &service.scheduler_flags {
        flags |= match flag {
            SchedulerFlag::ShPort | SchedulerFlag::MhPort => flag::PORT,
            SchedulerFlag::ShFallback | SchedulerFlag::MhFallback => flag::FALLBACK,
            SchedulerFlag::UdpActive => flag::UDP_ACTIVE,
            // As with IPVS, whose other schedulers do not look at them.
            SchedulerFlag::Flag1 | SchedulerFlag::Flag2 | SchedulerFlag::Flag3 => 0,
        };
    }
    let key = &service.key;
    let is_any_port = key.port == 0 || (key.protocol == Protocol::Tcp && key.port == FTP);
    for (is_set, flag) in [
        (service.one_packet, flag::ONE_PACKET),
        (service.persistence.is_some(), flag::PERSISTENT),
        (is_any_port, flag::ANY_PORT),
    ] {
        flags |= if is_set { flag } else { 0 };
    }
    flags
}

/// wrr's current weight after the reals were added one by one, as in IPVS (`ip_vs_wrr_dest_changed` for each).
fn first_weight(service: &ServiceSpec) -> u32 {
    let (mut weight, mut divisor, mut heaviest) = (0, 0, 0);
    for real in &service.reals {
        heaviest = heaviest.max(real.weight);
        if heaviest > 0 {
            (divisor, _) = ring::wrr_steps([divisor, real.weight].into_iter());
        }
        // The divisor and the heaviest of all so far have the steps of all so far.
        let (step, top) = ring::wrr_steps([divisor, heaviest].into_iter());
        weight = wrr::changed(weight, top, step);
    }
    weight
}

/// The ring of a hash scheduler. Reals that failed have no slots, as if keepalived had removed them; drained ones keep what IPVS gives
/// to a weight of 0: one slot in sh, those of their last weight in mh.
fn hash_ring(
    service: &ServiceSpec,
    members: &[(SocketAddr, u32)],
    reals: &BTreeMap<SocketAddr, Box<DesiredReal>>,
    build: impl Fn(&[RingMember]) -> Vec<u16>,
) -> Vec<u16> {
    let is_in = |endpoint: &SocketAddr| {
        reals.get(endpoint).is_some_and(|real| matches!(real.state, RealState::Up | RealState::Drained))
    };
    let indices: Vec<usize> = (0..members.len()).filter(|index| is_in(&members[*index].0)).collect();
    let ring_members: Vec<RingMember> = indices
        .iter()
        .map(|index| {
            let (endpoint, weight) = members[*index];
            let last = reals.get(&endpoint).map_or(weight, |real| real.capacity.last_weight);
            let weight = if service.scheduler == Scheduler::Mh { last } else { weight };
            RingMember { address: folded(endpoint.ip()), port: port_of(service, endpoint), weight }
        })
        .collect();
    let place = |slot: u16| indices.get(slot as usize).map_or(RING_EMPTY, |index| *index as u16);
    build(&ring_members).into_iter().map(place).collect()
}

fn port_of(service: &ServiceSpec, endpoint: SocketAddr) -> u16 {
    if endpoint.port() == 0 { service.key.port } else { endpoint.port() }
}

/// An address as the hash schedulers take it: host order, IPv6 folded by XOR of its four words.
fn folded(address: IpAddr) -> u32 {
    match address {
        IpAddr::V4(address) => address.to_bits(),
        IpAddr::V6(address) => {
            let bits = address.to_bits();
            (bits as u32) ^ ((bits >> 32) as u32) ^ ((bits >> 64) as u32) ^ ((bits >> 96) as u32)
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::model::RealSpec;

    proptest! {
        #[test]
        fn the_first_weight_is_that_of_adding_the_reals_one_by_one(weights in prop::collection::vec(0u32..12, 0..9)) {
            let mut service = ServiceSpec::new("tcp://10.0.0.1:80".parse().unwrap());
            let real = |weight: &u32| RealSpec { weight: *weight, ..RealSpec::new("10.0.1.1:80".parse().unwrap()) };
            service.reals = weights.iter().map(real).collect();
            let mut expected = 0;
            for added in 1..=weights.len() {
                let (step, top) = ring::wrr_steps(weights[..added].iter().copied());
                expected = wrr::changed(expected, top, step);
            }
            prop_assert_eq!(first_weight(&service), expected);
        }
    }
}
