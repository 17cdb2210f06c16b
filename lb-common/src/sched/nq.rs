//! Never queue (`ip_vs_nq.c`): the first member without active connections; when each has some, as `sed`.

use super::{Pool, active};
use crate::abi::service::{Config, Member};

/// See the module.
#[inline(always)]
pub fn pick<P: Pool>(config: &Config, pool: &P) -> Option<Member> {
    let mut best = Member { real: 0, weight: pool.zero() };
    let mut least = u64::from(pool.zero());
    pool.scan(config.member_count, |index| {
        let Some(member) = pool.member(index) else { return false };
        if pool.is_usable(member) {
            let active = active(config, pool.load(member.number()));
            if best.weight == 0
                || active == 0
                || least * u64::from(member.weight) > (active + 1) * u64::from(best.weight)
            {
                least = active + 1;
                best = member;
            }
            return active != 0;
        }
        true
    });
    best.usable()
}
