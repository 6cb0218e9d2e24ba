//! One file per API: what the protocol asks, what the node is asked, and what goes back.

mod add_offsets_to_txn;
mod add_partitions_to_txn;
mod alter_client_quotas;
mod alter_configs;
mod alter_partition_reassignments;
mod alter_replica_log_dirs;
mod alter_user_scram_credentials;
pub(crate) mod api_versions;
mod consumer_group_describe;
mod consumer_group_heartbeat;
mod create_acls;
mod create_delegation_token;
mod create_partitions;
mod create_topics;
mod delete_acls;
mod delete_groups;
mod delete_records;
mod delete_topics;
mod describe_acls;
mod describe_client_quotas;
mod describe_cluster;
pub(crate) mod describe_configs;
mod describe_delegation_token;
mod describe_groups;
mod describe_log_dirs;
mod describe_producers;
mod describe_quorum;
mod describe_topic_partitions;
mod describe_transactions;
mod describe_user_scram_credentials;
mod elect_leaders;
mod end_txn;
mod expire_delegation_token;
mod fetch;
mod find_coordinator;
mod heartbeat;
mod incremental_alter_configs;
mod init_producer_id;
mod join_group;
mod leave_group;
mod list_config_resources;
mod list_groups;
mod list_offsets;
mod list_partition_reassignments;
mod list_transactions;
mod metadata;
mod offset_commit;
mod offset_delete;
mod offset_fetch;
mod offset_for_leader_epoch;
pub(crate) mod produce;
mod renew_delegation_token;
mod sasl_authenticate;
mod sasl_handshake;
mod sync_group;
mod txn_offset_commit;
mod unregister_broker;
mod update_features;
mod write_txn_markers;

use std::collections::HashMap;
use std::hash::Hash;

use tidings_broker::{Isolation, TopicId, TopicName};

/// Puts partitions under their topics, both in the order of their first appearance.
fn by_topic<T, P>(partitions: impl IntoIterator<Item = (T, P)>) -> Vec<(T, Vec<P>)>
where
    T: Clone + Eq + Hash,
{
    let mut topics: Vec<(T, Vec<P>)> = Vec::new();
    let mut places: HashMap<T, usize> = HashMap::new();
    for (topic, partition) in partitions {
        match places.get(&topic) {
            Some(place) => topics[*place].1.push(partition),
            None => {
                places.insert(topic.clone(), topics.len());
                topics.push((topic, vec![partition]));
            }
        }
    }
    topics
}

/// The topic of a request whose version names it by its id, or else by its name.
fn topic_of(by_id: bool, name: String, id: TopicId) -> TopicName {
    if by_id { TopicName::Id(id) } else { TopicName::Name(name) }
}

/// An epoch as the wire says it: -1 for none.
fn epoch(epoch: i32) -> Option<i32> {
    (epoch >= 0).then_some(epoch)
}

/// What the isolation level of a reader says: 1 is read committed.
fn isolation(level: i8) -> Isolation {
    if level == 1 { Isolation::Committed } else { Isolation::Uncommitted }
}

/// The id by which a topic was named; all zeros where it was not.
fn id_or_empty(topic: &TopicName) -> TopicId {
    match topic {
        TopicName::Id(id) => *id,
        TopicName::Name(_) => TopicId::default(),
    }
}

/// The name by which a topic was named; empty where it was not.
fn name_or_empty(topic: TopicName) -> String {
    match topic {
        TopicName::Name(name) => name,
        TopicName::Id(_) => String::new(),
    }
}
