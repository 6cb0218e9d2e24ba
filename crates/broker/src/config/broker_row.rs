//! What a row of the table of broker configs says: where a value comes from, and whether it may be set.

use tidings_coordinator::{GroupsConfig, TransactionsConfig};
use tidings_log::StoreConfig;

use super::ConfigKind;
use super::rule::Rule;
use super::topic_table::TopicConfig;
use crate::limits;

pub(super) struct BrokerConfigRow {
    pub(super) name: &'static str,
    pub(super) kind: ConfigKind,
    pub(super) value: Value,
    pub(super) documentation: &'static str,
}

/// Where a broker config has its value from.
#[derive(Clone, Copy)]
pub(super) enum Value {
    NodeId,
    DeleteTopics,
    Number(i64),
    Text(&'static str),
    /// A setting of the store.
    Store(fn(&StoreConfig) -> i64),
    /// What the owner knows that serves the node; the broker does not.
    OfServer,
    /// It has no meaning here.
    Nothing,
    /// It may be set while the node runs.
    Live(Live),
}

#[derive(Clone, Copy)]
pub(super) enum Live {
    /// Topics that say nothing of this config take it.
    OfTopics(&'static TopicConfig),
    DefaultPartitions,
    AutoCreate,
    ProducerExpiry,
    /// A setting of groups, and its range.
    Groups(fn(&GroupsConfig) -> i64, i64, i64),
    /// The assignors of groups of the consumer protocol.
    Assignors,
    /// Whether groups change their protocol while they have members.
    Migration,
    /// A setting of transactions, at least 1.
    Transactions(fn(&TransactionsConfig) -> i64),
}

/// What [`Live::Assignors`] and [`Live::Migration`] are when nothing is said.
pub(super) const ASSIGNORS: &str = "uniform,range";
pub(super) const MIGRATION: &str = "bidirectional";

impl Live {
    /// The values that it takes.
    pub(super) fn rule(self) -> Rule {
        match self {
            Self::OfTopics(config) => config.rule,
            Self::DefaultPartitions => Rule::Range(1, limits::PARTITIONS_PER_TOPIC_MAX as i64),
            Self::AutoCreate => Rule::Boolean,
            Self::ProducerExpiry | Self::Transactions(_) => Rule::Range(1, i32::MAX as i64),
            Self::Assignors => Rule::List(&["range", "uniform"]),
            Self::Migration => Rule::Words(&["bidirectional", "disabled", "downgrade", "upgrade"]),
            Self::Groups(_, min, max) => Rule::Range(min, max),
        }
    }
}
