//! Loads the director's program over its pinned maps and attaches it by links that outlive the daemon.
//!
//! A daemon that starts over existing pins adopts them: the freshly loaded program takes the old one's place on each link by one
//! `bpf_link_update`, so no packet meets an interface without program.

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;

use aya::maps::Map;
use aya::programs::links::{FdLink, PinnedLink};
use aya::programs::xdp::XdpLink;
use aya::programs::{ProgramError, TestRun as _, TestRunAttrs, TestRunOptions, Xdp, XdpMode};
use aya::sys::SyscallError;
use aya::{Ebpf, EbpfLoader};
use lb_common::abi::names::PROGRAM_DIRECTOR;
use lb_common::abi::settings::Settings;
use nix::errno::Errno;
use nix::net::if_::if_nametoindex;

use super::memory::Memory;
use super::pins::{Geometry, Pins, interface_name};
use super::{DataplaneError, placeholders};

/// How a program is to be attached.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Mode {
    /// In the driver, or not at all.
    Native,
    /// Behind the driver, on socket buffers.
    Generic,
    /// In the driver if it can, otherwise generic, with a warning.
    Auto,
}

/// The loaded program and what it is attached to.
pub struct Loaded {
    object: Ebpf,
    memory: Memory,
    links: BTreeMap<String, Attached>,
}

/// A program on an interface.
pub struct Attached {
    /// Interface number.
    pub ifindex: u32,
    /// True: in the driver.
    pub is_native: bool,
    /// True: the link was there before, an earlier daemon's.
    pub is_adopted: bool,
    /// Kernel's number of the program.
    pub program_id: u32,
    /// Kernel's number of the link.
    pub link_id: u32,
}

// === impl Loaded ===

impl Loaded {
    /// Loads the director's program from `object` over the maps at `pins`, creating those that are not there. The verifier's words on
    /// a refusal go to `verifier_log`.
    pub fn load(
        object: &[u8],
        pins: &Pins,
        geometry: &Geometry,
        settings: &Settings,
        verifier_log: &Path,
    ) -> Result<Self, DataplaneError> {
        let memory = Memory::pinned(pins, geometry)?;
        let mut object = parse(object, &memory, geometry, settings, &mut EbpfLoader::new())?;
        program(&mut object)?.load().map_err(|error| refused(&error, verifier_log))?;
        Ok(Self { object, memory, links: BTreeMap::new() })
    }

    /// Its tables.
    pub fn memory(&self) -> &Memory {
        &self.memory
    }

    /// Takes a map that the object has besides the tables.
    pub(super) fn take_map(&mut self, name: &str) -> Result<Map, DataplaneError> {
        self.object.take_map(name).ok_or_else(|| DataplaneError::other(name, "not in the object"))
    }

    /// Runs a frame through the program as if it had just come in by an interface, and lets it go where the program says (kernel 5.18).
    pub fn inject(&mut self, ifindex: u32, frame: &[u8]) -> Result<(), DataplaneError> {
        // struct xdp_md: data, data_end, data_meta, ingress_ifindex, rx_queue_index, egress_ifindex.
        let context = [0, frame.len() as u32, 0, ifindex, 0, 0].map(u32::to_ne_bytes).concat();
        let options = TestRunOptions {
            data_in: Some(frame),
            ctx_in: Some(&context),
            repeat: 1,
            attrs: TestRunAttrs::new().xdp_live_frames(1),
            ..TestRunOptions::default()
        };
        let run = program(&mut self.object)?.test_run(options);
        run.map(drop).map_err(|e| DataplaneError::other("sending a packet on", chain(&e)))
    }

    /// Attaches to an interface, or takes the place of the program on the link that is pinned for it.
    pub fn attach(&mut self, pins: &Pins, interface: &str, mode: Mode) -> Result<&Attached, DataplaneError> {
        let ifindex = if_nametoindex(interface).map_err(|_| DataplaneError::NoInterface(interface.to_owned()))?;
        let program = program(&mut self.object)?;
        let pinned_modes = [true, false].map(|is_native| (is_native, pins.link(interface, ifindex, is_native)));
        let existing = pinned_modes.into_iter().find(|(_, path)| path.exists());
        let adopted = match existing {
            None => None,
            Some((is_native, path)) => {
                if (mode == Mode::Native && !is_native) || (mode == Mode::Generic && is_native) {
                    tracing::warn!(
                        "{interface} keeps the mode it was attached in; `xvs detach` makes room for another"
                    );
                }
                take_over(program, &path, interface)?.map(|link| (link, is_native))
            }
        };
        let is_adopted = adopted.is_some();
        let (link, is_native) = if let Some(adopted) = adopted {
            adopted
        } else {
            // Links of the same name that are left belong to an interface that has been made anew.
            remove_links(pins, interface)?;
            let (link, is_native) = attach_new(program, interface, mode)?;
            let path = pins.link(interface, ifindex, is_native);
            let pinned = link.pin(&path).map_err(|e| DataplaneError::other(path.display().to_string(), e))?;
            (FdLink::from(pinned), is_native)
        };
        let info = link.info().map_err(|e| DataplaneError::other(format!("link on {interface}"), e))?;
        let attached = Attached { ifindex, is_native, is_adopted, program_id: info.program_id(), link_id: info.id() };
        Ok(self.links.entry(interface.to_owned()).insert_entry(attached).into_mut())
    }

    /// Takes the program off an interface.
    pub fn detach(&mut self, pins: &Pins, interface: &str) -> Result<(), DataplaneError> {
        remove_links(pins, interface)?;
        self.links.remove(interface);
        Ok(())
    }

    /// Interfaces that have a link pinned, this daemon's or an earlier one's.
    pub fn pinned(&self, pins: &Pins) -> Result<Vec<String>, DataplaneError> {
        Ok(entries(&pins.links())?.iter().filter_map(|entry| interface_of(entry)).collect())
    }

    /// What the program is attached to, by interface name.
    pub fn links(&self) -> &BTreeMap<String, Attached> {
        &self.links
    }
}

/// An object over the director's tables, not yet given to the kernel: what tests and benchmarks run. `sizes` are those of other maps
/// that the object may have.
pub fn parse_over(
    object: &[u8],
    memory: &Memory,
    geometry: &Geometry,
    settings: &Settings,
    sizes: &[(&str, u32)],
) -> Result<Ebpf, DataplaneError> {
    let mut loader = EbpfLoader::new();
    for (name, entries) in sizes {
        loader.map_max_entries(name, *entries);
    }
    parse(object, memory, geometry, settings, &mut loader)
}

fn parse(
    object: &[u8],
    memory: &Memory,
    geometry: &Geometry,
    settings: &Settings,
    loader: &mut EbpfLoader<'_>,
) -> Result<Ebpf, DataplaneError> {
    let filled = placeholders::fill(object, memory, geometry, settings)?;
    loader.load(&filled).map_err(|e| DataplaneError::other("the director's object", chain(&e)))
}

fn program(object: &mut Ebpf) -> Result<&mut Xdp, DataplaneError> {
    let program = object
        .program_mut(PROGRAM_DIRECTOR)
        .ok_or_else(|| DataplaneError::other(PROGRAM_DIRECTOR, "not in the object"))?;
    program.try_into().map_err(|e| DataplaneError::other(PROGRAM_DIRECTOR, e))
}

/// Puts the program in the place of the one on a pinned link. None if the link's interface is gone: a pin outlives it, and another
/// interface may have its name and number, in a network namespace that was made anew.
pub(super) fn take_over(program: &mut Xdp, path: &Path, interface: &str) -> Result<Option<FdLink>, DataplaneError> {
    let failed = |e: &dyn std::fmt::Display| DataplaneError::other(path.display().to_string(), e);
    let pinned = PinnedLink::from_pin(path).map_err(|e| failed(&e))?;
    let link = XdpLink::try_from(FdLink::from(pinned)).map_err(|e| failed(&e))?;
    match program.attach_to_link(link) {
        Ok(id) => fd_link(program, id, interface).map(Some),
        Err(error) if is_of_a_gone_interface(&error) => Ok(None),
        Err(error) => Err(DataplaneError::other(format!("updating the link on {interface}"), chain(&error))),
    }
}

/// The kernel's answer where a link's interface is gone.
fn is_of_a_gone_interface(error: &ProgramError) -> bool {
    let ProgramError::SyscallError(SyscallError { io_error, .. }) = error else { return false };
    io_error.raw_os_error() == Some(Errno::ENOLINK as i32)
}

/// The new link, and whether it is in the driver.
fn attach_new(program: &mut Xdp, interface: &str, mode: Mode) -> Result<(FdLink, bool), DataplaneError> {
    let try_mode = |program: &mut Xdp, mode: XdpMode, name: &'static str| {
        let id = program.attach(interface, mode).map_err(|error| match is_taken(&error) {
            true => DataplaneError::Taken(interface.to_owned()),
            false => DataplaneError::Attach { interface: interface.to_owned(), mode: name, cause: chain(&error) },
        })?;
        Ok((fd_link(program, id, interface)?, name == "native"))
    };
    match mode {
        Mode::Native => try_mode(program, XdpMode::Driver, "native"),
        Mode::Generic => try_mode(program, XdpMode::Skb, "generic"),
        Mode::Auto => match try_mode(program, XdpMode::Driver, "native") {
            Ok(link) => Ok(link),
            Err(taken @ DataplaneError::Taken(_)) => Err(taken),
            Err(cause) => {
                tracing::warn!("{cause}; falling back to generic mode, which is several times slower");
                try_mode(program, XdpMode::Skb, "generic")
            }
        },
    }
}

/// The kernel keeps one program an interface: EBUSY in the same mode, EEXIST in another.
fn is_taken(error: &ProgramError) -> bool {
    let ProgramError::SyscallError(SyscallError { io_error, .. }) = error else { return false };
    matches!(io_error.kind(), std::io::ErrorKind::ResourceBusy | std::io::ErrorKind::AlreadyExists)
}

/// aya falls back to a netlink attachment where the kernel refuses links; that one would die with us, so it is an error here.
fn fd_link(program: &mut Xdp, id: aya::programs::xdp::XdpLinkId, interface: &str) -> Result<FdLink, DataplaneError> {
    let link = program.take_link(id).map_err(|e| DataplaneError::other(format!("link on {interface}"), chain(&e)))?;
    link.try_into().map_err(|_| {
        DataplaneError::other(
            format!("link on {interface}"),
            "the kernel gave no bpf_link (another XDP program is attached, or the kernel is older than 5.9)",
        )
    })
}

fn remove_links(pins: &Pins, interface: &str) -> Result<(), DataplaneError> {
    for entry in entries(&pins.links())? {
        if interface_of(&entry).as_deref() == Some(interface) {
            let path = pins.links().join(&entry);
            fs::remove_file(&path).map_err(|e| DataplaneError::other(path.display().to_string(), e))?;
        }
    }
    Ok(())
}

/// Interface name of a link's pin, `NAME-INDEX-MODE`.
fn interface_of(pin: &str) -> Option<String> {
    pin.rsplitn(3, '-').nth(2).map(interface_name)
}

/// Names of what is in a directory, sorted.
pub(super) fn entries(directory: &Path) -> Result<Vec<String>, DataplaneError> {
    let failed = |e| DataplaneError::other(directory.display().to_string(), e);
    let mut names = Vec::new();
    for entry in fs::read_dir(directory).map_err(failed)? {
        if let Ok(name) = entry.map_err(failed)?.file_name().into_string() {
            names.push(name);
        }
    }
    names.sort();
    Ok(names)
}

fn refused(error: &ProgramError, log: &Path) -> DataplaneError {
    let ProgramError::LoadError { io_error, verifier_log } = error else {
        return DataplaneError::other("loading the director's program", chain(error));
    };
    let text = format!("{io_error}\n{verifier_log}");
    match log.parent().map_or(Ok(()), fs::create_dir_all).and_then(|()| fs::write(log, text)) {
        Ok(()) => DataplaneError::Verifier { program: PROGRAM_DIRECTOR, log: log.to_owned() },
        Err(write) => DataplaneError::other(
            "the kernel's verifier refused the program",
            format!("{io_error}, and its log could not be written to {}: {write}", log.display()),
        ),
    }
}

/// An error with its causes, in one line.
pub(super) fn chain(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(error) = cause {
        text.push_str(": ");
        text.push_str(&error.to_string());
        cause = error.source();
    }
    text.replace('\n', " ")
}
