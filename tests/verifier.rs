//! What the kernel's verifier has to walk, and the stack: a budget each, so that a change which costs much is seen when it is made.
//!
//! The verifier gives up at one million instructions; older kernels prune less well than the one that these numbers are from, so
//! the director must stay far below.

use std::collections::BTreeMap;

use aya::Ebpf;
use lb_common::abi::names::{PROGRAM_CLOCK, PROGRAM_DECAP, PROGRAM_DIRECTOR, PROGRAM_PASS};
use lb_common::abi::settings::Settings;
use lb_tests::director::possible_cpus;
use lb_tests::program::{Chain, Size, deepest, size};
use lb_userspace::dataplane::loader::parse_over;
use lb_userspace::dataplane::memory::Memory;
use lb_userspace::dataplane::objects;
use lb_userspace::dataplane::pins::{Buckets, Geometry};

/// What a program may cost, with the reason for the size.
struct Budget {
    program: &'static str,
    /// Instructions walked when this was written, by the kernel that walks most (6.1); more than a tenth above fails.
    verified: u32,
    /// Bytes of stack over the deepest chain of calls, each frame rounded up to 32 as kernel 6.1 does; 512 are allowed.
    stack: u32,
    /// Why it is what it is.
    #[expect(dead_code, reason = "for the reader of the table")]
    reason: &'static str,
}

const BUDGETS: [Budget; 4] = [
    Budget {
        program: PROGRAM_DIRECTOR,
        verified: 525_000,
        stack: 512,
        reason: "two families, each with up to two tags, seven extension headers, whole or a first fragment, and eight ways out; new \
                 connections, answers of the other family, later fragments, ICMP and messages once each, as global functions. Kernel \
                 6.18 walks 530 000. The stack is spent: what comes has to be called by the pipeline, not by the functions it calls",
    },
    Budget {
        program: PROGRAM_DECAP,
        verified: 4_100,
        stack: 96,
        reason: "two outer and two inner headers, four kinds of header between, one hash lookup each",
    },
    Budget { program: PROGRAM_PASS, verified: 2, stack: 64, reason: "returns a constant" },
    Budget { program: PROGRAM_CLOCK, verified: 10, stack: 64, reason: "one helper, inlined" },
];

const SMALL: Buckets = Buckets { first: 2, overflow: 2 };

fn loaded() -> BTreeMap<&'static str, (Size, &'static [u8])> {
    let geometry = Geometry { v4: SMALL, v6: SMALL, reals: 2, cpus: possible_cpus(), reply_buckets: 2 };
    let memory = Memory::unpinned(&geometry).expect("tables can be made (as root?)");
    let mut director = parse_over(objects::DIRECTOR, &memory, &geometry, &Settings::default(), &[])
        .expect("the director's object is whole");
    let mut realserver = Ebpf::load(objects::REALSERVER).expect("the real server's object loads");
    let mut clock = Ebpf::load(objects::CLOCK).expect("the clock's object loads");
    BTreeMap::from([
        (PROGRAM_DIRECTOR, (size(&mut director, PROGRAM_DIRECTOR), objects::DIRECTOR)),
        (PROGRAM_DECAP, (size(&mut realserver, PROGRAM_DECAP), objects::REALSERVER)),
        (PROGRAM_PASS, (size(&mut realserver, PROGRAM_PASS), objects::REALSERVER)),
        (PROGRAM_CLOCK, (size(&mut clock, PROGRAM_CLOCK), objects::CLOCK)),
    ])
}

#[test]
fn programs_stay_inside_their_budgets() {
    let loaded = loaded();
    let mut over = Vec::new();
    println!(
        "{:<10} {:>9} {:>9} {:>10} {:>8} {:>6}",
        "program", "verified", "budget", "translated", "machine", "stack"
    );
    for budget in &BUDGETS {
        let (size, object) = loaded[budget.program];
        let Chain { bytes: stack, frames } = deepest(object, budget.program);
        let frames: Vec<String> = frames.iter().map(|(name, bytes)| format!("{name} {bytes}")).collect();
        let frames = frames.join(", ");
        println!(
            "{:<10} {:>9} {:>9} {:>10} {:>8} {stack:>6}  {frames}",
            budget.program, size.verified, budget.verified, size.translated, size.machine
        );
        if size.verified > budget.verified + budget.verified / 10 {
            over.push(format!(
                "{} walks {} instructions, more than a tenth above its budget of {}",
                budget.program, size.verified, budget.verified
            ));
        }
        if stack > budget.stack {
            over.push(format!("{} takes {stack} B of stack, its budget is {}", budget.program, budget.stack));
        }
    }
    assert!(over.is_empty(), "{}", over.join("\n"));
}
