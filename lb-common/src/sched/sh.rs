//! Source hashing (`ip_vs_sh.c`): the client's address picks one of 256 slots; with `sh-port` its port too.
//!
//! A slot whose member takes no connections refuses the client, unless `sh-fallback` looks on from there.

use super::{Client, Pool};
use crate::abi::limits::SH_SLOTS;
use crate::abi::service::{Config, Member, flag};
use crate::algo::hash::hash_32;

/// See the module.
#[inline(always)]
pub fn pick<P: Pool>(config: &Config, pool: &P, client: Client) -> Option<Member> {
    let port = if config.flags & flag::PORT != 0 { client.port } else { 0 };
    let first = slot(client.address, port, 0);
    let member = pool.member(pool.ring(first)?)?;
    if pool.is_usable(member) {
        return Some(member);
    }
    if config.flags & flag::FALLBACK == 0 {
        return None;
    }
    let mut found = Member::NONE;
    pool.scan(SH_SLOTS, |step| {
        let offset = (step + first) % SH_SLOTS;
        let Some(index) = pool.ring(slot(client.address, port, offset)) else { return false };
        let Some(member) = pool.member(index) else { return false };
        if pool.is_usable(member) {
            found = member;
            return false;
        }
        true
    });
    found.usable()
}

/// `ip_vs_sh_hashkey`.
#[inline(always)]
pub const fn slot(address: u32, port: u16, offset: u32) -> u32 {
    offset.wrapping_add(hash_32((port as u32).wrapping_add(address), 8)) & (SH_SLOTS - 1)
}
