//! The traffic's programs: loading and attaching.

use anyhow::Context as _;
use aya::programs::{Xdp, XdpMode};
use aya::{Ebpf, EbpfLoader};
use lb_lab::Netns;
use lb_userspace::dataplane::objects;

use super::lab::{IN, Lane};

/// An object of its own.
pub(crate) fn object() -> anyhow::Result<Ebpf> {
    Ebpf::load(objects::TRAFFIC).context("the traffic's object")
}

/// A program of an object, loaded.
pub(crate) fn load<'a>(object: &'a mut Ebpf, name: &str) -> anyhow::Result<&'a mut Xdp> {
    let program: &mut Xdp = object.program_mut(name).with_context(|| format!("program {name}"))?.try_into()?;
    if program.fd().is_err() {
        program.load().with_context(|| format!("loading {name}"))?;
    }
    Ok(program)
}

/// Attaches a program to an interface of a namespace, in the driver; it stays as long as its object does.
pub(crate) fn attach(object: &mut Ebpf, name: &str, namespace: &Netns, interface: &str) -> anyhow::Result<()> {
    let program = load(object, name)?;
    namespace
        .enter(|| program.attach(interface, XdpMode::Driver))?
        .with_context(|| format!("attaching {name} to {interface} in {}", namespace.name()))?;
    Ok(())
}

/// Makes a lane's director the bare forwarder, to its first real.
pub(crate) fn forwarder(lane: &Lane) -> anyhow::Result<Ebpf> {
    let mut header = [0; 16];
    header[..6].copy_from_slice(&lane.real_mac(1));
    header[6..12].copy_from_slice(&lane.mac());
    let word = |at: usize| u64::from_le_bytes(header[at..at + 8].try_into().expect("eight bytes"));
    let forward = [word(0), word(8), u64::from(lane.out)];
    let mut object = EbpfLoader::new()
        .override_global("FORWARD", forward.as_slice(), true)
        .load(objects::TRAFFIC)
        .context("the traffic's object")?;
    attach(&mut object, "forward", &lane.director, IN)?;
    Ok(object)
}
