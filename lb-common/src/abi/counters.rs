//! Counters: plain arrays, one stretch per CPU (`cpu * entries + index`), so that nobody shares a line and user space reads them mapped.

/// What a real has carried, on one CPU. Of a service only `connections` is counted by the datapath; in its CPU 0 user space keeps what
/// reals have carried that are no longer there, and adds to it what the others have.
#[repr(C, align(32))]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Counters {
    /// Packets sent on.
    pub packets: u64,
    /// Bytes of these packets from the IP header on, as IPVS counts them.
    pub bytes: u64,
    /// Connections begun.
    pub connections: u64,
    /// Zero.
    pub reserved: u64,
}

/// Slots a CPU has for verdicts, [`super::verdict::Verdict`]: a power of two above their number.
pub const VERDICT_SLOTS: u32 = 32;

const _: () = assert!(size_of::<Counters>() == 32);
