//! One file per API: what the protocol asks, what the node is asked, and what goes back.

mod alter_configs;
pub(crate) mod api_versions;
mod create_topics;
mod delete_groups;
mod delete_records;
mod delete_topics;
mod describe_cluster;
pub(crate) mod describe_configs;
mod describe_groups;
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
mod metadata;
mod offset_commit;
mod offset_fetch;
pub(crate) mod produce;
mod sync_group;
mod update_features;

use std::collections::HashMap;

use tidings_broker::Isolation;

/// Puts partitions under their topics, both in the order of their first appearance.
fn by_topic<P>(partitions: impl IntoIterator<Item = (String, P)>) -> Vec<(String, Vec<P>)> {
    let mut topics: Vec<(String, Vec<P>)> = Vec::new();
    let mut places: HashMap<String, usize> = HashMap::new();
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

/// An epoch as the wire says it: -1 for none.
fn epoch(epoch: i32) -> Option<i32> {
    (epoch >= 0).then_some(epoch)
}

/// What the isolation level of a reader says: 1 is read committed.
fn isolation(level: i8) -> Isolation {
    if level == 1 { Isolation::Committed } else { Isolation::Uncommitted }
}
