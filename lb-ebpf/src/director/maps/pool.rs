//! A service's configuration, members, ring and cursor: what the schedulers see.
#![expect(unsafe_code, reason = "map values are reached through raw pointers")]

use lb_common::abi::limits::{CONFIGS, MAX_SERVICES, RING_LINE, RING_LINES};
use lb_common::abi::real::Load;
use lb_common::abi::remembered::head;
use lb_common::abi::service::{Config, Cursor, Member, RING_EMPTY, RingLine};
use lb_common::abi::tables::{self, placeholder::of_table};
use lb_common::sched::Pool;
use lb_common::sched::memory::Memory;
use lb_ebpf::word;

use super::remembered::Row;
use super::{Table, counters, reals, settings};

type Configs = Table<Config, { of_table(tables::Table::Configs) }>;
type Members = Table<Member, { of_table(tables::Table::Members) }>;
type Rings = Table<RingLine, { of_table(tables::Table::Rings) }>;
type Cursors = Table<Cursor, { of_table(tables::Table::Cursors) }>;

/// The configuration with this number.
#[inline(always)]
pub(crate) fn config(index: u32) -> &'static Config {
    // SAFETY: a value of the table, which nobody changes while a service address leads to it.
    unsafe { &*Configs::at(u64::from(index & (CONFIGS - 1))) }
}

/// This CPU's cursor in a service.
#[inline(always)]
pub(crate) fn cursor(service: u32) -> &'static mut Cursor {
    let index = counters::cpu() * u64::from(MAX_SERVICES) + u64::from(service & (MAX_SERVICES - 1));
    // SAFETY: this CPU's own value; XDP programs do not interrupt each other on one CPU, and user space writes it only
    // while it changes the configuration.
    unsafe { &mut *Cursors::at(index) }
}

/// The members of one configuration.
pub(crate) struct PoolOf<'a>(pub(crate) &'a Config);

impl Pool for PoolOf<'_> {
    #[inline(always)]
    fn member(&self, index: u32) -> Option<Member> {
        if index >= self.0.member_count {
            return None;
        }
        let member = Members::at(u64::from(self.0.members.wrapping_add(index)) & settings::member_mask());
        // SAFETY: an aligned 8-byte value of the table; one load, so that weight and real belong together.
        let word = unsafe { word::load(member.cast()) };
        Some(Member { real: word as u32, weight: (word >> 32) as u32 })
    }

    #[inline(always)]
    fn zero(&self) -> u32 {
        // SAFETY: a field of a value of the table; volatile, so that the compiler does not make one load of two.
        unsafe { core::ptr::read_volatile(&raw const self.0.zero) }
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
        let line = Rings::at(u64::from(self.0.ring.wrapping_add(slot / RING_LINE) & (RING_LINES - 1)));
        // SAFETY: a whole line of the table, and the index is cut to it.
        let member = unsafe { *(&raw const (*line).slots).cast::<u16>().add((slot % RING_LINE) as usize) };
        if member == RING_EMPTY { None } else { Some(u32::from(member)) }
    }

    #[inline(always)]
    fn scan<F: FnMut(u32) -> bool>(&self, steps: u32, step: F) {
        lb_ebpf::helpers::repeat(steps, step);
    }
}

impl Memory for PoolOf<'_> {
    type Row = Row;

    #[inline(always)]
    fn find(&self, destination: u32) -> Option<Row> {
        Row::find(head(self.0.group, destination))
    }
    #[inline(always)]
    fn make(&self, destination: u32) -> Option<Row> {
        Row::make(head(self.0.group, destination), settings::now())
    }
    #[inline(always)]
    fn touch(&self, row: Row) {
        row.touch(settings::now());
    }
    #[inline(always)]
    fn len(&self, row: Row) -> u32 {
        row.len()
    }
    #[inline(always)]
    fn real(&self, row: Row, at: u32) -> u32 {
        row.real(at)
    }
    #[inline(always)]
    fn set_real(&self, row: Row, at: u32, real: u32) {
        row.set_real(at, real);
    }
    #[inline(always)]
    fn set_len(&self, row: Row, len: u32) {
        row.set_len(len, settings::now());
    }
    #[inline(always)]
    fn age(&self, row: Row) -> u32 {
        row.age(settings::now())
    }
    #[inline(always)]
    fn weight(&self, real: u32) -> u32 {
        // A number that another service has got since is nobody here.
        if reals::service(real) == self.0.group { reals::capacity(real).weight } else { 0 }
    }
}
