//! `cargo xtask test --kernel VERSION`: the verifier and the packet rows under another kernel than this machine's.
//!
//! A Debian kernel boots in QEMU by software emulation (hardware acceleration is not asked for: many machines that build have
//! none) and runs the test binaries that cargo built here, as root, over this machine's files. Ten times slower than the machine
//! itself: it says what is right, never how fast. Nothing outside the target directory changes, but for Debian packages that are
//! missing.

mod build;
mod fetch;
mod guest;
mod initramfs;

use std::time::Instant;

use anyhow::bail;
use clap::ValueEnum;

use crate::{out, root, setup};

/// What a guest needs from this machine beyond what building needs.
const PROGRAMS: [(&str, &str); 6] = [
    ("qemu-system-x86_64", "qemu-system-x86"),
    ("busybox", "busybox-static"),
    ("modprobe", "kmod"),
    ("depmod", "kmod"),
    ("xz", "xz-utils"),
    ("dpkg-deb", "dpkg"),
];

/// A kernel series, and the Debian release that has it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, ValueEnum)]
pub(crate) enum Series {
    /// Debian 12's kernel, the oldest that XVS supports
    #[value(name = "6.1")]
    V6_1,
    /// Debian 13's kernel
    #[value(name = "6.12")]
    V6_12,
}

impl Series {
    fn version(self) -> &'static str {
        match self {
            Self::V6_1 => "6.1",
            Self::V6_12 => "6.12",
        }
    }

    fn suite(self) -> &'static str {
        match self {
            Self::V6_1 => "bookworm",
            Self::V6_12 => "trixie",
        }
    }
}

/// Builds the tests once and runs them under each kernel. All kernels run, so that one call shows everything that is wrong.
pub(crate) fn run(series: &[Series]) -> anyhow::Result<()> {
    if std::env::consts::ARCH != "x86_64" {
        bail!("--kernel boots Debian's amd64 kernels with binaries of this machine: it needs x86-64");
    }
    setup::ensure()?;
    setup::packages(&PROGRAMS)?;
    let tests = build::tests()?;
    let mut wanted = series.to_vec();
    wanted.sort_unstable();
    wanted.dedup();
    let mut failed = Vec::new();
    for series in wanted {
        let start = Instant::now();
        let kernel = fetch::kernel(series)?;
        out::line(format_args!("== kernel {}", kernel.release));
        match guest::run(&kernel, &tests) {
            Ok(()) => {
                let seconds = start.elapsed().as_secs();
                out::line(format_args!("== kernel {}: all tests passed in {seconds} s", kernel.release));
            }
            Err(error) => {
                out::line(format_args!("== kernel {}: {error:#}", kernel.release));
                failed.push(series.version());
            }
        }
    }
    if !failed.is_empty() {
        bail!("failed under kernel {}", failed.join(", "));
    }
    Ok(())
}

/// A program that [`setup::packages`] has seen to.
fn program(name: &str) -> anyhow::Result<std::path::PathBuf> {
    root::find_program(name).ok_or_else(|| anyhow::anyhow!("{name} is missing: `--kernel` needs it to boot a guest"))
}
