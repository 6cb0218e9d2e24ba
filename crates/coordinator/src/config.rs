//! What the owner may set of groups and of transactions, with Apache Kafka's defaults. Deadlines of
//! members and transactions that are running keep the value with which they began.

use std::collections::BTreeMap;

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
    pub consumer: ConsumerGroupsConfig,
    /// [`limits::ALL_GROUPS_BYTES_MAX`], or others.
    pub bytes_max: usize,
    /// What is set for single groups (the resource type GROUP).
    pub overrides: BTreeMap<String, GroupOverrides>,
}

/// Settings of groups that use the consumer protocol (KIP-848).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ConsumerGroupsConfig {
    /// `group.consumer.session.timeout.ms` and its bounds.
    pub session_timeout_ms: i32,
    pub session_timeout_min_ms: i32,
    pub session_timeout_max_ms: i32,
    /// `group.consumer.heartbeat.interval.ms` and its bounds.
    pub heartbeat_interval_ms: i32,
    pub heartbeat_interval_min_ms: i32,
    pub heartbeat_interval_max_ms: i32,
    /// `group.consumer.max.size`
    pub group_size_max: usize,
    /// `group.consumer.assignors`; the first is used where no member prefers one.
    pub assignors: Vec<AssignorName>,
    /// `group.consumer.migration.policy`
    pub migration: MigrationPolicy,
}

/// A server-side assignor.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum AssignorName {
    Uniform,
    Range,
}

impl AssignorName {
    pub fn name(self) -> &'static str {
        match self {
            Self::Uniform => "uniform",
            Self::Range => "range",
        }
    }

    pub fn of(name: &str) -> Option<Self> {
        [Self::Uniform, Self::Range].into_iter().find(|assignor| assignor.name() == name)
    }
}

/// Whether a group may change its protocol while it has members.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum MigrationPolicy {
    Disabled,
    /// From classic to consumer.
    Upgrade,
    /// From consumer to classic.
    Downgrade,
    Bidirectional,
}

impl MigrationPolicy {
    pub fn name(self) -> &'static str {
        match self {
            Self::Disabled => "disabled",
            Self::Upgrade => "upgrade",
            Self::Downgrade => "downgrade",
            Self::Bidirectional => "bidirectional",
        }
    }

    pub fn of(name: &str) -> Option<Self> {
        let all = [Self::Disabled, Self::Upgrade, Self::Downgrade, Self::Bidirectional];
        all.into_iter().find(|policy| policy.name() == name)
    }

    pub(crate) fn upgrades(self) -> bool {
        matches!(self, Self::Upgrade | Self::Bidirectional)
    }

    pub(crate) fn downgrades(self) -> bool {
        matches!(self, Self::Downgrade | Self::Bidirectional)
    }
}

/// What is set for one group; the rest is as for all.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct GroupOverrides {
    /// `consumer.session.timeout.ms`
    pub session_timeout_ms: Option<i32>,
    /// `consumer.heartbeat.interval.ms`
    pub heartbeat_interval_ms: Option<i32>,
}

/// The settings of all transactions of a node.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TransactionsConfig {
    /// `transaction.max.timeout.ms`: the longest that a producer may ask for.
    pub timeout_max_ms: i32,
    /// `transactional.id.expiration.ms`: how long an id is kept that nobody uses.
    pub id_kept_ms: u64,
    /// [`limits::TRANSACTION_BYTES_MAX`], or others.
    pub bytes_max: usize,
}

impl Default for TransactionsConfig {
    fn default() -> Self {
        Self {
            timeout_max_ms: limits::TRANSACTION_TIMEOUT_MAX_MS,
            id_kept_ms: limits::TRANSACTIONAL_ID_KEPT_MS,
            bytes_max: limits::TRANSACTION_BYTES_MAX,
        }
    }
}

impl Default for GroupsConfig {
    fn default() -> Self {
        Self {
            session_timeout_min_ms: limits::SESSION_TIMEOUT_MIN_MS,
            session_timeout_max_ms: limits::SESSION_TIMEOUT_MAX_MS,
            classic_group_size_max: limits::MEMBERS_PER_GROUP_MAX,
            offsets_retention_ms: limits::OFFSETS_RETENTION_MS,
            retention_check_ms: limits::RETENTION_CHECK_MS,
            consumer: ConsumerGroupsConfig {
                session_timeout_ms: limits::CONSUMER_SESSION_MS,
                session_timeout_min_ms: limits::CONSUMER_SESSION_MIN_MS,
                session_timeout_max_ms: limits::CONSUMER_SESSION_MAX_MS,
                heartbeat_interval_ms: limits::CONSUMER_HEARTBEAT_MS,
                heartbeat_interval_min_ms: limits::CONSUMER_HEARTBEAT_MIN_MS,
                heartbeat_interval_max_ms: limits::CONSUMER_HEARTBEAT_MAX_MS,
                group_size_max: limits::MEMBERS_PER_GROUP_MAX,
                assignors: vec![AssignorName::Uniform, AssignorName::Range],
                migration: MigrationPolicy::Bidirectional,
            },
            bytes_max: limits::ALL_GROUPS_BYTES_MAX,
            overrides: BTreeMap::new(),
        }
    }
}

impl GroupsConfig {
    fn of(&self, group: &str) -> GroupOverrides {
        self.overrides.get(group).copied().unwrap_or_default()
    }

    /// The session timeout of a group's members, within the bounds.
    pub(crate) fn session_timeout_ms(&self, group: &str) -> u64 {
        let all = &self.consumer;
        let wanted = self.of(group).session_timeout_ms.unwrap_or(all.session_timeout_ms);
        positive(wanted.max(all.session_timeout_min_ms).min(all.session_timeout_max_ms))
    }

    /// How often a group's members are to send heartbeats, within the bounds.
    pub(crate) fn heartbeat_interval_ms(&self, group: &str) -> i32 {
        let all = &self.consumer;
        let wanted = self.of(group).heartbeat_interval_ms.unwrap_or(all.heartbeat_interval_ms);
        wanted.max(all.heartbeat_interval_min_ms).min(all.heartbeat_interval_max_ms).max(1)
    }

    /// The assignor of groups whose members prefer none.
    pub(crate) fn default_assignor(&self) -> AssignorName {
        self.consumer.assignors.first().copied().unwrap_or(AssignorName::Uniform)
    }
}

/// A time that a client or an operator gave, never below zero.
pub(crate) fn positive(ms: i32) -> u64 {
    u64::try_from(ms).unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_groups_own_settings_stay_within_the_bounds_of_all() {
        let cases =
            [(None, 45_000, 5_000), (Some(50_000), 50_000, 15_000), (Some(1), 45_000, 5_000)];
        for (wanted, session_ms, heartbeat_ms) in cases {
            let own = GroupOverrides { session_timeout_ms: wanted, heartbeat_interval_ms: wanted };
            let mut config = GroupsConfig::default();
            config.overrides.insert("g".to_owned(), own);
            assert_eq!(config.session_timeout_ms("g"), session_ms, "{wanted:?}");
            assert_eq!(config.heartbeat_interval_ms("g"), heartbeat_ms, "{wanted:?}");
            assert_eq!(config.session_timeout_ms("other"), 45_000);
        }
    }
}
