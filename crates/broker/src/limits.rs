//! Limits of the broker, with what each protects.

/// Partitions of one topic.
pub const PARTITIONS_PER_TOPIC_MAX: i32 = 10_000;
pub use tidings_coordinator::limits::{
    GROUPS_MAX, MEMBERS_PER_GROUP_MAX, OFFSET_METADATA_BYTES_MAX, SESSION_TIMEOUT_MAX_MS,
    SESSION_TIMEOUT_MIN_MS,
};
