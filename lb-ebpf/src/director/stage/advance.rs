//! What a packet does to its connection that is not like the one before it: opening, closing, aborting, or to a real that does not simply
//! take it. Out of line: the verifier walks it once by itself, not once for each way through the parser.
#![expect(unsafe_code, reason = "global functions need names of their own in the object")]

use aya_ebpf::bindings::xdp_md;
use lb_common::abi::connection::State;
use lb_common::abi::real::{disposition, method};
use lb_common::abi::service::Target;
use lb_common::abi::verdict::Verdict;
use lb_common::algo::state::{self, Direction};
use lb_common::wire::parse::Flow;

use super::service::Found;
use super::tie::Occasion;
use super::tunnel::Stand;
use super::{REAL, TIE, connection};
use crate::family::{Family, V4, V6};
use crate::maps::reals::Chosen;
use crate::maps::settings;

/// The packet begins a new connection: in the place of the one that it belonged to, which is gone.
pub(crate) const BEGINS: u32 = u32::MAX;

/// Moves the connection of the IPv4 packet at `stand` on, which is for the service that `target` leads to.
#[unsafe(no_mangle)]
#[inline(never)]
pub extern "C" fn xvs_advance_v4(ctx: *mut xdp_md, stand: u64, target: u64) -> u32 {
    run::<V4>(ctx, Stand(stand), Target(target))
}

/// The same for IPv6.
#[unsafe(no_mangle)]
#[inline(never)]
pub extern "C" fn xvs_advance_v6(ctx: *mut xdp_md, stand: u64, target: u64) -> u32 {
    run::<V6>(ctx, Stand(stand), Target(target))
}

#[inline(always)]
fn run<F: Family>(ctx: *mut xdp_md, stand: Stand, target: Target) -> u32 {
    super::number(super::flow::<F>(ctx, stand).and_then(|flow| advance::<F>(&flow, target)))
}

#[inline(always)]
fn advance<F: Family>(flow: &Flow<F::Header>, target: Target) -> Result<u32, Verdict> {
    let place = Found::of(target).place::<F>(flow);
    // Gone since the caller has seen it: the packet comes a moment later.
    let Some(found) = connection::find(&place) else { return Ok(BEGINS) };
    let now = settings::now();
    let real = Chosen::of_connection(found.meta);
    let state = found.meta.state();
    let (protocol, event) = (F::protocol(&flow.ip), flow.transport.flags);
    if state.is_template() {
        // Nobody but a forger has source port 0.
        return Err(Verdict::PortZero);
    }
    if state::is_reuse(protocol, state, event) && settings::get().reuse_states >> state as u8 & 1 != 0 {
        connection::release::<F>(&found);
        return Ok(BEGINS);
    }
    let disposition = real.way.disposition();
    if disposition != disposition::FORWARD {
        let keeps = matches!(disposition, disposition::DRAIN | disposition::KEEP);
        // Nobody waits for an answer from a real that gives none: a client that begins again gets another one. From an established connection,
        // too: the director did not see the real reset it when it died, and the client has its port free for others.
        let begins_again = state::is_opening(protocol, event) && !(keeps && matches!(state, State::Established));
        if begins_again || disposition == disposition::RESCHEDULE {
            connection::release::<F>(&found);
            return Ok(BEGINS);
        }
        if !keeps {
            return Err(refusal(disposition));
        }
    }
    let is_translated = method::is_translated(real.entry.way().method());
    let next = if is_translated {
        state::next(protocol, Direction::Input, state, event)
    } else {
        state::next(protocol, Direction::InputOnly, state, event)
    };
    let last_seen = found.meta.last_seen();
    if next as u8 != state as u8 || last_seen != now {
        connection::update::<F>(&found, state, next, now);
    }
    let is_tied = is_translated && Occasion::known([state, next], event, [last_seen, now], place.hash).is_due();
    Ok(found.meta.real() | REAL | if is_tied { TIE } else { 0 })
}

/// Why a packet does not go to its real. The connection keeps its age, so that it expires.
#[inline(always)]
const fn refusal(disposition: u8) -> Verdict {
    match disposition {
        disposition::DROP => Verdict::RealDown,
        disposition::UNRESOLVED => Verdict::RealUnresolved,
        _ => Verdict::RealGone,
    }
}
