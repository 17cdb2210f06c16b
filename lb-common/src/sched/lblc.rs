//! Locality-based least connection (`ip_vs_lblc.c`): a destination stays with its real, unless that one is overloaded while another has
//! hardly anything to do; then, and for a new destination, as `wlc`.

use super::{Client, Pool, active, wlc};
use crate::abi::service::{Config, Member};

/// See the module.
#[inline(always)]
pub fn pick<P: Pool>(config: &Config, pool: &P, client: Client) -> Option<Member> {
    let row = pool.find(client.destination);
    if let Some(row) = row {
        pool.touch(row);
        if pool.len(row) > 0 {
            let real = pool.real(row, 0);
            let member = Member { real, weight: pool.weight(real) };
            if member.weight > 0 && !is_overloaded(config, pool, member) {
                return Some(member);
            }
        }
    }
    let chosen = wlc::pick(config, pool)?;
    let row = match row {
        Some(row) => Some(row),
        None => pool.make(client.destination),
    };
    if let Some(row) = row {
        pool.set_real(row, 0, chosen.number());
        pool.set_len(row, 1);
    }
    Some(chosen)
}

/// It has more active connections than its weight, and some member has less than half of its own.
#[inline(always)]
pub(super) fn is_overloaded<P: Pool>(config: &Config, pool: &P, member: Member) -> bool {
    if active(config, pool.load(member.number())) <= u64::from(member.weight) {
        return false;
    }
    let mut is_some_idle = pool.zero();
    pool.scan(config.member_count, |index| {
        let Some(other) = pool.member(index) else { return false };
        if active(config, pool.load(other.number())) * 2 < u64::from(other.weight) {
            is_some_idle = 1;
            return false;
        }
        true
    });
    is_some_idle != 0
}
