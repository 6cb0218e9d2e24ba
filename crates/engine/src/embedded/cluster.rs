//! The node as a cluster of its own.

use std::collections::BTreeSet;

use tidings_node::broker::{ConfigResource, DescribeTopics, Topics};

use super::Embedded;
use crate::{Broker, Cluster, Config, Error, Placement};

impl Embedded {
    pub(crate) async fn cluster(&self) -> Result<Cluster, Error> {
        let request = DescribeTopics { topics: Topics::All, auto_create: false };
        let answers = self.node.call(request).await?;
        let mut placements = Vec::new();
        for topic in answers.into_iter().filter_map(|answer| answer.topic.ok()) {
            let partitions = (0..).zip(topic.partitions);
            placements.extend(partitions.map(|(partition, described)| Placement {
                topic: topic.name.clone(),
                partition,
                leader: described.leader().filter(|_| described.writable),
                in_sync: described.replicas.clone(),
                replicas: described.replicas,
            }));
        }
        placements.sort_by(|a, b| (&a.topic, a.partition).cmp(&(&b.topic, b.partition)));
        let shown = placements.iter().flat_map(|placement| placement.replicas.iter().copied());
        let ids: BTreeSet<i32> = shown.chain([self.node.node_id()]).collect();
        let brokers = ids.into_iter().map(|id| Broker { id, address: None }).collect();
        Ok(Cluster { id: self.node.cluster_id().to_owned(), brokers, placements })
    }

    pub(crate) async fn broker_configs(&self, id: i32) -> Result<Vec<Config>, Error> {
        let unknown = |error| match error {
            Error::UnknownTopic(_) => Error::Invalid(format!("there is no broker {id}")),
            other => other,
        };
        let name = id.to_string();
        self.configs(ConfigResource::Broker(name.clone()), &name).await.map_err(unknown)
    }
}
