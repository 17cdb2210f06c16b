//! What a service schedules by: members in IPVS's list order, the hash schedulers' ring, wrr's first weight.

use std::collections::BTreeMap;
use std::net::{IpAddr, SocketAddr};

use lb_common::abi::service::{RING_EMPTY, flag, scheduler};
use lb_common::algo::ring::{self, RingMember};

use super::effective::DesiredReal;
use crate::api::types::RealState;
use crate::dataplane::tables::Pool;
use crate::model::{Scheduler, SchedulerFlag, ServiceSpec};

/// The pool of a service whose reals are as `reals` says.
pub(super) fn pool(service: &ServiceSpec, reals: &BTreeMap<SocketAddr, DesiredReal>) -> Pool {
    // IPVS puts each server that is added at the head of its list: the last one comes first.
    let members: Vec<(SocketAddr, u32)> = service
        .reals
        .iter()
        .rev()
        .map(|real| (real.endpoint(), reals.get(&real.endpoint()).map_or(0, |real| real.weight)))
        .collect();
    let mut flags = 0;
    for flag in &service.scheduler_flags {
        flags |= match flag {
            SchedulerFlag::ShPort | SchedulerFlag::MhPort => flag::PORT,
            SchedulerFlag::ShFallback | SchedulerFlag::MhFallback => flag::FALLBACK,
            SchedulerFlag::Flag1 | SchedulerFlag::Flag2 | SchedulerFlag::Flag3 | SchedulerFlag::UdpActive => 0,
        };
    }
    let (scheduler, ring, weight_start) = match service.scheduler {
        Scheduler::Rr => (scheduler::RR, Vec::new(), 0),
        Scheduler::Wrr => (scheduler::WRR, Vec::new(), first_weight(service)),
        Scheduler::Lc => (scheduler::LC, Vec::new(), 0),
        Scheduler::Wlc => (scheduler::WLC, Vec::new(), 0),
        Scheduler::Sh => (scheduler::SH, hash_ring(service, &members, reals, ring::source_hash), 0),
        Scheduler::Mh => (scheduler::MH, hash_ring(service, &members, reals, ring::maglev), 0),
        // For the lead: the numbers that lb_common::abi::service::scheduler will name.
        Scheduler::Sed => (6, Vec::new(), 0),
        Scheduler::Nq => (7, Vec::new(), 0),
        Scheduler::Dh => (8, Vec::new(), 0),
        Scheduler::Fo => (9, Vec::new(), 0),
        Scheduler::Ovf => (10, Vec::new(), 0),
        Scheduler::Lblc => (11, Vec::new(), 0),
        Scheduler::Lblcr => (12, Vec::new(), 0),
        Scheduler::Twos => (13, Vec::new(), 0),
    };
    Pool { scheduler, flags, members, ring, weight_start }
}

/// wrr's current weight after the reals were added one by one, as in IPVS (`ip_vs_wrr_dest_changed` for each).
fn first_weight(service: &ServiceSpec) -> u32 {
    let mut weight = 0;
    for added in 1..=service.reals.len() {
        let weights = || service.reals[..added].iter().map(|real| real.weight);
        let step = ring::common_divisor(weights()).max(1);
        let heaviest = weights().max().unwrap_or(0);
        let top = if heaviest == 0 { 0 } else { heaviest - (step - 1) };
        if weight > top || weight == 0 {
            weight = top;
        } else if step > 1 {
            weight = weight / step * step + 1;
        }
    }
    weight
}

/// The ring of a hash scheduler. Reals that failed have no slots, as if keepalived had removed them; drained ones keep what IPVS gives
/// to a weight of 0: one slot in sh, none in mh.
fn hash_ring(
    service: &ServiceSpec,
    members: &[(SocketAddr, u32)],
    reals: &BTreeMap<SocketAddr, DesiredReal>,
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
