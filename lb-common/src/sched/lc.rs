//! Least connection (`ip_vs_lc.c`): the member with the least overhead (active * 256 + all); the first of equals.
//!
//! Counts are shared by all CPUs and exact; two CPUs that choose at the same moment may choose the same member.

use super::{Pool, count};
use crate::abi::limits::MAX_MEMBERS;
use crate::abi::service::{Config, Member};

/// See the module.
#[inline(always)]
pub fn pick<P: Pool>(config: &Config, pool: &P) -> Option<Member> {
    let count = count(config);
    let mut best = None;
    let mut least = u64::MAX;
    let mut index = 0;
    while index < MAX_MEMBERS {
        if index >= count {
            break;
        }
        let member = pool.member(index)?;
        if member.weight > 0 {
            let overhead = pool.load(member.real).overhead();
            if overhead < least {
                least = overhead;
                best = Some(member);
            }
        }
        index += 1;
    }
    best
}
