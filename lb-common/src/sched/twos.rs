//! Weighted power of two choices (`ip_vs_twos.c`): two members at random, by weight; of these the one with less overhead per weight.
//!
//! The random numbers come from a state in the CPU's cursor, which the daemon seeds, so that a sequence can be repeated by a test.

use super::Pool;
use crate::abi::service::{Config, Cursor, Member};

/// See the module.
#[inline(always)]
pub fn pick<P: Pool>(config: &Config, pool: &P, cursor: &mut Cursor) -> Option<Member> {
    let mut total = u64::from(pool.zero());
    // 0 in all bits: a sum of which the verifier knows no bounds, or it would follow how they grow.
    let nothing = u64::from(pool.zero()) << 32 | u64::from(pool.zero());
    pool.scan(config.member_count, |index| {
        let Some(member) = pool.member(index) else { return false };
        if pool.is_usable(member) {
            total = (total + u64::from(member.weight)) ^ nothing;
        }
        true
    });
    if total == 0 {
        return None;
    }
    // From 0 to the total, both included, as in IPVS: 0 falls to the first member, too.
    let outcomes = (total + 1).max(1);
    let mut left = [random(cursor) % outcomes, random(cursor) % outcomes];
    let mut chosen = [Member { real: 0, weight: pool.zero() }; 2];
    pool.scan(config.member_count, |index| {
        let Some(member) = pool.member(index) else { return false };
        if pool.is_usable(member) {
            let weight = u64::from(member.weight);
            let mut choice = 0;
            while choice < 2 {
                if chosen[choice].weight == 0 && left[choice] <= weight {
                    chosen[choice] = member;
                }
                left[choice] = left[choice].wrapping_sub(weight);
                choice += 1;
            }
        }
        chosen[0].weight == 0 || chosen[1].weight == 0
    });
    let [one, two] = chosen;
    let overhead = |member: Member| pool.load(member.number()).overhead();
    let is_two_better = u64::from(two.weight) * overhead(one) > u64::from(one.weight) * overhead(two);
    if is_two_better { two.usable() } else { one.usable() }
}

/// The next random number of a CPU: splitmix64 over a counter.
#[inline(always)]
pub const fn random(cursor: &mut Cursor) -> u64 {
    cursor.seed = cursor.seed.wrapping_add(1);
    let mut word = (cursor.seed as u64).wrapping_mul(0x9e37_79b9_7f4a_7c15);
    word = (word ^ (word >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    word = (word ^ (word >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    word ^ (word >> 31)
}
