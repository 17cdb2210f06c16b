//! Maglev hashing (`ip_vs_mh.c`): the client's address picks a slot of the Maglev ring; with `mh-port` its port too.
//!
//! A slot whose member takes no connections refuses the client, unless `mh-fallback` probes on, up to once for each slot.

use super::{Client, Pool};
use crate::abi::service::{Config, Member, flag};
use crate::algo::hash::hsiphash_u32;

/// Key of the clients' hash: `hash1` of the kernel.
const KEY: [u64; 2] = [2_654_435_761; 2];

/// See the module.
#[inline(always)]
pub fn pick<P: Pool>(config: &Config, pool: &P, client: Client) -> Option<Member> {
    let port = if config.flags & flag::PORT != 0 { client.port } else { 0 };
    let slots = config.ring_slots.max(1);
    let first = slot(client.address, port, 0, slots);
    let member = pool.member(pool.ring(first)?)?;
    if pool.is_usable(member) {
        return Some(member);
    }
    if config.flags & flag::FALLBACK == 0 {
        return None;
    }
    let mut found = Member::NONE;
    pool.scan(slots, |step| {
        let offset = (step + first) % slots.max(1);
        let Some(index) = pool.ring(slot(client.address, port, offset, slots)) else { return false };
        let Some(member) = pool.member(index) else { return false };
        if pool.is_usable(member) {
            found = member;
            return false;
        }
        true
    });
    found.usable()
}

/// `ip_vs_mh_hashkey`: slot of a client in a ring of `slots`.
#[inline(always)]
pub const fn slot(address: u32, port: u16, offset: u32, slots: u32) -> u32 {
    hsiphash_u32(offset.wrapping_add(port as u32).wrapping_add(address), KEY) % if slots == 0 { 1 } else { slots }
}
