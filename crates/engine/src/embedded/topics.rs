//! Topics, reading without a group, offsets.

use std::time::Instant;

use tidings_node::broker::{
    AlterConfigs, Alteration, ConfigChange, ConfigEntry, ConfigOp, ConfigResource, ConfigSource,
    CreatePartitions, CreateTopics, DeleteTopics, DescribeConfigs, DescribeTopics, Fetch,
    FetchPartition, ListOffsets, ListOffsetsPartition, MorePartitions, NewTopic as Wanted,
    OffsetSpec, TopicDescription, TopicName, Topics,
};

use super::{Embedded, decode, isolation_of, readable_end, refusals, wait_ms};
use crate::limits::FETCH_WAIT_MAX;
use crate::{
    Config, Error, Isolation, NewTopic, Offset, Partition, Read, ReadLimit, Topic, TopicPartition,
};

impl Embedded {
    pub(crate) async fn create_topic(&self, topic: NewTopic) -> Result<(), Error> {
        self.make_topic(topic, false).await
    }

    pub(crate) async fn check_topic(&self, topic: NewTopic) -> Result<(), Error> {
        self.make_topic(topic, true).await
    }

    /// A node takes records of all of its topics, or says why not when they come.
    pub(crate) async fn can_append(&self, topic: &str) -> Result<(), Error> {
        self.describe(topic).await.map(drop)
    }

    async fn make_topic(&self, topic: NewTopic, validate_only: bool) -> Result<(), Error> {
        let NewTopic { name, partitions, configs } = topic;
        let configs = configs.into_iter().map(|(name, value)| (name, Some(value))).collect();
        let wanted = Wanted { name: name.clone(), partitions, configs, ..Wanted::default() };
        let request = CreateTopics { topics: vec![wanted], validate_only };
        let created = single(self.node.call(request).await?)?;
        created.outcome.map(drop).map_err(|refused| refusals::topic(&name, refused))
    }

    pub(crate) async fn delete_topic(&self, name: &str) -> Result<(), Error> {
        let request = DeleteTopics { topics: vec![TopicName::Name(name.to_owned())] };
        let deleted = single(self.node.call(request).await?)?;
        deleted.outcome.map(drop).map_err(|refused| refusals::topic(name, refused))
    }

    pub(crate) async fn configure_topic(
        &self,
        name: &str,
        changes: &[(String, Option<String>)],
    ) -> Result<(), Error> {
        let change = |(config, value): &(String, Option<String>)| ConfigChange {
            name: config.clone(),
            op: if value.is_some() { ConfigOp::Set } else { ConfigOp::Delete },
            value: value.clone(),
        };
        let changes = Alteration::Change(changes.iter().map(change).collect());
        let resources = vec![(ConfigResource::Topic(name.to_owned()), changes)];
        let request = AlterConfigs { resources, validate_only: false };
        let (_, outcome) = single(self.node.call(request).await?)?;
        outcome.map_err(|refused| refusals::topic(name, refused))
    }

    pub(crate) async fn grow_topic(&self, name: &str, partitions: i32) -> Result<(), Error> {
        let more = MorePartitions { topic: name.to_owned(), count: partitions, assignment: None };
        let request = CreatePartitions { topics: vec![more], validate_only: false };
        let grown = single(self.node.call(request).await?)?;
        grown.outcome.map_err(|refused| refusals::topic(name, refused))
    }

    pub(crate) async fn topics(&self) -> Result<Vec<Topic>, Error> {
        let request = DescribeTopics { topics: Topics::All, auto_create: false };
        let answers = self.node.call(request).await?;
        // A topic that is being deleted has no description; it is as good as gone.
        let topics = answers.into_iter().filter_map(|answer| answer.topic.ok());
        let mut topics: Vec<Topic> = topics.map(to_topic).collect();
        topics.sort_by(|a, b| a.name.cmp(&b.name));
        Ok(topics)
    }

    pub(crate) async fn topic(&self, name: &str) -> Result<Topic, Error> {
        Ok(to_topic(self.describe(name).await?))
    }

    pub(super) async fn describe(&self, name: &str) -> Result<TopicDescription, Error> {
        let these = Topics::These(vec![TopicName::Name(name.to_owned())]);
        let request = DescribeTopics { topics: these, auto_create: false };
        let answer = single(self.node.call(request).await?)?;
        answer.topic.map_err(|refused| refusals::topic(name, refused))
    }

    /// Descriptions of those of the named topics that exist.
    pub(super) async fn describe_known(
        &self,
        names: impl IntoIterator<Item = String>,
    ) -> Result<Vec<TopicDescription>, Error> {
        let these: Vec<_> = names.into_iter().map(TopicName::Name).collect();
        if these.is_empty() {
            return Ok(Vec::new());
        }
        let request = DescribeTopics { topics: Topics::These(these), auto_create: false };
        let answers = self.node.call(request).await?;
        Ok(answers.into_iter().filter_map(|answer| answer.topic.ok()).collect())
    }

    pub(crate) async fn topic_configs(&self, name: &str) -> Result<Vec<Config>, Error> {
        self.configs(ConfigResource::Topic(name.to_owned()), name).await
    }

    pub(super) async fn configs(
        &self,
        of: ConfigResource,
        name: &str,
    ) -> Result<Vec<Config>, Error> {
        let request = DescribeConfigs { resources: vec![(of, None)] };
        let described = single(self.node.call(request).await?)?;
        let configs = described.configs.map_err(|refused| refusals::topic(name, refused))?;
        let config = |entry: ConfigEntry| Config {
            name: entry.name.to_owned(),
            value: entry.value,
            is_default: entry.source == ConfigSource::Default,
        };
        Ok(configs.into_iter().map(config).collect())
    }

    /// The largest batch that the topic takes.
    pub(super) async fn max_message_bytes(&self, name: &str) -> Result<usize, Error> {
        let configs = self.topic_configs(name).await?;
        let value = configs.into_iter().find(|config| config.name == "max.message.bytes");
        let bytes = value.and_then(|config| config.value?.parse().ok());
        bytes.ok_or_else(|| Error::Unavailable(format!("{name} has no max.message.bytes")))
    }

    pub(crate) async fn read(
        &self,
        topic: &str,
        partition: i32,
        from: i64,
        limit: ReadLimit,
        isolation: Isolation,
    ) -> Result<Read, Error> {
        let isolation = isolation_of(isolation);
        let at = TopicPartition { topic: topic.to_owned(), partition };
        let deadline = Instant::now().checked_add(limit.wait);
        let mut from = from;
        loop {
            let left = deadline.map_or(FETCH_WAIT_MAX, |deadline| {
                deadline.saturating_duration_since(Instant::now()).min(FETCH_WAIT_MAX)
            });
            let request = Fetch {
                isolation,
                max_wait_ms: wait_ms(left),
                min_bytes: 1,
                max_bytes: limit.bytes.max(1),
                partitions: vec![FetchPartition {
                    topic: topic.into(),
                    partition,
                    offset: from,
                    max_bytes: limit.bytes.max(1),
                    current_leader_epoch: None,
                    last_fetched_epoch: None,
                }],
            };
            let fetched = single(self.node.call(request).await?)?;
            let data = fetched.outcome.map_err(|refused| refusals::fetch(&at, refused))?;
            let high_watermark = readable_end(&data, isolation);
            let decoded = decode(data, &at, from);
            let (mut records, mut next) = decoded.map_err(|error| refusals::decode(&at, &error))?;
            let nothing_left = next == from && left.is_zero();
            if !records.is_empty() || nothing_left || limit.records == 0 {
                if records.len() > limit.records {
                    records.truncate(limit.records);
                    next = records.last().map_or(from, |last| last.offset + 1);
                }
                return Ok(Read { records, next, high_watermark });
            }
            from = next;
        }
    }

    pub(crate) async fn offset(
        &self,
        topic: &str,
        partition: i32,
        at: Offset,
    ) -> Result<i64, Error> {
        let spec = match at {
            Offset::Earliest => OffsetSpec::Earliest,
            Offset::Latest => OffsetSpec::Latest,
            Offset::Timestamp(ms) => OffsetSpec::Timestamp(ms),
            Offset::At(offset) => return Ok(offset),
        };
        match self.list_offset(topic, partition, spec).await? {
            Some(offset) => Ok(offset),
            None => {
                let end = self.list_offset(topic, partition, OffsetSpec::Latest).await?;
                end.ok_or_else(|| Error::Unavailable(format!("{topic}-{partition} has no end")))
            }
        }
    }

    async fn list_offset(
        &self,
        topic: &str,
        partition: i32,
        at: OffsetSpec,
    ) -> Result<Option<i64>, Error> {
        let asked = ListOffsetsPartition {
            topic: topic.to_owned(),
            partition,
            at,
            current_leader_epoch: None,
        };
        let asked =
            ListOffsets { isolation: isolation_of(Isolation::Committed), partitions: vec![asked] };
        let listed = single(self.node.call(asked).await?)?;
        let at = TopicPartition { topic: topic.to_owned(), partition };
        let found = listed.outcome.map_err(|refused| refusals::fetch(&at, refused))?;
        Ok((found.offset >= 0).then_some(found.offset))
    }
}

/// The one answer to a request about one thing.
fn single<T>(answers: Vec<T>) -> Result<T, Error> {
    let answer = answers.into_iter().next();
    answer.ok_or_else(|| Error::Unavailable("the node left a question unanswered".to_owned()))
}

fn to_topic(description: TopicDescription) -> Topic {
    let partition =
        |(id, partition): (i32, &tidings_node::broker::PartitionDescription)| Partition {
            id,
            start_offset: partition.start_offset,
            end_offset: partition.high_watermark,
            size_bytes: Some(partition.size_bytes),
        };
    Topic {
        partitions: (0..).zip(&description.partitions).map(partition).collect(),
        name: description.name,
        internal: description.internal,
    }
}
