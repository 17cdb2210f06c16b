//! Every bpffs path, and what must be found there.
//!
//! Before anything is loaded each pin is compared with what this version makes: type, size and flags. Table sizes are kept as they
//! were made.

use std::fs;
use std::path::{Path, PathBuf};

use aya::maps::MapInfo;
use lb_common::abi::counters::{Counters, VERDICT_SLOTS};
use lb_common::abi::limits::{CONFIGS, MAX_SERVICES, RING_LINES, ROOM_STEPS, WAYS};
use lb_common::abi::real::{Capacity, Real};
use lb_common::abi::service::{BUCKETS, Config, Cursor, Member, RingLine};
use lb_common::abi::settings::Settings;
use lb_common::abi::shape::Shapes;
use lb_common::abi::tables::{MESSAGES_BYTES, Table};
use lb_common::abi::{LAYOUT_VERSION, connection, fragment, remembered, reply, service};
use nix::fcntl::{AT_FDCWD, RenameFlags, renameat2};
use nix::mount::{MsFlags, mount};
use nix::sys::statfs::{BPF_FS_MAGIC, statfs};

use super::DataplaneError;

/// How large the tables are.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Geometry {
    /// Buckets of the IPv4 connection table.
    pub v4: Buckets,
    /// Buckets of the IPv6 connection table.
    pub v6: Buckets,
    /// Real servers, a power of two.
    pub reals: u32,
    /// Buckets of the reply table's index, a power of two; eight connections with address translation each.
    pub reply_buckets: u32,
    /// Possible CPUs.
    pub cpus: u32,
}

/// How large a family's connection table is: buckets of four connections, both numbers powers of two.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Buckets {
    /// Where connections are if there is room.
    pub first: u32,
    /// Behind them those that take the others: no more.
    pub overflow: u32,
}

/// The pins of one director.
#[derive(Debug, Clone)]
pub struct Pins {
    directory: PathBuf,
    /// Name of the directory of maps.
    maps: String,
}

/// `BPF_MAP_TYPE_ARRAY`.
pub(super) const ARRAY: u32 = 2;
/// `BPF_F_MMAPABLE`: user space maps the memory.
pub(super) const MMAPABLE: u32 = 1 << 10;

/// Connections that a director has room for at least.
const LEAST: u32 = 64;

/// What the verifier lets an index add to an address: a table is smaller (`BPF_MAX_VAR_OFF`).
const MAX_TABLE: u64 = 1 << 29;

/// A map's shape as the kernel tells it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Shape {
    kind: u32,
    value_size: u64,
    entries: u32,
    flags: u32,
}

// === impl Buckets ===

impl Buckets {
    /// Room for so many connections, in buckets of so many bytes: as many first places, or up to twice as many, and a quarter more behind
    /// them, so that four fifths of all places are taken at most. Where the verifier allows no more, as many behind as in front, of which
    /// connections may take nineteen twentieths.
    fn for_connections(connections: u32, bucket: usize) -> Self {
        let most = (MAX_TABLE / bucket as u64) as u32;
        let first = connections.max(LEAST).div_ceil(WAYS as u32).next_power_of_two();
        if first < most { Self { first, overflow: first / 4 } } else { Self { first: most / 2, overflow: most / 2 } }
    }

    /// Connections that a table takes at most, of buckets of so many bytes.
    fn most(bucket: usize) -> u32 {
        (MAX_TABLE / bucket as u64 * WAYS as u64 * 19 / 20) as u32
    }

    /// Both numbers, of a table of so many buckets; None if no table is that large.
    fn of(all: u32) -> Option<Self> {
        let highest = 1 << all.checked_ilog2()?;
        let first = if highest == all { all / 2 } else { highest };
        let buckets = Self { first, overflow: all - first };
        (buckets.first > 0 && buckets.overflow.is_power_of_two()).then_some(buckets)
    }

    /// All buckets.
    pub fn all(self) -> u32 {
        self.first + self.overflow
    }

    /// Connections that [`Buckets::for_connections`] may have been asked for, at most.
    pub fn room(self) -> u64 {
        if self.first == self.overflow { self.places() * 19 / 20 } else { u64::from(self.first) * WAYS as u64 }
    }

    /// Connections that there are places for.
    pub fn places(self) -> u64 {
        u64::from(self.all()) * WAYS as u64
    }
}

// === impl Geometry ===

impl Geometry {
    /// Room for `connections` over IPv4, and over IPv6 for as many or as many as fit ([`Buckets::for_connections`]); for `translated` ones
    /// with address translation at a load of at most one half, and for `reals` real servers at least.
    pub fn for_connections(connections: u32, reals: u32, translated: u32, cpus: u32) -> Result<Self, DataplaneError> {
        let (v4, v6) = (size_of::<connection::BucketV4>(), size_of::<connection::BucketV6>());
        if connections > Buckets::most(v4) {
            return Err(DataplaneError::Full(format!(
                "{connections} connections are too many: the kernel's verifier allows a table of {} MiB, in which up to {} \
                 connections fit",
                MAX_TABLE >> 20,
                Buckets::most(v4)
            )));
        }
        let geometry = Self {
            v4: Buckets::for_connections(connections, v4),
            v6: Buckets::for_connections(connections, v6),
            reals: reals.max(2).next_power_of_two(),
            reply_buckets: (translated.max(8).div_ceil(reply::WAYS as u32 / 2)).next_power_of_two(),
            cpus,
        };
        match Table::ALL.into_iter().find(|table| geometry.bytes(*table) > MAX_TABLE) {
            None => Ok(geometry),
            Some(table) => Err(DataplaneError::Full(format!(
                "{reals} reals and {translated} connections with address translation are too many: table {} would take {} MiB, the \
                 kernel's verifier allows {}{}",
                table.name(),
                geometry.bytes(table) >> 20,
                MAX_TABLE >> 20,
                if table == Table::RealCounters {
                    format!("; {cpus} CPUs have counters of each real")
                } else {
                    String::new()
                }
            ))),
        }
    }

    /// CPUs that per-CPU tables have room for: a power of two, so that a mask is enough to stay inside.
    pub fn cpu_places(&self) -> u32 {
        self.cpus.next_power_of_two()
    }

    /// Bytes of a value of a table, and how many there are.
    pub fn layout(&self, table: Table) -> (usize, u32) {
        match table {
            Table::Settings => (size_of::<Settings>(), 1),
            Table::ConnectionsV4 => (size_of::<connection::BucketV4>(), self.v4.all()),
            Table::ConnectionsV6 => (size_of::<connection::BucketV6>(), self.v6.all()),
            Table::Steps => (ROOM_STEPS as usize * size_of::<u64>(), self.cpu_places()),
            Table::ServicesV4 => (size_of::<service::BucketV4>(), BUCKETS),
            Table::ServicesV6 => (size_of::<service::BucketV6>(), BUCKETS),
            Table::Configs => (size_of::<Config>(), CONFIGS),
            // Each real is a member twice while a change is under way.
            Table::Members => (size_of::<Member>(), self.reals * 2),
            Table::Rings => (size_of::<RingLine>(), RING_LINES),
            Table::Reals => (size_of::<Real>(), self.reals),
            Table::Loads => (size_of::<u64>(), self.reals),
            Table::Cursors => (size_of::<Cursor>(), self.cpu_places() * MAX_SERVICES),
            Table::Verdicts => (size_of::<u64>(), self.cpu_places() * VERDICT_SLOTS),
            Table::ServiceCounters => (size_of::<Counters>(), self.cpu_places() * MAX_SERVICES),
            Table::Fragments => (size_of::<fragment::Bucket>(), fragment::BUCKETS),
            Table::Messages => (MESSAGES_BYTES, self.cpu_places()),
            Table::ReplyIndex => (size_of::<reply::Bucket>(), self.reply_buckets),
            Table::Replies => (size_of::<reply::Record>(), self.reply_buckets * reply::WAYS as u32),
            Table::TiesV4 | Table::VirtualsV4 => (size_of::<u32>(), self.v4.all() * WAYS as u32),
            Table::TiesV6 => (size_of::<u32>(), self.v6.all() * WAYS as u32),
            Table::Locals => (size_of::<reply::Local>(), 2 * reply::MAX_LOCALS),
            Table::RealCounters => (size_of::<Counters>(), self.cpu_places().saturating_mul(self.reals)),
            Table::Capacities => (size_of::<Capacity>(), self.reals),
            Table::Shapes => (size_of::<Shapes>(), 1),
            Table::Remembered => (size_of::<remembered::Row>(), remembered::ROWS),
        }
    }

    /// Bytes of a table.
    pub fn bytes(&self, table: Table) -> u64 {
        let (size, count) = self.layout(table);
        size as u64 * u64::from(count)
    }

    /// The shape of a table's map.
    fn shape(&self, table: Table) -> Shape {
        Shape { kind: ARRAY, value_size: self.bytes(table), entries: 1, flags: MMAPABLE }
    }
}

// === impl Pins ===

impl Pins {
    /// The pins below `directory`, usually `/sys/fs/bpf/xvs`.
    pub fn new(directory: &Path) -> Self {
        Self { directory: directory.to_owned(), maps: format!("v{LAYOUT_VERSION}") }
    }

    /// The same director's, with maps that are on their way to take the place of its own.
    pub fn next(&self) -> Self {
        Self { maps: format!("v{LAYOUT_VERSION}-next"), ..self.clone() }
    }

    /// Gives the maps of [`Pins::next`] the names of these, and removes these, which no program uses any more.
    pub fn take_next(&self) -> Result<(), DataplaneError> {
        let next = self.next();
        renameat2(AT_FDCWD, &next.maps(), AT_FDCWD, &self.maps(), RenameFlags::RENAME_EXCHANGE)
            .map_err(|e| DataplaneError::other(format!("renaming {}", next.maps().display()), e))?;
        next.remove()
    }

    /// Removes the directory of maps, if it is there. For maps that no program uses.
    pub fn remove(&self) -> Result<(), DataplaneError> {
        match fs::remove_dir_all(self.maps()) {
            Err(error) if error.kind() != std::io::ErrorKind::NotFound => {
                Err(DataplaneError::other(self.maps().display().to_string(), error))
            }
            _ => Ok(()),
        }
    }

    /// Where this version's maps are.
    pub fn maps(&self) -> PathBuf {
        self.directory.join(&self.maps)
    }

    /// The pin of one map.
    pub fn map(&self, table: Table) -> PathBuf {
        self.maps().join(table.name())
    }

    /// The pin of an interface's link. The index is part of the name: an interface that was made anew has a dead link here.
    pub fn link(&self, interface: &str, index: u32, is_native: bool) -> PathBuf {
        self.links().join(format!("{}-{index}-{}", pin_name(interface), if is_native { "native" } else { "generic" }))
    }

    /// Where the links are.
    pub fn links(&self) -> PathBuf {
        self.directory.join("links")
    }

    /// Makes the directories, and mounts bpffs if nobody has.
    pub fn prepare(&self) -> Result<(), DataplaneError> {
        self.prepare_root()?;
        for directory in [self.maps(), self.links()] {
            fs::create_dir_all(&directory).map_err(|e| DataplaneError::other(directory.display().to_string(), e))?;
        }
        Ok(())
    }

    /// Makes the top directory alone, and mounts bpffs if nobody has.
    pub fn prepare_root(&self) -> Result<(), DataplaneError> {
        mount_bpffs(&self.directory)?;
        fs::create_dir_all(&self.directory).map_err(|e| DataplaneError::other(self.directory.display().to_string(), e))
    }

    /// The geometry of the maps that are pinned, all checked; None when none is. A part of the maps is an error, unless nothing is
    /// attached: then a daemon was killed while it made them, no program has used them, and they are removed.
    pub fn existing(&self, cpus: u32) -> Result<Option<Geometry>, DataplaneError> {
        let found = Table::ALL.map(|table| self.map(table).exists());
        if found.iter().all(|found| !found) {
            return Ok(None);
        }
        if let Some(missing) = found.iter().position(|found| !found) {
            // A daemon died while it made them. Without a link no program uses the rest.
            if fs::read_dir(self.links()).is_ok_and(|mut links| links.next().is_none()) {
                return self.remove_maps().map(|()| None);
            }
            return Err(DataplaneError::Shape {
                path: self.map(Table::ALL[missing]),
                difference: "is missing beside others".to_owned(),
            });
        }
        let bytes = |table| self.shape(table).map(|shape| shape.value_size);
        let count = |bytes: u64, size: usize| u32::try_from(bytes / size as u64).unwrap_or(u32::MAX);
        let buckets = |table: Table, size: usize| {
            let count = count(bytes(table)?, size);
            let difference = || format!("{count} buckets, which no version makes");
            Buckets::of(count).ok_or_else(|| DataplaneError::Shape { path: self.map(table), difference: difference() })
        };
        let geometry = Geometry {
            v4: buckets(Table::ConnectionsV4, size_of::<connection::BucketV4>())?,
            v6: buckets(Table::ConnectionsV6, size_of::<connection::BucketV6>())?,
            reals: count(bytes(Table::Reals)?, size_of::<Real>()),
            reply_buckets: count(bytes(Table::ReplyIndex)?, size_of::<reply::Bucket>()),
            cpus,
        };
        for (table, count) in [(Table::Reals, geometry.reals), (Table::ReplyIndex, geometry.reply_buckets)] {
            if !count.is_power_of_two() || count < 2 {
                let difference = format!("{count} values, which is no power of two");
                return Err(DataplaneError::Shape { path: self.map(table), difference });
            }
        }
        for table in Table::ALL {
            let (found, expected) = (self.shape(table)?, geometry.shape(table));
            if found != expected {
                return Err(DataplaneError::Shape { path: self.map(table), difference: difference(found, expected) });
            }
        }
        Ok(Some(geometry))
    }

    /// Removes the maps' pins. For maps that no attached program uses.
    pub fn remove_maps(&self) -> Result<(), DataplaneError> {
        for table in Table::ALL {
            let path = self.map(table);
            match fs::remove_file(&path) {
                Err(error) if error.kind() != std::io::ErrorKind::NotFound => {
                    return Err(DataplaneError::other(path.display().to_string(), error));
                }
                _ => {}
            }
        }
        Ok(())
    }

    fn shape(&self, table: Table) -> Result<Shape, DataplaneError> {
        let path = self.map(table);
        let info = MapInfo::from_pin(&path).map_err(|e| DataplaneError::other(path.display().to_string(), e))?;
        let kind = info.map_type().map_err(|e| DataplaneError::other(path.display().to_string(), e))? as u32;
        Ok(Shape {
            kind,
            value_size: u64::from(info.value_size()),
            entries: info.max_entries(),
            flags: info.map_flags(),
        })
    }
}

/// An interface's name as part of a pin: bpffs keeps dots for itself, VLAN interfaces have them.
pub fn pin_name(interface: &str) -> String {
    interface.replace('.', "~")
}

/// The interface that [`pin_name`] was made from.
pub fn interface_name(pin: &str) -> String {
    pin.replace('~', ".")
}

fn difference(found: Shape, expected: Shape) -> String {
    let mut parts = Vec::new();
    for (what, found, expected) in [
        ("type", u64::from(found.kind), u64::from(expected.kind)),
        ("size", found.value_size, expected.value_size),
        ("entries", u64::from(found.entries), u64::from(expected.entries)),
        ("flags", u64::from(found.flags), u64::from(expected.flags)),
    ] {
        if found != expected {
            parts.push(format!("{what} {found}, this version has {expected}"));
        }
    }
    parts.join("; ")
}

/// Mounts bpffs at /sys/fs/bpf, as systemd does, if `directory` is to be below it and it is not mounted.
fn mount_bpffs(directory: &Path) -> Result<(), DataplaneError> {
    const MOUNT: &str = "/sys/fs/bpf";
    if !directory.starts_with(MOUNT) {
        return Ok(());
    }
    let is_mounted = statfs(MOUNT).is_ok_and(|found| found.filesystem_type() == BPF_FS_MAGIC);
    if is_mounted {
        return Ok(());
    }
    mount(Some("bpf"), MOUNT, Some("bpf"), MsFlags::empty(), None::<&str>)
        .map_err(|e| DataplaneError::other(format!("mounting the bpf file system at {MOUNT}"), e))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// `CONNECTIONS_V4` at 16 bytes a place; eight million connections in less than 200 MB.
    #[test]
    fn tables_are_as_large_as_connections_ask_for() {
        let geometry = |connections| Geometry::for_connections(connections, 64, 64, 1);
        for (connections, bytes, places) in [
            (65_536, 1_310_720, 81_920),
            (1 << 20, 20_971_520, 1_310_720),
            (8 << 20, 167_772_160, 10_485_760),
            (16 << 20, 335_544_320, 20_971_520),
            (31_876_710, 536_870_912, 33_554_432),
        ] {
            let geometry = geometry(connections).unwrap();
            assert_eq!((geometry.bytes(Table::ConnectionsV4), geometry.v4.places()), (bytes, places));
            assert!(geometry.v4.room() >= u64::from(connections), "{connections}");
            assert!(geometry.bytes(Table::ConnectionsV6) <= MAX_TABLE);
            for buckets in [geometry.v4, geometry.v6] {
                assert_eq!(Buckets::of(buckets.all()), Some(buckets), "an adopted table tells both numbers");
            }
        }
        assert!(geometry(31_876_711).unwrap_err().to_string().contains("31876710"));
        assert_eq!([0, 1, 7, 11].map(Buckets::of), [None; 4]);
    }
}
