//! What is counted, per CPU: every packet by its verdict, every forwarded one by its real. A service has carried what its reals have:
//! user space adds them up, so that a packet pays for one counter less.

use lb_common::abi::verdict::Verdict;

use crate::maps::counters;

/// Counts the end of the life of a packet that is not sent on.
#[inline(always)]
pub(crate) fn ended(verdict: Verdict) {
    counters::add_verdict(counters::cpu(), verdict);
}

/// Counts a packet that was sent on; `length` from the IP header on.
#[inline(always)]
pub(crate) fn forwarded(real: u64, length: u32, verdict: Verdict) {
    let cpu = counters::cpu();
    counters::add_verdict(cpu, verdict);
    let counters = counters::real(cpu, real);
    counters.packets += 1;
    counters.bytes += u64::from(length);
}

/// Counts an answer that was sent on to its client.
#[inline(always)]
pub(crate) fn answered(real: u64, length: u32, verdict: Verdict) {
    let cpu = counters::cpu();
    counters::add_verdict(cpu, verdict);
    let counters = counters::real(cpu, real);
    counters.reply_packets += 1;
    counters.reply_bytes += u64::from(length);
}
