//! A user's script that knows `ipvsadm` only, with traffic before and after: what it saves, flushes and restores serves again.

use std::collections::BTreeMap;
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};

use lb_lab::load::{Load, LoadSpec};
use lb_lab::plan::{self, Family};
use lb_lab::{Plan, paths, run};

use crate::stage::{self, Stage};

/// A directory with the binary under its other name, and room for the script's texts.
struct Scripts(PathBuf);

impl Scripts {
    fn new() -> Self {
        let directory = std::env::temp_dir().join(format!("xvs-lvs-user-{}", std::process::id()));
        std::fs::create_dir_all(&directory).unwrap();
        symlink(paths::xvs().unwrap(), directory.join("ipvsadm")).unwrap();
        Self(directory)
    }

    /// Runs a step of the script on the director, which must succeed.
    fn run(&self, stage: &Stage, step: &str) {
        let director = stage.cluster.topology().netns(plan::DIRECTOR).unwrap();
        let mut command = director.command(paths::workspace().join("tests/scripts/lvs-user.sh"));
        let path = std::env::var("PATH").unwrap_or_default();
        command.env("PATH", format!("{}:{path}", self.0.display()));
        command.env("XVS_SOCKET", stage.cluster.director().socket());
        for (name, address) in [
            ("VIP", plan::vip(Family::V4, 0)),
            ("VIP6", plan::vip(Family::V6, 0)),
            ("R1", stage.address("real1", Family::V4)),
            ("R2", stage.address("real2", Family::V4)),
            ("R3", stage.address("real3", Family::V4)),
            ("R6", stage.address("real1", Family::V6)),
        ] {
            command.env(name, address.to_string());
        }
        run::succeed(command.args([Path::new(step), &self.0])).unwrap();
    }
}

impl Drop for Scripts {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.0);
    }
}

/// A thousand requests, all answered, by weights 5, 3 and 2. Two CPUs may choose at the same time, so a turn may be off by a few.
fn serves(stage: &Stage) {
    let (key, target) = stage::http(Family::V4, 0);
    stage.cluster.wait_states(&key, &BTreeMap::new()).unwrap();
    let report = Load::run(stage.cluster.client().unwrap(), LoadSpec::new(target, Some(1000))).unwrap();
    assert_eq!((report.failed, report.requests), (0, 1000), "{:?}", report.errors);
    for (name, share) in [("real1", 500), ("real2", 300), ("real3", 200)] {
        let answered = report.reals.get(name).copied().unwrap_or(0);
        assert!(answered.abs_diff(share) <= 10, "{:?}", report.reals);
    }
}

#[test]
fn a_users_script_gives_the_same_texts_and_the_same_service_before_and_after() {
    stage::with("lvs-user", Plan::one_arm(3), |stage| {
        let scripts = Scripts::new();
        scripts.run(stage, "create");
        serves(stage);
        scripts.run(stage, "count");
        scripts.run(stage, "again");
        serves(stage);
        scripts.run(stage, "count");
    });
}
