//! What the owner may set of groups, with Apache Kafka's defaults. Deadlines that are running keep
//! the value with which they began.

use crate::limits;

/// The settings of all groups of a node.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct GroupsConfig {
    /// `group.min.session.timeout.ms` and `group.max.session.timeout.ms`, of classic members.
    pub session_timeout_min_ms: i32,
    pub session_timeout_max_ms: i32,
    /// `group.max.size`
    pub classic_group_size_max: usize,
    /// `offsets.retention.minutes`, in milliseconds.
    pub offsets_retention_ms: i64,
    /// `offsets.retention.check.interval.ms`
    pub retention_check_ms: u64,
}

impl Default for GroupsConfig {
    fn default() -> Self {
        Self {
            session_timeout_min_ms: limits::SESSION_TIMEOUT_MIN_MS,
            session_timeout_max_ms: limits::SESSION_TIMEOUT_MAX_MS,
            classic_group_size_max: limits::MEMBERS_PER_GROUP_MAX,
            offsets_retention_ms: 7 * 24 * 60 * 60 * 1000,
            retention_check_ms: 600_000,
        }
    }
}
