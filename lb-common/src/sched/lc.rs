//! Least connection (`ip_vs_lc.c`): the member with the least overhead (active * 256 + all); the first of equals.
//!
//! Counts are shared by all CPUs and exact; two CPUs that choose at the same moment may choose the same member.

use super::Pool;
use crate::abi::service::{Config, Member};

/// See the module.
#[inline(always)]
pub fn pick<P: Pool>(config: &Config, pool: &P) -> Option<Member> {
    let mut best = Member::NONE;
    let mut least = !u64::from(pool.zero());
    pool.scan(config.member_count, |index| {
        let Some(member) = pool.member(index) else { return false };
        if pool.is_usable(member) {
            let overhead = pool.load(member.number()).overhead();
            if overhead < least {
                least = overhead;
                best = member;
            }
        }
        true
    });
    best.usable()
}
