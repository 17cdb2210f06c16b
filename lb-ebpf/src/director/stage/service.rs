//! Which virtual service a packet is for: exact address, port and protocol first, then the service of any port.

use lb_common::abi::service::Target;
use lb_common::abi::verdict::Verdict;
use lb_common::wire::parse::Flow;

use crate::family::Family;

/// The service of a flow.
#[inline(always)]
pub(crate) fn lookup<F: Family>(flow: &Flow<F::Header>) -> Option<Target> {
    let protocol = F::protocol(&flow.ip);
    let exact = F::service(&flow.ip, flow.transport.destination_port(), protocol);
    if exact.is_some() {
        return Some(exact);
    }
    let any = F::service(&flow.ip, 0, protocol);
    if any.is_some() { Some(any) } else { None }
}

/// The verdict on a packet without ports that balancing could use: `verdict` if it is for a VIP, otherwise it is none of our business.
#[inline(always)]
pub(crate) fn unbalanced<F: Family>(ip: &F::Header, verdict: Verdict) -> Verdict {
    if F::is_vip(ip) { verdict } else { Verdict::NotAService }
}
