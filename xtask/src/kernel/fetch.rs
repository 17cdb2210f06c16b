//! A Debian kernel in the target directory, downloaded once.
//!
//! apt does the download, with this machine's mirror, proxy and archive keys but with package lists of its own: this machine may
//! run another release of Debian, and its lists are not ours to change. No root needed.

use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context as _, bail};

use super::{Series, program};
use crate::{out, setup};

/// Keys of all releases that Debian supports.
const KEYRING: &str = "/usr/share/keyrings/debian-archive-keyring.gpg";
/// Depends on the newest kernel of the release, in the generic flavour; the cloud flavour has no 9p.
const META_PACKAGE: &str = "linux-image-amd64";

/// An unpacked kernel.
pub(super) struct Kernel {
    /// As `uname -r` says it.
    pub(super) release: String,
    /// The boot image.
    pub(super) image: PathBuf,
    /// Where the package is unpacked: `lib/modules/RELEASE` is below.
    pub(super) root: PathBuf,
}

/// The kernel of a series, from the target directory or from Debian.
pub(super) fn kernel(series: Series) -> anyhow::Result<Kernel> {
    let root = lb_lab::paths::target().join("kernels").join(series.version());
    if root.is_dir() {
        return unpacked(root);
    }
    // Renamed when complete: an interrupted download must not look like a kernel.
    let partial = root.with_extension("partial");
    let _ = std::fs::remove_dir_all(&partial);
    download(series, &partial.join("apt"), &partial.join("tree"))
        .with_context(|| format!("no kernel {} from Debian {}", series.version(), series.suite()))?;
    std::fs::rename(partial.join("tree"), &root).with_context(|| format!("cannot write {}", root.display()))?;
    let _ = std::fs::remove_dir_all(&partial);
    unpacked(root)
}

fn unpacked(root: PathBuf) -> anyhow::Result<Kernel> {
    let boot = root.join("boot");
    let names = std::fs::read_dir(&boot).into_iter().flatten().flatten().map(|entry| entry.file_name());
    let release = names.filter_map(|name| Some(name.to_str()?.strip_prefix("vmlinuz-")?.to_owned())).next();
    let Some(release) = release else {
        bail!("no vmlinuz-* in {}: remove {} and run again", boot.display(), root.display());
    };
    Ok(Kernel { image: boot.join(format!("vmlinuz-{release}")), release, root })
}

fn download(series: Series, apt: &Path, tree: &Path) -> anyhow::Result<()> {
    if !Path::new(KEYRING).is_file() {
        bail!("{KEYRING} is missing: install debian-archive-keyring");
    }
    for directory in ["lists/partial", "cache/archives/partial"] {
        std::fs::create_dir_all(apt.join(directory)).with_context(|| format!("cannot create {}", apt.display()))?;
    }
    let uris = text(Command::new(program("apt-get")?).args(["--print-uris", "update"]))?;
    let mirror = mirror(&uris)?;
    let line = format!("deb [arch=amd64 signed-by={KEYRING}] {mirror} {} main\n", series.suite());
    std::fs::write(apt.join("sources.list"), line).context("cannot write apt's sources")?;
    let options = options(apt);
    text(Command::new(program("apt-get")?).args(&options).args(["-q", "update"]))?;
    let depends = text(Command::new(program("apt-cache")?).args(&options).args(["depends", META_PACKAGE]))?;
    let package = image_package(&depends, series.version())?;
    out::line(format_args!("kernel {}: downloading {package} from {mirror} (about 100 MB)", series.version()));
    text(Command::new(program("apt-get")?).args(&options).args(["-q", "download", &package]).current_dir(apt))?;
    let files = std::fs::read_dir(apt).context("cannot read the download's directory")?;
    let deb = files.flatten().map(|entry| entry.path()).find(|path| path.extension().is_some_and(|end| end == "deb"));
    let deb = deb.with_context(|| format!("apt-get left no {package} behind"))?;
    unpack(&deb, tree)
}

/// Unpacks a kernel's package and makes its modules' index, as its installation would.
fn unpack(deb: &Path, tree: &Path) -> anyhow::Result<()> {
    text(Command::new(program("dpkg-deb")?).arg("-x").arg(deb).arg(tree))?;
    if !tree.join("lib").exists() {
        // Debian 13 has its modules in /usr/lib, depmod and modprobe of Debian 12 look in /lib.
        std::os::unix::fs::symlink("usr/lib", tree.join("lib")).context("cannot link lib to usr/lib")?;
    }
    let kernel = unpacked(tree.to_path_buf())?;
    text(Command::new(program("depmod")?).arg("-b").arg(tree).arg(&kernel.release)).map(drop)
}

/// What makes apt use lists and caches of our own. What is installed here is no business of it; the sandbox user of apt cannot
/// write into a private target directory.
fn options(apt: &Path) -> Vec<String> {
    let settings = [
        ("Dir::State::lists", apt.join("lists")),
        ("Dir::State::status", "/dev/null".into()),
        ("Dir::Cache", apt.join("cache")),
        ("Dir::Etc::sourcelist", apt.join("sources.list")),
        ("Dir::Etc::sourceparts", "/dev/null".into()),
        ("APT::Sandbox::User", "root".into()),
        ("Acquire::Languages", "none".into()),
    ];
    settings.iter().flat_map(|(name, value)| ["-o".to_owned(), format!("{name}={}", value.display())]).collect()
}

/// The Debian mirror that this machine's apt uses: its index addresses are `'MIRROR/dists/SUITE/...' ...`.
fn mirror(uris: &str) -> anyhow::Result<&str> {
    let bases = uris.lines().filter_map(|line| line.strip_prefix('\'')?.split_once("/dists/")).map(|(base, _)| base);
    bases
        .into_iter()
        .find(|base| base.ends_with("/debian"))
        .context("apt's sources name no Debian mirror (an address that ends with /debian): kernels are Debian's")
}

/// The package of the newest kernel, out of `apt-cache depends`.
fn image_package(depends: &str, version: &str) -> anyhow::Result<String> {
    let names = depends.lines().filter_map(|line| line.trim().strip_prefix("Depends: linux-image-"));
    let found: Vec<&str> = names.collect();
    let of_series =
        found.iter().find(|name| name.strip_prefix(version).is_some_and(|rest| rest.starts_with(['.', '-', '+'])));
    match of_series {
        Some(name) => Ok(format!("linux-image-{name}")),
        None => bail!("{META_PACKAGE} is now {}, not {version}", found.join(", ")),
    }
}

/// Runs a program to its end and returns what it wrote.
fn text(command: &mut Command) -> anyhow::Result<String> {
    let name = command.get_program().to_string_lossy().into_owned();
    let output = command.stdin(std::process::Stdio::null()).output().with_context(|| format!("cannot run {name}"))?;
    if !output.status.success() {
        bail!("{name} failed: {}", setup::cause(&output));
    }
    Ok(String::from_utf8_lossy(&output.stdout).into_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_mirror_is_debians_own_archive() {
        let uris = "'http://deb.debian.org/debian-security/dists/bookworm-security/InRelease' a 0 \n\
                    'https://deb.nodesource.com/node_20.x/dists/nodistro/InRelease' b 0 \n\
                    'http://mirror.example/debian/dists/bookworm/InRelease' c 0 \n";
        assert_eq!(mirror(uris).unwrap(), "http://mirror.example/debian");
        assert!(mirror("'http://archive.ubuntu.com/ubuntu/dists/noble/InRelease' a 0").is_err());
    }

    #[test]
    fn a_kernel_of_another_series_is_refused() {
        let depends = "linux-image-amd64\n  Depends: linux-image-6.12.107+deb13-amd64\n";
        assert_eq!(image_package(depends, "6.12").unwrap(), "linux-image-6.12.107+deb13-amd64");
        let refusal = image_package(depends, "6.1").unwrap_err().to_string();
        assert_eq!(refusal, "linux-image-amd64 is now 6.12.107+deb13-amd64, not 6.1");
    }
}
