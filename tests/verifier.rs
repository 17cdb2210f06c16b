//! What the kernel's verifier has to walk, and the stack: a budget each, so that a change which costs much is seen when it is made.
//!
//! The verifier gives up at one million instructions; older kernels prune less well than the one that these numbers are from, so
//! the director must stay far below.

use std::collections::BTreeMap;

use aya::Ebpf;
use lb_common::abi::names::{PROGRAM_CLOCK, PROGRAM_DECAP, PROGRAM_DIRECTOR, PROGRAM_PASS};
use lb_common::abi::settings::Settings;
use lb_tests::director::possible_cpus;
use lb_tests::program::{Size, size, stacks};
use lb_userspace::dataplane::loader::parse_over;
use lb_userspace::dataplane::memory::Memory;
use lb_userspace::dataplane::objects;
use lb_userspace::dataplane::pins::Geometry;

/// What a program may cost, with the reason for the size.
struct Budget {
    program: &'static str,
    /// Instructions walked when this was written, by the kernel that walks most (6.18); more than a tenth above fails.
    verified: u32,
    /// Bytes of stack over the deepest chain of calls, each frame rounded up to 32 as kernel 6.1 does; 512 are allowed.
    stack: u32,
    /// The deepest chain of calls: a part of each function's (mangled) name, of several that match the one with the most stack.
    chain: &'static [&'static str],
    /// Why it is what it is.
    #[expect(dead_code, reason = "for the reader of the table")]
    reason: &'static str,
}

const BUDGETS: [Budget; 4] = [
    Budget {
        program: PROGRAM_DIRECTOR,
        verified: 206_000,
        stack: 416,
        chain: &["xvs", "xvs_begin_v6", "xvs_choose", "6repeat4call"],
        reason: "two families, each with up to two tags, seven extension headers, whole or a first fragment, and five ways out; new \
                 connections, later fragments, ICMP and messages once each, as global functions. Tunnels keep nothing over the move of \
                 the head, so that their place is in the caller's frame for nearly nothing; 96 bytes are left for what comes",
    },
    Budget {
        program: PROGRAM_DECAP,
        verified: 4_100,
        stack: 64,
        chain: &["xvs_decap", "10xvs_decap"],
        reason: "two outer and two inner headers, four kinds of header between, one hash lookup each",
    },
    Budget {
        program: PROGRAM_PASS,
        verified: 2,
        stack: 64,
        chain: &["xvs_pass", "8xvs_pass"],
        reason: "returns a constant",
    },
    Budget {
        program: PROGRAM_CLOCK,
        verified: 10,
        stack: 64,
        chain: &["xvs_clock", "9xvs_clock"],
        reason: "one helper, inlined",
    },
];

fn loaded() -> BTreeMap<&'static str, (Size, &'static [u8])> {
    let geometry = Geometry { buckets_v4: 2, buckets_v6: 2, reals: 2, cpus: possible_cpus(), reply_buckets: 2 };
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
        let stacks = stacks(object);
        let frame = |part: &&str| {
            let named = stacks.iter().filter(|(name, _)| {
                *name == part || (part.contains(|c: char| c.is_ascii_digit()) && name.contains(*part))
            });
            // A function that was inlined into its caller has no frame.
            named.map(|(_, bytes)| *bytes).max().unwrap_or(0)
        };
        let frames: Vec<u32> = budget.chain.iter().map(frame).collect();
        let stack: u32 = frames.iter().sum();
        println!(
            "{:<10} {:>9} {:>9} {:>10} {:>8} {stack:>6}  {frames:?}",
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
