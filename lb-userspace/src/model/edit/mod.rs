//! One change to a Spec, as the command line and the API make it.
//!
//! An edit says what should differ from what is applied, so that two operators who change two services do not
//! overwrite each other. It only finds the place and makes the change; whether the result makes sense is for
//! [`validate`](super::validate::validate), after the last edit of a transaction.

mod apply;

use std::net::SocketAddr;

use serde::{Deserialize, Deserializer, Serialize};
use thiserror::Error;

pub use self::apply::apply;
use super::{
    health::HealthSpec,
    key::ServiceKey,
    mark::MarkRule,
    persistence::Persistence,
    spec::{RealSpec, ServiceSpec, SomeTimeouts},
    word::{Helper, Method, OnRealDown, Scheduler, SchedulerFlag},
};

/// A change to a Spec. In JSON: `{"add_real": {"service": "tcp://10.0.0.1:80", "real": {...}}}`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Edit {
    /// A service that is not there yet, with any reals it has.
    AddService(ServiceSpec),
    /// Another scheduler, method, ... for a service.
    EditService(ServiceEdit),
    /// A service with its reals.
    RemoveService(ServiceRef),
    /// A real that is not in the service yet.
    AddReal(RealAdd),
    /// Another weight or method for a real.
    EditReal(RealEdit),
    /// A real of a service.
    RemoveReal(RealRef),
    /// A rule that gives a mark.
    AddMark(MarkRule),
    /// A rule that gave a mark.
    RemoveMark(MarkRule),
    /// How long the director remembers idle connections, as `ipvsadm --set`.
    SetTimeouts(SomeTimeouts),
    /// Settings of the director that can change while it runs.
    EditDirector(DirectorEdit),
    /// All services with their reals go; marks and the director's settings stay. In JSON: `"clear"`.
    Clear,
}

/// What should differ in the director, each as [`DirectorSpec`](super::DirectorSpec) has it; what is none stays.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct DirectorEdit {
    /// Take a TCP connection that does not begin with a SYN.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub sloppy_tcp: Option<bool>,
    /// Take an SCTP association that does not begin with an INIT.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub sloppy_sctp: Option<bool>,
    /// Reset connections of removed reals.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub expire_nodest_conn: Option<bool>,
    /// Weight 0 ends persistence.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub expire_quiescent_template: Option<bool>,
    /// When a SYN of an ended connection is scheduled anew.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub conn_reuse_mode: Option<u32>,
}

/// Names a service.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ServiceRef {
    /// The service.
    pub service: ServiceKey,
}

/// What should differ in a service; what is none stays.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ServiceEdit {
    /// The service.
    pub service: ServiceKey,
    /// Its scheduler. The flags stay when none are given: a flag of another scheduler is then refused.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub scheduler: Option<Scheduler>,
    /// Its flags, all of them.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub scheduler_flags: Option<Vec<SchedulerFlag>>,
    /// Slots of its `mh` table; `Some(None)` (JSON `null`) is the default again.
    #[serde(default, skip_serializing_if = "Option::is_none", deserialize_with = "null_is_a_value")]
    pub table_slots: Option<Option<u32>>,
    /// Its persistence, whole; `Some(None)` (JSON `null`) removes it.
    #[serde(default, skip_serializing_if = "Option::is_none", deserialize_with = "null_is_a_value")]
    pub persistence: Option<Option<Persistence>>,
    /// Is each of its UDP packets scheduled for itself?
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub one_packet: Option<bool>,
    /// Its idle times, all of them; `Some(None)` (JSON `null`) removes them.
    #[serde(default, skip_serializing_if = "Option::is_none", deserialize_with = "null_is_a_value")]
    pub timeouts: Option<Option<SomeTimeouts>>,
    /// Forwarding method of its reals that say none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub method: Option<Method>,
    /// What becomes of a real's connections when its check fails.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub on_real_down: Option<OnRealDown>,
    /// Its helper; `Some(None)` (JSON `null`) removes it.
    #[serde(default, skip_serializing_if = "Option::is_none", deserialize_with = "null_is_a_value")]
    pub helper: Option<Option<Helper>>,
    /// Its check, whole; `Some(None)` (JSON `null`) removes it.
    #[serde(default, skip_serializing_if = "Option::is_none", deserialize_with = "null_is_a_value")]
    pub health: Option<Option<HealthSpec>>,
}

/// A real to add.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct RealAdd {
    /// The service it joins.
    pub service: ServiceKey,
    /// The real.
    pub real: RealSpec,
}

/// What should differ in a real; what is none stays.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct RealEdit {
    /// The service it is in.
    pub service: ServiceKey,
    /// Its address and port.
    pub real: SocketAddr,
    /// Its weight.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub weight: Option<u32>,
    /// Its upper threshold; 0 means none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub upper_threshold: Option<u32>,
    /// Its lower threshold; 0 means three quarters of the upper one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub lower_threshold: Option<u32>,
    /// Its method.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub method: Option<Method>,
    /// Its GUE port; `Some(None)` (JSON `null`) is the default again.
    #[serde(default, skip_serializing_if = "Option::is_none", deserialize_with = "null_is_a_value")]
    pub tunnel_port: Option<Option<u16>>,
    /// Whether its GUE or GRE header has a checksum; `Some(None)` (JSON `null`) is the default again.
    #[serde(default, skip_serializing_if = "Option::is_none", deserialize_with = "null_is_a_value")]
    pub tunnel_checksum: Option<Option<bool>>,
}

/// Names a real of a service.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct RealRef {
    /// The service it is in.
    pub service: ServiceKey,
    /// Its address and port.
    pub real: SocketAddr,
}

/// Why an edit cannot be made.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum EditError {
    /// The service or real is not there.
    #[error("{what} does not exist")]
    NotFound {
        /// Which one.
        what: String,
    },
    /// The service or real is there already.
    #[error("{what} exists already; change it with `{verb}`")]
    AlreadyExists {
        /// Which one.
        what: String,
        /// The command that changes it.
        verb: &'static str,
    },
    /// The edit says nothing.
    #[error("nothing to change in {what}")]
    Empty {
        /// Which one.
        what: String,
    },
}

/// A field that is absent is `None`, one that is null is `Some(None)`.
fn null_is_a_value<'de, T: Deserialize<'de>, D: Deserializer<'de>>(
    deserializer: D,
) -> Result<Option<Option<T>>, D::Error> {
    Option::deserialize(deserializer).map(Some)
}

// === impl ServiceEdit ===

impl ServiceEdit {
    /// One that changes nothing yet.
    pub fn new(service: ServiceKey) -> Self {
        Self {
            service,
            scheduler: None,
            scheduler_flags: None,
            table_slots: None,
            persistence: None,
            one_packet: None,
            timeouts: None,
            method: None,
            on_real_down: None,
            helper: None,
            health: None,
        }
    }
}

// === impl RealEdit ===

impl RealEdit {
    /// One that changes nothing yet.
    pub fn new(service: ServiceKey, real: SocketAddr) -> Self {
        Self {
            service,
            real,
            weight: None,
            upper_threshold: None,
            lower_threshold: None,
            method: None,
            tunnel_port: None,
            tunnel_checksum: None,
        }
    }
}

#[cfg(test)]
mod tests;
