//! A new connection: may it begin, which real takes it, and its entry in the table. Out of line, so that the hit path stays small.

use lb_common::abi::connection::{Meta, State};
use lb_common::abi::real::Load;
use lb_common::abi::service::{Config, Target};
use lb_common::abi::verdict::Verdict;
use lb_common::algo::tcp_state::{self, flag};
use lb_common::sched::{self, Client};
use lb_common::table::{self, Claimed, Slot};
use lb_common::wire::parse::Flow;
use lb_common::wire::transport;

use super::connection::{self, Place};
use crate::family::Family;
use crate::maps::{counters, pool, reals, settings};

/// Schedules the flow's first packet and remembers the choice. Returns the real's number.
#[inline(always)]
pub(crate) fn new_connection<F: Family>(
    flow: &Flow<F::Header>,
    target: Target,
    place: &Place<F>,
) -> Result<u32, Verdict> {
    let config = pool::config(target.config()).ok_or(Verdict::Internal)?;
    let is_tcp = F::protocol(&flow.ip) == transport::TCP;
    if is_tcp && !may_begin(config, flow.transport.flags) {
        return Err(Verdict::MissNotSyn);
    }
    let client = F::client(flow);
    let real = xvs_choose(target.config(), target.service(), client.address, u32::from(client.port));
    if real == NONE {
        return Err(Verdict::NoReal);
    }
    let state = if is_tcp { tcp_state::next(State::None, flow.transport.flags) } else { State::Udp };
    if is_tcp && flow.transport.flags & flag::RST != 0 {
        // A hash scheduler's reset finds its real without an entry, and leaves none.
        return Ok(real);
    }
    if insert(place, real, state) {
        count(target.service(), real);
        Ok(real)
    } else if sched::is_stateless(config) {
        Ok(real)
    } else {
        Err(Verdict::TableFull)
    }
}

/// IPVS: a SYN (or with `sloppy_tcp` anything) without RST begins a connection. Hash schedulers go by the packet alone.
#[inline(always)]
fn may_begin(config: &Config, flags: u8) -> bool {
    if sched::is_stateless(config) {
        return true;
    }
    if flags & flag::RST != 0 {
        return false;
    }
    flags & flag::SYN != 0 || settings::get().is_some_and(|settings| settings.sloppy_tcp != 0)
}

/// No real.
const NONE: u32 = u32::MAX;

/// Asks the service's scheduler. A global function, with numbers in and a number out: the verifier walks its loops once, whoever
/// calls it, instead of once for every path that leads here.
#[expect(unsafe_code, reason = "a global BPF function needs a name of its own in the object")]
#[unsafe(no_mangle)]
#[inline(never)]
pub extern "C" fn xvs_choose(config: u32, service: u32, address: u32, port: u32) -> u32 {
    let (Some(config), Some(cursor)) = (pool::config(config), pool::cursor(service)) else { return NONE };
    match sched::pick(config, &pool::Members(config), cursor, Client { address, port: port as u16 }) {
        Some(member) => member.real,
        None => NONE,
    }
}

/// Writes the connection into one of its buckets. False when they have no room for it.
#[inline(always)]
fn insert<F: Family>(place: &Place<F>, real: u32, state: State) -> bool {
    let (Some(first), Some(second), Some(settings)) = (place.buckets().0, place.buckets().1, settings::get()) else {
        return false;
    };
    let Some(Claimed { slot, evicted }) = table::claim(first, second, place.now, &settings.timeouts) else {
        return false;
    };
    slot.write_key(place.key);
    slot.publish(Meta::new(place.service, real, state, place.now));
    if let Some(evicted) = evicted {
        connection::settle(evicted);
    }
    reals::add_load(real, Load::unit(matches!(state, State::Established)));
    true
}

#[inline(always)]
fn count(service: u32, real: u32) {
    let cpu = lb_ebpf::helpers::cpu();
    if let Some(counters) = counters::service(cpu, service) {
        counters.connections += 1;
    }
    if let Some(counters) = counters::real(cpu, real) {
        counters.connections += 1;
    }
}
