//! The guest's first files: busybox, the modules that reach this machine's files, and the two scripts. A cpio archive in the
//! "newc" format (the kernel's Documentation/driver-api/early-userspace/buffer-format.rst).

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context as _, bail};

use super::fetch::Kernel;
use super::program;

/// Process 1 of the guest.
const INIT: &str = include_str!("init.sh");
/// 9p over virtio for the files, an overlay to write on, a virtio port for the output. Each brings what it depends on.
const MODULES: [&str; 5] = ["virtio_pci", "virtio_console", "9pnet_virtio", "9p", "overlay"];

const DIRECTORY: u32 = 0o040_755;
const EXECUTABLE: u32 = 0o100_755;
const PLAIN: u32 = 0o100_644;
const SYMLINK: u32 = 0o120_777;

/// The archive for a kernel, with `tests` as the script that the guest runs.
pub(super) fn build(kernel: &Kernel, tests: &str) -> anyhow::Result<Vec<u8>> {
    let mut archive = Archive::default();
    for name in ["bin", "dev", "proc", "sys", "modules"] {
        archive.add(name, DIRECTORY, &[]);
    }
    archive.add("bin/busybox", EXECUTABLE, &busybox()?);
    archive.add("bin/sh", SYMLINK, b"busybox");
    archive.add("init", EXECUTABLE, INIT.as_bytes());
    archive.add("tests.sh", EXECUTABLE, tests.as_bytes());
    // insmod goes through them in the order of their names.
    for (number, path) in modules(kernel)?.iter().enumerate() {
        archive.add(&format!("modules/{number:02}.ko"), PLAIN, &module(path)?);
    }
    Ok(archive.finish())
}

fn busybox() -> anyhow::Result<Vec<u8>> {
    let path = program("busybox")?;
    let bytes = std::fs::read(&path).with_context(|| format!("cannot read {}", path.display()))?;
    // The path of the dynamic loader, which the first files have not.
    if bytes.windows(10).any(|window| window == b"/ld-linux-") {
        bail!("{} needs shared libraries: install busybox-static instead", path.display());
    }
    Ok(bytes)
}

/// Files of the modules, what each depends on before it.
fn modules(kernel: &Kernel) -> anyhow::Result<Vec<PathBuf>> {
    let mut seen = BTreeSet::new();
    let mut paths = Vec::new();
    for name in MODULES {
        let mut modprobe = Command::new(program("modprobe")?);
        modprobe.arg("-d").arg(&kernel.root).args(["-S", &kernel.release, "--show-depends", name]);
        let output = modprobe.output().context("cannot run modprobe")?;
        if !output.status.success() {
            bail!("kernel {} has no module {name}: is it the generic flavour?", kernel.release);
        }
        // Lines are `insmod PATH` or `builtin NAME`.
        for line in String::from_utf8_lossy(&output.stdout).lines() {
            let Some(path) = line.strip_prefix("insmod ").map(|path| PathBuf::from(path.trim())) else { continue };
            if seen.insert(path.clone()) {
                paths.push(path);
            }
        }
    }
    Ok(paths)
}

/// A module's bytes, as insmod takes them.
fn module(path: &Path) -> anyhow::Result<Vec<u8>> {
    if path.extension().is_some_and(|end| end == "xz") {
        let output = Command::new(program("xz")?).arg("-dc").arg(path).output().context("cannot run xz")?;
        if !output.status.success() {
            bail!("xz cannot unpack {}", path.display());
        }
        return Ok(output.stdout);
    }
    std::fs::read(path).with_context(|| format!("cannot read {}", path.display()))
}

/// A cpio archive in the making.
#[derive(Default)]
struct Archive {
    bytes: Vec<u8>,
    entries: u32,
}

impl Archive {
    /// Adds a file; a symbolic link's content is where it points to.
    fn add(&mut self, name: &str, mode: u32, content: &[u8]) {
        self.entries += 1;
        let length = |bytes: usize| u32::try_from(bytes).expect("the guest's first files are far below 4 GB");
        // Inode, mode, user, group, links, time, size, device and its minor, the same of a device node, name with its zero, checksum.
        let fields = [self.entries, mode, 0, 0, 1, 0, length(content.len()), 0, 0, 0, 0, length(name.len() + 1), 0];
        self.bytes.extend_from_slice(b"070701");
        for field in fields {
            self.bytes.extend_from_slice(format!("{field:08x}").as_bytes());
        }
        self.bytes.extend_from_slice(name.as_bytes());
        self.bytes.push(0);
        self.align();
        self.bytes.extend_from_slice(content);
        self.align();
    }

    /// Headers and contents begin at multiples of four.
    fn align(&mut self) {
        self.bytes.resize(self.bytes.len().next_multiple_of(4), 0);
    }

    fn finish(mut self) -> Vec<u8> {
        self.add("TRAILER!!!", 0, &[]);
        self.bytes
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn entries_are_aligned_and_the_trailer_ends_them() {
        let mut archive = Archive::default();
        archive.add("init", EXECUTABLE, b"12345");
        // 110 bytes of header and "init\0" make 115, 116 with the padding; then 5 bytes and 3 of padding.
        assert_eq!(archive.bytes.len(), 124);
        assert_eq!(&archive.bytes[..22], b"07070100000001000081ed");
        assert_eq!(&archive.bytes[116..], b"12345\0\0\0");
        let bytes = archive.finish();
        assert!(bytes.len().is_multiple_of(4) && bytes[124..].windows(10).any(|window| window == b"TRAILER!!!"));
    }
}
