//! Sums over the CPUs' counters.

use std::sync::atomic::Ordering;

use lb_common::abi::counters::VERDICT_SLOTS;
use lb_common::abi::limits::MAX_SERVICES;
use lb_common::abi::verdict::Verdict;

use super::mapped::Mapped;
use super::tables::{Maps, ServiceRow, Tables};

/// What a service or real has carried, over all CPUs.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Sum {
    /// Packets sent on.
    pub packets: u64,
    /// Bytes of them, from the IP header on.
    pub bytes: u64,
    /// Connections begun.
    pub connections: u64,
    /// Answers sent on to their clients.
    pub reply_packets: u64,
    /// Bytes of them, from the IP header on.
    pub reply_bytes: u64,
}

impl Tables {
    /// Packets that ended in each verdict.
    pub fn verdicts(&self) -> Vec<(Verdict, u64)> {
        let of = |verdict: Verdict| {
            (0..self.geometry.cpus).map(|cpu| word(&self.maps.verdicts, cpu * VERDICT_SLOTS + verdict as u32)).sum()
        };
        Verdict::ALL.iter().map(|verdict| (*verdict, of(*verdict))).collect()
    }

    /// Packets that services or their reals may have counted, over all: where it stays, so do their counters, and no connection is new or
    /// has another stamp.
    pub fn moved(&self) -> u64 {
        let is_aside = |verdict: &Verdict| {
            matches!(
                verdict,
                Verdict::NotIp | Verdict::NotTransport | Verdict::NotAService | Verdict::Truncated | Verdict::BadHeader
            )
        };
        self.verdicts().into_iter().filter(|(verdict, _)| !is_aside(verdict)).map(|(_, packets)| packets).sum()
    }

    /// Counters of a service: what its reals have carried, those that are gone included.
    pub fn service_sum(&self, service: &ServiceRow) -> Sum {
        let mut total = sum(&self.maps.service_counters, service.id, MAX_SERVICES, self.geometry.cpus);
        for real in service.reals.values() {
            let carried = self.real_sum(*real);
            total.packets += carried.packets;
            total.bytes += carried.bytes;
            total.reply_packets += carried.reply_packets;
            total.reply_bytes += carried.reply_bytes;
        }
        total
    }

    /// Keeps what a real has carried for its service, before the real's number is given away.
    pub(super) fn keep_sum(&self, service: u32, real: u32) {
        let carried = self.real_sum(real);
        // Its own count of connections is the datapath's.
        if let [packets, bytes, _, reply_packets, reply_bytes, ..] = self.maps.service_counters.value(service) {
            packets.fetch_add(carried.packets, Ordering::Relaxed);
            bytes.fetch_add(carried.bytes, Ordering::Relaxed);
            reply_packets.fetch_add(carried.reply_packets, Ordering::Relaxed);
            reply_bytes.fetch_add(carried.reply_bytes, Ordering::Relaxed);
        }
    }

    /// Counters of a real by its number.
    pub fn real_sum(&self, real: u32) -> Sum {
        sum(&self.maps.real_counters, real, self.geometry.reals, self.geometry.cpus)
    }
}

impl Maps {
    /// Sets the counters of a number that is given out anew to zero.
    pub(super) fn clear_counters(&self, number: u32, per_cpu: u32, cpus: u32, is_service: bool) {
        let table = if is_service { &self.service_counters } else { &self.real_counters };
        for cpu in 0..cpus {
            // Most have never been anybody's: a page that is not written costs nobody anything.
            for word in table.value(cpu * per_cpu + number).iter().filter(|word| word.load(Ordering::Relaxed) != 0) {
                word.store(0, Ordering::Relaxed);
            }
        }
    }
}

fn word(table: &Mapped, index: u32) -> u64 {
    table.value(index).first().map_or(0, |word| word.load(Ordering::Relaxed))
}

fn sum(table: &Mapped, number: u32, per_cpu: u32, cpus: u32) -> Sum {
    let mut total = Sum::default();
    for cpu in 0..cpus {
        if let [packets, bytes, connections, reply_packets, reply_bytes, ..] = table.value(cpu * per_cpu + number) {
            total.packets += packets.load(Ordering::Relaxed);
            total.bytes += bytes.load(Ordering::Relaxed);
            total.connections += connections.load(Ordering::Relaxed);
            total.reply_packets += reply_packets.load(Ordering::Relaxed);
            total.reply_bytes += reply_bytes.load(Ordering::Relaxed);
        }
    }
    total
}
