//! Names of programs and maps, once. A map's pin carries [`super::LAYOUT_VERSION`], so that two versions never share memory by accident.

/// The director's program.
pub const PROGRAM_DIRECTOR: &str = "xvs";
/// Returns the kernel's jiffies through `BPF_PROG_TEST_RUN`: the clock that last-seen stamps are in.
pub const PROGRAM_CLOCK: &str = "xvs_clock";
/// The real server's decapsulator.
pub const PROGRAM_DECAP: &str = "xvs_decap";
/// Passes every packet: what a veth peer of a director must run before it takes frames from XDP_TX.
pub const PROGRAM_PASS: &str = "xvs_pass";

/// IPv4 connections, [`super::connection::BucketV4`].
pub const CONNECTIONS_V4: &str = "CONNECTIONS_V4";
/// IPv6 connections, [`super::connection::BucketV6`].
pub const CONNECTIONS_V6: &str = "CONNECTIONS_V6";
/// IPv4 service addresses, [`super::service::BucketV4`].
pub const SERVICES_V4: &str = "SERVICES_V4";
/// IPv6 service addresses, [`super::service::BucketV6`].
pub const SERVICES_V6: &str = "SERVICES_V6";
/// Service configurations, [`super::service::Config`].
pub const CONFIGS: &str = "CONFIGS";
/// Members of services, [`super::service::Member`].
pub const MEMBERS: &str = "MEMBERS";
/// Source-hash and Maglev rings, lines of [`super::limits::RING_LINE`] member indices.
pub const RINGS: &str = "RINGS";
/// Real servers, [`super::real::Real`].
pub const REALS: &str = "REALS";
/// Active and inactive connections of each real, [`super::real::Load`].
pub const LOADS: &str = "LOADS";
/// Scheduler cursors, per CPU, [`super::service::Cursor`].
pub const CURSORS: &str = "CURSORS";
/// Counters by verdict, [`super::counters`].
pub const VERDICTS: &str = "VERDICTS";
/// Counters by service, [`super::counters::Counters`].
pub const SERVICE_COUNTERS: &str = "SERVICE_COUNTERS";
/// Counters by real, [`super::counters::Counters`].
pub const REAL_COUNTERS: &str = "REAL_COUNTERS";
/// One value of [`super::settings::Settings`].
pub const SETTINGS: &str = "SETTINGS";

/// Every map that outlives the daemon, in the order in which they are created and checked.
pub const PINNED: [&str; 14] = [
    SETTINGS,
    CONNECTIONS_V4,
    CONNECTIONS_V6,
    SERVICES_V4,
    SERVICES_V6,
    CONFIGS,
    MEMBERS,
    RINGS,
    REALS,
    LOADS,
    CURSORS,
    VERDICTS,
    SERVICE_COUNTERS,
    REAL_COUNTERS,
];
