//! Programs of the other machines: the decapsulator of a real server, and the pass-only program of a veth peer.

use std::fs;
use std::net::IpAddr;
use std::path::{Path, PathBuf};

use aya::Ebpf;
use aya::maps::{HashMap, Map, MapData};
use aya::programs::links::FdLink;
use aya::programs::{Xdp, XdpMode};
use lb_common::abi::names::{PROGRAM_DECAP, PROGRAM_PASS};
use nix::net::if_::if_nametoindex;

use super::loader::take_over;
use super::pins::{Pins, pin_name};
use super::{DataplaneError, objects};
use crate::realserver::{AttachedLink, DecapAttacher, DecapError};

/// Attaches the decapsulator for a set of VIPs.
#[derive(Debug)]
pub struct Decapsulator {
    pins: PathBuf,
    vips: Vec<IpAddr>,
    gue_port: u16,
}

/// Attaches the program that passes everything: what a veth peer of a director runs.
#[derive(Debug)]
pub struct VethPeer {
    pins: PathBuf,
}

impl Decapsulator {
    /// Links are pinned below `pin_dir`; packets for `vips` are opened, those behind a UDP header at `gue_port`.
    pub fn new(pin_dir: &Path, vips: &[IpAddr], gue_port: u16) -> Self {
        Self { pins: pin_dir.to_owned(), vips: vips.to_owned(), gue_port }
    }

    /// One that only looks and detaches.
    pub fn without_vips(pin_dir: &Path) -> Self {
        Self::new(pin_dir, &[], 0)
    }

    /// Opens packets for these VIPs on an interface that has the decapsulator already.
    pub fn add_vips(&self, interface: &str) -> Result<(), DataplaneError> {
        let pin = vips_pin(&pin(&self.pins, PROGRAM_DECAP, interface)?);
        let data = MapData::from_pin(&pin).map_err(|e| DataplaneError::other(pin.display().to_string(), e))?;
        fill_vips(&mut Map::HashMap(data), &self.vips, self.gue_port)
    }
}

impl VethPeer {
    /// Links are pinned below `pin_dir`.
    pub fn new(pin_dir: &Path) -> Self {
        Self { pins: pin_dir.to_owned() }
    }

    /// Attaches it so that it stays when this process ends. True when it was not there before.
    pub fn attach(&self, interface: &str) -> Result<bool, DataplaneError> {
        let pin = pin(&self.pins, PROGRAM_PASS, interface)?;
        let mut object = load()?;
        if pin.exists() {
            if take_over(loaded(&mut object, PROGRAM_PASS, interface)?, &pin, interface)?.is_some() {
                return Ok(false);
            }
            remove(&pin)?;
        }
        link(&mut object, PROGRAM_PASS, interface, &pin)?;
        Ok(true)
    }

    /// Detaches it. True when it was there.
    pub fn detach(&self, interface: &str) -> Result<bool, DataplaneError> {
        remove(&pin(&self.pins, PROGRAM_PASS, interface)?)
    }
}

impl DecapAttacher for Decapsulator {
    fn attach(&self, interface: &str) -> Result<AttachedLink, DecapError> {
        let attach = || {
            let ifindex = if_nametoindex(interface).map_err(|_| DataplaneError::NoInterface(interface.to_owned()))?;
            let pin = pin(&self.pins, PROGRAM_DECAP, interface)?;
            let mut object = load()?;
            let vips = vips_pin(&pin);
            remove(&vips)?;
            let map = object.map_mut(VIPS).ok_or_else(|| DataplaneError::other(VIPS, "not in the object"))?;
            map.pin(&vips).map_err(|e| DataplaneError::other(vips.display().to_string(), e))?;
            fill_vips(map, &self.vips, self.gue_port)?;
            link(&mut object, PROGRAM_DECAP, interface, &pin)?;
            Ok::<_, DataplaneError>(AttachedLink { interface: interface.to_owned(), ifindex, pin })
        };
        attach().map_err(|error| DecapError(error.to_string()))
    }

    fn detach(&self, interface: &str) -> Result<(), DecapError> {
        let detach = || {
            let pin = pin(&self.pins, PROGRAM_DECAP, interface)?;
            remove(&pin)?;
            remove(&vips_pin(&pin))
        };
        detach().map(|_| ()).map_err(|error: DataplaneError| DecapError(error.to_string()))
    }

    fn is_attached(&self, interface: &str) -> Result<bool, DecapError> {
        Ok(pin(&self.pins, PROGRAM_DECAP, interface).map_err(|error| DecapError(error.to_string()))?.exists())
    }
}

/// The pin of a program's link on an interface. Two network namespaces may both have an `eth0`: the index tells most of them apart, the
/// namespace's inode all.
fn pin(pins: &Path, program: &str, interface: &str) -> Result<PathBuf, DataplaneError> {
    use std::os::unix::fs::MetadataExt as _;

    Pins::new(pins).prepare_root()?;
    let index = if_nametoindex(interface).map_err(|_| DataplaneError::NoInterface(interface.to_owned()))?;
    let namespace = fs::metadata("/proc/thread-self/ns/net")
        .map_err(|e| DataplaneError::other("/proc/thread-self/ns/net", e))?
        .ino();
    Ok(pins.join(format!("{program}-{}-{index}-{namespace}", pin_name(interface))))
}

fn load() -> Result<Ebpf, DataplaneError> {
    Ebpf::load(objects::REALSERVER).map_err(|e| DataplaneError::other("loading the real server's programs", e))
}

/// The map of addresses whose packets are opened.
const VIPS: &str = "DECAP_VIPS";

fn vips_pin(link: &Path) -> PathBuf {
    let mut name = link.as_os_str().to_owned();
    name.push("-vips");
    PathBuf::from(name)
}

fn fill_vips(map: &mut Map, vips: &[IpAddr], gue_port: u16) -> Result<(), DataplaneError> {
    let failed = |e: &dyn std::fmt::Display| DataplaneError::other("the decapsulator's VIPs", e);
    let mut map: HashMap<_, [u8; 16], u16> = map.try_into().map_err(|e| failed(&e))?;
    for vip in vips {
        let address = match vip {
            IpAddr::V4(address) => address.to_ipv6_mapped(),
            IpAddr::V6(address) => *address,
        };
        map.insert(address.octets(), gue_port, 0).map_err(|e| failed(&e))?;
    }
    Ok(())
}

/// A program of the object, in the kernel.
fn loaded<'a>(object: &'a mut Ebpf, name: &'static str, interface: &str) -> Result<&'a mut Xdp, DataplaneError> {
    let failed = |e: &dyn std::fmt::Display| DataplaneError::other(format!("{name} on {interface}"), e);
    let program = object.program_mut(name).ok_or_else(|| failed(&"not in the object"))?;
    let program: &mut Xdp = program.try_into().map_err(|e| failed(&e))?;
    if program.fd().is_err() {
        program.load().map_err(|e| failed(&e))?;
    }
    Ok(program)
}

fn link(object: &mut Ebpf, name: &'static str, interface: &str, pin: &Path) -> Result<(), DataplaneError> {
    let failed = |e: &dyn std::fmt::Display| DataplaneError::other(format!("{name} on {interface}"), e);
    let program = loaded(object, name, interface)?;
    let id = match program.attach(interface, XdpMode::Driver) {
        Ok(id) => id,
        Err(native) => {
            tracing::warn!("{interface} takes no native XDP ({native}); attaching in generic mode");
            program.attach(interface, XdpMode::Skb).map_err(|e| failed(&e))?
        }
    };
    let link = program.take_link(id).map_err(|e| failed(&e))?;
    let link: FdLink =
        link.try_into().map_err(|_| failed(&"the kernel gave no bpf_link; another XDP program may be attached"))?;
    link.pin(pin).map(drop).map_err(|e| failed(&e))
}

fn remove(pin: &Path) -> Result<bool, DataplaneError> {
    match fs::remove_file(pin) {
        Ok(()) => Ok(true),
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(false),
        Err(error) => Err(DataplaneError::other(pin.display().to_string(), error)),
    }
}
