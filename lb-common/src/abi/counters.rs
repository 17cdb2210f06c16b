//! Counters: plain arrays, one stretch per CPU (`cpu * entries + index`), so that nobody shares a line and user space reads them mapped.

/// What a real has carried, on one CPU. Of a service only `connections` is counted by the datapath; in its CPU 0 user space keeps what
/// reals have carried that are no longer there, and adds to it what the others have.
#[repr(C, align(64))]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Counters {
    /// Packets sent on.
    pub packets: u64,
    /// Bytes of these packets from the IP header on, as IPVS counts them.
    pub bytes: u64,
    /// Connections begun.
    pub connections: u64,
    /// Answers that came back through the director.
    pub reply_packets: u64,
    /// Bytes of these answers from the IP header on.
    pub reply_bytes: u64,
    /// Zero.
    pub reserved: [u64; 3],
}

/// Slots a CPU has for verdicts, [`super::verdict::Verdict`]: a power of two above their number.
pub const VERDICT_SLOTS: u32 = 64;

const _: () = assert!(size_of::<Counters>() == 64);
