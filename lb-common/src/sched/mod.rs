//! Schedulers: which member of a service takes a new connection. One file each; IPVS's rules, ties included.
//!
//! A scheduler sees its service through [`Pool`]: maps in the kernel, slices in host tests. Loops go through [`Pool::scan`], which the
//! kernel runs as `bpf_loop`: its verifier then walks a loop's body a few times, not once for each of a thousand members.
//! Members stand in IPVS's list order (the server added last comes first).

use crate::abi::real::Load;
use crate::abi::service::{Config, Cursor, Member, flag, scheduler};

pub mod dh;
pub mod fo;
pub mod lblc;
pub mod lblcr;
pub mod lc;
pub mod memory;
pub mod mh;
pub mod nq;
pub mod ovf;
#[cfg(any(test, feature = "user"))]
pub mod plain;
pub mod rr;
pub mod sed;
pub mod sh;
pub mod twos;
pub mod wlc;
pub mod wrr;

#[cfg(test)]
mod tests;

/// A service's members as a scheduler sees them.
pub trait Pool: memory::Memory {
    /// Member `index`; None past the end.
    fn member(&self, index: u32) -> Option<Member>;
    /// 0, which a verifier takes for any number.
    fn zero(&self) -> u32;
    /// Connections of a real now.
    fn load(&self, real: u32) -> Load;
    /// Member index in ring slot `slot`; None when the slot is empty or past the end.
    fn ring(&self, slot: u32) -> Option<u32>;
    /// Calls `step` with 0, 1, ... below `steps`, until it returns false.
    ///
    /// What `step` compares must not begin as a constant, but be made from [`Pool::zero`]: kernels before 6.7 verify the body for the
    /// first step only, and take out branches that the first step cannot take. (Found on 6.1, where `wlc` chose the last member.)
    fn scan<F: FnMut(u32) -> bool>(&self, steps: u32, step: F);

    /// The member may take a new connection: its weight is above 0, and it is not overloaded.
    #[inline(always)]
    fn is_usable(&self, member: Member) -> bool {
        member.weight > 0 && !(member.is_limited() && self.load(member.number()).is_overloaded())
    }
}

/// What a scheduler may know of the packet.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Client {
    /// Client address in host order; an IPv6 address folded by XOR of its four words.
    pub address: u32,
    /// Client port in host order.
    pub port: u16,
    /// Address that the client sent to, as its own.
    pub destination: u32,
}

/// What a scheduler goes by. The datapath has a function for each: together they would need more stack than a program has.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// Whose turn it is, or chance.
    Turn,
    /// A hash of addresses.
    Hash,
    /// The connections that each has, or its weight alone.
    Load,
}

/// The kind of a configuration's scheduler.
#[inline(always)]
pub const fn kind(config: &Config) -> Kind {
    match config.scheduler {
        scheduler::RR | scheduler::WRR | scheduler::TWOS => Kind::Turn,
        scheduler::SH | scheduler::MH | scheduler::DH => Kind::Hash,
        _ => Kind::Load,
    }
}

/// The member that takes the client's new connection; None when none may.
#[inline(always)]
pub fn pick<P: Pool>(config: &Config, pool: &P, cursor: &mut Cursor, client: Client) -> Option<Member> {
    match kind(config) {
        Kind::Turn => pick_by_turn(config, pool, cursor),
        Kind::Hash => pick_by_hash(config, pool, client),
        Kind::Load => pick_by_load(config, pool, client),
    }
}

/// [`pick`] for [`Kind::Turn`].
#[inline(always)]
pub fn pick_by_turn<P: Pool>(config: &Config, pool: &P, cursor: &mut Cursor) -> Option<Member> {
    match config.scheduler {
        scheduler::RR => rr::pick(config, pool, cursor),
        scheduler::WRR => wrr::pick(config, pool, cursor),
        scheduler::TWOS => twos::pick(config, pool, cursor),
        _ => None,
    }
}

/// [`pick`] for [`Kind::Hash`].
#[inline(always)]
pub fn pick_by_hash<P: Pool>(config: &Config, pool: &P, client: Client) -> Option<Member> {
    match config.scheduler {
        scheduler::SH => sh::pick(config, pool, client),
        scheduler::MH => mh::pick(config, pool, client),
        scheduler::DH => dh::pick(pool, client),
        _ => None,
    }
}

/// [`pick`] for [`Kind::Load`].
#[inline(always)]
pub fn pick_by_load<P: Pool>(config: &Config, pool: &P, client: Client) -> Option<Member> {
    match config.scheduler {
        scheduler::LC => lc::pick(config, pool),
        scheduler::WLC => wlc::pick(config, pool),
        scheduler::SED => sed::pick(config, pool),
        scheduler::NQ => nq::pick(config, pool),
        scheduler::FO => fo::pick(config, pool),
        scheduler::OVF => ovf::pick(config, pool),
        scheduler::LBLC => lblc::pick(config, pool, client),
        scheduler::LBLCR => lblcr::pick(config, pool, client),
        _ => None,
    }
}

/// The scheduler decides from the packet and the configuration alone, so that every director agrees without having seen the flow's
/// first packet.
#[inline(always)]
pub const fn is_stateless(config: &Config) -> bool {
    matches!(config.scheduler, scheduler::SH | scheduler::MH)
        && config.flags & (flag::PERSISTENT | flag::ONE_PACKET) == 0
}

/// Active connections as the schedulers that look at these alone count them: with [`flag::UDP_ACTIVE`] all.
#[inline(always)]
const fn active(config: &Config, load: Load) -> u64 {
    if config.flags & flag::UDP_ACTIVE != 0 { load.total() } else { load.active() as u64 }
}
