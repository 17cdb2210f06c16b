//! A director under test that is brought to a configuration as the daemon does it: parse, validate, join with facts, plan, carry out. Every
//! address is a neighbour behind the interface that frames come in by, but for full NAT's, which are the director's own.

use std::collections::BTreeMap;
use std::net::{IpAddr, SocketAddr};

use lb_common::abi::real::Capacity;
use lb_userspace::dataplane::addresses::fits;
use lb_userspace::dataplane::ageing::Ageing;
use lb_userspace::dataplane::connections::Sweep;
use lb_userspace::dataplane::tables::Tables;
use lb_userspace::model::Spec;
use lb_userspace::model::parse::parse;
use lb_userspace::model::validate::validate;
use lb_userspace::reconcile;
use lb_userspace::reconcile::effective::{Desired, Facts, effective, targets, timeouts};
use lb_userspace::reconcile::plan::{Op, plan};
use lb_userspace::signal::neighbour::{Egress, NextHop};

use crate::director::{Director, INGRESS};

/// The Spec of a file, which must be one that the daemon takes.
pub fn spec(toml: &str) -> Spec {
    let spec = parse(toml.as_bytes()).unwrap_or_else(|problems| panic!("{problems:?} in\n{toml}"));
    let problems = validate(&spec);
    assert!(problems.is_empty(), "{problems:?} in\n{toml}");
    spec
}

impl Director {
    /// Brings the tables to a file.
    pub fn apply(&mut self, toml: &str) {
        let spec = spec(toml);
        assert!(self.try_apply(&spec), "its shapes fit into the tables:\n{toml}");
        let left = self.steps_to(&spec);
        assert!(left.is_empty(), "nothing is left to do: {left:?}");
    }

    /// Brings the tables to a Spec. False if its marks have more shapes than the tables hold; nothing was done then.
    pub fn try_apply(&mut self, spec: &Spec) -> bool {
        let desired = desired(&self.tables, spec);
        if fits(&desired.services.values().flat_map(|service| &service.pool.addresses)).is_err() {
            return false;
        }
        let steps = plan(&desired, &self.tables);
        reconcile::apply(&mut self.tables, &steps).expect("there is room for every step");
        // What was left behind is free again: nobody reads it meanwhile.
        for _ in 0..2 {
            self.tables
                .settle(|key, at| desired.services.get(key).is_some_and(|service| service.reals.contains_key(at)));
        }
        true
    }

    /// What the daemon would do for a Spec now.
    pub fn steps_to(&self, spec: &Spec) -> Vec<Op> {
        plan(&desired(&self.tables, spec), &self.tables)
    }

    /// The daemon's sweep, so many ticks after the latest packet.
    pub fn sweep(&self, spec: &Spec, ticks: u32) -> Sweep {
        let mut newest = 0;
        self.tables.each_connection(|connection| newest = newest.max(connection.meta.last_seen()));
        let ageing = Ageing::of(&self.tables, timeouts(&spec.director, &self.tables.settings()));
        self.tables.sweep(newest + ticks, &ageing)
    }
}

/// What the tables should hold.
fn desired(tables: &Tables, spec: &Spec) -> Desired {
    let next_hops: BTreeMap<_, _> = targets(spec)
        .map(|target| {
            let is_ours = spec.director.local_addresses.contains(&target.address);
            let next_hop = if is_ours { NextHop::Local } else { neighbour(target.address) };
            (target, next_hop)
        })
        .collect();
    let known = |service: &_, at: &SocketAddr| {
        let row = tables.services().get(service)?;
        let number = *row.reals.get(at)?;
        let weight = row.pool.members.iter().find(|(member, _)| member == at).map_or(0, |(_, weight)| *weight);
        Some((tables.real(number)?, Capacity { weight, ..tables.capacity(number) }))
    };
    let facts = Facts { next_hops: &next_hops, health: &BTreeMap::new(), known: &known };
    effective(spec, &facts, &tables.settings())
}

/// A neighbour whose MAC ends like its address.
fn neighbour(address: IpAddr) -> NextHop {
    let last = match address {
        IpAddr::V4(address) => address.octets()[3],
        IpAddr::V6(address) => address.octets()[15],
    };
    NextHop::Resolved(Egress {
        ifindex: INGRESS,
        interface: "test".to_owned(),
        source_mac: [2, 0, 0, 0, 0x0b, last],
        destination_mac: [2, 0, 0, 0, 0x0a, last],
        source: if address.is_ipv4() { [172, 16, 0, 1].into() } else { [0xfd16, 0, 0, 0, 0, 0, 0, 1].into() },
        mtu: 1500,
    })
}
