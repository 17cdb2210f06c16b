//! Which virtual service a packet is for: exact address, port and protocol first, then the service of any port, or the entries for
//! address prefixes and ranges of ports.

use lb_common::abi::service::Target;
use lb_common::wire::parse::Flow;
use lb_ebpf::immediate::walked_last;

use super::connection::Place;
use crate::family::Family;
use crate::maps::{limits, settings};

/// The service of a flow, and what keys of its connections have besides the packet's own ([`Family::marked`]).
#[derive(Clone, Copy)]
pub(crate) struct Found {
    pub(crate) target: Target,
    pub(crate) mark: u64,
}

/// Whose a packet is.
pub(crate) enum Whose {
    Service(Found),
    /// No service's; it may be a real's answer.
    Others,
    /// Not the director's: no service's, and no real's answers come here.
    Nobodys,
}

impl Whose {
    /// The service that it is for.
    #[inline(always)]
    pub(crate) fn service(self) -> Option<Found> {
        match self {
            Self::Service(found) => Some(found),
            Self::Others | Self::Nobodys => None,
        }
    }
}

impl Found {
    /// Of the running packet, which was found to be for `target`.
    #[inline(always)]
    pub(crate) fn of(target: Target) -> Self {
        // All bits of the mark or none, without a branch: each would be walked to the packet's end.
        let is_many = 0u64.wrapping_sub(u64::from(target.is_many()));
        Self { target, mark: limits::kept_mark() & is_many }
    }

    /// Where the flow's connection may be.
    #[inline(always)]
    pub(crate) fn place<F: Family>(self, flow: &Flow<F::Header>) -> Place<F> {
        Place::of(F::key(flow), self.mark, self.target.service())
    }
}

/// The service of a flow.
#[inline(always)]
pub(crate) fn lookup<F: Family>(flow: &Flow<F::Header>) -> Whose {
    look::<F>(flow, F::inexact_service)
}

/// The same for functions that run for a packet whose service was looked up before.
#[inline(always)]
pub(crate) fn lookup_again<F: Family>(flow: &Flow<F::Header>) -> Option<Found> {
    look::<F>(flow, |_, _, _| Target(limits::kept_target())).service()
}

#[inline(always)]
fn look<F: Family>(flow: &Flow<F::Header>, inexact: impl Fn(&F::Header, u16, u8) -> Target) -> Whose {
    let protocol = F::protocol(&flow.ip);
    let exact = F::service(&flow.ip, flow.transport.destination_port(), protocol);
    if exact.is_some() {
        return Whose::Service(Found { target: exact, mark: 0 });
    }
    // Most directors balance exact addresses only and translate nothing: all other packets leave by one question.
    if walked_last(!settings::looks_further()) {
        return Whose::Nobodys;
    }
    // Most others would pay for the look. Both ways lead to one question: an answer of its own to each would make the verifier walk what
    // follows twice.
    let target = if walked_last(settings::inexact() == 0) {
        Target::NONE
    } else {
        inexact(&flow.ip, flow.transport.destination_port(), protocol)
    };
    if target.is_some() { Whose::Service(Found::of(target)) } else { Whose::Others }
}
