//! A service's configuration, members, ring and cursor: what the schedulers see.
#![expect(unsafe_code, reason = "map values are reached through raw pointers")]

use aya_ebpf::btf_maps::{Array, PerCpuArray};
use aya_ebpf::macros::btf_map;
use lb_common::abi::limits::{MAX_SERVICES, RING_LINE};
use lb_common::abi::real::Load;
use lb_common::abi::service::{Config, Cursor, Member, RING_EMPTY, RingLine};
use lb_common::sched::Pool;
use lb_ebpf::word;

use super::{MMAPABLE, reals};

#[btf_map]
static CONFIGS: Array<Config, 2, MMAPABLE> = Array::new();
#[btf_map]
static MEMBERS: Array<Member, 2, MMAPABLE> = Array::new();
#[btf_map]
static RINGS: Array<RingLine, 2, MMAPABLE> = Array::new();
#[btf_map]
static CURSORS: PerCpuArray<Cursor, { MAX_SERVICES as usize }> = PerCpuArray::new();

/// The configuration with this number.
#[inline(always)]
pub(crate) fn config(index: u32) -> Option<&'static Config> {
    CONFIGS.get(index)
}

/// This CPU's cursor in a service.
#[inline(always)]
pub(crate) fn cursor(service: u32) -> Option<&'static mut Cursor> {
    let cursor = CURSORS.get_ptr_mut(service)?;
    // SAFETY: a per-CPU value; XDP programs do not interrupt each other on one CPU, and user space never writes it.
    Some(unsafe { &mut *cursor })
}

/// The members of one configuration.
pub(crate) struct Members<'a>(pub(crate) &'a Config);

impl Pool for Members<'_> {
    #[inline(always)]
    fn member(&self, index: u32) -> Option<Member> {
        if index >= self.0.member_count {
            return None;
        }
        let member = MEMBERS.get_ptr(self.0.members.wrapping_add(index))?;
        // SAFETY: an aligned 8-byte value of the map; one load, so that weight and real belong together.
        let word = unsafe { word::load(member.cast()) };
        Some(Member { real: word as u32, weight: (word >> 32) as u32 })
    }

    #[inline(always)]
    fn load(&self, real: u32) -> Load {
        reals::load(real)
    }

    #[inline(always)]
    fn ring(&self, slot: u32) -> Option<u32> {
        if slot >= self.0.ring_slots {
            return None;
        }
        let line = RINGS.get_ptr(self.0.ring.wrapping_add(slot / RING_LINE))?;
        // SAFETY: the map gave a whole line, and the index is cut to it.
        let member = unsafe { *(&raw const (*line).slots).cast::<u16>().add((slot % RING_LINE) as usize) };
        if member == RING_EMPTY { None } else { Some(u32::from(member)) }
    }

    #[inline(always)]
    fn scan<F: FnMut(u32) -> bool>(&self, steps: u32, step: F) {
        lb_ebpf::helpers::repeat(steps, step);
    }
}
