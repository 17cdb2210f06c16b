//! Builds the eBPF objects with the pinned nightly and puts them where `dataplane::objects` includes them from.
//!
//! `aya-build` would do, but it sets the compiler's flags itself and leaves no room for `-C target-cpu=v3`, without which compare-
//! exchange does not exist (docs/adr/0008-building-ebpf.md).

use std::env;
use std::path::{Path, PathBuf};
use std::process::{Command, ExitCode};

/// The one place that names the toolchain.
const TOOLCHAIN: &str = include_str!("../lb-ebpf/toolchain");
const OBJECTS: [&str; 5] = ["director", "realserver", "clock", "bench", "traffic"];

fn main() -> ExitCode {
    match build() {
        Ok(()) => ExitCode::SUCCESS,
        Err(cause) => {
            println!("cargo::error={cause}");
            ExitCode::FAILURE
        }
    }
}

fn build() -> Result<(), String> {
    let root = PathBuf::from(env::var("CARGO_MANIFEST_DIR").map_err(|e| e.to_string())?).join("..");
    let out = PathBuf::from(env::var("OUT_DIR").map_err(|e| e.to_string())?);
    for watched in ["lb-ebpf/src", "lb-ebpf/Cargo.toml", "lb-ebpf/toolchain", "lb-common/src", "Cargo.lock"] {
        println!("cargo::rerun-if-changed={}", root.join(watched).display());
    }
    compile(&root, &out)?;
    for object in OBJECTS {
        let from = out.join("bpf/bpfel-unknown-none/release").join(object);
        std::fs::copy(&from, out.join(object)).map_err(|e| format!("{}: {e}", from.display()))?;
    }
    Ok(())
}

fn compile(root: &Path, out: &Path) -> Result<(), String> {
    let arch = env::var("CARGO_CFG_TARGET_ARCH").map_err(|e| e.to_string())?;
    let toolchain = TOOLCHAIN.trim();
    let flags = [
        &format!("--cfg=bpf_target_arch=\"{arch}\""),
        "-Cdebuginfo=2",
        "-Clink-arg=--btf",
        // Compare-exchange and 32-bit jumps: kernel 5.12.
        "-Ctarget-cpu=v3",
    ]
    .join("\u{1f}");
    let mut cargo = Command::new("rustup");
    cargo
        .args(["run", toolchain, "cargo", "build", "--package", "lb-ebpf", "--bins", "--release", "--locked"])
        .args(["--target", "bpfel-unknown-none", "-Z", "build-std=core", "--target-dir"])
        .arg(out.join("bpf"))
        .current_dir(root)
        .env("CARGO_ENCODED_RUSTFLAGS", flags);
    for inherited in
        ["RUSTC", "RUSTC_WRAPPER", "RUSTC_WORKSPACE_WRAPPER", "RUSTFLAGS", "RUSTUP_TOOLCHAIN", "CARGO_TARGET_DIR"]
    {
        cargo.env_remove(inherited);
    }
    let output = cargo.output().map_err(|e| {
        format!("cannot run rustup: {e}; install it or run `cargo xtask demo`, which says what is missing")
    })?;
    if output.status.success() {
        return Ok(());
    }
    let text = String::from_utf8_lossy(&output.stderr);
    for line in text.lines() {
        println!("cargo::warning={line}");
    }
    Err(format!("the eBPF programs did not build with {toolchain}; `cargo xtask setup` installs toolchain and linker"))
}
