//! The daemon dies and comes back while requests run: none fails, nothing is forgotten.
//!
//! A restarted daemon loads its program anew and puts it in the old one's place on the same link (`bpf_link_update`): the test sees
//! the program's number change and the link's stay, and for an upgrade its code as well.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::net::SocketAddr;
use std::ops::Range;
use std::os::unix::fs::PermissionsExt as _;
use std::path::PathBuf;
use std::time::Duration;

use lb_common::abi::names::PROGRAM_DIRECTOR;
use lb_lab::load::{Load, LoadSpec};
use lb_lab::plan::{DIRECTOR, Family};
use lb_lab::{Netns, Plan, paths};
use object::{Architecture, Object as _, ObjectSection as _, ObjectSymbol as _};

use crate::hold::Held;
use crate::stage::{self, Stage, wait};

/// Waits until a load has had so many more answers.
fn more(load: &Load, answers: u64) {
    let begin = load.snapshot().requests;
    wait(&format!("{answers} more answers"), || match load.snapshot().requests - begin {
        seen if seen >= answers => Ok(()),
        seen => Err(format!("{seen}")),
    });
}

/// Which real each of these clients is connected to.
fn kept(stage: &Stage, key: &str, clients: &BTreeSet<SocketAddr>) -> BTreeMap<SocketAddr, SocketAddr> {
    let connections = stage.connections(key).connections.into_iter();
    connections.filter(|entry| clients.contains(&entry.client)).map(|entry| (entry.client, entry.real)).collect()
}

#[test]
fn killed_and_started_again_under_load_no_request_fails() {
    stage::with("kill", Plan::one_arm(3), |stage| {
        let (key, target) = stage::http(Family::V4, 0);
        let reals = stage.reals(Family::V4, &[5, 3, 2]);
        let service = format!("[[service]]\naddress = \"{target}\"\nscheduler = \"wrr\"\n{reals}");
        stage.apply_and_wait(&service);
        let mut held: Vec<Held> = (0..20).map(|_| Held::open(stage, target)).collect();
        let answered: Vec<String> = held.iter_mut().map(|held| held.ask().unwrap()).collect();
        let clients: BTreeSet<SocketAddr> = held.iter().map(Held::client).collect();
        let before = kept(stage, &key, &clients);
        assert_eq!(before.len(), held.len());
        let mut last = stage.status();

        let load = Load::start(stage.cluster.client().unwrap(), LoadSpec::new(target, None)).unwrap();
        more(&load, 300);
        for _ in 0..5 {
            stage.cluster.director_mut().kill();
            // Nobody there: traffic goes on, and the command line says so.
            more(&load, 500);
            assert_eq!(stage.cluster.director().output(&["status"]).unwrap().status.code(), Some(3));
            stage.cluster.director_mut().restart().unwrap();
            more(&load, 500);
            let now = stage.status();
            assert_eq!(now.revision, last.revision);
            assert_ne!(now.pid, last.pid);
            let (was, is) = (&last.interfaces[0], &now.interfaces[0]);
            assert_eq!((is.link_id, &is.name, is.index), (was.link_id, &was.name, was.index));
            assert_ne!(is.program_id, was.program_id, "the restarted daemon's own program took over");
            assert_eq!(kept(stage, &key, &clients), before, "connections");
            last = now;
        }
        let report = load.stop();
        assert_eq!(report.failed, 0, "{:?}", report.errors);
        let again: Vec<String> = held.iter_mut().map(|held| held.ask().unwrap()).collect();
        assert_eq!(again, answered, "open connections stay with their reals");
        let given: u64 = stage.scheduled(&key).values().sum();
        assert_eq!(given, report.requests + held.len() as u64, "counters go on over restarts");
        let shares = report.shares();
        for (name, share) in [("real1", 0.5), ("real2", 0.3), ("real3", 0.2)] {
            assert!((shares[name] - share).abs() <= 0.01, "{shares:?}");
        }
        println!("5 kills, {} requests, {} failed, shares {shares:?}", report.requests, report.failed);
    });
}

/// A copy of the binary whose director has other instructions that do the same: wherever it sets a 32-bit register to a small number
/// it sets all 64 bits. What an upgrade is to the kernel: another program, with another tag.
fn rebuilt(stage: &Stage) -> PathBuf {
    const SET_32: u8 = 0xb4;
    const SET_64: u8 = 0xb7;
    let mut binary = fs::read(paths::xvs().unwrap()).unwrap();
    let code = director_code(&binary);
    let code = &mut binary[code];
    let mut changed = 0;
    for instruction in code.chunks_exact_mut(8) {
        // A wide constant's second half has opcode 0; a negative number would be extended.
        if instruction[0] == SET_32 && instruction[7] == 0 {
            instruction[0] = SET_64;
            changed += 1;
        }
    }
    assert!(changed > 10, "{changed} instructions changed");
    let path = stage.cluster.director().socket().with_file_name("xvs-rebuilt");
    fs::write(&path, binary).unwrap();
    fs::set_permissions(&path, fs::Permissions::from_mode(0o755)).unwrap();
    path
}

/// Where the binary carries the instructions of the director's program.
fn director_code(binary: &[u8]) -> Range<usize> {
    let begins = binary.windows(4).enumerate().filter(|(_, word)| word == b"\x7fELF").map(|(at, _)| at);
    let mut objects = begins.filter_map(|at| {
        let aligned = binary[at..].to_vec();
        let file = object::File::parse(aligned.as_slice()).ok()?;
        let symbol = file.symbols().find(|symbol| symbol.name() == Ok(PROGRAM_DIRECTOR))?;
        let (begin, length) = file.section_by_index(symbol.section_index()?).ok()?.file_range()?;
        (file.architecture() == Architecture::Bpf).then(|| at + begin as usize..at + (begin + length) as usize)
    });
    objects.next().expect("the binary carries the director's object")
}

/// The kernel's tag of a program: a hash of its instructions.
fn tag(program_id: u32) -> u64 {
    let mut programs = aya::programs::loaded_programs().map(Result::unwrap);
    programs.find(|program| program.id() == program_id).expect("a loaded program").tag()
}

#[test]
fn upgraded_to_a_program_of_other_code_under_load_no_request_fails() {
    stage::with("upgrade", Plan::one_arm(3), |stage| {
        let (_, target) = stage::http(Family::V4, 0);
        let reals = stage.reals(Family::V4, &[1, 1, 1]);
        stage.apply_and_wait(&format!("[[service]]\naddress = \"{target}\"\nscheduler = \"rr\"\n{reals}"));
        let mut held = Held::open(stage, target);
        let answered = held.ask().unwrap();
        let before = stage.status().interfaces[0].clone();
        let load = Load::start(stage.cluster.client().unwrap(), LoadSpec::new(target, None)).unwrap();
        more(&load, 500);
        let original = paths::xvs().unwrap();
        let mut tags = vec![tag(before.program_id)];
        for binary in [rebuilt(stage), original] {
            stage.cluster.director_mut().kill();
            stage.cluster.director_mut().upgrade(binary);
            stage.cluster.director_mut().restart().unwrap();
            more(&load, 1000);
            let now = stage.status().interfaces[0].clone();
            assert_eq!(now.link_id, before.link_id);
            tags.push(tag(now.program_id));
        }
        assert_ne!(tags[0], tags[1], "the code differs");
        assert_eq!(tags[0], tags[2], "and is the old one again");
        let report = load.stop();
        assert_eq!(report.failed, 0, "{:?}", report.errors);
        assert_eq!(held.ask().unwrap(), answered, "an open connection stays with its real");
        println!("program tags {tags:x?}: {} requests, {} failed", report.requests, report.failed);
    });
}

/// SIGTERM ends the daemon, not the balancing; and what was changed by command survives, as the file has not changed.
#[test]
fn stopped_in_order_the_changes_by_command_survive() {
    stage::with("term", Plan::one_arm(2), |stage| {
        let (key, target) = stage::http(Family::V6, 1);
        stage.apply_and_wait(&format!("[[service]]\naddress = \"{target}\"\n{}", stage.reals(Family::V6, &[1, 1])));
        let real2 = stage.address("real2", Family::V6).to_string();
        stage.cluster.director().xvs(&["real", "edit", &key, &real2, "--weight", "7"]).unwrap();
        let (revision, spec) = (stage.status().revision, stage.cluster.director().xvs(&["export"]).unwrap());
        assert!(spec.contains("weight = 7"), "{spec}");
        let load = Load::start(stage.cluster.client().unwrap(), LoadSpec::new(target, None)).unwrap();
        more(&load, 200);
        stage.cluster.director_mut().stop().unwrap();
        more(&load, 200);
        stage.cluster.director_mut().restart().unwrap();
        more(&load, 200);
        assert_eq!((stage.status().revision, stage.cluster.director().xvs(&["export"]).unwrap()), (revision, spec));
        let report = load.stop();
        assert_eq!(report.failed, 0, "{:?}", report.errors);
    });
}

/// Killed in the midst of changes, at a moment that nobody chose: what is there afterwards is one of the Specs, whole.
#[test]
fn killed_while_changing_it_comes_back_whole() {
    stage::with("midst", Plan::one_arm(3), |stage| {
        let (key, target) = stage::http(Family::V4, 0);
        let spec = |stage: &Stage, weights: &[u32]| {
            format!("[[service]]\naddress = \"{target}\"\nscheduler = \"mh\"\n{}", stage.reals(Family::V4, weights))
        };
        let texts = [spec(stage, &[1, 1, 1]), spec(stage, &[5, 3, 2])];
        stage.apply_and_wait(&texts[0]);
        let files = [0, 1].map(|n| stage.cluster.topology().directory().join(format!("midst{n}.toml")));
        files.iter().zip(&texts).for_each(|(file, text)| fs::write(file, text).unwrap());
        let load = Load::start(stage.cluster.client().unwrap(), LoadSpec::new(target, None)).unwrap();
        for round in 0..8 {
            let revision = stage.status().revision;
            std::thread::scope(|scope| {
                let director = stage.cluster.director();
                let (files, pid) = (&files, director.pid().unwrap());
                let changes = scope.spawn(move || {
                    (0..1000)
                        .take_while(|n| {
                            director.output(&["apply", files[n % 2].to_str().unwrap()]).unwrap().status.success()
                        })
                        .count()
                });
                std::thread::sleep(Duration::from_millis(40 + 23 * round));
                let pid = nix::unistd::Pid::from_raw(i32::try_from(pid).unwrap());
                nix::sys::signal::kill(pid, nix::sys::signal::Signal::SIGKILL).unwrap();
                changes.join().unwrap();
            });
            stage.cluster.director_mut().kill();
            stage.cluster.director_mut().restart().unwrap();
            assert!(stage.status().revision >= revision);
            stage.cluster.wait_states(&key, &BTreeMap::new()).unwrap();
            let weights: Vec<u32> = stage.service(&key).reals.iter().map(|real| real.effective_weight).collect();
            assert!(weights == [1, 1, 1] || weights == [5, 3, 2], "{weights:?}");
        }
        let report = load.stop();
        assert_eq!(report.failed, 0, "{:?}", report.errors);
        println!("8 kills while changing, {} requests, {} failed", report.requests, report.failed);
    });
}

/// A pin outlives its interface. Another one may have its name and number: in a network namespace that was made anew, or here.
#[test]
fn a_link_whose_interface_is_gone_is_no_attachment() {
    stage::with("gone", Plan::one_arm(1), |stage| {
        let (_, target) = stage::http(Family::V4, 0);
        let service = format!("[[service]]\naddress = \"{target}\"\n{}", stage.reals(Family::V4, &[1]));
        let host = Netns::existing(stage.cluster.topology().lab(), DIRECTOR).unwrap();
        let make = || {
            host.ip_batch(
                "link add more index 77 type veth peer name other index 78\nlink set more up\nlink set other up\n",
            )
        };
        let has_program = |interface: &str| host.run(&["ip", "link", "show", interface]).unwrap().contains("prog/xdp");
        let xvs = paths::xvs().unwrap();
        let peer = |verb: &str| host.run(&[xvs.to_str().unwrap(), "veth-peer", verb, "other"]).unwrap();
        make().unwrap();
        assert_eq!((peer("attach"), peer("attach")), ("other: attached\n".to_owned(), String::new()));
        stage.apply_and_wait(&format!("[director]\ninterfaces = [\"eth0\", \"more\"]\n{service}"));
        assert!(has_program("more") && has_program("other"));

        stage.cluster.director_mut().kill();
        host.run(&["ip", "link", "delete", "more"]).unwrap();
        make().unwrap();
        assert!(!has_program("more") && !has_program("other"));
        assert_eq!(peer("attach"), "other: attached\n");
        stage.cluster.director_mut().restart().unwrap();
        wait("the new interface is served", || if has_program("more") { Ok(()) } else { Err("not yet".to_owned()) });
        assert!(has_program("other"));
        assert_eq!(peer("detach"), "other: detached\n");
    });
}
