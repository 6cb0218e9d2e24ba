//! The node as a value: topics, partitions, groups. No I/O of its own, no clock, no threads.
//!
//! A [`Broker`] takes requests with [`Broker::submit`] and yields completions with
//! [`Broker::poll`]. Decisions apply at once; a reply that promises durability is held until the
//! owner has carried out the journal's write that [`Broker::next_write`] hands out.
#![forbid(unsafe_code)]

mod admission;
mod broker;
mod catalog;
mod cold;
mod config;
mod configuration;
mod deletion;
mod epochs;
mod features;
mod fetch;
mod fetch_sessions;
mod groups;
mod hanging;
mod held;
mod jobs;
pub mod limits;
mod opening;
mod partition;
mod partitions;
mod placement;
mod positions;
mod produce;
mod producers;
mod quotas;
mod random;
mod read_ahead;
mod refused;
mod request;
mod session_fetch;
mod topic_name;
mod topics;
mod transaction_markers;
mod transaction_offsets;
mod transaction_request;
mod transactions;

pub use admission::DiskRoom;
pub use broker::{Broker, BrokerConfig, Completion, Now, OpenReport, Ticket};
pub use config::{
    Alteration, ConfigChange, ConfigEntry, ConfigKind, ConfigOp, ConfigSource, ConfigSynonym,
    broker_configs, group_configs, topic_configs,
};
pub use features::{
    DescribeFeatures, FeatureDirection, FeatureLevels, FeatureUpdate, Features, FeaturesRefused,
    GROUP_VERSION, TRANSACTION_VERSION, UpdateFeatures,
};
pub use jobs::{Job, JobKind};
pub use partitions::{
    CreatePartitions, DescribeMetadataLog, GrownTopic, MetadataLog, MorePartitions, Reassign,
    ReassignRefused, Reassigned, Reassignment,
};
pub use quotas::{
    AlterQuotas, Client, ConnectionOpened, DescribeQuotas, DescribedQuota, OverQuota,
    QuotaAlteration, QuotaFilter, QuotaKey, QuotaMatch, Usage,
};
pub use refused::{
    ConsumerTrouble, DeleteRecordsRefused, FetchRefused, FetchSessionRefused, GroupRefused,
    GroupTrouble, ProduceRefused, QuotaRefused, TopicRefused,
};
pub use request::*;
pub use tidings_coordinator::{
    AssignorName, ConsumerGroupsConfig, GroupOverrides, GroupsConfig, IN_PROCESS_HOST,
    MigrationPolicy, TransactionsConfig,
};
pub use tidings_log as log;
pub use transaction_request::*;
