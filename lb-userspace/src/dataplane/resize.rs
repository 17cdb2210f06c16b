//! Tables of another size for connections, and for those with address translation, without losing one: the new tables are filled while
//! the old program serves, the new program takes its place, and what happened in between is settled ([`super::carry`]).
//!
//! The new tables are pinned beside the old ones, and the two exchange names at the end. A daemon that dies before that leaves both; the
//! next one keeps those that the attached program uses ([`recover`]).

use std::thread;
use std::time::Duration;

use aya::maps::MapInfo;
use aya::programs::links::{FdLink, PinnedLink};
use aya::programs::loaded_programs;
use lb_common::abi::connection::STATES;
use lb_common::abi::tables::Table;

use super::DataplaneError;
use super::carry::{Carried, Carrier, Loads, View};
use super::flows::Connections;
use super::loader::entries;
use super::mapped::Mapped;
use super::memory::{Memory, from_pin};
use super::pins::{Geometry, Pins};
use super::replies::Replies;
use super::tables::Tables;

/// Tables whose size follows from how many connections there may be. The others are used by both programs.
const RESIZED: [Table; 7] = [
    Table::ConnectionsV4,
    Table::ConnectionsV6,
    Table::TiesV4,
    Table::TiesV6,
    Table::VirtualsV4,
    Table::ReplyIndex,
    Table::Replies,
];

/// Until nobody runs the old program any more, which the kernel lets finish its packets.
const FINISHING: Duration = Duration::from_millis(20);

/// Tables of another size on their way.
pub struct Resize {
    pins: Pins,
    old: Side,
    new: Side,
    carrier: Carrier,
    secret: [u64; 2],
    timeouts: [u32; STATES],
}

/// What came of it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Resized {
    /// Connections that went on in the new tables, those included that began meanwhile.
    pub carried: u64,
    /// Connections that found no room in them.
    pub lost: u64,
}

/// The tables of one size.
struct Side {
    connections: [Mapped; 2],
    ties: [Mapped; 2],
    virtuals: Mapped,
    index: Mapped,
    records: Mapped,
    geometry: Geometry,
}

impl Side {
    fn of(geometry: Geometry, pins: &Pins) -> Result<Self, DataplaneError> {
        let mapped = |table| Mapped::of(&from_pin(&pins.map(table))?, geometry.layout(table));
        Ok(Self {
            connections: [mapped(Table::ConnectionsV4)?, mapped(Table::ConnectionsV6)?],
            ties: [mapped(Table::TiesV4)?, mapped(Table::TiesV6)?],
            virtuals: mapped(Table::VirtualsV4)?,
            index: mapped(Table::ReplyIndex)?,
            records: mapped(Table::Replies)?,
            geometry,
        })
    }

    fn view(&self, secret: [u64; 2]) -> View<'_> {
        let Self { connections: [v4, v6], ties: [ties_v4, ties_v6], virtuals, index, records, geometry } = self;
        let connections = Connections { v4, v6, buckets: [geometry.v4, geometry.v6], secret };
        View { replies: Replies { index, records, ties: [ties_v4, ties_v6], connections }, virtuals }
    }
}

impl Resize {
    /// Makes the tables and copies what there is. The old ones are used by the attached program all the while.
    pub fn begin(
        pins: &Pins,
        (from, to): (Geometry, Geometry),
        secret: [u64; 2],
        (now, timeouts): (u32, [u32; STATES]),
    ) -> Result<Self, DataplaneError> {
        let next = pins.next();
        next.remove()?;
        let begun = Self::fill(pins, &next, (from, to), secret, (now, timeouts));
        if begun.is_err() {
            next.remove()?;
        }
        begun
    }

    fn fill(
        pins: &Pins,
        next: &Pins,
        (from, to): (Geometry, Geometry),
        secret: [u64; 2],
        (now, timeouts): (u32, [u32; STATES]),
    ) -> Result<Self, DataplaneError> {
        next.prepare()?;
        for table in Table::ALL.into_iter().filter(|table| !RESIZED.contains(table)) {
            let path = next.map(table);
            let map = from_pin(&pins.map(table))?;
            map.pin(&path).map_err(|e| DataplaneError::other(path.display().to_string(), e))?;
        }
        Memory::pinned(next, &to)?;
        let (old, new) = (Side::of(from, pins)?, Side::of(to, next)?);
        let places = [from.v4, from.v6].map(|buckets| buckets.places() as usize);
        let (pins, carrier) = (pins.clone(), Carrier::new(places));
        let mut resize = Self { pins, old, new, carrier, secret, timeouts };
        let first = resize.follow(now);
        if first.lost > 0 {
            return Err(DataplaneError::Full(format!(
                "{} of {} connections would find no room in it; one for twice as many has room for all",
                first.lost,
                first.lost + first.begun
            )));
        }
        Ok(resize)
    }

    /// Copies what has changed since the last time.
    pub fn catch_up(&mut self, now: u32) {
        self.follow(now);
    }

    fn follow(&mut self, now: u32) -> Carried {
        let (old, new) = (self.old.view(self.secret), self.new.view(self.secret));
        self.carrier.follow(old, new, now, &self.timeouts)
    }

    /// The program over the new tables has taken the other one's place.
    pub fn finish(self, tables: &Tables, now: u32) -> Result<Resized, DataplaneError> {
        thread::sleep(FINISHING);
        let Self { pins, old, new, carrier, secret, timeouts } = self;
        let settled = carrier.settle(old.view(secret), new.view(secret), now, &timeouts, tables);
        drop((old, new));
        pins.take_next()?;
        let (v4, v6) = tables.used();
        Ok(Resized { carried: v4 + v6, lost: settled.lost })
    }
}

impl Loads for Tables {
    fn begin(&self, real: u32, unit: u64) {
        self.begin_load(real, unit);
    }

    fn end(&self, real: u32, unit: u64) {
        self.end_load(real, unit);
    }
}

/// Puts the pins in order after a daemon that died while tables of another size were on their way: those stay that an attached program
/// uses, which are the old ones where none is attached.
pub fn recover(pins: &Pins) -> Result<(), DataplaneError> {
    let next = pins.next();
    if !next.maps().exists() {
        return Ok(());
    }
    let path = next.map(Table::ConnectionsV4);
    // Without it the daemon died before any program was loaded over it.
    let Ok(info) = MapInfo::from_pin(&path) else { return next.remove() };
    if is_used(pins, info.id())? { pins.take_next() } else { next.remove() }
}

/// A program on one of the links uses the map.
fn is_used(pins: &Pins, map: u32) -> Result<bool, DataplaneError> {
    let mut attached = Vec::new();
    for name in entries(&pins.links())? {
        let path = pins.links().join(name);
        let failed = |e: &dyn std::fmt::Display| DataplaneError::other(path.display().to_string(), e);
        let link = FdLink::from(PinnedLink::from_pin(&path).map_err(|e| failed(&e))?);
        attached.push(link.info().map_err(|e| failed(&e))?.program_id());
    }
    let uses = |maps: Option<Vec<u32>>| maps.is_some_and(|maps| maps.contains(&map));
    let mut programs = loaded_programs().flatten().filter(|program| attached.contains(&program.id()));
    Ok(programs.any(|program| program.map_ids().is_ok_and(uses)))
}
