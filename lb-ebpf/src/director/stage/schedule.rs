//! A new connection: may it begin, which real takes it, and its entry in the table. Out of line, so that the hit path stays small.

use aya_ebpf::bindings::xdp_md;
use lb_common::abi::connection::{KeyV4, KeyV6, Meta, State};
use lb_common::abi::fragment::handed;
use lb_common::abi::real::method;
use lb_common::abi::service::{self, Config, Member, Target};
use lb_common::abi::verdict::Verdict;
use lb_common::algo::state::{self, Direction};
use lb_common::algo::tcp_state;
use lb_common::sched::{self, Client, Kind};
use lb_common::wire::parse::Flow;
use lb_common::wire::transport::UDP;

use super::connection::Place;
use super::tie::Occasion;
use super::tunnel::Stand;
use super::{inexact, nat, packet};
use crate::family::{Family, MARK_V6, V4, V6};
use crate::maps::reals::Chosen;
use crate::maps::{counters, limits, pool, settings};

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
    let opening = opening::<F>(flow);
    match F::begin(place.packet_key, place.mark, target, opening) {
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
                if leaves_no_trace::<F>(flow, target) {
                    // As with IPVS: each packet gets its real, and no answer finds back.
                    return Ok(real);
                }
                nat::tie(ctx, stand, Occasion::NEW)?;
            }
            if target.is_many() && !F::IS_V6 {
                inexact::xvs_keep_virtual_v4(ctx, stand.0);
            }
            Ok(real)
        }
    }
}

/// Above the event in what [`Family::begin`] is told of a packet: its protocol, and in the upper half its folded destination.
const PROTOCOL_SHIFT: u32 = 8;

/// What [`Family::begin`] is told of a packet besides its key.
#[inline(always)]
fn opening<F: Family>(flow: &Flow<F::Header>) -> u64 {
    let destination = u64::from(F::folded(F::destination(&flow.ip)));
    u64::from(flow.transport.flags) | u64::from(F::protocol(&flow.ip)) << PROTOCOL_SHIFT | destination << 32
}

/// The packet is scheduled by itself.
#[inline(always)]
fn leaves_no_trace<F: Family>(flow: &Flow<F::Header>, target: Target) -> bool {
    F::protocol(&flow.ip) == UDP && pool::config(target.config()).flags & service::flag::ONE_PACKET != 0
}

// What [`Family::begin`] returns instead of a real.
pub(crate) const NO_REAL: u32 = u32::MAX;
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
pub extern "C" fn xvs_begin_v4(key: u64, mark: u64, target: u64, opening: u64) -> u32 {
    begin::<V4>(KeyV4(key), mark, Target(target), opening)
}

/// [`Family::begin`] for IPv6. The key's mark is in the upper half of `ports`.
#[expect(unsafe_code, reason = "a global BPF function needs a name of its own in the object")]
#[unsafe(no_mangle)]
#[inline(never)]
pub extern "C" fn xvs_begin_v6(upper: u64, lower: u64, ports: u64, target: u64, opening: u64) -> u32 {
    begin::<V6>(KeyV6([upper, lower, ports & !MARK_V6]), ports & MARK_V6, Target(target), opening)
}

/// The real that a hash scheduler has for the client.
#[inline(always)]
pub(crate) fn choose<F: Family>(flow: &Flow<F::Header>, target: Target) -> Result<u32, Verdict> {
    let (client, destination) = (F::client(F::key(flow)), F::folded(F::destination(&flow.ip)));
    match xvs_choose_by_hash(target.config(), client.address, u32::from(client.port), destination) {
        NO_REAL => Err(Verdict::NoReal),
        real => Ok(real),
    }
}

#[inline(always)]
fn begin<F: Family>(key: F::Key, mark: u64, target: Target, opening: u64) -> u32 {
    let config = pool::config(target.config());
    let (protocol, event) = ((opening >> PROTOCOL_SHIFT) as u8, opening as u8);
    if !may_begin(config, protocol, event) {
        return NOT_OPENING;
    }
    let real = if config.flags & service::flag::PERSISTENT != 0 {
        let real = persistent::<F>(config, key, target, opening);
        if real == NO_ROOM {
            return NO_ROOM;
        }
        real
    } else {
        ask::<F>(key, target, (opening >> 32) as u32)
    };
    if real == NO_REAL {
        return NO_REAL;
    }
    if state::is_abort(protocol, event) {
        // A hash scheduler's reset finds its real without an entry, and leaves none.
        return real;
    }
    if protocol == UDP && config.flags & service::flag::ONE_PACKET != 0 {
        count(config.group, real);
        return real;
    }
    let state = state::next(protocol, Direction::InputOnly, State::None, event);
    if F::enter(F::marked(key, mark), Meta::new(target.service(), real, state, 0)) != 0 {
        count(config.group, real);
        real
    } else if sched::is_stateless(config) {
        real
    } else {
        NO_ROOM
    }
}

/// The real of the client's template, or a new template for the one that the scheduler chooses.
#[inline(always)]
fn persistent<F: Family>(config: &Config, key: F::Key, target: Target, opening: u64) -> u32 {
    let (_, ports) = F::client_end(key);
    let port = if config.flags & service::flag::ANY_PORT != 0 { 0 } else { (ports >> 16) as u16 };
    let key_of_template = F::template_key(key, u32::from(config.netmask), port);
    let known = F::template(key_of_template, config.group);
    if known != NO_REAL {
        return known;
    }
    let real = ask::<F>(key, target, (opening >> 32) as u32);
    if real == NO_REAL {
        return NO_REAL;
    }
    // IPVS takes no connection whose template has no room.
    if F::enter(key_of_template, Meta::new(config.group, real, State::Template, 0)) != 0 { real } else { NO_ROOM }
}

/// Hash schedulers go by the packet alone, the others by IPVS's rule.
#[inline(always)]
fn may_begin(config: &Config, protocol: u8, event: u8) -> bool {
    sched::is_stateless(config) || state::may_begin(protocol, event, settings::get().sloppy)
}

/// Asks the service's scheduler. [`NO_REAL`] if it has none for the client.
#[inline(always)]
fn ask<F: Family>(key: F::Key, target: Target, destination: u32) -> u32 {
    let client = F::client(key);
    let config = target.config();
    match sched::kind(pool::config(config)) {
        Kind::Turn => xvs_choose_by_turn(config),
        Kind::Hash => xvs_choose_by_hash(config, client.address, u32::from(client.port), destination),
        Kind::Load => xvs_choose_by_load(config, destination),
    }
}

/// Asks a scheduler that goes in turn or by chance, for both families: a global function, too.
#[expect(unsafe_code, reason = "a global BPF function needs a name of its own in the object")]
#[unsafe(no_mangle)]
#[inline(never)]
pub extern "C" fn xvs_choose_by_turn(config: u32) -> u32 {
    let config = pool::config(config);
    number(sched::pick_by_turn(config, &pool::PoolOf(config), pool::cursor(config.group)))
}

/// Asks one that goes by hashes.
#[expect(unsafe_code, reason = "a global BPF function needs a name of its own in the object")]
#[unsafe(no_mangle)]
#[inline(never)]
pub extern "C" fn xvs_choose_by_hash(config: u32, address: u32, port: u32, destination: u32) -> u32 {
    let config = pool::config(config);
    let client = Client { address, port: port as u16, destination };
    number(sched::pick_by_hash(config, &pool::PoolOf(config), client))
}

/// Asks one that goes by the connections that each real has.
#[expect(unsafe_code, reason = "a global BPF function needs a name of its own in the object")]
#[unsafe(no_mangle)]
#[inline(never)]
pub extern "C" fn xvs_choose_by_load(config: u32, destination: u32) -> u32 {
    let config = pool::config(config);
    let client = Client { address: 0, port: 0, destination };
    number(sched::pick_by_load(config, &pool::PoolOf(config), client))
}

#[inline(always)]
fn number(member: Option<Member>) -> u32 {
    match member {
        Some(member) => member.number(),
        None => NO_REAL,
    }
}

#[inline(always)]
fn count(service: u32, real: u32) {
    let cpu = counters::cpu();
    counters::service(cpu, service).connections += 1;
    counters::real(cpu, u64::from(real) & settings::real_mask()).connections += 1;
}
