//! Weighted round robin (`ip_vs_wrr.c`): members whose weight reaches the current weight, in turn; the current weight falls by the
//! weights' common divisor with every pass and starts again at the top.
//!
//! In any run of sum(weights) / divisor connections on one CPU each member gets exactly weight / divisor of them.

use super::Pool;
use crate::abi::service::{Config, Cursor, Member};

/// See the module.
#[inline(always)]
pub fn pick<P: Pool>(config: &Config, pool: &P, cursor: &mut Cursor) -> Option<Member> {
    let count = config.member_count;
    if config.weight_top == 0 || count == 0 {
        return None;
    }
    adopt(config, cursor);
    let mut index = cursor.index.wrapping_add(1);
    let mut weight = cursor.weight;
    let mut found = Member::NONE;
    // Two passes find the heaviest member from anywhere: the rest of this one, and one from the head at the next lower weight, or
    // at the top after the lowest.
    pool.scan(2 * count + 1, |_| {
        if index >= count {
            index = 0;
            weight = if weight > config.weight_step { weight - config.weight_step } else { config.weight_top };
        }
        let Some(member) = pool.member(index) else { return false };
        if member.weight >= weight {
            found = member;
            return false;
        }
        index += 1;
        true
    });
    cursor.index = index;
    cursor.weight = weight;
    found.usable()
}

/// `ip_vs_wrr_dest_changed`: back to the head; a current weight above the new top starts from the top, another one moves onto the
/// grid of the new divisor.
#[inline(always)]
fn adopt(config: &Config, cursor: &mut Cursor) {
    if cursor.generation == config.generation {
        return;
    }
    if cursor.generation == 0 {
        cursor.weight = config.weight_start;
    }
    cursor.generation = config.generation;
    cursor.index = Cursor::HEAD;
    if cursor.weight > config.weight_top || cursor.weight == 0 {
        cursor.weight = config.weight_top;
    } else if config.weight_step > 1 {
        cursor.weight = cursor.weight / config.weight_step * config.weight_step + 1;
    }
}
