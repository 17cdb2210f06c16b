//! The director's tables, and the placeholders that stand for them in its program.
//!
//! Each table is a map of one value, so that its memory has one address, which the loader writes into the program: reaching an entry
//! is an addition. A lookup in a map of many values would store the index, load it again, compare it and branch, about 10
//! instructions with a store-to-load wait in the middle of every packet's way.
//!
//! Before it is loaded the program holds a 64-bit immediate for each table and each constant that only the loader knows:
//! [`placeholder`] numbers them.

/// A table that outlives the daemon.
#[repr(u32)]
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Table {
    /// One value of [`super::settings::Settings`].
    Settings,
    /// IPv4 connections, [`super::connection::BucketV4`].
    ConnectionsV4,
    /// IPv6 connections, [`super::connection::BucketV6`].
    ConnectionsV6,
    /// IPv4 service addresses, [`super::service::BucketV4`].
    ServicesV4,
    /// IPv6 service addresses, [`super::service::BucketV6`].
    ServicesV6,
    /// Service configurations, [`super::service::Config`].
    Configs,
    /// Members of services, [`super::service::Member`].
    Members,
    /// Source-hash and Maglev rings, [`super::service::RingLine`].
    Rings,
    /// Real servers, [`super::real::Real`].
    Reals,
    /// Active and inactive connections of each real, [`super::real::Load`].
    Loads,
    /// Scheduler cursors, per CPU, [`super::service::Cursor`].
    Cursors,
    /// Counters by verdict, per CPU, [`super::counters`].
    Verdicts,
    /// Counters by service, per CPU, [`super::counters::Counters`].
    ServiceCounters,
    /// Counters by real, per CPU, [`super::counters::Counters`].
    RealCounters,
    /// ICMP messages that each CPU may still send: a cache line of [`MESSAGES_BYTES`] each.
    Messages,
    /// Packets of which a first fragment has been seen, [`super::fragment::Bucket`].
    Fragments,
    /// Index of the reply table, [`super::reply::Bucket`].
    ReplyIndex,
    /// Its records, [`super::reply::Record`].
    Replies,
    /// For each entry of the IPv4 connection table the number of its reply record plus one (u32), 0 for none.
    TiesV4,
    /// The same for IPv6.
    TiesV6,
    /// Addresses that full NAT sends from, [`super::reply::Local`]: IPv4 ones first.
    Locals,
    /// Weights and thresholds of reals, [`super::real::Capacity`].
    Capacities,
    /// One value of [`super::shape::Shapes`].
    Shapes,
    /// What lblc and lblcr remember, [`super::remembered::Row`].
    Remembered,
    /// For each entry of the IPv4 connection table the address that its client sent to (u32, raw), if its key does not tell.
    VirtualsV4,
    /// What each CPU notes while it looks for room, [`crate::table::room::Step`].
    Steps,
}

/// Bytes of a value of [`Table::Messages`].
pub const MESSAGES_BYTES: usize = 64;

impl Table {
    /// Every table, by number: the order in which they are created and checked.
    pub const ALL: [Self; 26] = [
        Self::Settings,
        Self::ConnectionsV4,
        Self::ConnectionsV6,
        Self::ServicesV4,
        Self::ServicesV6,
        Self::Configs,
        Self::Members,
        Self::Rings,
        Self::Reals,
        Self::Loads,
        Self::Cursors,
        Self::Verdicts,
        Self::ServiceCounters,
        Self::RealCounters,
        Self::Messages,
        Self::Fragments,
        Self::ReplyIndex,
        Self::Replies,
        Self::TiesV4,
        Self::TiesV6,
        Self::Locals,
        Self::Capacities,
        Self::Shapes,
        Self::Remembered,
        Self::VirtualsV4,
        Self::Steps,
    ];

    /// Name of its map and of its pin.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Settings => "SETTINGS",
            Self::ConnectionsV4 => "CONNECTIONS_V4",
            Self::ConnectionsV6 => "CONNECTIONS_V6",
            Self::ServicesV4 => "SERVICES_V4",
            Self::ServicesV6 => "SERVICES_V6",
            Self::Configs => "CONFIGS",
            Self::Members => "MEMBERS",
            Self::Rings => "RINGS",
            Self::Reals => "REALS",
            Self::Loads => "LOADS",
            Self::Cursors => "CURSORS",
            Self::Verdicts => "VERDICTS",
            Self::ServiceCounters => "SERVICE_COUNTERS",
            Self::RealCounters => "REAL_COUNTERS",
            Self::Messages => "MESSAGES",
            Self::Fragments => "FRAGMENTS",
            Self::ReplyIndex => "REPLY_INDEX",
            Self::Replies => "REPLIES",
            Self::TiesV4 => "TIES_V4",
            Self::TiesV6 => "TIES_V6",
            Self::Locals => "LOCALS",
            Self::Capacities => "CAPACITIES",
            Self::Shapes => "SHAPES",
            Self::Remembered => "REMEMBERED",
            Self::VirtualsV4 => "VIRTUALS_V4",
            Self::Steps => "STEPS",
        }
    }
}

/// A number that is fixed when the program is loaded: the verifier knows it, and proves with it that masked indices stay inside.
#[repr(u32)]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Constant {
    /// Right shift that turns jiffies into ticks of about one second.
    TickShift,
    /// First half of the connection hash's key.
    HashKey0,
    /// Second half of it.
    HashKey1,
    /// Buckets of the IPv4 connection table that connections stand in first, less one. Behind them are those for what has no room there.
    BucketMaskV4,
    /// The same for IPv6.
    BucketMaskV6,
    /// Real numbers, less one.
    RealMask,
    /// Binary digits of a real number: the shift from a CPU to its stretch of the reals' counters.
    RealBits,
    /// CPUs that tables have room for, less one.
    CpuMask,
    /// ICMP messages that a CPU may send in a jiffy, in the mean.
    MessagesPerJiffy,
    /// Buckets of the reply table's index, less one.
    ReplyMask,
    /// Buckets for IPv4 connections that have no room in the first ones, less one.
    OverflowMaskV4,
    /// The same for IPv6.
    OverflowMaskV6,
}

impl Constant {
    /// Every constant, by number.
    pub const ALL: [Self; 12] = [
        Self::TickShift,
        Self::HashKey0,
        Self::HashKey1,
        Self::BucketMaskV4,
        Self::BucketMaskV6,
        Self::RealMask,
        Self::RealBits,
        Self::CpuMask,
        Self::MessagesPerJiffy,
        Self::ReplyMask,
        Self::OverflowMaskV4,
        Self::OverflowMaskV6,
    ];
}

/// What stands in the program for a table's address or a constant.
pub mod placeholder {
    use super::{Constant, Table};

    /// Upper half of every placeholder.
    pub const TAG: u32 = 0x5856_5321;
    const CONSTANT: u32 = 1 << 8;

    /// Stands for a table's address.
    pub const fn of_table(table: Table) -> u64 {
        (TAG as u64) << 32 | table as u64
    }

    /// Stands for a constant.
    pub const fn of_constant(constant: Constant) -> u64 {
        (TAG as u64) << 32 | (CONSTANT | constant as u32) as u64
    }

    /// What a placeholder stands for.
    #[derive(Clone, Copy, Debug, PartialEq, Eq)]
    pub enum Meaning {
        /// A table's address.
        Table(Table),
        /// A number.
        Constant(Constant),
    }

    /// What the immediate stands for: None for any that is no placeholder of this version.
    pub fn meaning(immediate: u64) -> Option<Meaning> {
        if (immediate >> 32) as u32 != TAG {
            return None;
        }
        let number = immediate as u32;
        match number.checked_sub(CONSTANT) {
            None => Table::ALL.get(number as usize).map(|table| Meaning::Table(*table)),
            Some(number) => Constant::ALL.get(number as usize).map(|constant| Meaning::Constant(*constant)),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::placeholder::{Meaning, TAG, meaning, of_constant, of_table};
    use super::*;

    #[test]
    fn placeholders_mean_what_they_were_made_from() {
        for (number, table) in Table::ALL.into_iter().enumerate() {
            assert_eq!(table as usize, number);
            assert_eq!(meaning(of_table(table)), Some(Meaning::Table(table)));
        }
        for (number, constant) in Constant::ALL.into_iter().enumerate() {
            assert_eq!(constant as usize, number);
            assert_eq!(meaning(of_constant(constant)), Some(Meaning::Constant(constant)));
        }
        let unknown = u64::from(TAG) << 32;
        assert_eq!([0, 1, unknown | 26, unknown | 0x10c, u64::MAX].map(meaning), [None; 5]);
    }
}
