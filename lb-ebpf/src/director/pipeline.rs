//! A packet's whole life, in order: parse, service, connection (or a new one by the scheduler), forward, account.
//!
//! Each line of [`balance`] is a stage in `stage/`. A stage that ends the life says so by its [`Verdict`]; every packet ends in
//! exactly one, counted by `stage/account.rs`: at the end of [`run`], or where it leaves for its real or for the kernel by a branch of its own.

use core::marker::PhantomData;

use aya_ebpf::bindings::{xdp_action, xdp_md};
use lb_common::abi::fragment::ENTROPY_MASK;
use lb_common::abi::real::method;
use lb_common::abi::verdict::{Action, Verdict};
use lb_common::algo::hash;
use lb_common::wire::ethernet;
use lb_common::wire::parse::{Flow, Then};
use lb_ebpf::packet::Frame;

use crate::family::{Family, V4, V6};
use crate::maps::reals::Chosen;
use crate::maps::settings;
use crate::stage::aside::Sent;
use crate::stage::service::Whose;
use crate::stage::tunnel::Stand;
use crate::stage::{account, aside, connection, forward, fragment, nat, reply, schedule, service};

/// Runs the balancer on the context's frame and returns what the kernel is to do with it.
#[inline(always)]
pub(crate) fn run(ctx: *mut xdp_md) -> u32 {
    let verdict = match frame(ctx) {
        Ok(action) => return u32::from(action),
        Err(verdict) => verdict,
    };
    account::ended(verdict);
    match verdict.action() {
        Action::Drop => xdp_action::XDP_DROP,
        Action::Pass => xdp_action::XDP_PASS,
        // An answer of our own, or something translated. What goes to a real by direct routing or a tunnel has left above.
        Action::Tx => xdp_action::XDP_TX,
        Action::Redirect => xdp_action::XDP_REDIRECT,
    }
}

/// What the kernel is to do with a packet that goes to its real. A byte, as the verdict is: the compiler keeps a result of two bytes in
/// two registers, but packs one of a byte and a word into one and takes it apart again, ten instructions a packet.
pub(crate) type ActionNumber = u8;

#[inline(always)]
fn frame(ctx: *mut xdp_md) -> Result<ActionNumber, Verdict> {
    let packet = crate::stage::packet(ctx);
    let link = ethernet::parse(&packet)?;
    match link.ethertype {
        ethernet::IPV4 => parse_and_balance::<V4>(ctx, &packet, link.payload),
        ethernet::IPV6 => parse_and_balance::<V6>(ctx, &packet, link.payload),
        _ => Err(Verdict::NotIp),
    }
}

#[inline(always)]
fn parse_and_balance<F: Family>(ctx: *mut xdp_md, packet: &Frame, offset: usize) -> Result<ActionNumber, Verdict> {
    let stand = Stand::new(offset, F::IS_V6);
    match F::parse(packet, offset, Parsed::<F> { ctx, packet: *packet, stand, family: PhantomData })? {
        Onward::Gone(action) => Ok(action),
        Onward::To(bound) => send::<F>(ctx, packet, &bound, stand),
    }
}

/// A packet whose headers have been read.
struct Parsed<F> {
    ctx: *mut xdp_md,
    packet: Frame,
    stand: Stand,
    family: PhantomData<F>,
}

/// What is left to do for a packet that has a real.
enum Onward {
    /// Nothing: what the kernel is to do with it.
    Gone(ActionNumber),
    To(Bound),
}

/// A packet that has a real.
struct Bound {
    real: Chosen,
    /// Of the packet, from its IP header on.
    length: u32,
    /// Of its flow; what [`hash::entropy`] makes of it varies in a tunnel.
    hash: u64,
}

impl<F: Family> Then<F::Header> for Parsed<F> {
    type Out = Onward;

    #[inline(always)]
    fn flow(self, flow: Flow<F::Header>) -> Result<Onward, Verdict> {
        let bound = match balance::<F>(self.ctx, &flow, self.stand, false)? {
            Onward::To(bound) => bound,
            gone @ Onward::Gone(_) => return Ok(gone),
        };
        if bound.real.way.is_direct() {
            // Here and not with all others, where it would have to be asked for once more.
            let verdict = forward::directly(&self.packet, bound.length, bound.real);
            return leave::<F>(self.ctx, &bound, self.stand, verdict).map(Onward::Gone);
        }
        Ok(Onward::To(bound))
    }

    #[inline(always)]
    fn first_fragment(self, flow: Flow<F::Header>) -> Result<Onward, Verdict> {
        let bound = match balance::<F>(self.ctx, &flow, self.stand, true)? {
            Onward::To(bound) => bound,
            gone @ Onward::Gone(_) => return Ok(gone),
        };
        // All fragments of a packet leave alike, so that a real's NIC gives them to one queue.
        let entropy = hash::entropy(bound.hash) & ENTROPY_MASK;
        fragment::remember(self.ctx, self.stand, bound.real.number, entropy);
        Ok(Onward::To(Bound { hash: u64::from(entropy), ..bound }))
    }

    #[inline(always)]
    fn unbalanced(self, ip: F::Header) -> Result<Onward, Verdict> {
        let stand = if F::is_vip(&ip) {
            self.stand
        } else if settings::has_replies() {
            self.stand.not_to_vip()
        } else {
            return Err(Verdict::NotAService);
        };
        let Sent { real, entropy } = aside::ask(self.ctx, stand, F::is_fragment(&ip))?;
        Ok(Onward::To(Bound { real, length: F::length(&ip), hash: u64::from(entropy) }))
    }
}

#[inline(always)]
fn balance<F: Family>(
    ctx: *mut xdp_md,
    flow: &Flow<F::Header>,
    stand: Stand,
    is_first_fragment: bool,
) -> Result<Onward, Verdict> {
    let service = match service::lookup::<F>(flow) {
        Whose::Service(service) => service,
        Whose::Others => return Err(reply::send::<F>(ctx, flow, stand, is_first_fragment)),
        Whose::Nobodys => return Ok(Onward::Gone(account::nobodys())),
    };
    let now = settings::now();
    let place = service.place::<F>(flow);
    let real = match connection::follow(ctx, flow, service.target, &place, stand, now)? {
        Some(real) => real,
        None => schedule::new_connection::<F>(ctx, service.target, stand)?,
    };
    // Asked first: direct routing pays for one comparison, which forwarding makes in any case.
    if !real.way.is_direct() && method::is_translated(real.way.method()) {
        return Err(nat::send::<F>(ctx, flow, real, stand, is_first_fragment));
    }
    Ok(Onward::To(Bound { real, length: F::length(&flow.ip), hash: place.hash }))
}

#[inline(always)]
fn send<F: Family>(ctx: *mut xdp_md, packet: &Frame, bound: &Bound, stand: Stand) -> Result<ActionNumber, Verdict> {
    let Bound { real, length, hash } = *bound;
    let verdict = forward::to_real::<F>(ctx, packet, length, real, hash, stand);
    leave::<F>(ctx, bound, stand, verdict)
}

/// Counts a packet that was made ready for its real, and says what the kernel is to do with it.
#[inline(always)]
fn leave<F: Family>(
    ctx: *mut xdp_md,
    bound: &Bound,
    stand: Stand,
    verdict: Result<Verdict, Verdict>,
) -> Result<ActionNumber, Verdict> {
    let Bound { real, length, .. } = *bound;
    let verdict = match verdict {
        Err(Verdict::TooBig) => return Err(forward::too_big(ctx, stand, real.way)),
        other => other?,
    };
    if forward::came_in_by(ctx, real.entry.ifindex()) {
        account::forwarded(real.number, length, verdict);
        Ok(xdp_action::XDP_TX as ActionNumber)
    } else {
        account::forwarded(real.number, length, verdict.redirected());
        Ok(lb_ebpf::helpers::redirect(real.entry.ifindex()) as ActionNumber)
    }
}
