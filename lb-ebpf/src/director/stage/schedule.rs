//! A new connection: may it begin, which real takes it, and its entry in the table. Out of line, so that the hit path stays small.

use aya_ebpf::bindings::xdp_md;
use lb_common::abi::connection::{KeyV4, KeyV6, Meta, State};
use lb_common::abi::fragment::handed;
use lb_common::abi::real::{Load, method};
use lb_common::abi::service::{self, Config, Target};
use lb_common::abi::verdict::Verdict;
use lb_common::algo::state::{self, Direction};
use lb_common::algo::tcp_state;
use lb_common::sched::{self, Client};
use lb_common::table::{self, Claimed, Slot};
use lb_common::wire::parse::Flow;

use super::connection::{self, Place};
use super::tie::Occasion;
use super::tunnel::Stand;
use super::{nat, packet};
use crate::family::{Family, V4, V6};
use crate::maps::reals::Chosen;
use crate::maps::{counters, limits, pool, reals, settings};

/// Schedules the flow's first packet and remembers the choice.
#[inline(always)]
pub(crate) fn new_connection<F: Family>(
    ctx: *mut xdp_md,
    flow: &Flow<F::Header>,
    target: Target,
    place: &Place<F>,
    stand: Stand,
) -> Result<Chosen, Verdict> {
    if F::source(&flow.ip) == F::destination(&flow.ip) {
        return Err(Verdict::Land);
    }
    if flow.transport.source_port() == 0 || flow.transport.destination_port() == 0 {
        return Err(Verdict::PortZero);
    }
    let opening = u64::from(flow.transport.flags) | u64::from(F::protocol(&flow.ip)) << PROTOCOL_SHIFT;
    match F::begin(place.key, target, opening) {
        NOT_OPENING => Err(Verdict::MissNotSyn),
        NO_REAL if is_for_helper(target) => Err(ask_helper(ctx, flow.transport.flags)),
        NO_REAL => Err(Verdict::NoReal),
        NO_ROOM => Err(Verdict::TableFull),
        real => {
            let real = Chosen::of(real);
            if method::is_translated(real.entry.way().method()) {
                if state::is_abort(F::protocol(&flow.ip), flow.transport.flags) {
                    // It has left no entry, and without one there is nothing to translate by.
                    return Err(Verdict::MissNotSyn);
                }
                nat::tie(ctx, stand, Occasion::NEW)?;
            }
            Ok(real)
        }
    }
}

/// Above the event in what [`Family::begin`] is told of a packet: its protocol.
const PROTOCOL_SHIFT: u32 = 8;

// What [`Family::begin`] returns instead of a real.
const NO_REAL: u32 = u32::MAX;
const NOT_OPENING: u32 = u32::MAX - 1;
const NO_ROOM: u32 = u32::MAX - 2;

/// The service's connections are the daemon's to make.
#[inline(always)]
fn is_for_helper(target: Target) -> bool {
    pool::config(target.config()).flags & service::flag::HELPER != 0
}

/// Hands over what begins a connection. So many that somebody tries all ports are refused like any other's.
#[inline(always)]
fn ask_helper(ctx: *mut xdp_md, flags: u8) -> Verdict {
    if !tcp_state::is_opening(flags) {
        // The answer to a connection of this host's own, which may begin it at the service's address.
        return Verdict::NotAService;
    }
    if !limits::take_message() {
        return Verdict::NoReal;
    }
    nat::hand_over(ctx, &packet(ctx), handed::NO_CONNECTION)
}

/// [`Family::begin`] for IPv4. Global functions take numbers and return one: the verifier walks them once by themselves, instead of
/// once for every path that leads here, and what they need does not crowd the registers of the packets that are known.
#[expect(unsafe_code, reason = "a global BPF function needs a name of its own in the object")]
#[unsafe(no_mangle)]
#[inline(never)]
pub extern "C" fn xvs_begin_v4(key: u64, target: u64, opening: u64) -> u32 {
    begin::<V4>(KeyV4(key), Target(target), opening)
}

/// [`Family::begin`] for IPv6.
#[expect(unsafe_code, reason = "a global BPF function needs a name of its own in the object")]
#[unsafe(no_mangle)]
#[inline(never)]
pub extern "C" fn xvs_begin_v6(upper: u64, lower: u64, ports: u64, target: u64, opening: u64) -> u32 {
    begin::<V6>(KeyV6([upper, lower, ports]), Target(target), opening)
}

/// The real that a hash scheduler has for the client.
#[inline(always)]
pub(crate) fn choose<F: Family>(key: F::Key, target: Target) -> Result<u32, Verdict> {
    let client = F::client(key);
    match xvs_choose(target.config(), target.service(), client.address, u32::from(client.port)) {
        NO_REAL => Err(Verdict::NoReal),
        real => Ok(real),
    }
}

#[inline(always)]
fn begin<F: Family>(key: F::Key, target: Target, opening: u64) -> u32 {
    let place = Place::<F>::of(key, target.service());
    let config = pool::config(target.config());
    let (protocol, event) = ((opening >> PROTOCOL_SHIFT) as u8, opening as u8);
    if !may_begin(config, protocol, event) {
        return NOT_OPENING;
    }
    let client = F::client(key);
    let real = xvs_choose(target.config(), target.service(), client.address, u32::from(client.port));
    if real == NO_REAL {
        return NO_REAL;
    }
    if state::is_abort(protocol, event) {
        // A hash scheduler's reset finds its real without an entry, and leaves none.
        return real;
    }
    let state = state::next(protocol, Direction::InputOnly, State::None, event);
    if insert(&place, real, state) {
        count(target.service(), real);
        real
    } else if sched::is_stateless(config) {
        real
    } else {
        NO_ROOM
    }
}

/// Hash schedulers go by the packet alone, the others by IPVS's rule.
#[inline(always)]
fn may_begin(config: &Config, protocol: u8, event: u8) -> bool {
    sched::is_stateless(config) || state::may_begin(protocol, event, settings::get().sloppy_tcp != 0)
}

/// Asks the service's scheduler, for both families: a global function, too.
#[expect(unsafe_code, reason = "a global BPF function needs a name of its own in the object")]
#[unsafe(no_mangle)]
#[inline(never)]
pub extern "C" fn xvs_choose(config: u32, service: u32, address: u32, port: u32) -> u32 {
    let config = pool::config(config);
    match sched::pick(config, &pool::PoolOf(config), pool::cursor(service), Client { address, port: port as u16 }) {
        Some(member) => member.real,
        None => NO_REAL,
    }
}

/// Writes the connection into one of its buckets. False when they have no room for it.
#[inline(always)]
fn insert<F: Family>(place: &Place<F>, real: u32, state: State) -> bool {
    let now = settings::now();
    let claimed = table::claim(place.first(), place.second(), now, &settings::get().timeouts);
    let Some(Claimed { slot, evicted }) = claimed else {
        return false;
    };
    slot.write_key(place.key);
    slot.publish(Meta::new(place.service, real, state, now));
    if let Some(evicted) = evicted {
        connection::settle(evicted);
    }
    reals::add_load(real, Load::unit(matches!(state, State::Established)));
    true
}

#[inline(always)]
fn count(service: u32, real: u32) {
    let cpu = counters::cpu();
    counters::service(cpu, service).connections += 1;
    counters::real(cpu, u64::from(real) & settings::real_mask()).connections += 1;
}
