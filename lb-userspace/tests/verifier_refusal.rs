//! A program that the kernel refuses: one line for people, the verifier's words in a file, nothing pinned. Needs root.

use std::fs;

use lb_common::abi::settings::Settings;
use lb_userspace::dataplane::loader::Loaded;
use lb_userspace::dataplane::pins::{Geometry, Pins};
use lb_userspace::dataplane::{DataplaneError, cpus, objects};
use object::{Object as _, ObjectSection as _};

/// No instruction has this opcode.
const NONSENSE: [u8; 8] = [0xff, 0, 0, 0, 0, 0, 0, 0];
/// Opcode of a call, which the loader relocates.
const CALL: u8 = 0x85;
/// Opcode of a 64-bit constant, which takes two places.
const WIDE: u8 = 0x18;

#[test]
fn a_refused_program_leaves_its_log_in_a_file_and_one_line_for_people() {
    if !nix::unistd::geteuid().is_root() {
        panic!("this test loads eBPF programs: run it as root (cargo xtask test does)");
    }
    let mut broken = objects::DIRECTOR.to_vec();
    let file = object::File::parse(objects::DIRECTOR).unwrap();
    let (offset, _) = file.section_by_name("xdp").unwrap().file_range().unwrap();
    // The first instruction that the loader does not touch.
    let begin = offset as usize;
    let place = (begin..).step_by(NONSENSE.len()).find(|at| ![CALL, WIDE].contains(&broken[*at])).unwrap();
    broken[place..place + NONSENSE.len()].copy_from_slice(&NONSENSE);

    let name = format!("/sys/fs/bpf/xvs-test-refusal-{}", std::process::id());
    let pins = Pins::new(name.as_ref());
    pins.prepare().unwrap();
    let directory = tempfile::tempdir().unwrap();
    let log = directory.path().join("state").join("verifier.log");
    let geometry = Geometry::for_connections(64, 16, 64, cpus().unwrap()).unwrap();
    let error =
        Loaded::load(&broken, &pins, &geometry, &Settings::default(), &log).err().expect("the verifier refuses it");
    pins.remove_maps().unwrap();
    fs::remove_dir_all(&name).unwrap();

    assert!(matches!(error, DataplaneError::Verifier { .. }), "{error}");
    let line = error.to_string();
    assert!(!line.contains('\n') && line.contains(&log.display().to_string()), "{line}");
    let words = fs::read_to_string(&log).unwrap();
    assert!(words.contains("opcode"), "{words}");
}
