//! Weighted failover (`ip_vs_fo.c`): the usable member with the greatest weight; the first of equals.

use super::Pool;
use crate::abi::service::{Config, Member};

/// See the module.
#[inline(always)]
pub fn pick<P: Pool>(config: &Config, pool: &P) -> Option<Member> {
    let mut best = Member { real: 0, weight: pool.zero() };
    pool.scan(config.member_count, |index| {
        let Some(member) = pool.member(index) else { return false };
        if member.weight > best.weight && pool.is_usable(member) {
            best = member;
        }
        true
    });
    best.usable()
}
