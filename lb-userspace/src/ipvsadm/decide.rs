//! A change to edits of the Spec, or what IPVS says of it: the kernel's checks in the kernel's order.
//!
//! What ipvsadm cannot say stays as it is: checks, timeouts of services, full NAT, flags of our own.

use std::net::{IpAddr, SocketAddr};

use super::{
    command::{Change, Checksum, Forwarding, Server, Service, Tunnel},
    failure::Failure,
};
use crate::model::{
    Edit, Method, Netmask, Persistence, RealSpec, Scheduler, SchedulerFlag, ServiceKey, ServiceSpec, SomeTimeouts,
    Spec,
    address::unusable,
    edit::{RealAdd, RealEdit, RealRef, ServiceEdit, ServiceRef},
};

const SERVICE_EXISTS: &str = "Service already exists";
pub(super) const NO_SUCH_SERVICE: &str = "No such service";
const NOT_DEFINED: &str = "Service not defined";
const SERVER_EXISTS: &str = "Destination already exists";
const NO_SUCH_SERVER: &str = "No such destination";
const NO_SCHEDULER: &str = "Scheduler or persistence engine not found";
const OUT_OF_RANGE: &str = "Numerical result out of range";
const INVALID: &str = "Invalid operation.  Possibly wrong module version, address not unicast, ...";

/// The edits that make a change to this Spec; none when there is nothing to do.
pub(super) fn edits(change: &Change, spec: &Spec) -> Result<Vec<Edit>, Failure> {
    let edit = match change {
        Change::Clear => Edit::Clear,
        Change::SetTimeouts(values) => {
            let [tcp, tcp_fin, udp] = values.map(|seconds| Some(seconds).filter(|seconds| *seconds > 0));
            let edit = SomeTimeouts { tcp, tcp_fin, udp };
            if edit == SomeTimeouts::default() {
                return Ok(Vec::new());
            }
            Edit::SetTimeouts(edit)
        }
        Change::AddService(service) => add_service(service, spec)?,
        Change::EditService(service) => edit_service(service, spec)?,
        Change::DeleteService(key) => {
            spec.service(key).ok_or_else(|| Failure::refused(NO_SUCH_SERVICE))?;
            Edit::RemoveService(ServiceRef { service: *key })
        }
        Change::AddServer(server) => add_server(server, spec)?,
        Change::EditServer(server) => edit_server(server, spec)?,
        Change::DeleteServer { service, real } => {
            let known = find(defined(spec, service)?, *real)?;
            Edit::RemoveReal(RealRef { service: *service, real: known.endpoint() })
        }
    };
    Ok(vec![edit])
}

fn add_service(service: &Service, spec: &Spec) -> Result<Edit, Failure> {
    if spec.service(&service.key).is_some() {
        return Err(Failure::refused(SERVICE_EXISTS));
    }
    Ok(Edit::AddService(ServiceSpec {
        scheduler: scheduler(service)?,
        scheduler_flags: service.flags.clone(),
        persistence: persistence(service)?,
        one_packet: service.one_packet,
        ..ServiceSpec::new(service.key)
    }))
}

fn edit_service(service: &Service, spec: &Spec) -> Result<Edit, Failure> {
    let known = spec.service(&service.key).ok_or_else(|| Failure::refused(NO_SUCH_SERVICE))?;
    let scheduler = scheduler(service)?;
    let mut flags = service.flags.clone();
    flags.extend(known.scheduler_flags.iter().filter(|flag| **flag == SchedulerFlag::UdpActive));
    Ok(Edit::EditService(ServiceEdit {
        scheduler: Some(scheduler),
        scheduler_flags: Some(flags),
        persistence: Some(persistence(service)?),
        one_packet: Some(service.one_packet),
        // Another scheduler has no such table.
        table_slots: (scheduler != Scheduler::Mh).then_some(None),
        ..ServiceEdit::new(service.key)
    }))
}

/// There are no persistence engines yet; so one that is asked for is not found.
fn scheduler(service: &Service) -> Result<Scheduler, Failure> {
    let known = service.scheduler.parse().ok().filter(|_| service.pe.is_none());
    known.ok_or_else(|| Failure::refused(NO_SCHEDULER))
}

fn persistence(service: &Service) -> Result<Option<Persistence>, Failure> {
    match (service.persistence, service.netmask) {
        (Some(_), Some(Netmask::V4(mask))) if mask.is_unspecified() => {
            Err(Failure::refused("XVS has no persistence mask 0.0.0.0, for which all clients are one"))
        }
        (Some(timeout), netmask) => Ok(Some(Persistence { timeout, netmask })),
        // A mask without persistence is taken and means nothing.
        (None, _) => Ok(None),
    }
}

fn add_server(server: &Server, spec: &Spec) -> Result<Edit, Failure> {
    let service = defined(spec, &server.service)?;
    thresholds(server)?;
    let endpoint = kept_port(server);
    if service.reals.iter().any(|real| real.endpoint() == endpoint) {
        return Err(Failure::refused(SERVER_EXISTS));
    }
    if is_not_unicast(endpoint.ip()) {
        return Err(Failure::refused(INVALID));
    }
    let (method, tunnel_port, tunnel_checksum) = way(server.forwarding, service.method)?;
    let real = RealSpec {
        weight: server.weight,
        upper_threshold: server.upper,
        lower_threshold: server.lower,
        method: Some(method),
        tunnel_port,
        tunnel_checksum,
        ..RealSpec::new(endpoint)
    };
    Ok(Edit::AddReal(RealAdd { service: server.service, real }))
}

fn edit_server(server: &Server, spec: &Spec) -> Result<Edit, Failure> {
    let service = defined(spec, &server.service)?;
    thresholds(server)?;
    let known = find(service, kept_port(server))?;
    let (method, tunnel_port, tunnel_checksum) = way(server.forwarding, service.method_of(known))?;
    Ok(Edit::EditReal(RealEdit {
        weight: Some(server.weight),
        upper_threshold: Some(server.upper),
        lower_threshold: Some(server.lower),
        method: Some(method),
        tunnel_port: Some(tunnel_port),
        tunnel_checksum: Some(tunnel_checksum),
        ..RealEdit::new(server.service, known.endpoint())
    }))
}

fn defined<'a>(spec: &'a Spec, key: &ServiceKey) -> Result<&'a ServiceSpec, Failure> {
    spec.service(key).ok_or_else(|| Failure::refused(NOT_DEFINED))
}

/// The real that is meant. A mark's real without translation stands without a port, whichever it was added with.
fn find(service: &ServiceSpec, real: SocketAddr) -> Result<&RealSpec, Failure> {
    let at = |endpoint: SocketAddr| service.reals.iter().find(|known| known.endpoint() == endpoint);
    let portless = || {
        let known = at(SocketAddr::new(real.ip(), 0)).filter(|_| service.key.mark().is_some());
        known.filter(|known| !service.method_of(known).is_translated())
    };
    at(real).or_else(portless).ok_or_else(|| Failure::refused(NO_SUCH_SERVER))
}

/// Without translation packets of a mark keep their port, so its reals have none.
fn kept_port(server: &Server) -> SocketAddr {
    match server.forwarding {
        Forwarding::Gatewaying | Forwarding::Tunnel(_) if server.service.mark().is_some() => {
            SocketAddr::new(server.real.ip(), 0)
        }
        _ => server.real,
    }
}

fn thresholds(server: &Server) -> Result<(), Failure> {
    if server.lower > server.upper { Err(Failure::refused(OUT_OF_RANGE)) } else { Ok(()) }
}

/// IPVS refuses these as real servers before anything else does.
fn is_not_unicast(address: IpAddr) -> bool {
    match address {
        IpAddr::V4(v4) => v4.octets()[0] == 0 || v4.is_multicast() || v4.is_broadcast(),
        IpAddr::V6(v6) => unusable(v6.into()).is_some() && !v6.is_loopback(),
    }
}

/// Method and headers. `-m` is whichever translation the real or its service has already: ipvsadm has one word for both.
fn way(forwarding: Forwarding, now: Method) -> Result<(Method, Option<u16>, Option<bool>), Failure> {
    let checksum = |checksum| match checksum {
        Checksum::Without => Ok(Some(false)),
        Checksum::With => Ok(Some(true)),
        Checksum::Remote => {
            Err(Failure::refused("XVS has no remote checksum offload (--tun-remcsum); nothing was changed"))
        }
    };
    Ok(match forwarding {
        Forwarding::Gatewaying => (Method::Direct, None, None),
        Forwarding::Masquerading if now == Method::FullNat => (Method::FullNat, None, None),
        Forwarding::Masquerading => (Method::Nat, None, None),
        Forwarding::Tunnel(Tunnel::Ipip) => (Method::Tunnel, None, None),
        Forwarding::Tunnel(Tunnel::Gue(port, sum)) => (Method::Gue, Some(port), checksum(sum)?),
        Forwarding::Tunnel(Tunnel::Gre(sum)) => (Method::Gre, None, checksum(sum)?),
    })
}

#[cfg(test)]
mod tests;
