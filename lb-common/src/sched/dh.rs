//! Destination hashing (`ip_vs_dh.c`): the address that the client sent to picks one of 256 slots, which the members fill in turn. For
//! marks that stand for many addresses: caches.
//!
//! A slot whose member takes no connections refuses the client. IPVS has no fallback here.

use super::{Client, Pool};
use crate::abi::service::Member;
use crate::algo::hash::hash_32;

/// See the module.
#[inline(always)]
pub fn pick<P: Pool>(pool: &P, client: Client) -> Option<Member> {
    let member = pool.member(pool.ring(slot(client.destination))?)?;
    if pool.is_usable(member) { Some(member) } else { None }
}

/// `ip_vs_dh_hashkey`.
#[inline(always)]
pub const fn slot(destination: u32) -> u32 {
    hash_32(destination, 8)
}
