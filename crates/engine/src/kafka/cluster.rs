//! The brokers of a cluster, and where partitions are.

use rdkafka::consumer::Consumer as _;

use super::{Kafka, asking, native, refusals};
use crate::{Broker, Cluster, Config, Error, Operation, Placement, Resource};

impl Kafka {
    pub(crate) async fn cluster(&self) -> Result<Cluster, Error> {
        let timeout = self.settings().request_timeout;
        self.ask(move |looker| {
            let unknown = || Error::Unavailable("no broker says which cluster it is of".to_owned());
            let id = looker.client().fetch_cluster_id(timeout).ok_or_else(unknown)?;
            let metadata = asking::metadata(looker, None)?;
            let broker = |broker: &rdkafka::metadata::MetadataBroker| Broker {
                id: broker.id(),
                address: Some(format!("{}:{}", broker.host(), broker.port())),
            };
            let mut brokers: Vec<Broker> = metadata.brokers().iter().map(broker).collect();
            brokers.sort_by_key(|broker| broker.id);
            let mut placements = Vec::new();
            for topic in metadata.topics() {
                let partitions = topic.partitions().iter();
                placements.extend(partitions.map(|partition| Placement {
                    topic: topic.name().to_owned(),
                    partition: partition.id(),
                    leader: Some(partition.leader()).filter(|leader| *leader >= 0),
                    replicas: partition.replicas().to_vec(),
                    in_sync: partition.isr().to_vec(),
                }));
            }
            placements.sort_by(|a, b| (&a.topic, a.partition).cmp(&(&b.topic, b.partition)));
            Ok(Cluster { id, brokers, placements })
        })
        .await?
    }

    pub(crate) async fn broker_configs(&self, id: i32) -> Result<Vec<Config>, Error> {
        self.ask(move |looker| {
            let configs = native::broker_configs(looker, id);
            configs
                .map_err(|refused| refusals::of(&format!("broker {id}"), &refused))
                .map_err(refusals::needing(Operation::DescribeConfigs, Resource::Cluster))
        })
        .await?
    }
}
