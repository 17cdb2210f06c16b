//! What the kernel's verifier has to walk, and the stack: a budget each, so that a change which costs much is seen when it is made.
//!
//! The verifier gives up at one million instructions; older kernels prune less well than the one that these numbers are from, so
//! the director must stay far below.

use lb_common::abi::names::{PROGRAM_CLOCK, PROGRAM_DECAP, PROGRAM_DIRECTOR, PROGRAM_PASS};
use lb_tests::program::Chain;
use lb_tests::shipped::{self, Shipped};

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
        verified: 834_000,
        stack: 512,
        reason: "two families, each for plain packets and once more with up to two tags, seven extension headers, whole or a first \
                 fragment, and eight ways out; new connections, answers of the other family, later fragments, ICMP and messages once each, \
                 as global functions. Kernel 6.18 walks 751 000; without the ways for plain packets 6.1 would walk 680 000. The stack is spent: what comes has to be called by the pipeline, not by the functions it calls",
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

#[test]
fn programs_stay_inside_their_budgets() {
    let shipped = shipped::all();
    assert_eq!(shipped.len(), BUDGETS.len(), "each has a budget");
    let mut over = Vec::new();
    println!(
        "{:<10} {:>9} {:>9} {:>10} {:>8} {:>6}",
        "program", "verified", "budget", "translated", "machine", "stack"
    );
    for budget in &BUDGETS {
        let found = shipped.iter().find(|shipped| shipped.program == budget.program);
        let Shipped { size, chain: Chain { bytes: stack, frames }, .. } = found.expect("the program is shipped");
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
        if *stack > budget.stack {
            over.push(format!("{} takes {stack} B of stack, its budget is {}", budget.program, budget.stack));
        }
    }
    assert!(over.is_empty(), "{}", over.join("\n"));
}
