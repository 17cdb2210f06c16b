//! What is counted, per CPU: every packet by its verdict, every forwarded one by its service and its real.

use lb_common::abi::verdict::Verdict;

use crate::maps::counters;

/// Counts the end of a packet's life.
#[inline(always)]
pub(crate) fn verdict(verdict: Verdict) {
    counters::add_verdict(lb_ebpf::helpers::cpu(), verdict);
}

/// Counts a packet that was sent on; `length` from the IP header on.
#[inline(always)]
pub(crate) fn forwarded(service: u32, real: u32, length: u32) {
    let cpu = lb_ebpf::helpers::cpu();
    if let Some(counters) = counters::service(cpu, service) {
        counters.packets += 1;
        counters.bytes += u64::from(length);
    }
    if let Some(counters) = counters::real(cpu, real) {
        counters.packets += 1;
        counters.bytes += u64::from(length);
    }
}
