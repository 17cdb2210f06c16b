//! Which virtual service a packet is for: exact address, port and protocol first, then the service of any port.

use lb_common::abi::service::Target;
use lb_common::wire::parse::Flow;

use crate::family::Family;
use crate::maps::settings;

/// The service of a flow.
#[inline(always)]
pub(crate) fn lookup<F: Family>(flow: &Flow<F::Header>) -> Option<Target> {
    let protocol = F::protocol(&flow.ip);
    let exact = F::service(&flow.ip, flow.transport.destination_port(), protocol);
    if exact.is_some() {
        return Some(exact);
    }
    // Most directors have no such service, and most other packets would pay for the look.
    if !settings::has_any_port() {
        return None;
    }
    let any = F::service(&flow.ip, 0, protocol);
    if any.is_some() { Some(any) } else { None }
}
