//! Weighted overflow (`ip_vs_ovf.c`): the member with the greatest weight among those whose active connections do not exceed it; the
//! first of equals. A member goes on taking connections until it has one more than its weight.

use super::{Pool, active};
use crate::abi::service::{Config, Member};

/// See the module.
#[inline(always)]
pub fn pick<P: Pool>(config: &Config, pool: &P) -> Option<Member> {
    let mut best = Member { real: 0, weight: pool.zero() };
    pool.scan(config.member_count, |index| {
        let Some(member) = pool.member(index) else { return false };
        let is_heavier = member.weight > best.weight && pool.is_usable(member);
        if is_heavier && active(config, pool.load(member.number())) <= u64::from(member.weight) {
            best = member;
        }
        true
    });
    best.usable()
}
