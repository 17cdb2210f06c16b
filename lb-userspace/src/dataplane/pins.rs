//! Every bpffs path, and what must be found there.
//!
//! aya takes a pinned map as it is, whatever its shape. So before anything is loaded each pin is compared with what this version
//! makes: type, key, value, number of entries and flags. Table sizes are kept as they were made.

use std::fs;
use std::path::{Path, PathBuf};

use aya::maps::MapInfo;
use lb_common::abi::counters::{Counters, VERDICT_SLOTS};
use lb_common::abi::limits::{MAX_SERVICES, MH_SLOTS, RING_LINE};
use lb_common::abi::real::Real;
use lb_common::abi::service::{BUCKETS, Config, Cursor, Member, RingLine};
use lb_common::abi::settings::Settings;
use lb_common::abi::{LAYOUT_VERSION, connection, names, service};
use nix::mount::{MsFlags, mount};
use nix::sys::statfs::{BPF_FS_MAGIC, statfs};

use super::DataplaneError;

/// How large the tables are.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Geometry {
    /// Buckets of the IPv4 connection table, a power of two; four connections each.
    pub buckets_v4: u32,
    /// Buckets of the IPv6 connection table, a power of two; four connections each.
    pub buckets_v6: u32,
    /// Real servers.
    pub reals: u32,
    /// Possible CPUs.
    pub cpus: u32,
}

/// The pins of one director.
#[derive(Debug, Clone)]
pub struct Pins {
    directory: PathBuf,
}

const ARRAY: u32 = 2;
const PERCPU_ARRAY: u32 = 6;
const MMAPABLE: u32 = 1 << 10;

/// A map's shape as the kernel tells it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Shape {
    kind: u32,
    value_size: u32,
    entries: u32,
    flags: u32,
}

// === impl Geometry ===

impl Geometry {
    /// Room for `connections` in each family at a load of at most one half, for `reals` real servers.
    pub fn for_connections(connections: u32, reals: u32, cpus: u32) -> Self {
        let buckets = (connections.max(8).div_ceil(2)).next_power_of_two();
        Self { buckets_v4: buckets, buckets_v6: buckets, reals, cpus }
    }

    /// Members and ring lines for all services: each service may have a ring, each real is a member twice while a change is under way.
    fn members(&self) -> u32 {
        self.reals * 2
    }

    fn ring_lines(&self) -> u32 {
        // 1024 Maglev rings of 128 lines; a source-hash ring takes 8.
        MH_SLOTS.div_ceil(RING_LINE) * 1024
    }

    /// Name and shape of every pinned map.
    fn shapes(&self) -> [(&'static str, Shape); 14] {
        let array =
            |value_size: usize, entries| Shape { kind: ARRAY, value_size: value_size as u32, entries, flags: MMAPABLE };
        [
            (names::SETTINGS, array(size_of::<Settings>(), 1)),
            (names::CONNECTIONS_V4, array(size_of::<connection::BucketV4>(), self.buckets_v4)),
            (names::CONNECTIONS_V6, array(size_of::<connection::BucketV6>(), self.buckets_v6)),
            (names::SERVICES_V4, array(size_of::<service::BucketV4>(), BUCKETS)),
            (names::SERVICES_V6, array(size_of::<service::BucketV6>(), BUCKETS)),
            (names::CONFIGS, array(size_of::<Config>(), 2 * MAX_SERVICES)),
            (names::MEMBERS, array(size_of::<Member>(), self.members())),
            (names::RINGS, array(size_of::<RingLine>(), self.ring_lines())),
            (names::REALS, array(size_of::<Real>(), self.reals)),
            (names::LOADS, array(size_of::<u64>(), self.reals)),
            (names::CURSORS, Shape { kind: PERCPU_ARRAY, flags: 0, ..array(size_of::<Cursor>(), MAX_SERVICES) }),
            (names::VERDICTS, array(size_of::<u64>(), self.cpus * VERDICT_SLOTS)),
            (names::SERVICE_COUNTERS, array(size_of::<Counters>(), self.cpus * MAX_SERVICES)),
            (names::REAL_COUNTERS, array(size_of::<Counters>(), self.cpus * self.reals)),
        ]
    }

    /// Number of entries of every pinned map.
    pub fn sizes(&self) -> impl Iterator<Item = (&'static str, u32)> {
        self.shapes().into_iter().map(|(name, shape)| (name, shape.entries))
    }
}

// === impl Pins ===

impl Pins {
    /// The pins below `directory`, usually `/sys/fs/bpf/xvs`.
    pub fn new(directory: &Path) -> Self {
        Self { directory: directory.to_owned() }
    }

    /// Where this version's maps are.
    pub fn maps(&self) -> PathBuf {
        self.directory.join(format!("v{LAYOUT_VERSION}"))
    }

    /// The pin of one map.
    pub fn map(&self, name: &str) -> PathBuf {
        self.maps().join(name)
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
        let found: Vec<bool> = names::PINNED.iter().map(|name| self.map(name).exists()).collect();
        if found.iter().all(|found| !found) {
            return Ok(None);
        }
        if let Some(missing) = found.iter().position(|found| !found) {
            if fs::read_dir(self.links()).is_ok_and(|mut links| links.next().is_none()) {
                return self.remove_maps().map(|()| None);
            }
            // A daemon died while it made them. Without a link no program uses the rest.
            if fs::read_dir(self.links()).is_ok_and(|mut links| links.next().is_none()) {
                return self.remove_maps().map(|()| None);
            }
            return Err(DataplaneError::Shape {
                path: self.map(names::PINNED[missing]),
                difference: "is missing beside others".to_owned(),
            });
        }
        let entries = |name| self.shape(name).map(|shape| shape.entries);
        let geometry = Geometry {
            buckets_v4: entries(names::CONNECTIONS_V4)?,
            buckets_v6: entries(names::CONNECTIONS_V6)?,
            reals: entries(names::REALS)?,
            cpus,
        };
        for (name, expected) in geometry.shapes() {
            let found = self.shape(name)?;
            if found != expected {
                return Err(DataplaneError::Shape { path: self.map(name), difference: difference(found, expected) });
            }
        }
        Ok(Some(geometry))
    }

    /// Removes the maps' pins. For maps that no attached program uses.
    pub fn remove_maps(&self) -> Result<(), DataplaneError> {
        for name in names::PINNED {
            let path = self.map(name);
            match fs::remove_file(&path) {
                Err(error) if error.kind() != std::io::ErrorKind::NotFound => {
                    return Err(DataplaneError::other(path.display().to_string(), error));
                }
                _ => {}
            }
        }
        Ok(())
    }

    fn shape(&self, name: &str) -> Result<Shape, DataplaneError> {
        let path = self.map(name);
        let info = MapInfo::from_pin(&path).map_err(|e| DataplaneError::other(path.display().to_string(), e))?;
        let kind = info.map_type().map_err(|e| DataplaneError::other(path.display().to_string(), e))? as u32;
        Ok(Shape { kind, value_size: info.value_size(), entries: info.max_entries(), flags: info.map_flags() })
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
        ("type", found.kind, expected.kind),
        ("value size", found.value_size, expected.value_size),
        ("entries", found.entries, expected.entries),
        ("flags", found.flags, expected.flags),
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
