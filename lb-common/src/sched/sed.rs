//! Shortest expected delay (`ip_vs_sed.c`): the member with the least (active + 1) per weight; the first of equals.
//!
//! Inactive connections do not count, and so UDP's do not, unless the service has `udp-active`.

use super::{Pool, active, wlc};
use crate::abi::service::{Config, Member};

/// See the module.
#[inline(always)]
pub fn pick<P: Pool>(config: &Config, pool: &P) -> Option<Member> {
    wlc::least_by(config, pool, |member| active(config, pool.load(member.number())) + 1)
}
