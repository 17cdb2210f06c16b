//! Round robin (`ip_vs_rr.c`): the next member with a weight above 0 after the one chosen last.
//!
//! The cursor is a CPU's own: exact on one CPU, and each CPU goes round by itself otherwise. A changed member list sets it back to
//! the head.

use super::{Pool, count};
use crate::abi::limits::MAX_MEMBERS;
use crate::abi::service::{Config, Cursor, Member};

/// See the module.
#[inline(always)]
pub fn pick<P: Pool>(config: &Config, pool: &P, cursor: &mut Cursor) -> Option<Member> {
    let count = count(config);
    if cursor.generation != config.generation {
        cursor.generation = config.generation;
        cursor.index = Cursor::HEAD;
    }
    // HEAD + 1 wraps to 0. The bound also catches an index that user space never wrote.
    let mut index = cursor.index.wrapping_add(1);
    let mut step = 0;
    while step < MAX_MEMBERS {
        if step >= count {
            return None;
        }
        if index >= count {
            index = 0;
        }
        let member = pool.member(index)?;
        if member.weight > 0 {
            cursor.index = index;
            return Some(member);
        }
        index += 1;
        step += 1;
    }
    None
}
