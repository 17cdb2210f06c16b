//! Weighted least connection (`ip_vs_wlc.c`): the member with the least overhead per weight, compared by cross products; the first of
//! equals.

use super::Pool;
use crate::abi::service::{Config, Member};

/// See the module.
#[inline(always)]
pub fn pick<P: Pool>(config: &Config, pool: &P) -> Option<Member> {
    least_by(config, pool, |member| pool.load(member.number()).overhead())
}

/// The usable member with the least `overhead` per weight; the first of equals.
#[inline(always)]
pub(super) fn least_by<P: Pool>(config: &Config, pool: &P, overhead: impl Fn(Member) -> u64) -> Option<Member> {
    let mut best = Member { real: 0, weight: pool.zero() };
    let mut least = u64::from(pool.zero());
    pool.scan(config.member_count, |index| {
        let Some(member) = pool.member(index) else { return false };
        if pool.is_usable(member) {
            let overhead = overhead(member);
            // Overheads are 257 times the connections of a table of 2^23 at most, and weights below 2^31: the products fit in 64 bits.
            if best.weight == 0 || least * u64::from(member.weight) > overhead * u64::from(best.weight) {
                least = overhead;
                best = member;
            }
        }
        true
    });
    best.usable()
}
