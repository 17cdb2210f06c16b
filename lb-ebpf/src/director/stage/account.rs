//! What is counted, per CPU: every packet by its verdict, every forwarded one by its real. A service has carried what its reals have:
//! user space adds them up, so that a packet pays for one counter less.

use lb_common::abi::verdict::Verdict;

use crate::maps::counters;

/// Counts the end of a packet's life.
#[inline(always)]
pub(crate) fn verdict(verdict: Verdict) {
    counters::add_verdict(lb_ebpf::helpers::cpu(), verdict);
}

/// Counts a packet that was sent on; `length` from the IP header on.
#[inline(always)]
pub(crate) fn forwarded(real: u32, length: u32) {
    if let Some(counters) = counters::real(lb_ebpf::helpers::cpu(), real) {
        counters.packets += 1;
        counters.bytes += u64::from(length);
    }
}
