//! A new connection: may it begin, which real takes it, and its entry in the table. Out of line, so that the hit path stays small.

use aya_ebpf::bindings::xdp_md;
use lb_common::abi::connection::{Meta, State};
use lb_common::abi::fragment::handed;
use lb_common::abi::real::{disposition, method};
use lb_common::abi::service::{self, Config, Member, Target};
use lb_common::abi::verdict::Verdict;
use lb_common::algo::state::{self, Direction};
use lb_common::algo::tcp_state;
use lb_common::sched::{self, Client, Kind};
use lb_common::wire::parse::Flow;
use lb_common::wire::transport::UDP;

use super::enter::MAY_EVICT;
use super::service::Found;
use super::tie::Occasion;
use super::tunnel::Stand;
use super::{REAL, TIE, connection, inexact, nat, packet};
use crate::family::{Family, V4, V6};
use crate::maps::reals::Chosen;
use crate::maps::{counters, limits, pool, settings};

/// Schedules the flow's first packet and remembers the choice.
#[inline(always)]
pub(crate) fn new_connection<F: Family>(ctx: *mut xdp_md, target: Target, stand: Stand) -> Result<Chosen, Verdict> {
    let number = F::begin(ctx, stand, target);
    if number & REAL == 0 {
        return match number {
            HAND_OVER => Err(nat::hand_over(ctx, &packet(ctx), handed::NO_CONNECTION)),
            number => Err(super::verdict(number)),
        };
    }
    if number & TIE != 0 {
        nat::tie(ctx, stand, Occasion::NEW)?;
    }
    if target.is_many() && !F::IS_V6 {
        inexact::xvs_keep_virtual_v4(ctx, stand.0);
    }
    Ok(Chosen::of(number))
}

/// No real: what schedulers and templates return instead of a number.
pub(crate) const NO_REAL: u32 = u32::MAX;

/// What [`Family::begin`] returns when the daemon's helper is to have the packet.
const HAND_OVER: u32 = 1 << 8;

/// [`Family::begin`] for IPv4. Global functions take numbers and return one: the verifier walks them once by themselves, instead of
/// once for every path that leads here, and what they need does not crowd the registers of the packets that are known.
#[expect(unsafe_code, reason = "a global BPF function needs a name of its own in the object")]
#[unsafe(no_mangle)]
#[inline(never)]
pub extern "C" fn xvs_begin_v4(ctx: *mut xdp_md, stand: u64, target: u64) -> u32 {
    run::<V4>(ctx, Stand(stand), Target(target))
}

/// [`Family::begin`] for IPv6.
#[expect(unsafe_code, reason = "a global BPF function needs a name of its own in the object")]
#[unsafe(no_mangle)]
#[inline(never)]
pub extern "C" fn xvs_begin_v6(ctx: *mut xdp_md, stand: u64, target: u64) -> u32 {
    run::<V6>(ctx, Stand(stand), Target(target))
}

#[inline(always)]
fn run<F: Family>(ctx: *mut xdp_md, stand: Stand, target: Target) -> u32 {
    // Only here: in all functions that read packets again the verifier would walk 110 000 instructions more.
    let flow = match F::read_plain(&packet(ctx)) {
        Some(flow) => Ok(flow),
        None => super::flow::<F>(ctx, stand),
    };
    super::number(flow.and_then(|flow| begin::<F>(&flow, target)))
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
fn begin<F: Family>(flow: &Flow<F::Header>, target: Target) -> Result<u32, Verdict> {
    if F::source(&flow.ip) == F::destination(&flow.ip) {
        return Err(Verdict::Land);
    }
    if flow.transport.source_port() == 0 || flow.transport.destination_port() == 0 {
        return Err(Verdict::PortZero);
    }
    let place = Found::of(target).place::<F>(flow);
    // Once more: another CPU may have moved it from one bucket to the other between the two looks, or have begun it.
    if let Some(found) = connection::find(&place)
        && Chosen::of_connection(found.meta).way.disposition() == disposition::FORWARD
    {
        return Ok(REAL | found.meta.real());
    }
    let config = pool::config(target.config());
    let (protocol, event) = (F::protocol(&flow.ip), flow.transport.flags);
    if settings::get().moving != 0 && !state::is_opening(protocol, event) {
        return Err(Verdict::Moving);
    }
    if !may_begin(config, protocol, event) {
        return Err(Verdict::MissNotSyn);
    }
    let (key, destination) = (F::key(flow), F::folded(F::destination(&flow.ip)));
    let real = if config.flags & service::flag::PERSISTENT != 0 {
        persistent::<F>(config, key, target, destination)?
    } else {
        ask::<F>(key, target, destination)
    };
    if real == NO_REAL {
        return without_real(config, event);
    }
    let is_translated = method::is_translated(Chosen::of(real).way.method());
    if state::is_abort(protocol, event) {
        // A hash scheduler's reset finds its real without an entry, and leaves none. Without one there is nothing to translate by.
        return if is_translated { Err(Verdict::MissNotSyn) } else { Ok(REAL | real) };
    }
    if protocol == UDP && config.flags & service::flag::ONE_PACKET != 0 {
        // Behind translation as with IPVS: each packet gets its real, and no answer finds back.
        count(config.group, real);
        return Ok(REAL | real);
    }
    let state = state::next(protocol, Direction::InputOnly, State::None, event);
    if enter::<F>(place.key, Meta::new(target.service(), real, state, 0)) {
        count(config.group, real);
    } else if !sched::is_stateless(config) {
        return Err(Verdict::TableFull);
    }
    Ok(REAL | real | if is_translated { TIE } else { 0 })
}

/// What becomes of a packet that the service has no real for. Where connections are the daemon's to make it gets what begins one; so many
/// that somebody tries all ports are refused like any other's.
#[inline(always)]
fn without_real(config: &Config, event: u8) -> Result<u32, Verdict> {
    if config.flags & service::flag::HELPER == 0 {
        return Err(Verdict::NoReal);
    }
    if !tcp_state::is_opening(event) {
        // The answer to a connection of this host's own, which may begin it at the service's address.
        return Err(Verdict::NotAService);
    }
    if limits::take_message() { Ok(HAND_OVER) } else { Err(Verdict::NoReal) }
}

/// The real of the client's template, or a new template for the one that the scheduler chooses.
#[inline(always)]
fn persistent<F: Family>(config: &Config, key: F::Key, target: Target, destination: u32) -> Result<u32, Verdict> {
    let (_, ports) = F::client_end(key);
    let port = if config.flags & service::flag::ANY_PORT != 0 { 0 } else { (ports >> 16) as u16 };
    let key_of_template = F::template_key(key, u32::from(config.netmask), port);
    let known = F::template(key_of_template, config.group);
    if known != NO_REAL {
        return Ok(known);
    }
    let real = ask::<F>(key, target, destination);
    // IPVS takes no connection whose template has no room.
    if real == NO_REAL || enter::<F>(key_of_template, Meta::new(config.group, real, State::Template, 0)) {
        Ok(real)
    } else {
        Err(Verdict::TableFull)
    }
}

/// Enters a connection or a template. False when there is no room.
#[inline(always)]
fn enter<F: Family>(key: F::Key, meta: Meta) -> bool {
    if F::enter(key, meta) != 0 {
        return true;
    }
    F::make_room(F::hash(key), meta.service());
    F::enter(key, meta.seen(MAY_EVICT)) != 0
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
