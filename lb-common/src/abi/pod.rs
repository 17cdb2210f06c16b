//! The promise to aya that table types are plain bytes: the only unsafe code of this crate.
#![expect(unsafe_code, reason = "aya::Pod is an unsafe trait, and the orphan rule puts its impls beside the types")]

use super::{connection, counters, real, remembered, reply, service, settings, shape};

macro_rules! pod {
    ($($type:ty)*) => {$(
        // SAFETY: repr(C), Copy, 'static, made of integers and arrays of them only, with no implicit padding: the sizes asserted
        // beside each type equal the sums of their fields' sizes. Every bit pattern is a value.
        unsafe impl aya::Pod for $type {}
    )*};
}

pod! {
    connection::BucketV4 connection::BucketV6
    counters::Counters
    real::Real real::Capacity
    remembered::Row
    reply::Bucket reply::Local reply::Record
    service::BucketV4 service::BucketV6 service::Config service::Member service::Cursor service::RingLine
    settings::Settings
    shape::Shapes
}
