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
    let start = cursor.index;
    let mut index = start.wrapping_add(1);
    let mut weight = cursor.weight;
    let mut found = Member::NONE;
    // IPVS goes on pass by pass. Here the rest of this pass and a whole one at the next weight tell the greatest weight that may take
    // connections at all (less than the top while heavier members are overloaded); one pass more at the first weight on the grid
    // that it reaches ends the search, whatever the weights.
    let mut pass = pool.zero();
    let mut most = pool.zero();
    pool.scan(3 * count + 2, |_| {
        if index >= count {
            // Numbers of which the verifier does not know that they are counted: it would follow each.
            index = pool.zero();
            pass += 1 + pool.zero();
            if pass == 1 {
                weight = if weight > config.weight_step { weight - config.weight_step } else { config.weight_top };
            } else if pass == 2 && most > 0 && weight > most {
                let step = config.weight_step.max(1);
                weight -= (weight - most).div_ceil(step) * step;
            } else {
                return false;
            }
        }
        let Some(member) = pool.member(index) else { return false };
        if pool.is_usable(member) {
            if member.weight > most && pass == 1 {
                most = member.weight;
            }
            if member.weight >= weight {
                found = member;
                return false;
            }
        }
        index += 1;
        true
    });
    if found.weight > 0 {
        cursor.index = index;
        cursor.weight = weight;
        return Some(found);
    }
    // Nobody may: IPVS has gone down to the lowest weight, and to the top again unless it began there and in the middle of the list.
    let began_lowest = cursor.weight <= config.weight_step && start < count;
    if began_lowest {
        cursor.weight = 1;
    } else {
        cursor.index = Cursor::HEAD;
        cursor.weight = config.weight_top;
    }
    None
}

/// The first packet of a CPU in a service, or one that met a new configuration before the daemon had moved the cursors.
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
    cursor.weight = changed(cursor.weight, config.weight_top, config.weight_step);
}

/// The current weight after the members have changed (`ip_vs_wrr_dest_changed`): one above the new top starts from the top, another one
/// moves onto the grid of the new divisor.
#[inline(always)]
pub const fn changed(weight: u32, top: u32, step: u32) -> u32 {
    if weight > top || weight == 0 {
        top
    } else if step > 1 {
        weight / step * step + 1
    } else {
        weight
    }
}
