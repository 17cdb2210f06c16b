//! What is counted, per CPU: every packet by its verdict, every forwarded one by its real, every answer by its real. A service has carried what its reals have:
//! user space adds them up, so that a packet pays for one counter less.

use aya_ebpf::bindings::xdp_action;
use lb_common::abi::counters::VERDICT_SLOTS;
use lb_common::abi::verdict::{Action, Verdict};
use lb_ebpf::immediate::masked;

use crate::maps::counters;
use crate::pipeline::ActionNumber;

/// Counts the end of the life of a packet that is not sent on.
#[inline(always)]
pub(crate) fn ended(verdict: Verdict) {
    // The compiler makes some verdicts out of other numbers by a shift; the verifier does not see that they are small.
    counters::add_verdict(counters::cpu(), masked::<{ VERDICT_SLOTS - 1 }>(verdict as u32));
}

/// Counts a packet that is none of the director's business, and says what the kernel is to do with it. It ends here and not with all others,
/// where its verdict and its action would be looked up, though they are known.
#[inline(always)]
pub(crate) fn nobodys() -> ActionNumber {
    const { assert!(matches!(Verdict::NotAService.action(), Action::Pass)) };
    counters::add_verdict(counters::cpu(), Verdict::NotAService as u32);
    xdp_action::XDP_PASS as ActionNumber
}

/// Counts a packet that was sent on; `length` from the IP header on.
#[inline(always)]
pub(crate) fn forwarded(real: u64, length: u32, verdict: Verdict) {
    let cpu = counters::cpu();
    counters::add_verdict(cpu, verdict as u32);
    let counters = counters::real(cpu, real);
    counters.packets += 1;
    counters.bytes += u64::from(length);
}

/// Counts what a real has got of a packet whose verdict is counted elsewhere.
#[inline(always)]
pub(crate) fn carried(real: u64, length: u32) {
    let counters = counters::real(counters::cpu(), real);
    counters.packets += 1;
    counters.bytes += u64::from(length);
}

/// Counts what a real has answered; its verdict is counted elsewhere.
#[inline(always)]
pub(crate) fn answered(real: u64, length: u32) {
    let counters = counters::real(counters::cpu(), real);
    counters.reply_packets += 1;
    counters.reply_bytes += u64::from(length);
}
