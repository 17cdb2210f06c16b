//! ICMP errors about translated connections: the error is translated like the connection's packets, and so is the begin of the packet
//! that it carries, back to what it was on the other side. Neither changes the connection's state or age.

use aya_ebpf::bindings::xdp_md;
use lb_common::abi::real::method;
use lb_common::abi::reply::Ends;
use lb_common::abi::verdict::Verdict;
use lb_common::wire::parse::Flow;
use lb_common::wire::translate::{Change, Ports};
use lb_common::wire::translate_icmp::Embedded;
use lb_ebpf::packet::Frame;

use super::connection::{self, Place};
use super::tunnel::Stand;
use super::{packet, reply};
use crate::family::Family;
use crate::maps::reals::Chosen;
use crate::maps::replies::{self, Row};

/// An error that came in: the packet's header, and the flow that it is about, turned round ([`lb_common::wire::embedded`]).
pub(crate) struct Error<'a, F: Family> {
    pub(crate) stand: Stand,
    pub(crate) ip: &'a F::Header,
    /// Where the embedded packet begins.
    pub(crate) inner: usize,
    pub(crate) flow: &'a Flow<F::Header>,
}

impl<F: Family> Error<'_, F> {
    /// What the embedded packet becomes.
    #[inline(always)]
    fn embedded(&self, source: F::Address, destination: F::Address, ports: u32) -> Embedded<F::Address> {
        Embedded {
            offset: self.inner,
            ports_offset: F::payload(&self.flow.ip),
            old: [F::destination(&self.flow.ip), F::source(&self.flow.ip)],
            new: [source, destination],
            ports: Ports { old: self.flow.transport.ports.rotate_left(16), new: ports },
        }
    }
}

/// Translates an error from the client's side, about what the service has sent, for its real.
#[inline(always)]
pub(crate) fn to_real<F: Family>(
    frame: &Frame,
    error: &Error<'_, F>,
    real: Chosen,
    place: &Place<F>,
) -> Result<(), Verdict> {
    let address = F::address(real.entry.address());
    if real.entry.end().is_v6() != F::IS_V6 {
        return Err(Verdict::NatUnsuited);
    }
    let (client, ports) = F::client_end(place.packet_key);
    if real.way.method() != method::FULL_NAT {
        let port = real.entry.end().port();
        let to_client = ports.rotate_left(16);
        let ports = if port == 0 { to_client } else { Ports::from(to_client, port).new };
        let change = Change { source: None, destination: Some(address), ports: None };
        return F::translate_icmp(
            frame,
            error.stand.offset(),
            error.ip,
            &change,
            &error.embedded(address, client, ports),
        );
    }
    let located = connection::locate(place).ok_or(Verdict::IcmpNoFlow)?;
    let record = Row::of(replies::tie::<F>(located.index).checked_sub(1).ok_or(Verdict::IcmpNoFlow)?).record();
    if !record.is_of(located.found.meta) {
        return Err(Verdict::IcmpNoFlow);
    }
    let local = F::address(record.destination());
    let change = Change { source: Some(local), destination: Some(address), ports: None };
    let embedded = error.embedded(address, local, Ends(record.ends()).ports());
    F::translate_icmp(frame, error.stand.offset(), error.ip, &change, &embedded)
}

/// Sends an error from the real's side, about what a client has sent, on to that client. Returns the verdict that its life ends with.
#[inline(always)]
pub(crate) fn to_client<F: Family>(ctx: *mut xdp_md, error: &Error<'_, F>) -> Verdict {
    let flow = error.flow;
    let ends = Ends::new(flow.transport.ports, F::protocol(&flow.ip), F::IS_V6);
    let answered = reply::find::<F>(F::source(&flow.ip), F::destination(&flow.ip), ends);
    let Some(answered) = answered else { return Verdict::NotAService };
    if !answered.is_of_family(F::IS_V6) {
        return Verdict::NatUnsuited;
    }
    let Some(answer) = reply::of_connection::<F>(&answered) else { return Verdict::NotAService };
    let change = Change { source: Some(answer.service), destination: Some(answer.client), ports: None };
    let embedded = error.embedded(answer.client, answer.service, answer.ports.rotate_left(16));
    match F::translate_icmp(&packet(ctx), error.stand.offset(), error.ip, &change, &embedded) {
        Ok(()) => answer.leave(ctx, F::length(error.ip)),
        Err(verdict) => verdict,
    }
}
