//! Makes an edit: finds the place and changes it.

use std::net::SocketAddr;
use std::sync::Arc;

use super::{DirectorEdit, Edit, EditError, RealAdd, RealEdit, RealRef, ServiceEdit, ServiceRef, SomeTimeouts};
use crate::model::{
    key::ServiceKey,
    mark::MarkRule,
    spec::{DirectorSpec, RealSpec, ServiceSpec, Spec},
};

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
            let reals = &mut spec.service_mut(index).reals;
            let at = reals.iter().position(|known| known.endpoint() == real).ok_or_else(|| no_real(&service, real))?;
            reals.remove(at);
            Ok(())
        }
        Edit::AddMark(rule) => add_mark(spec, rule),
        Edit::RemoveMark(rule) => {
            let at = spec.marks.iter().position(|known| *known == rule);
            let at = at.ok_or_else(|| EditError::NotFound { what: mark_name(&rule) })?;
            spec.marks.remove(at);
            Ok(())
        }
        Edit::SetTimeouts(edit) => set_timeouts(&mut spec.director, edit),
        Edit::EditDirector(edit) => edit_director(&mut spec.director, edit),
        Edit::Clear => {
            spec.services.clear();
            Ok(())
        }
    }
}

fn add_service(spec: &mut Spec, mut service: ServiceSpec) -> Result<(), EditError> {
    if spec.service(&service.key).is_some() {
        return Err(EditError::AlreadyExists { what: format!("service {}", service.key), verb: "xvs service edit" });
    }
    service.name_flags();
    spec.services.push(Arc::new(service));
    Ok(())
}

fn edit_service(spec: &mut Spec, edit: ServiceEdit) -> Result<(), EditError> {
    if edit == ServiceEdit::new(edit.service) {
        position(spec, &edit.service)?;
        return Err(EditError::Empty { what: format!("service {}", edit.service) });
    }
    let ServiceEdit {
        service: key,
        scheduler,
        scheduler_flags,
        table_slots,
        persistence,
        one_packet,
        timeouts,
        method,
        on_real_down,
        helper,
        health,
    } = edit;
    let index = position(spec, &key)?;
    let service = spec.service_mut(index);
    change(&mut service.scheduler, scheduler);
    change(&mut service.scheduler_flags, scheduler_flags);
    change(&mut service.table_slots, table_slots);
    change(&mut service.persistence, persistence);
    change(&mut service.one_packet, one_packet);
    change(&mut service.timeouts, timeouts);
    change(&mut service.method, method);
    change(&mut service.on_real_down, on_real_down);
    change(&mut service.helper, helper);
    change(&mut service.health, health);
    service.name_flags();
    Ok(())
}

fn add_real(spec: &mut Spec, key: &ServiceKey, real: RealSpec) -> Result<(), EditError> {
    let index = position(spec, key)?;
    let reals = &mut spec.service_mut(index).reals;
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
    let is_empty = *edit == RealEdit::new(edit.service, edit.real);
    let RealEdit {
        service: key,
        real: endpoint,
        weight,
        upper_threshold,
        lower_threshold,
        method,
        tunnel_port,
        tunnel_checksum,
    } = edit;
    let index = position(spec, key)?;
    let reals = &mut spec.service_mut(index).reals;
    let real = reals.iter_mut().find(|known| known.endpoint() == *endpoint).ok_or_else(|| no_real(key, *endpoint))?;
    if is_empty {
        return Err(EditError::Empty { what: format!("real {endpoint} of service {key}") });
    }
    change(&mut real.weight, *weight);
    change(&mut real.upper_threshold, *upper_threshold);
    change(&mut real.lower_threshold, *lower_threshold);
    real.method = method.or(real.method);
    change(&mut real.tunnel_port, *tunnel_port);
    change(&mut real.tunnel_checksum, *tunnel_checksum);
    Ok(())
}

fn add_mark(spec: &mut Spec, rule: MarkRule) -> Result<(), EditError> {
    match spec.marks.iter().find(|known| known.matches_same(&rule)) {
        Some(known) => {
            let verbs = "xvs mark remove` and `xvs mark add";
            Err(EditError::AlreadyExists { what: mark_name(known), verb: verbs })
        }
        None => {
            spec.marks.push(rule);
            Ok(())
        }
    }
}

fn set_timeouts(director: &mut DirectorSpec, edit: SomeTimeouts) -> Result<(), EditError> {
    let SomeTimeouts { tcp, tcp_fin, udp } = edit;
    if edit == SomeTimeouts::default() {
        return Err(EditError::Empty { what: "the director's timeouts".to_owned() });
    }
    change(&mut director.timeouts.tcp, tcp);
    change(&mut director.timeouts.tcp_fin, tcp_fin);
    change(&mut director.timeouts.udp, udp);
    Ok(())
}

fn edit_director(director: &mut DirectorSpec, edit: DirectorEdit) -> Result<(), EditError> {
    let DirectorEdit { sloppy_tcp, sloppy_sctp, expire_nodest_conn, expire_quiescent_template, conn_reuse_mode } = edit;
    if edit == DirectorEdit::default() {
        return Err(EditError::Empty { what: "the director".to_owned() });
    }
    change(&mut director.sloppy_tcp, sloppy_tcp);
    change(&mut director.sloppy_sctp, sloppy_sctp);
    change(&mut director.expire_nodest_conn, expire_nodest_conn);
    change(&mut director.expire_quiescent_template, expire_quiescent_template);
    change(&mut director.conn_reuse_mode, conn_reuse_mode);
    Ok(())
}

/// What an edit does not name stays.
fn change<T>(field: &mut T, to: Option<T>) {
    if let Some(value) = to {
        *field = value;
    }
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

fn mark_name(rule: &MarkRule) -> String {
    format!("rule {rule} of mark {}", rule.mark)
}
