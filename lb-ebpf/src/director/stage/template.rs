//! Persistence: the real that a client is to have again. Its template stands in the connection table under the client's masked address,
//! source port 0, which no connection has.
#![expect(unsafe_code, reason = "global functions need names of their own in the object")]

use lb_common::abi::connection::{KeyV4, KeyV6};
use lb_common::abi::real::disposition;
use lb_common::table::Slot;

use super::connection::{self, Place};
use super::schedule::NO_REAL;
use crate::family::{Family, V4, V6};
use crate::maps::reals::Chosen;
use crate::maps::settings;

/// The real of an IPv4 client's template; [`NO_REAL`] if it has none that may be followed.
#[unsafe(no_mangle)]
#[inline(never)]
pub extern "C" fn xvs_template_v4(key: u64, group: u32) -> u32 {
    follow::<V4>(KeyV4(key), group)
}

/// The same for IPv6.
#[unsafe(no_mangle)]
#[inline(never)]
pub extern "C" fn xvs_template_v6(upper: u64, lower: u64, ports: u64, group: u32) -> u32 {
    follow::<V6>(KeyV6([upper, lower, ports]), group)
}

#[inline(always)]
fn follow<F: Family>(key: F::Key, group: u32) -> u32 {
    let place = Place::<F>::of(key, 0, group);
    let Some(found) = connection::find(&place) else { return NO_REAL };
    let real = found.meta.real();
    // As ip_vs_check_template: weight 0 holds its clients unless told otherwise, a real that is gone or down does not.
    let is_followed = match Chosen::of(real).way.disposition() {
        disposition::FORWARD => true,
        disposition::DRAIN => settings::get().expire_quiescent == 0,
        _ => false,
    };
    if !is_followed {
        connection::release::<F>(&found);
        return NO_REAL;
    }
    let now = settings::now();
    if found.meta.last_seen() != now {
        // Whoever else has stamped it meanwhile has done the same.
        found.slot.exchange(found.meta, found.meta.seen(now));
    }
    real
}
