//! Partitions of topics that exist: added, and assigned to other brokers.
//!
//! Adding: 1. the logs are opened, of which nothing is on disk; 2. the catalog's record is appended
//! and applied; 3. the answer goes when the record is on disk, and nothing is shown or acknowledged
//! of the partitions before that. An assignment moves no data: there is one copy of it.

use thiserror::Error;
use tidings_log::LogId;

use crate::broker::{Broker, Now, Ticket};
use crate::catalog::{CATALOG, CatalogRecord, Topic};
use crate::held::{Mark, Wait};
use crate::random::base64;
use crate::topics::distinct;
use crate::{Reply, TopicRefused};

/// Adds partitions to topics.
#[derive(Clone, Debug)]
pub struct CreatePartitions {
    pub topics: Vec<MorePartitions>,
    /// Check only; add nothing.
    pub validate_only: bool,
}

#[derive(Clone, Debug)]
pub struct MorePartitions {
    pub topic: String,
    /// How many there are to be in all.
    pub count: i32,
    /// The replicas of each new partition, when the client chose them.
    pub assignment: Option<Vec<Vec<i32>>>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct GrownTopic {
    pub topic: String,
    pub outcome: Result<(), TopicRefused>,
}

/// Assigns partitions to other brokers.
#[derive(Clone, Debug)]
pub struct Reassign {
    /// Whether a partition may get another number of replicas.
    pub replication_may_change: bool,
    pub partitions: Vec<Reassignment>,
}

#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Reassignment {
    pub topic: String,
    pub partition: i32,
    /// None: cancel the reassignment under way.
    pub replicas: Option<Vec<i32>>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Reassigned {
    pub topic: String,
    pub partition: i32,
    pub outcome: Result<(), ReassignRefused>,
}

#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum ReassignRefused {
    #[error("topic or partition does not exist")]
    UnknownPartition,
    #[error("no reassignment is under way: each ends at once")]
    NoneInProgress,
    #[error("{0}")]
    InvalidAssignment(String),
    #[error("the partition has {present} replicas, and that may not change to {wanted}")]
    OtherReplication { present: usize, wanted: usize },
    #[error("{0}")]
    Storage(String),
}

/// Asks how far the log of the node's own metadata is.
#[derive(Clone, Copy, Debug)]
pub struct DescribeMetadataLog;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct MetadataLog {
    pub leader_epoch: i32,
    pub end_offset: i64,
    /// What is on disk.
    pub high_watermark: i64,
    pub now_ms: i64,
}

impl Broker {
    pub(crate) fn create_partitions(
        &mut self,
        now: Now,
        ticket: Ticket,
        request: CreatePartitions,
    ) {
        let mut answers = Vec::new();
        let mut waits = Vec::new();
        for more in distinct(request.topics, |more| &more.topic) {
            let outcome = self.grow(now, &more, request.validate_only).map(|past| {
                waits.extend(past.map(|past| wait(past, answers.len())));
            });
            answers.push(GrownTopic { topic: more.topic, outcome });
        }
        self.answer(ticket, Reply::CreatePartitions(answers), &waits);
    }

    /// Checks and, unless only that is wanted, adds; returns how far the catalog must be durable
    /// for it.
    fn grow(
        &mut self,
        now: Now,
        more: &MorePartitions,
        validate_only: bool,
    ) -> Result<Option<i64>, TopicRefused> {
        let topic = self.catalog.topic(&more.topic).ok_or(TopicRefused::Unknown)?.clone();
        let record = self.decide_growth(&topic, more)?;
        if validate_only {
            return Ok(None);
        }
        self.check_mutations()?;
        let added = topic.partitions..more.count;
        let opened = self.open_new_logs(&topic.name, topic.id, added.clone(), &topic.settings)?;
        let past = self.record_with_logs(now, record, &opened)?;
        self.partitions_opened(&topic.name, added, &opened, past);
        self.count_mutations(more.count - topic.partitions);
        Ok(Some(past))
    }

    fn decide_growth(
        &self,
        topic: &Topic,
        more: &MorePartitions,
    ) -> Result<CatalogRecord, TopicRefused> {
        let MorePartitions { topic: name, count, assignment } = more;
        let present = topic.partitions;
        if topic.internal {
            return Err(TopicRefused::InvalidRequest(format!("{name} is the broker's own topic")));
        }
        if *count <= present {
            return Err(TopicRefused::InvalidPartitions(match count - present {
                0 => format!("topic {name} has {present} partitions already"),
                _ => format!("topic {name} has {present} partitions: {count} would be fewer"),
            }));
        }
        self.catalog.room_for(*count, count - present)?;
        let first = self.replicas_of(topic, 0);
        let replicas = match assignment {
            None => {
                // As if the topic had been created with them.
                let brokers = self.brokers();
                let start = self.catalog.partitions_in_all();
                let replication = i16::try_from(first.len()).unwrap_or(i16::MAX);
                brokers.spread(start, count - present, replication)
            }
            Some(lists) => {
                if i32::try_from(lists.len()) != Ok(count - present) {
                    return Err(TopicRefused::InvalidAssignment(format!(
                        "{} partitions are to be added, but {} are assigned",
                        count - present,
                        lists.len()
                    )));
                }
                self.brokers().check_all(first.len(), lists)?;
                lists.clone()
            }
        };
        let mut all = self.recorded_replicas(topic);
        all.extend(replicas);
        Ok(changed(topic, *count, all))
    }

    pub(crate) fn reassign(&mut self, now: Now, ticket: Ticket, request: Reassign) {
        let mut answers = Vec::new();
        let mut waits = Vec::new();
        for part in distinct(request.partitions, |part| part) {
            let outcome = self.reassign_one(now, &part, request.replication_may_change);
            let outcome = outcome.map(|past| {
                waits.extend(past.map(|past| wait(past, answers.len())));
            });
            let Reassignment { topic, partition, .. } = part;
            answers.push(Reassigned { topic, partition, outcome });
        }
        self.answer(ticket, Reply::Reassign(answers), &waits);
    }

    fn reassign_one(
        &mut self,
        now: Now,
        part: &Reassignment,
        replication_may_change: bool,
    ) -> Result<Option<i64>, ReassignRefused> {
        let topic = self.catalog.topic(&part.topic).ok_or(ReassignRefused::UnknownPartition)?;
        topic.log(part.partition).ok_or(ReassignRefused::UnknownPartition)?;
        let replicas = part.replicas.as_ref().ok_or(ReassignRefused::NoneInProgress)?;
        self.brokers().check(replicas).map_err(ReassignRefused::InvalidAssignment)?;
        let present = self.replicas_of(topic, part.partition);
        let (present_count, wanted) = (present.len(), replicas.len());
        if present_count != wanted && !replication_may_change {
            return Err(ReassignRefused::OtherReplication { present: present_count, wanted });
        }
        if present == *replicas {
            return Ok(None);
        }
        let mut all = self.recorded_replicas(topic);
        all.resize(topic.partitions.unsigned_abs() as usize, Vec::new());
        all[part.partition.unsigned_abs() as usize].clone_from(replicas);
        let record = changed(topic, topic.partitions, all);
        let past = self.append_catalog(now, &record).map_err(ReassignRefused::Storage)?;
        self.catalog.apply(record);
        Ok(Some(past))
    }

    /// The brokers that a partition is said to be on, the leader first.
    pub(crate) fn replicas_of(&self, topic: &Topic, partition: i32) -> Vec<i32> {
        let index = usize::try_from(partition).unwrap_or(usize::MAX);
        self.brokers().shown(topic.replicas.get(index).map_or(&[], Vec::as_slice))
    }

    /// The lists to keep in a new record: one for each partition, unless nothing was ever said.
    fn recorded_replicas(&self, topic: &Topic) -> Vec<Vec<i32>> {
        let mut recorded = topic.replicas.clone();
        if !(recorded.is_empty() && self.config.brokers == 1) {
            recorded.resize(topic.partitions.unsigned_abs() as usize, Vec::new());
        }
        recorded
    }

    pub(crate) fn describe_metadata_log(&self, now: Now) -> MetadataLog {
        let log = self.logs.log(CATALOG);
        MetadataLog {
            leader_epoch: self.logs.leader_epoch(CATALOG),
            end_offset: log.map_or(0, |log| log.end_offset()),
            high_watermark: self.logs.durable(CATALOG),
            now_ms: now.wall_ms,
        }
    }

    /// Appends and applies a record that gives logs to partitions; closes them where it cannot be.
    pub(crate) fn record_with_logs(
        &mut self,
        now: Now,
        record: CatalogRecord,
        opened: &[LogId],
    ) -> Result<i64, TopicRefused> {
        let past = self.append_catalog(now, &record).map_err(|trouble| {
            opened.iter().for_each(|log| self.logs.store.remove_log(*log));
            TopicRefused::Storage(trouble)
        })?;
        self.catalog.apply(record);
        Ok(past)
    }
}

fn wait(past: i64, part: usize) -> Wait {
    Wait { log: CATALOG, mark: Mark::End, past, part }
}

fn changed(topic: &Topic, partitions: i32, replicas: Vec<Vec<i32>>) -> CatalogRecord {
    CatalogRecord::PartitionsChanged {
        name: topic.name.clone(),
        id: base64(topic.id),
        partitions,
        replicas,
    }
}
