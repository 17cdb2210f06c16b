//! Locality-based least connection with replication (`ip_vs_lblcr.c`): a destination has a set of reals, of which the one with the least
//! overhead per weight takes the connection. When that one is overloaded while another has hardly anything to do, the real that
//! `wlc` chooses joins the set; once a day without a change the most loaded one leaves it.

use super::memory::{SET, SET_EXPIRATION};
use super::{Client, Pool, lblc, wlc};
use crate::abi::service::{Config, Member};

/// See the module.
#[inline(always)]
pub fn pick<P: Pool>(config: &Config, pool: &P, client: Client) -> Option<Member> {
    let Some(row) = pool.find(client.destination) else {
        let chosen = wlc::pick(config, pool)?;
        if let Some(row) = pool.make(client.destination) {
            pool.set_real(row, 0, chosen.number());
            pool.set_len(row, 1);
        }
        return Some(chosen);
    };
    pool.touch(row);
    let least = extreme(pool, row, false);
    if pool.len(row) > 1 && pool.age(row) > SET_EXPIRATION {
        let most = extreme(pool, row, true);
        if most.weight > 0 {
            leave(pool, row, most.number());
        }
    }
    if least.weight > 0 && !lblc::is_overloaded(config, pool, least) {
        return Some(least);
    }
    let chosen = wlc::pick(config, pool)?;
    join(pool, row, chosen.number());
    Some(chosen)
}

/// The real of the set with the least overhead per weight, or with the most; the first of equals. An overloaded one is never the least.
#[inline(always)]
fn extreme<P: Pool>(pool: &P, row: P::Row, is_most: bool) -> Member {
    let mut best = Member { real: 0, weight: pool.zero() };
    let mut overhead_of_best = u64::from(pool.zero());
    pool.scan(pool.len(row), |at| {
        let real = pool.real(row, at);
        let (weight, load) = (pool.weight(real), pool.load(real));
        if weight == 0 || (!is_most && load.is_overloaded()) {
            return true;
        }
        let (ours, theirs) = (overhead_of_best * u64::from(weight), load.overhead() * u64::from(best.weight));
        let is_better = if is_most { ours < theirs } else { ours > theirs };
        if best.weight == 0 || is_better {
            best = Member { real, weight };
            overhead_of_best = load.overhead();
        }
        true
    });
    best
}

/// Puts a real at the head of the set, unless it is in it. From a full set the last one falls out.
#[inline(always)]
fn join<P: Pool>(pool: &P, row: P::Row, real: u32) {
    let len = pool.len(row).min(SET);
    let mut is_in = pool.zero();
    pool.scan(len, |at| {
        if pool.real(row, at) == real {
            is_in = 1;
        }
        is_in == 0
    });
    if is_in != 0 {
        return;
    }
    let len = len.min(SET - 1);
    pool.scan(len, |step| {
        let at = (len - 1).wrapping_sub(step);
        pool.set_real(row, at + 1, pool.real(row, at));
        true
    });
    pool.set_real(row, 0, real);
    pool.set_len(row, len + 1);
}

/// Takes a real out of the set.
#[inline(always)]
fn leave<P: Pool>(pool: &P, row: P::Row, real: u32) {
    let len = pool.len(row);
    let mut kept = pool.zero();
    pool.scan(len, |at| {
        let other = pool.real(row, at);
        if other != real {
            pool.set_real(row, kept, other);
            kept += 1;
        }
        true
    });
    pool.set_len(row, kept);
}
