//! Round robin (`ip_vs_rr.c`): the next member with a weight above 0 after the one chosen last.
//!
//! The cursor is a CPU's own: exact on one CPU, and each CPU goes round by itself otherwise. A changed member list sets it back to
//! the head.

use super::Pool;
use crate::abi::service::{Config, Cursor, Member};

/// See the module.
#[inline(always)]
pub fn pick<P: Pool>(config: &Config, pool: &P, cursor: &mut Cursor) -> Option<Member> {
    let count = config.member_count;
    if cursor.generation != config.generation {
        cursor.generation = config.generation;
        cursor.index = Cursor::HEAD;
    }
    // HEAD + 1 wraps to 0; an index beyond the list goes there too.
    let mut index = cursor.index.wrapping_add(1);
    let mut found = Member::NONE;
    pool.scan(count, |_| {
        if index >= count {
            index = 0;
        }
        let Some(member) = pool.member(index) else { return false };
        if member.weight > 0 {
            found = member;
            return false;
        }
        index += 1;
        true
    });
    cursor.index = index;
    found.usable()
}
