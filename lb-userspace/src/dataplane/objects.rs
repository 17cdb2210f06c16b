//! The eBPF objects, as the build script made them.

/// Bytes aligned as aya's ELF reader asks for.
macro_rules! object {
    ($(#[$doc:meta])* $name:ident, $file:literal) => {
        $(#[$doc])*
        pub static $name: &[u8] = aya::include_bytes_aligned!(concat!(env!("OUT_DIR"), "/", $file));
    };
}

object!(
    /// The director's program and its tables.
    DIRECTOR, "director");
object!(
    /// The real server's decapsulator, and the program that passes everything.
    REALSERVER, "realserver");
object!(
    /// The clock.
    CLOCK, "clock");
object!(
    /// The benchmark's programs: the director's pipeline and what it is measured against. In no binary that does not name it.
    BENCH, "bench");
object!(
    /// The benchmark's traffic: generator, counting real server, bare forwarder. In no binary that does not name it.
    TRAFFIC, "traffic");
