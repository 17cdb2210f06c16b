//! Nothing stays behind: `xvs detach` gives the interfaces back, and a laboratory that is gone has left no link, pin, namespace,
//! process or directory. Every other test asks the latter too, by [`crate::stage::with`].

use std::collections::BTreeSet;
use std::os::unix::fs::MetadataExt as _;
use std::path::Path;
use std::process::Command;

use lb_lab::load::{Load, LoadSpec};
use lb_lab::plan::{DIRECTOR, Family};
use lb_lab::{Plan, name, run};

use crate::stage::{self, wait};

/// Whether an interface of the director has an XDP program.
fn has_program(stage: &stage::Stage, interface: &str) -> bool {
    let shown =
        stage.cluster.topology().netns(DIRECTOR).unwrap().run(&["ip", "-d", "link", "show", interface]).unwrap();
    shown.contains("xdp")
}

/// What bpftool knows of a link.
fn link_exists(id: u32) -> bool {
    let id = id.to_string();
    run::output(Command::new("bpftool").args(["link", "show", "id", &id])).unwrap().status.success()
}

#[test]
fn detach_gives_the_interfaces_back() {
    stage::with("detach", Plan::two_arm(1), |stage| {
        let (key, target) = stage::http(Family::V4, 0);
        stage.apply_and_wait(&format!("[[service]]\naddress = \"{target}\"\n{}", stage.reals(Family::V4, &[1])));
        let links: Vec<u32> = stage.status().interfaces.iter().map(|link| link.link_id).collect();
        assert_eq!(links.len(), 2);
        assert!(["eth0", "eth1"].iter().all(|interface| has_program(stage, interface)));
        stage.cluster.director_mut().stop().unwrap();
        assert!(["eth0", "eth1"].iter().all(|interface| has_program(stage, interface)), "the daemon alone is gone");
        let report = Load::run(stage.cluster.client().unwrap(), LoadSpec::new(target, Some(50))).unwrap();
        assert_eq!(report.failed, 0, "{:?}", report.errors);

        let director = stage.cluster.director();
        let pins = director.pin_directory().display().to_string();
        director.xvs(&["detach", "--pin-dir", &pins]).unwrap();
        assert!(!Path::new(&pins).exists());
        wait("links gone", || match links.iter().find(|id| link_exists(**id)) {
            None => Ok(()),
            Some(id) => Err(format!("link {id}")),
        });
        assert!(!["eth0", "eth1"].iter().any(|interface| has_program(stage, interface)));
        // Once more is no error, and what was applied serves again with the next daemon.
        director.xvs(&["detach", "--pin-dir", &pins]).unwrap();
        let report = Load::run(stage.cluster.client().unwrap(), LoadSpec::new(target, Some(5))).unwrap();
        assert_eq!(report.failed, 5);
        stage.cluster.director_mut().restart().unwrap();
        stage.cluster.wait_states(&key, &Default::default()).unwrap();
        let report = Load::run(stage.cluster.client().unwrap(), LoadSpec::new(target, Some(50))).unwrap();
        assert_eq!(report.failed, 0, "{:?}", report.errors);
    });
}

/// An interface that the configuration no longer names is given back at once.
#[test]
fn an_interface_that_is_no_longer_named_is_given_back() {
    // By configuration alone: interfaces of the command line stay whatever the file says.
    let only_eth0 = |options: &mut lb_lab::DirectorOptions| options.interfaces = vec!["eth0".to_owned()];
    stage::with_options("named", Plan::two_arm(1), only_eth0, |stage| {
        let (_, target) = stage::http(Family::V4, 0);
        let service = format!("[[service]]\naddress = \"{target}\"\n{}", stage.reals(Family::V4, &[1]));
        stage.apply_and_wait(&format!("[director]\ninterfaces = [\"eth1\"]\n{service}"));
        assert!(has_program(stage, "eth0") && has_program(stage, "eth1"));
        let load = Load::start(stage.cluster.client().unwrap(), LoadSpec::new(target, None)).unwrap();
        // Redirects into a veth need no program on the veth itself, only on its peer.
        for named in [false, true, false] {
            let director = if named { "[director]\ninterfaces = [\"eth1\"]\n" } else { "" };
            stage.apply(&format!("{director}{service}"));
            assert_eq!((has_program(stage, "eth0"), has_program(stage, "eth1")), (true, named));
        }
        let report = load.stop();
        assert!(report.requests > 0 && report.failed == 0, "{:?}", report.errors);
    });
}

#[test]
fn a_laboratory_that_is_gone_has_left_nothing() {
    let mut numbers = BTreeSet::new();
    let mut links = Vec::new();
    stage::with("gone", Plan::one_arm(2), |stage| {
        let (_, target) = stage::http(Family::V4, 0);
        stage.apply_and_wait(&format!("[[service]]\naddress = \"{target}\"\n{}", stage.reals(Family::V4, &[1, 1])));
        let report = Load::run(stage.cluster.client().unwrap(), LoadSpec::new(target, Some(50))).unwrap();
        assert_eq!(report.failed, 0, "{:?}", report.errors);
        links = stage.status().interfaces.iter().map(|link| link.link_id).collect();
        for host in stage.cluster.topology().plan().namespaces() {
            let path = stage.cluster.topology().netns(&host).unwrap().path().to_owned();
            numbers.insert(std::fs::metadata(path).unwrap().ino().to_string());
        }
    });
    wait("links gone", || match links.iter().find(|id| link_exists(**id)) {
        None => Ok(()),
        Some(id) => Err(format!("link {id}")),
    });
    // Pins of reals and switch ports carry their namespace's number.
    let pins = std::fs::read_dir(name::HOST_PINS).into_iter().flatten();
    let pins: Vec<String> = pins.map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect();
    assert!(!pins.iter().any(|pin| numbers.iter().any(|number| pin.contains(number))), "{pins:?}");
}
