//! What is to be copied, and what has to be there first.

use std::collections::BTreeMap;

use tidings_engine::{
    Config, Engine, Error, NewTopic, Offset, ReadLimit, Topic, TopicPartition,
    TransactionalProducer,
};
use tidings_terminal::failure::{Exit, Failure};

use super::notes::{Made, NOTES_PREFIX, Note, Noticed};
use super::{Sides, again, is_meant, limit, within};
use crate::place::failed;

/// Configurations that decide what is kept and what is taken: the target gets the source's value even where
/// that is only the source's default.
const KEEPING: [&str; 5] = [
    "cleanup.policy",
    "retention.ms",
    "retention.bytes",
    "delete.retention.ms",
    "max.message.bytes",
];
/// Configurations that are the target's own business: how it replicates, and where.
const OWN: [&str; 5] = [
    "min.insync.replicas",
    "unclean.leader.election.enable",
    "leader.replication.throttled.replicas",
    "follower.replication.throttled.replicas",
    "remote.storage.enable",
];
/// With the log's own times a target would replace those of the records.
const TIMES: &str = "message.timestamp.type";
const LOGS_TIME: &str = "LogAppendTime";
const RECORDS_TIME: &str = "CreateTime";

#[derive(Debug)]
pub(super) struct Plan {
    pub(super) topics: Vec<TopicPlan>,
}

#[derive(Debug)]
pub(super) struct TopicPlan {
    pub(super) name: String,
    pub(super) partitions: i32,
    pub(super) at_target: AtTarget,
    /// A copy has made it and given it its configuration.
    made: bool,
    pub(super) jobs: Vec<Job>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum AtTarget {
    Missing,
    /// Made by a copy that did not get to its configuration.
    Begun,
    /// With so many partitions.
    There(i32),
}

/// A partition, and how far it is.
#[derive(Clone, Debug)]
pub(super) struct Job {
    pub(super) at: TopicPartition,
    /// The source's offsets from which on, and before which, there is something to copy.
    pub(super) from: i64,
    pub(super) end: i64,
    /// The target's offset after the last record that was copied.
    pub(super) target_next: i64,
}

/// A configuration that the target has otherwise than the source, and why.
#[derive(Clone, Debug)]
pub(super) struct Left {
    pub(super) topic: String,
    pub(super) name: String,
    pub(super) value: String,
    pub(super) why: String,
}

/// Names of the topics that are meant, sorted.
pub(super) async fn selected(source: &Engine, patterns: &[String]) -> Result<Vec<String>, Failure> {
    let topics = source.topics().await;
    let topics = topics.map_err(|error| failed("the source's topics cannot be listed", &error))?;
    let names = topics.into_iter().filter(|topic| !topic.internal).map(|topic| topic.name);
    let copied = |name: &String| !name.starts_with("__") && !name.starts_with(NOTES_PREFIX);
    let names: Vec<String> = names.filter(copied).filter(|name| is_meant(name, patterns)).collect();
    if names.is_empty() {
        let what = match patterns {
            [] => "the source has no topics".to_owned(),
            patterns => format!("the source has no topic {}", patterns.join(" or ")),
        };
        return Err(Failure::new(Exit::NotFound, what).hint("tidings topic list"));
    }
    Ok(names)
}

impl Plan {
    /// Looks at both sides, and refuses what cannot be copied.
    pub(super) async fn of(
        sides: &Sides,
        names: &[String],
        noticed: Noticed,
    ) -> Result<Self, Failure> {
        let mut topics = Vec::with_capacity(names.len());
        let mut noticed = noticed;
        for name in names {
            let there = match sides.target.topic(name).await {
                Ok(topic) => Some(topic),
                Err(Error::UnknownTopic(_)) => {
                    // Somebody has deleted it: it is copied from its beginning.
                    noticed.steps.retain(|of, _| of.topic != *name);
                    None
                }
                Err(error) => {
                    return Err(failed(format!("{name} cannot be seen at the target"), &error));
                }
            };
            topics.push(topic_plan(sides, name, there.as_ref(), &noticed).await?);
        }
        Ok(Self { topics })
    }

    pub(super) fn jobs(&self) -> impl Iterator<Item = &Job> {
        self.topics.iter().flat_map(|topic| &topic.jobs)
    }

    /// Makes topics, and gives them partitions and configuration; says what could not be had.
    pub(super) async fn make(
        &self,
        sides: &Sides,
        producer: &TransactionalProducer,
    ) -> Result<Vec<Left>, Failure> {
        let mut left = Vec::new();
        for topic in &self.topics {
            let unmade = |error: Error| {
                let what = format!("{} is not made at the target", topic.name);
                again(failed(what, &error), &error)
            };
            let note = async |note| sides.notes.write(producer, &note).await.map_err(unmade);
            match topic.at_target {
                AtTarget::There(partitions) => {
                    if partitions < topic.partitions {
                        let grown = sides.target.grow_topic(&topic.name, topic.partitions).await;
                        grown.map_err(unmade)?;
                    }
                    if topic.made {
                        left.extend(differing(sides, &topic.name).await?);
                    }
                    continue;
                }
                AtTarget::Missing => {
                    note(Note::Making(topic.name.clone())).await?;
                    let new = NewTopic {
                        name: topic.name.clone(),
                        partitions: Some(topic.partitions),
                        configs: Vec::new(),
                    };
                    sides.target.create_topic(new).await.map_err(unmade)?;
                }
                AtTarget::Begun => {}
            }
            left.extend(configure(sides, &topic.name).await?);
            note(Note::Made(topic.name.clone())).await?;
        }
        Ok(left)
    }
}

async fn topic_plan(
    sides: &Sides,
    name: &str,
    there: Option<&Topic>,
    noticed: &Noticed,
) -> Result<TopicPlan, Failure> {
    let unread = |error| failed(format!("{name} cannot be seen"), &error);
    let topic = sides.source.topic(name).await.map_err(unread)?;
    let partitions = i32::try_from(topic.partitions.len()).unwrap_or(i32::MAX);
    let at_target = match there.map(|topic| i32::try_from(topic.partitions.len())) {
        None => AtTarget::Missing,
        Some(_) if noticed.made.get(name) == Some(&Made::Begun) => AtTarget::Begun,
        Some(count) => AtTarget::There(count.unwrap_or(i32::MAX)),
    };
    if let AtTarget::There(more) = at_target
        && more > partitions
    {
        return Err(Failure::new(
            Exit::Conflict,
            format!("{name} has more partitions at the target"),
        )
        .why(format!("{more} instead of {partitions}, so keys would be elsewhere"))
        .hint("delete it at the target, or name other topics with --topic"));
    }
    let mut jobs = Vec::with_capacity(topic.partitions.len());
    for partition in &topic.partitions {
        let at = TopicPartition { topic: name.to_owned(), partition: partition.id };
        let last = noticed.steps.get(&at).and_then(|steps| steps.last());
        let end = match partition.end_offset == partition.start_offset {
            true => partition.end_offset,
            // Records of transactions that are not decided yet come with the next run.
            false => {
                sides.source.offset(name, partition.id, Offset::Latest).await.map_err(unread)?
            }
        };
        let from = last.map_or(partition.start_offset, |step| step.source.1);
        if from > end {
            return Err(begun_anew(&at, from, end));
        }
        let from = from.max(partition.start_offset);
        let job = Job { at, from, end, target_next: last.map_or(0, |step| step.target.1) };
        if let Some(there) = there {
            check_tail(sides, &job, there).await?;
        }
        jobs.push(job);
    }
    let made = noticed.made.get(name) == Some(&Made::Whole);
    Ok(TopicPlan { name: name.to_owned(), partitions, at_target, made, jobs })
}

/// Refuses a target partition that has records after the last one that was copied.
async fn check_tail(sides: &Sides, job: &Job, there: &Topic) -> Result<(), Failure> {
    let number = usize::try_from(job.at.partition).unwrap_or(usize::MAX);
    let Some(partition) = there.partitions.get(number) else { return Ok(()) };
    if partition.end_offset < job.target_next {
        return Err(made_anew(job, partition.end_offset));
    }
    // One offset is the marker of the last step's transaction.
    if job.target_next > 0 && partition.end_offset == job.target_next + 1 {
        return Ok(());
    }
    match tail(sides, &job.at, job.target_next).await? {
        Tail::End(_) => Ok(()),
        Tail::Record(offset) => Err(foreign(job, offset)),
    }
}

/// What is at the target from an offset on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Tail {
    /// The first record's offset.
    Record(i64),
    /// None, and where the next one will be at the earliest.
    End(i64),
}

pub(super) async fn tail(sides: &Sides, at: &TopicPartition, from: i64) -> Result<Tail, Failure> {
    let TopicPartition { topic, partition } = at;
    let unread = |error| failed(format!("{at} cannot be read at the target"), &error);
    let end = sides.target.offset(topic, *partition, Offset::Latest).await.map_err(unread)?;
    let first = sides.target.offset(topic, *partition, Offset::Earliest).await.map_err(unread)?;
    let mut next = from.max(first);
    while next < end {
        let limit = ReadLimit { records: 1, ..limit() };
        let read = within(&sides.target, topic, *partition, next, limit).await?;
        if let Some(record) = read.records.first() {
            return Ok(Tail::Record(record.offset));
        }
        next = read.next;
    }
    Ok(Tail::End(next))
}

fn begun_anew(at: &TopicPartition, from: i64, end: i64) -> Failure {
    Failure::new(Exit::Conflict, format!("{at} is not what it was when it was copied"))
        .why(format!("it was copied up to offset {from}, and ends at {end} now: it was made anew"))
        .hint(format!("delete {} at the target, and copy it again from its beginning", at.topic))
}

fn made_anew(job: &Job, end: i64) -> Failure {
    Failure::new(Exit::Conflict, format!("{} is not the topic that was copied to", job.at.topic))
        .why(format!(
            "{} ends at offset {end} at the target, and was copied up to {}: it was made anew",
            job.at, job.target_next
        ))
        .hint(format!(
            "delete {} at the target: then it is copied from its beginning",
            job.at.topic
        ))
}

pub(super) fn foreign(job: &Job, offset: i64) -> Failure {
    Failure::new(Exit::Conflict, format!("{} has other records at the target", job.at))
        .why(format!("the one at offset {offset} is none that this copy has made"))
        .hint(format!(
            "once services write to the target there is no more to copy; otherwise delete {} there, and it \
             is copied from its beginning, or name other topics with --topic",
            job.at.topic
        ))
}

/// The configurations of a topic at both sides, the target's by name.
async fn configs(
    sides: &Sides,
    topic: &str,
) -> Result<(Vec<Config>, BTreeMap<String, Option<String>>), Failure> {
    let unseen = |error| failed(format!("the configuration of {topic} cannot be seen"), &error);
    let wanted = sides.source.topic_configs(topic).await.map_err(unseen)?;
    let there = sides.target.topic_configs(topic).await.map_err(unseen)?;
    Ok((wanted, there.into_iter().map(|config| (config.name, config.value)).collect()))
}

/// What a topic that an earlier run has made has otherwise than the source: refused then, or changed since.
async fn differing(sides: &Sides, topic: &str) -> Result<Vec<Left>, Failure> {
    let (wanted, there) = configs(sides, topic).await?;
    let left = |config: Config| {
        let value = wanted_value(&config, &there)?;
        let why = "an earlier run has left it, or it was changed at the target".to_owned();
        Some(Left { topic: topic.to_owned(), name: config.name, value, why })
    };
    Ok(wanted.into_iter().filter_map(left).collect())
}

/// Gives a topic that the copy has made the source's configuration, one by one.
async fn configure(sides: &Sides, topic: &str) -> Result<Vec<Left>, Failure> {
    let unseen = |error| failed(format!("the configuration of {topic} cannot be seen"), &error);
    let (wanted, there) = configs(sides, topic).await?;
    let mut left = Vec::new();
    if there.get(TIMES).is_some_and(|held| held.as_deref() == Some(LOGS_TIME)) {
        let change = [(TIMES.to_owned(), Some(RECORDS_TIME.to_owned()))];
        sides.target.configure_topic(topic, &change).await.map_err(unseen)?;
    }
    for config in wanted {
        let Some(value) = wanted_value(&config, &there) else { continue };
        let why = match config.name.as_str() {
            TIMES if value == LOGS_TIME => {
                "it would replace the times of the records; set it after the last run".to_owned()
            }
            _ => {
                let change = [(config.name.clone(), Some(value.clone()))];
                match sides.target.configure_topic(topic, &change).await {
                    Ok(()) => continue,
                    Err(Error::Invalid(why)) => why,
                    Err(error) => {
                        let what = format!("{topic} is not configured at the target");
                        return Err(again(failed(what, &error), &error));
                    }
                }
            }
        };
        left.push(Left { topic: topic.to_owned(), name: config.name, value, why });
    }
    Ok(left)
}

/// The value that the target should have and does not.
fn wanted_value(config: &Config, there: &BTreeMap<String, Option<String>>) -> Option<String> {
    let value = config.value.clone()?;
    let held = there.get(&config.name).cloned().flatten();
    let said = !config.is_default && !OWN.contains(&config.name.as_str());
    let wanted = said || KEEPING.contains(&config.name.as_str());
    (wanted && held.as_ref() != Some(&value)).then_some(value)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_target_gets_what_was_said_and_what_keeps_records() {
        let there = BTreeMap::from([
            ("retention.ms".to_owned(), Some("86400000".to_owned())),
            ("segment.ms".to_owned(), Some("5".to_owned())),
            ("min.insync.replicas".to_owned(), Some("2".to_owned())),
        ]);
        let check = |name: &str, value: &str, is_default, expected: Option<&str>| {
            let value = Some(value.to_owned());
            let config = Config { name: name.to_owned(), value, is_default };
            assert_eq!(wanted_value(&config, &there).as_deref(), expected, "{config:?}");
        };
        check("retention.ms", "604800000", true, Some("604800000"));
        check("retention.ms", "86400000", false, None);
        check("segment.ms", "7", true, None);
        check("segment.ms", "7", false, Some("7"));
        check("min.insync.replicas", "1", false, None);
        check("only.here", "x", false, Some("x"));
        check("only.here", "x", true, None);
    }
}
