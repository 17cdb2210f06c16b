//! What these programs and user space tell each other: numbers of words in map values, and who a flow's client is. Included by the
//! benchmark as well, so it has no other module's names.

/// Words of a generator, one for each CPU. Header words stand as they are in memory.
pub mod generator {
    /// Interface that frames leave by.
    pub const INTERFACE: usize = 0;
    /// Bytes 0 to 7 of the frame: destination address, begin of the source's.
    pub const LINK: usize = 1;
    /// Bytes 8 to 15: end of the source's address, type, the IP header's first word.
    pub const LINK_END: usize = 2;
    /// Bytes 16 to 23: lengths and the like, up to the protocol.
    pub const IP: usize = 3;
    /// Destination address.
    pub const VIP: usize = 4;
    /// Bytes 46 to 49: data offset, flags, window.
    pub const FLAGS: usize = 5;
    /// Sum of the IP header without the client's address.
    pub const IP_SUM: usize = 6;
    /// Sum of the TCP header and its pseudo header, without client's address, ports and payload.
    pub const TCP_SUM: usize = 7;
    /// Number of the first flow.
    pub const FIRST: usize = 8;
    /// Number of flows, below 2^31.
    pub const FLOWS: usize = 9;
    /// Flows are taken in steps of this many, modulo their number and without a common divisor with it: all of them, in an order
    /// that has nothing to do with that of their numbers.
    pub const STEP: usize = 10;
    /// The flow to take next.
    pub const NEXT: usize = 11;
    /// Client address of flow 0, as a number.
    pub const CLIENTS: usize = 12;
    /// Right shift of a flow's number to that of its client.
    pub const SHIFT: usize = 13;
    /// Added to the ports after each round of all flows: spoofed clients come back by another port.
    pub const PORT_STEP: usize = 14;
    /// What has been added.
    pub const PORT: usize = 15;
    /// Paced: nanoseconds between two frames.
    pub const INTERVAL: usize = 16;
    /// Paced: when the next one is due, by the kernel's monotonic clock; 0 begins now.
    pub const DUE: usize = 17;
    /// Frames sent.
    pub const SENT: usize = 18;
    /// Full speed: frames to send in all.
    pub const FRAMES: usize = 19;
    /// When the first one was sent, by the monotonic clock.
    pub const BEGUN: usize = 20;
    /// When the last one was: paced the latest, at full speed number [`FRAMES`].
    pub const ENDED: usize = 21;
    /// How many words there are.
    pub const WORDS: usize = 22;
}

/// Lowest source port of a flow.
pub const PORTS: u32 = 0x4000;
/// Flows that a client has at most: numbers go to the port first.
pub const FLOWS_OF_CLIENT: u32 = 4096;
/// Client of the first flow that is not spoofed: 10.8.0.0.
pub const CLIENTS: u32 = 0x0a08_0000;
/// Flows that the real remembers.
pub const WATCHED: u32 = 1 << 21;
/// Numbers of reals: the last byte of their hardware address.
pub const REALS: u32 = 256;
/// Bytes of every frame that leaves the generator.
pub const FRAME: usize = 64;
/// Where the time stamp is, from the IP header on: behind a TCP header without options.
pub const STAMP: usize = 40;

/// Classes of the histogram of latencies.
pub const CLASSES: u32 = 1 << 15;
/// Right shift of nanoseconds to their class: 32 ns wide, a millisecond in all.
pub const CLASS_SHIFT: u32 = 5;

/// The class of a latency; the last one takes all that are longer.
#[inline(always)]
pub const fn class(ns: u64) -> u32 {
    let class = ns >> CLASS_SHIFT;
    if class < CLASSES as u64 { class as u32 } else { CLASSES - 1 }
}
