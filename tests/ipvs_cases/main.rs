//! What the kernel's own IPVS did, recorded with real connections, is done again by our director, set up by the same `ipvsadm` lines:
//! the same reals are chosen, the same is listed, the same is refused; or it is listed in [`differences`] with a reason.
//! Needs root, the release build and the recorded cases; see docs/testing.md.
//!
//! | module | what it holds |
//! |---|---|
//! | `recorded` | the files |
//! | `network`, `servers`, `client` | the hosts, and what they say to each other |
//! | `marks` | firewall rules as rules of ours |
//! | `play` | a case, from set-up to listings |
//! | `listing`, `compare` | what of it is not the same |
//! | `differences`, `document` | what is not the same on purpose |

mod client;
mod compare;
mod differences;
#[cfg(test)]
mod document;
mod listing;
mod marks;
mod network;
mod play;
mod recorded;
mod servers;

use std::collections::BTreeSet;
use std::env;
use std::fmt::Write as _;
use std::time::Instant;

use lb_lab::LabName;
use lb_lab::residue::{Residue, Scope};

use nix::sched::{CpuSet, sched_setaffinity};
use nix::unistd::Pid;

use crate::compare::Finding;
use crate::recorded::Case;

#[test]
fn recorded_cases() {
    let Some(cases) = recorded::read() else {
        println!("skipped: no recorded cases in {}; XVS_IPVS_CASES names another folder", recorded::path().display());
        return;
    };
    assert!(nix::unistd::geteuid().is_root(), "needs root: network namespaces and BPF");
    one_cpu();
    // Part of a name, to look at one case.
    let only = env::var("XVS_IPVS_CASE").unwrap_or_default();
    let (mut same, mut on_purpose, mut wrong) = (0, 0, Vec::new());
    for (id, case) in cases.iter().filter(|(id, _)| id.contains(&only)) {
        let started = Instant::now();
        let outcome = case.as_ref().map_err(Clone::clone).and_then(one);
        let seconds = started.elapsed().as_secs_f32();
        match outcome {
            Ok((found, reasons)) if found.is_empty() && reasons.is_empty() => {
                same += 1;
                println!("{id}: same ({seconds:.1} s)");
            }
            Ok((found, reasons)) if found.is_empty() => {
                on_purpose += 1;
                println!("{id}: different on purpose: {} ({seconds:.1} s)", reasons.join("; "));
            }
            Ok((found, _)) => {
                println!("{id}: WRONG ({seconds:.1} s)\n{}", shown(&found));
                wrong.push(format!(
                    "{id}: {}",
                    found.iter().map(|finding| &*finding.what).collect::<Vec<_>>().join(", ")
                ));
            }
            Err(error) => {
                println!("{id}: WRONG ({seconds:.1} s): {error}");
                wrong.push(format!("{id}: {error}"));
            }
        }
    }
    println!("{same} the same, {on_purpose} different on purpose, {} wrong", wrong.len());
    assert!(wrong.is_empty(), "cases that are not as recorded or listed:\n{}", wrong.join("\n"));
    assert!(same > 0 || !only.is_empty(), "nothing was compared");
    // Of another folder's cases nobody has said which they are.
    let recorded: BTreeSet<&str> = cases.keys().map(String::as_str).collect();
    let unknown: Vec<_> = differences::listed_cases().into_iter().filter(|id| !recorded.contains(id)).collect();
    assert!(unknown.is_empty() || recorded::is_elsewhere(), "listed as different, and not recorded: {unknown:?}");
}

/// Keeps this thread and all that it starts on one CPU: the packets of a veth pair are taken up where they were sent, and who comes
/// next in turn is exact for each CPU (docs/reference/schedulers.md).
fn one_cpu() {
    let mut first = CpuSet::new();
    first.set(0).expect("a first CPU");
    sched_setaffinity(Pid::from_raw(0), &first).expect("its affinity is a thread's own to set");
}

/// Plays a case and shows that nothing of it is left; what differs, and the reasons of what differs on purpose.
fn one(case: &Case) -> Result<(Vec<Finding>, Vec<&'static str>), String> {
    let lab = LabName::unique("ipvs").map_err(|error| error.to_string())?;
    let seen = play::play(&lab, case);
    let left = Residue::find(&Scope::Lab(lab)).lines();
    let seen = seen?;
    if !left.is_empty() {
        return Err(format!("left behind: {}", left.join(", ")));
    }
    let found = compare::findings(case, &seen);
    Ok(differences::without_listed(case, &seen, found))
}

fn shown(found: &[Finding]) -> String {
    let mut text = String::new();
    for Finding { what, lines } in found {
        let _ = writeln!(text, "  {what}:");
        for line in lines.lines() {
            let _ = writeln!(text, "    {line}");
        }
    }
    text
}
