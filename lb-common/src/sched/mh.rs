//! Maglev hashing (`ip_vs_mh.c`): the client's address picks a slot of the Maglev ring; with `mh-port` its port too.
//!
//! A slot whose member takes no connections refuses the client, unless `mh-fallback` probes on. IPVS probes 4093 times; here it is
//! [`PROBES`] times and then the first member that takes connections, which every director finds alike.

use super::{Client, Pool, count};
use crate::abi::limits::{MAX_MEMBERS, MH_SLOTS};
use crate::abi::service::{Config, Member, flag};
use crate::algo::hash::hsiphash_u32;

/// Probes of `mh-fallback`: with half of the members usable, one in 2^64 clients comes to the end of them.
pub const PROBES: u32 = 64;

/// Key of the clients' hash: `hash1` of the kernel.
const KEY: [u64; 2] = [2_654_435_761; 2];

/// See the module.
#[inline(always)]
pub fn pick<P: Pool>(config: &Config, pool: &P, client: Client) -> Option<Member> {
    let port = if config.flags & flag::PORT != 0 { client.port } else { 0 };
    let first = slot(client.address, port, 0);
    let member = pool.member(pool.ring(first)?)?;
    if member.weight > 0 {
        return Some(member);
    }
    if config.flags & flag::FALLBACK == 0 {
        return None;
    }
    let mut step = 0;
    while step < PROBES {
        let offset = (step + first) % MH_SLOTS;
        let member = pool.member(pool.ring(slot(client.address, port, offset))?)?;
        if member.weight > 0 {
            return Some(member);
        }
        step += 1;
    }
    first_usable(config, pool)
}

#[inline(always)]
fn first_usable<P: Pool>(config: &Config, pool: &P) -> Option<Member> {
    let count = count(config);
    let mut index = 0;
    while index < MAX_MEMBERS {
        if index >= count {
            break;
        }
        let member = pool.member(index)?;
        if member.weight > 0 {
            return Some(member);
        }
        index += 1;
    }
    None
}

/// `ip_vs_mh_get`: slot of a client.
#[inline(always)]
pub const fn slot(address: u32, port: u16, offset: u32) -> u32 {
    hsiphash_u32(offset.wrapping_add(port as u32).wrapping_add(address), KEY) % MH_SLOTS
}
