//! One change to a Spec, as the command line and the API make it.
//!
//! An edit says what should differ from what is applied, so that two operators who change two services do not
//! overwrite each other. It only finds the place and makes the change; whether the result makes sense is for
//! [`validate`](super::validate::validate), after the last edit of a transaction.

use std::net::SocketAddr;

use serde::{Deserialize, Deserializer, Serialize};
use thiserror::Error;

use super::{
    health::HealthSpec,
    key::ServiceKey,
    spec::{RealSpec, ServiceSpec, Spec},
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
    /// Its method.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub method: Option<Method>,
    /// Its GUE port.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub tunnel_port: Option<u16>,
    /// Whether its GUE or GRE header has a checksum.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub tunnel_checksum: Option<bool>,
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

/// Makes one change. On an error the Spec is as it was.
pub fn apply(spec: &mut Spec, edit: Edit) -> Result<(), EditError> {
    match edit {
        Edit::AddService(service) => add_service(spec, service),
        Edit::EditService(edit) => edit_service(spec, edit),
        Edit::RemoveService(ServiceRef { service }) => {
            let index = position(spec, &service)?;
            spec.services.remove(index);
            Ok(())
        }
        Edit::AddReal(RealAdd { service, real }) => add_real(spec, &service, real),
        Edit::EditReal(edit) => edit_real(spec, &edit),
        Edit::RemoveReal(RealRef { service, real }) => {
            let index = position(spec, &service)?;
            let reals = &mut spec.services[index].reals;
            let at = reals.iter().position(|known| known.endpoint() == real).ok_or_else(|| no_real(&service, real))?;
            reals.remove(at);
            Ok(())
        }
    }
}

fn add_service(spec: &mut Spec, service: ServiceSpec) -> Result<(), EditError> {
    if spec.service(&service.key).is_some() {
        return Err(EditError::AlreadyExists { what: format!("service {}", service.key), verb: "xvs service edit" });
    }
    spec.services.push(service);
    Ok(())
}

fn edit_service(spec: &mut Spec, edit: ServiceEdit) -> Result<(), EditError> {
    let ServiceEdit { service: key, scheduler, scheduler_flags, method, on_real_down, helper, health } = edit;
    let index = position(spec, &key)?;
    if scheduler.is_none()
        && scheduler_flags.is_none()
        && method.is_none()
        && on_real_down.is_none()
        && helper.is_none()
        && health.is_none()
    {
        return Err(EditError::Empty { what: format!("service {key}") });
    }
    let service = &mut spec.services[index];
    service.scheduler = scheduler.unwrap_or(service.scheduler);
    service.method = method.unwrap_or(service.method);
    service.on_real_down = on_real_down.unwrap_or(service.on_real_down);
    if let Some(flags) = scheduler_flags {
        service.scheduler_flags = flags;
    }
    service.helper = helper.unwrap_or(service.helper);
    if let Some(health) = health {
        service.health = health;
    }
    Ok(())
}

fn add_real(spec: &mut Spec, key: &ServiceKey, real: RealSpec) -> Result<(), EditError> {
    let index = position(spec, key)?;
    let reals = &mut spec.services[index].reals;
    if reals.iter().any(|known| known.endpoint() == real.endpoint()) {
        return Err(EditError::AlreadyExists {
            what: format!("real {} of service {key}", real.endpoint()),
            verb: "xvs real edit",
        });
    }
    reals.push(real);
    Ok(())
}

fn edit_real(spec: &mut Spec, edit: &RealEdit) -> Result<(), EditError> {
    let RealEdit { service: key, real: endpoint, weight, method, tunnel_port, tunnel_checksum } = edit;
    let index = position(spec, key)?;
    let reals = &mut spec.services[index].reals;
    let real = reals.iter_mut().find(|known| known.endpoint() == *endpoint).ok_or_else(|| no_real(key, *endpoint))?;
    if weight.is_none() && method.is_none() && tunnel_port.is_none() && tunnel_checksum.is_none() {
        return Err(EditError::Empty { what: format!("real {endpoint} of service {key}") });
    }
    real.weight = weight.unwrap_or(real.weight);
    real.method = method.or(real.method);
    real.tunnel_port = tunnel_port.or(real.tunnel_port);
    real.tunnel_checksum = tunnel_checksum.or(real.tunnel_checksum);
    Ok(())
}

fn position(spec: &Spec, key: &ServiceKey) -> Result<usize, EditError> {
    spec.services
        .iter()
        .position(|service| service.key == *key)
        .ok_or_else(|| EditError::NotFound { what: format!("service {key}") })
}

fn no_real(key: &ServiceKey, real: SocketAddr) -> EditError {
    EditError::NotFound { what: format!("real {real} of service {key}") }
}

#[cfg(test)]
mod tests {
    use super::*;

    const KEY: &str = "tcp://10.0.0.1:80";

    fn edit(json: &str) -> Edit {
        serde_json::from_str(json).unwrap()
    }

    fn spec() -> Spec {
        let mut spec = Spec::default();
        apply(&mut spec, edit(r#"{"add_service": {"service": "tcp://10.0.0.1:80", "health": {"type": "tcp"}}}"#))
            .unwrap();
        let real = r#"{"add_real": {"service": "10.0.0.1:80", "real": {"address": "10.0.1.1", "port": 80}}}"#;
        apply(&mut spec, edit(real)).unwrap();
        spec
    }

    #[test]
    fn json_edits_change_what_they_name() {
        let mut spec = spec();
        apply(&mut spec, edit(r#"{"edit_service": {"service": "10.0.0.1:80", "scheduler": "rr"}}"#)).unwrap();
        apply(&mut spec, edit(r#"{"edit_real": {"service": "10.0.0.1:80", "real": "10.0.1.1:80", "weight": 7}}"#))
            .unwrap();
        let service = &spec.services[0];
        assert_eq!(service.scheduler, Scheduler::Rr);
        assert!(service.health.is_some(), "absent means unchanged");
        assert_eq!(service.reals[0].weight, 7);
        apply(&mut spec, edit(r#"{"edit_service": {"service": "10.0.0.1:80", "health": null}}"#)).unwrap();
        assert!(spec.services[0].health.is_none(), "null means removed");
    }

    #[test]
    fn an_edit_reads_back_from_its_own_json() {
        let removed = ServiceEdit {
            service: KEY.parse().unwrap(),
            scheduler: None,
            scheduler_flags: Some(Vec::new()),
            method: None,
            on_real_down: None,
            helper: Some(None),
            health: Some(None),
        };
        for case in [Edit::EditService(removed), Edit::AddService(spec().services.remove(0))] {
            assert_eq!(edit(&serde_json::to_string(&case).unwrap()), case);
        }
    }

    #[test]
    fn what_is_not_there_and_what_is_there_already_are_refused_by_name() {
        let mut spec = spec();
        let before = spec.clone();
        for (json, message) in [
            (
                r#"{"add_service": {"service": "10.0.0.1:80"}}"#,
                "service tcp://10.0.0.1:80 exists already; change it with `xvs service edit`",
            ),
            (r#"{"remove_service": {"service": "10.0.0.2:80"}}"#, "service tcp://10.0.0.2:80 does not exist"),
            (
                r#"{"add_real": {"service": "10.0.0.1:80", "real": {"address": "10.0.1.1", "port": 80}}}"#,
                "real 10.0.1.1:80 of service tcp://10.0.0.1:80 exists already; change it with `xvs real edit`",
            ),
            (
                r#"{"remove_real": {"service": "10.0.0.1:80", "real": "10.0.1.1:81"}}"#,
                "real 10.0.1.1:81 of service tcp://10.0.0.1:80 does not exist",
            ),
            (r#"{"edit_service": {"service": "10.0.0.1:80"}}"#, "nothing to change in service tcp://10.0.0.1:80"),
        ] {
            assert_eq!(apply(&mut spec, edit(json)).unwrap_err().to_string(), message);
        }
        assert_eq!(spec, before);
    }
}
