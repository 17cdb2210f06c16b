//! Every bound of the datapath, with what one unit costs.

/// Services: 14 bits of a connection entry. One costs 64 B of configuration and 64 B of counters per CPU.
pub const MAX_SERVICES: u32 = 1 << 14;
/// Real servers over all services: 20 bits of a connection entry. One costs 64 B, 8 B of load and 64 B of counters per CPU.
pub const MAX_REALS: u32 = 1 << 20;
/// Reals of one service. The least-connection schedulers walk them all on a new connection.
pub const MAX_MEMBERS: u32 = 1024;
/// Slots a bucket of any of our tables has. Four IPv4 connections fill one 64-byte cache line.
pub const WAYS: usize = 4;
/// Buckets that a search for room looks at, at most: 128 words for each CPU. A table of which 95 % are taken needs seven in the mean.
pub const ROOM_STEPS: u32 = 128;
/// Buckets that searches for room look at in a jiffy, on each CPU: a flood of first packets takes a tenth of its time at most.
pub const ROOM_STEPS_PER_JIFFY: u64 = 2048;
/// Slots of a source-hash ring (IPVS `IP_VS_SH_TAB_SIZE`).
pub const SH_SLOTS: u32 = 256;
/// Slots of a Maglev ring (IPVS `CONFIG_IP_VS_MH_TAB_INDEX` 12: the prime below 2^12).
pub const MH_SLOTS: u32 = 4093;
/// Ring slots (u16 member indices) that one array value holds: 64 bytes, since the kernel rounds every value up to 8 bytes.
pub const RING_LINE: u32 = 32;
/// Lines of all rings: 1024 Maglev rings of 128; a source-hash ring takes 8.
pub const RING_LINES: u32 = 1 << 17;
/// Configurations: each service has one, and a second while it changes.
pub const CONFIGS: u32 = 2 * MAX_SERVICES;
/// ICMP messages that a CPU sends for itself in a second, as Linux's `icmp_msgs_per_sec`.
pub const MESSAGES_PER_SECOND: u32 = 1000;
/// ICMP messages that it may send at once: Linux's `icmp_msgs_burst`.
pub const MESSAGE_BURST: u64 = 50;
/// 802.1Q tags read before the IP header: one customer tag inside one service tag (802.1ad).
pub const MAX_VLAN_TAGS: usize = 2;
/// IPv6 extension headers read before the transport header. RFC 8200 names 6 kinds, Destination Options may come twice.
pub const MAX_EXTENSION_HEADERS: usize = 7;
