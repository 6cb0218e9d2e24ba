//! One look: a handful of requests to each broker, and one more for each
//! [`GROUPS_AT_ONCE`](crate::limits::GROUPS_AT_ONCE) groups; and the reports of services since the look before.

use std::collections::BTreeMap;
use std::time::Duration;

use tidings::{REPORTS_TOPIC, Report};
use tidings_terminal::failure::Failure;

use crate::client::{Client, GroupLoad, TopicView};
use crate::limits::{TOP_REPORT_AGE, TOP_REPORTS_MAX, TOP_ROUNDS};
use crate::time::now_ms;

/// One look.
#[derive(Clone, Debug)]
pub(super) struct Sample {
    pub(super) at_ms: i64,
    pub(super) topics: Vec<TopicLoad>,
    /// With how far behind they are.
    pub(super) groups: Vec<(GroupLoad, i64)>,
}

#[derive(Clone, Debug)]
pub(super) struct TopicLoad {
    pub(super) name: String,
    pub(super) records: i64,
    /// Of all partitions together.
    pub(super) end: i64,
    pub(super) partitions: usize,
    /// Partitions without a leader, and with fewer replicas in sync than they have.
    pub(super) leaderless: usize,
    pub(super) behind: usize,
}

impl Sample {
    pub(super) async fn take(client: &mut Client) -> Result<Self, Failure> {
        let topics = client.topics().await?;
        let listed = client.groups().await?;
        let groups = client.group_loads(&listed).await?;
        Ok(Self::of(now_ms(), &topics, groups))
    }

    pub(super) fn of(at_ms: i64, topics: &[TopicView], groups: Vec<GroupLoad>) -> Self {
        let ends: BTreeMap<(&str, i32), i64> = topics
            .iter()
            .flat_map(|topic| {
                topic.partitions.iter().map(|p| ((topic.name.as_str(), p.id), p.end_offset))
            })
            .collect();
        let behind = |group: &GroupLoad| {
            let each = group.committed.iter().map(|(topic, partition, committed)| {
                // In a deleted topic nobody is behind.
                let end = ends.get(&(topic.as_str(), *partition)).unwrap_or(committed);
                (end - committed).max(0)
            });
            each.sum()
        };
        let groups = groups.into_iter().map(|group| (behind(&group), group));
        let groups = groups.map(|(behind, group)| (group, behind)).collect();
        let topics = topics.iter().map(|topic| TopicLoad {
            name: topic.name.clone(),
            records: topic.records,
            end: topic.partitions.iter().map(|p| p.end_offset).sum(),
            partitions: topic.partitions.len(),
            leaderless: topic.partitions.iter().filter(|p| p.leader < 0).count(),
            behind: topic.partitions.iter().filter(|p| p.in_sync.len() < p.replicas.len()).count(),
        });
        Self { at_ms, topics: topics.collect(), groups }
    }
}

/// The last report of each instance, followed in [`REPORTS_TOPIC`]. At most [`TOP_REPORTS_MAX`].
#[derive(Debug, Default)]
pub(super) struct Reports {
    /// Where to read on; none until the topic was found.
    next: BTreeMap<i32, i64>,
    leaders: Vec<i32>,
    by_key: BTreeMap<Vec<u8>, Report>,
}

impl Reports {
    /// Reads on, and answers those that are not too old.
    pub(super) async fn read(
        &mut self,
        client: &mut Client,
        sample: &Sample,
    ) -> Result<Vec<Report>, Failure> {
        let there = sample.topics.iter().any(|topic| topic.name == REPORTS_TOPIC);
        if !there {
            *self = Self::default();
            return Ok(Vec::new());
        }
        if self.next.is_empty() {
            self.leaders = client.leaders(REPORTS_TOPIC, false).await?;
            self.next.insert(0, 0);
        }
        for _ in 0..TOP_ROUNDS {
            let (leaders, next) = (&mut self.leaders, &mut self.next);
            let fetched = client.fetch(REPORTS_TOPIC, leaders, next, Duration::ZERO).await;
            let fetched = match fetched {
                Ok(fetched) => fetched,
                // It was made anew, or may not be read: begun again at the next look.
                Err(failure) => {
                    *self = Self::default();
                    return Err(failure);
                }
            };
            fetched.records.into_iter().for_each(|found| self.apply(found.record));
            if fetched.at_end {
                break;
            }
        }
        let oldest = sample.at_ms - i64::try_from(TOP_REPORT_AGE.as_millis()).unwrap_or(i64::MAX);
        self.by_key.retain(|_, report| report.at_ms >= oldest);
        Ok(self.by_key.values().cloned().collect())
    }

    fn apply(&mut self, record: tidings_node::Record) {
        let Some(key) = record.key else { return };
        if record.value.is_none() {
            self.by_key.remove(&key[..]);
        }
        let record = tidings_engine::Record {
            topic: REPORTS_TOPIC.into(),
            partition: 0,
            offset: record.offset,
            timestamp: record.timestamp,
            key: Some(key.clone()),
            value: record.value,
            headers: Vec::new(),
        };
        let Some(report) = Report::from_record(&record) else { return };
        if self.by_key.len() < TOP_REPORTS_MAX || self.by_key.contains_key(&key[..]) {
            self.by_key.insert(key.to_vec(), report);
        }
    }
}
