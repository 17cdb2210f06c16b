//! Weighted least connection (`ip_vs_wlc.c`): the member with the least overhead per weight, compared by cross products; the first of
//! equals.

use super::{Pool, count};
use crate::abi::limits::MAX_MEMBERS;
use crate::abi::service::{Config, Member};

/// See the module.
#[inline(always)]
pub fn pick<P: Pool>(config: &Config, pool: &P) -> Option<Member> {
    let count = count(config);
    let mut best = Member { real: 0, weight: 0 };
    let mut least = 0u64;
    let mut index = 0;
    while index < MAX_MEMBERS {
        if index >= count {
            break;
        }
        let member = pool.member(index)?;
        if member.weight > 0 {
            let overhead = pool.load(member.real).overhead();
            // Overheads stay below 2^41 and weights below 2^16: the products fit in 64 bits.
            if best.weight == 0 || least * u64::from(member.weight) > overhead * u64::from(best.weight) {
                least = overhead;
                best = member;
            }
        }
        index += 1;
    }
    if best.weight > 0 { Some(best) } else { None }
}
