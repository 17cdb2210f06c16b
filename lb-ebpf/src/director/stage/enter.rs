//! A new entry of the connection table: a connection, or a client's template. Out of line, for both are made at one place.
#![expect(unsafe_code, reason = "global functions need names of their own in the object")]

use lb_common::abi::connection::{KeyV4, KeyV6, Meta};
use lb_common::table::{self, Claimed, Slot};

use super::connection::{self, Place};
use crate::family::{Family, V4, V6};
use crate::maps::{reals, settings};

/// In place of the stamp of what is to be entered: where there is no room, one that can be spared goes.
pub(crate) const MAY_EVICT: u32 = 1;

/// Enters an IPv4 connection: `key` as the table has it; service, real and state are those of the [`Meta`]. 1 if there was room.
#[unsafe(no_mangle)]
#[inline(never)]
pub extern "C" fn xvs_enter_v4(key: u64, meta: u64) -> u32 {
    u32::from(enter::<V4>(KeyV4(key), Meta(meta)))
}

/// The same for IPv6.
#[unsafe(no_mangle)]
#[inline(never)]
pub extern "C" fn xvs_enter_v6(upper: u64, lower: u64, ports: u64, meta: u64) -> u32 {
    u32::from(enter::<V6>(KeyV6([upper, lower, ports]), Meta(meta)))
}

#[inline(always)]
fn enter<F: Family>(key: F::Key, meta: Meta) -> bool {
    let place = Place::<F>::of(key, 0, meta.service());
    let (now, timeouts) = (settings::now(), &settings::get().timeouts);
    let may_evict = meta.last_seen() == MAY_EVICT;
    let claimed = table::claim(place.first(), place.second(), now, timeouts, may_evict);
    let Some(Claimed { slot, evicted }) = claimed else {
        return false;
    };
    slot.write_key(key);
    slot.publish(meta.seen(now));
    if let Some(evicted) = evicted {
        connection::settle(evicted);
    }
    let unit = table::unit(meta.state());
    if unit != 0 {
        reals::begin_load(meta.real(), unit);
    }
    true
}
