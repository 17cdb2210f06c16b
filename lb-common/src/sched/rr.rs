//! Round robin (`ip_vs_rr.c`): the next usable member after the one chosen last.
//!
//! The cursor is a CPU's own: exact on one CPU, and each CPU goes round by itself otherwise. When the member list changes, the daemon
//! moves the cursors along ([`carry`]).

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
        if pool.is_usable(member) {
            found = member;
            return false;
        }
        index += 1;
        true
    });
    // IPVS leaves its cursor where it is when nobody may.
    if found.weight > 0 {
        cursor.index = index;
    }
    found.usable()
}

/// Where a cursor stands after the member list has changed from `old` to `new`, both real numbers: still at its member, or, when that
/// one is gone (`ip_vs_rr_del_dest`), at the nearest one before it that is not.
pub fn carry(index: u32, old: &[u32], new: &[u32]) -> u32 {
    let passed = old.get(..=index as usize).unwrap_or_default();
    let kept = passed.iter().rev().find_map(|real| new.iter().position(|other| other == real));
    kept.map_or(Cursor::HEAD, |position| position as u32)
}
