//! The daemon's memory. The tables are the kernel's: the daemon maps what it looks at, and keeps no mapping.

use lb_lab::Plan;
use lb_lab::plan::Family;

use crate::hold::Held;
use crate::stage::{self, wait};

/// Bytes of the tables that stay mapped: settings, verdicts, shapes, local addresses and fragments are less.
const SMALL: u64 = 1 << 20;

/// Bytes of kernel maps in the address space of a process.
fn mapped(pid: u32) -> u64 {
    let maps = std::fs::read_to_string(format!("/proc/{pid}/maps")).unwrap();
    let tables = maps.lines().filter(|line| line.contains("bpf-map"));
    let bytes = tables.map(|line| {
        let (first, rest) = line.split_once('-').unwrap();
        let end = rest.split_once(' ').unwrap().0;
        u64::from_str_radix(end, 16).unwrap() - u64::from_str_radix(first, 16).unwrap()
    });
    bytes.sum()
}

#[test]
fn no_table_stays_mapped_that_nobody_looks_at() {
    stage::with("memory", Plan::one_arm(2), |stage| {
        let (key, target) = stage::http(Family::V4, 0);
        let reals = stage.reals(Family::V4, &[1, 1]);
        stage.apply_and_wait(&format!("[[service]]\naddress = \"{target}\"\n{reals}"));
        let pid = stage.cluster.director().pid().unwrap();
        let unmapped = || {
            wait("the tables are unmapped", || match mapped(pid) {
                bytes if bytes < SMALL => Ok(()),
                bytes => Err(format!("{bytes} bytes")),
            });
        };
        unmapped();
        let mut held = Held::open(stage, target);
        held.ask().unwrap();
        // Counters, loads and connections are read after each, and what is written again is there again.
        for weight in [3, 4] {
            stage.apply_and_wait(&format!(
                "[[service]]\naddress = \"{target}\"\n{}",
                stage.reals(Family::V4, &[weight, 1])
            ));
            wait("the connection is counted", || match stage.service(&key) {
                view if (view.active, view.counters.connections) == (1, 1) => Ok(()),
                view => Err(format!("{view:?}")),
            });
            assert_eq!(stage.connections(&key).total, 1);
            assert_eq!(stage.status().connections.used_v4, 1);
            unmapped();
        }
        held.ask().unwrap();
    });
}
